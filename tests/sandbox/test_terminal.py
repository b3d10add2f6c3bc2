"""`python -m sandbox`: one story, in order, and an end that leaves no process and no file."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.__main__ import main
from tests.helpers.ports import free_port
from tests.helpers.waiting import wait_until

Run = Callable[..., "Terminal"]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
# What Windows lacks; the rest is the sandbox as it is.
WITHOUT = "import os, signal; del signal.SIGHUP, signal.SIGKILL, os.killpg; "
ON_WINDOWS = ("-c", WITHOUT + "import sys; from sandbox.__main__ import main; sys.exit(main())")


def read_lines(screen: int, encoding: str) -> Generator[str, None, None]:
    """Yield the lines of a terminal, and close it with the generator."""
    with open(screen, encoding=encoding) as file, suppress(OSError):  # how a terminal ends
        for line in file:
            yield line.rstrip("\n")


class Terminal:
    """`python -m sandbox` with these options, as a process on a terminal of its own.

    It runs in a copy of the server, its files are in a folder, and its proxies do not exist.
    """

    def __init__(self, copy: Path, folder: Path, *options: str, windows: bool = False) -> None:
        program, encoding = ("-m", "sandbox"), "utf-8"
        if windows:
            program, encoding = ON_WINDOWS, "cp1252"
        self.folder = folder
        self.lines: list[str] = []
        self.port = free_port()
        ports = ("--port", str(self.port), "--phone-port", str(free_port()))
        proxies = dict.fromkeys(PROXIES, f"http://127.0.0.1:{free_port()}")
        own = {**proxies, "TMPDIR": str(folder), "PYTHONIOENCODING": encoding}
        screen, program_side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *program, *ports, *options],
            cwd=copy,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=program_side,
            stderr=program_side,
            start_new_session=True,  # so that a test may interrupt all of it, as Ctrl-C does
        )
        os.close(program_side)
        self.output = read_lines(screen, encoding)
        self.timer = threading.Timer(60, self.process.kill)  # or a test might read forever
        self.timer.start()

    def reads(self, text: str) -> str:
        """Read up to the line with this text in it, and return it; fail without one."""
        for line in self.output:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in {self.lines}")

    def wait(self) -> int:
        """Read to the end; returns the exit status, once it has left no process and no file."""
        self.lines += self.output
        status = self.process.wait(20)
        assert self.processes() == {}
        assert list(self.folder.iterdir()) == []
        return status

    def processes(self) -> dict[int, str]:
        """Return the processes that it has started, and their commands: all have its TMPDIR."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it may end, or be another user's
                environment = (process / "environ").read_text().split("\0")
                if f"TMPDIR={self.folder}" in environment:
                    found[int(process.name)] = (process / "cmdline").read_text()
        found.pop(self.process.pid, None)
        return found

    def kill(self) -> None:
        """End it and all processes that it has started."""
        self.timer.cancel()
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.output.close()


@pytest.fixture
def run(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs `python -m sandbox` beside a `.env` that must change nothing."""
    terminals: list[Terminal] = []
    file = copy / ".env"
    file.write_text("PUBLIC_URL=https://a.invalid\nVOICE_CONFERENCE_QUORUM=5\nANSWER_WITH=stream")
    for name in ("PUBLIC_URL", "VOICE_CONFERENCE_QUORUM", "ANSWER_WITH"):
        monkeypatch.delenv(name)  # where it is empty it goes before the file

    def run(*options: str, **more: Any) -> Terminal:
        terminals.append(Terminal(copy, tmp_path, *options, **more))
        return terminals[-1]

    yield run
    file.unlink()
    for terminal in terminals:
        terminal.kill()


def in_order(terminal: Terminal, *patterns: str) -> None:
    """Check that there are lines that match these patterns, in this order."""
    lines = iter(terminal.lines)
    for pattern in patterns:
        found = any(re.fullmatch(pattern, line) for line in lines)
        assert found, f"no {pattern!r} in its place in:\n" + "\n".join(terminal.lines)


def line(name: str, text: str) -> str:
    """Return the pattern of a line about a caller, the app, or the sandbox."""
    return rf" *\d+\.\d s  {name} *  {text}"


def test_the_story_of_one_caller(run: Run) -> None:
    terminal = run()
    phone = terminal.reads("the phone:").split()[-1]
    requests.get(phone, timeout=20).raise_for_status()
    terminal.reads("press Play on the page, or dial on the phone; Ctrl-C ends it")
    requests.get(f"http://localhost:{terminal.port}/stream", timeout=20).raise_for_status()
    terminal.reads("hears music")
    terminal.reads("Sent")  # by what is heard, and after it
    requests.get(f"http://localhost:{terminal.port}/stream/stop", timeout=20).raise_for_status()
    terminal.reads("hears the music stop")
    for ends in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM) * 30:  # one may interrupt another
        os.killpg(terminal.process.pid, ends)
    assert terminal.wait() == 0
    in_order(
        terminal,
        line("sandbox", f"the page:   http://localhost:{terminal.port}"),
        line("sandbox", r"the phone:  http://localhost:\d+"),
        line("sandbox", r"Vonage sees https://\w+\.ngrok\.example \(made up\)"),
        line("…0001", "dials"),
        line("app", r"…0001 joined: .*"),
        line("…0001", "POST /webhooks/answer → 200 talk, conversation"),
        line("app", "…0001: answered"),
        line("…0001", 'hears "Please wait while we connect you to the conference"'),
        line("…0001", "is in the conference, alone: silence until Play"),
        line("sandbox", "press Play on the page, or dial on the phone; Ctrl-C ends it"),
        line("…0001", "the app asks: PUT /v1/calls/…/stream → 200"),
        line("app", r"GET /static/hold-music\.mp3: 200"),
        line("…0001", r"hears music: hold-music\.mp3, 32 s"),
        line("…0001", "the app asks: DELETE /v1/calls/…/stream → 200"),
        line("…0001", "hears the music stop"),
        line("sandbox", "the end: all hang up"),
        line("…0001", "hangs up"),
        line("app", r"…0001: completed after \d+ s"),
    )
    story = "\n".join(terminal.lines)
    assert max(len(one) for one in terminal.lines) < 80  # columns
    assert not re.search(
        "POST /webhooks/(event|rtc)|started|ringing|transfer|\x1b|[0-9a-f]{8}-[0-9a-f]{4}-", story
    )
    assert not re.search(r"\d\d:\d\d:\d\d|INFO|GET / ", story)


def test_each_caller_is_heard_before_the_next_one_dials_and_the_app_ends_with_a_killed_sandbox(
    run: Run,
) -> None:
    terminal = run("--callers", "5", "--quorum", "3")
    last = terminal.reads("…0005    is in the conference, with 4 more")
    assert float(last.split()[0]) < 30  # seconds, less than the music
    terminal.reads("press Play on the page")
    terminal.process.kill()
    assert terminal.process.wait() == -signal.SIGKILL
    wait_until(lambda: not terminal.processes(), "the end of the app", 20)
    in_order(
        terminal,
        line("…0001", "dials"),
        line("…0001", r"hears hold music: hold-music\.mp3, 32 s, forever"),
        line("…0002", "dials"),
        line("…0003", "dials"),
        line("…0001", "hears the music stop"),
        line("…0001", "is in the conference, with 2 more: silence until Play"),
        line("…0003", "is in the conference, with 2 more: silence until Play"),
        line("…0004", "dials"),
    )


def test_music_where_windows_lacks_names_and_letters_until_the_end_of_the_app(run: Run) -> None:
    terminal = run("--stream", windows=True)
    terminal.reads("…0001 joined")
    terminal.reads("…0001    POST /webhooks/answer ? 200 stream")
    terminal.reads("…0001    hears music: hold-music.mp3, 32 s")
    [app] = [pid for pid, command in terminal.processes().items() if "app.py" in command]
    os.kill(app, signal.SIGKILL)
    terminal.reads("app.py has ended by itself, with status -9")
    assert terminal.wait() == 1
    assert "Traceback" not in "".join(terminal.lines)


def test_an_app_that_does_not_start_says_why(run: Run) -> None:
    terminal = run("--quorum", "51")
    assert terminal.wait() == 1
    said = "\n".join(terminal.lines)
    assert said.startswith("The app did not start:\n")
    assert "VOICE_CONFERENCE_QUORUM must be" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("option", ["--port", "--phone-port"])
def test_a_port_that_is_taken_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ports = {"--port": free_port(), "--phone-port": free_port(), option: port}
        options = [str(part) for pair in ports.items() for part in pair]
        monkeypatch.setattr(sys, "argv", ["sandbox", *options])
        with pytest.raises(SystemExit, match="2"):
            main()
    why = f"port {port} is in use, perhaps by an earlier run's app.py, or not allowed"
    assert f"{why}: choose another with {option}" in capsys.readouterr().err
