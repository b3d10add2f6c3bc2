"""`python -m sandbox`: one story, in order, and an end that leaves nothing."""

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

import pytest
import requests

from sandbox.__main__ import main
from tests.helpers.ports import free_port
from tests.helpers.processes import children_of, end
from tests.helpers.waiting import wait_until

Run = Callable[..., "Terminal"]
COLUMNS = 80
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
# What Windows lacks; the rest is the sandbox as it is.
WITHOUT = "import os, signal; del signal.SIGHUP, signal.SIGKILL, os.killpg; "
ON_WINDOWS = ("-c", WITHOUT + "import sys; from sandbox.__main__ import main; sys.exit(main())")


def read_lines(descriptor: int, encoding: str) -> Generator[str, None, None]:
    """The lines of a pipe or a terminal, which is closed with the generator."""
    rest = b""
    with open(descriptor, "rb", buffering=0) as file:
        while True:
            data = b""
            with suppress(OSError):  # how a terminal ends
                data = file.read(65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode(encoding).rstrip("\r")


class Terminal:
    """`python -m sandbox` with these options, as a process whose files are in a folder.

    It runs in a copy of the server. No proxy that the environment names is there, and
    PYTHONUNBUFFERED is unset. With `as_terminal` it prints to a terminal instead of a pipe.
    """

    def __init__(
        self,
        copy: Path,
        folder: Path,
        *options: str,
        program: tuple[str, ...] = ("-m", "sandbox"),
        as_terminal: bool = False,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.port = free_port()
        self.apps: set[int] = set()  # processes
        ports = ("--port", str(self.port), "--phone-port", str(free_port()))
        given = dict.fromkeys(PROXIES, f"http://127.0.0.1:{free_port()}")
        given |= {**os.environ, **given, "TMPDIR": str(folder), **environment}
        given.pop("PYTHONUNBUFFERED", None)
        reads, writes = os.pipe()
        if as_terminal:
            reads, writes = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *program, *ports, *options],
            cwd=copy,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=writes,
            stderr=writes,
        )
        os.close(writes)
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        self.output = read_lines(reads, encoding)
        self.timer = threading.Timer(40, self.kill)  # or a test might read forever
        self.timer.start()

    def reads(self, text: str) -> str:
        """Read lines until one has this text in it."""
        for line in self.output:
            self.look_for_app()
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in {self.lines}")

    def read_all(self) -> None:
        """Read what is left, to the end of the process."""
        self.lines += self.output

    def look_for_app(self) -> None:
        """Remember the processes that it has started, which have sessions of their own."""
        self.apps.update(children_of(self.process))

    def end(self, how: signal.Signals) -> int:
        """End it with a signal; gives its exit status, after a look for what is left."""
        self.process.send_signal(how)
        self.read_all()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; gives its exit status, after a look for what is left."""
        status = self.process.wait(15)
        assert self.has_left_nothing()
        assert list(self.folder.iterdir()) == []
        return status

    def has_left_nothing(self) -> bool:
        """Whether all that it has started has ended."""
        return not any(Path(f"/proc/{app}").exists() for app in self.apps)

    def kill(self) -> None:
        """End it and its app, whatever a test has done."""
        self.timer.cancel()
        self.look_for_app()
        end(self.process)
        for app in self.apps:
            with suppress(ProcessLookupError):
                os.kill(app, signal.SIGKILL)
        self.output.close()


@pytest.fixture
def run(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `python -m sandbox` with options and variables of the environment.

    Whatever the user's `.env` says changes nothing.
    """
    running: list[Terminal] = []
    file = copy / ".env"
    file.write_text("PUBLIC_URL=https://a.invalid\nVOICE_CONFERENCE_QUORUM=5\nANSWER_WITH=stream")
    for name in ("PUBLIC_URL", "VOICE_CONFERENCE_QUORUM", "ANSWER_WITH"):
        monkeypatch.delenv(name)  # where it is empty it goes before the file

    def run(*options: str, **more: str) -> Terminal:
        running.append(Terminal(copy, tmp_path, *options, **more))  # type: ignore[arg-type]
        return running[-1]

    yield run
    file.unlink()
    for terminal in running:
        terminal.kill()


def in_order(terminal: Terminal, *patterns: str) -> None:
    """Check that lines come that these patterns describe, in this order."""
    lines = iter(terminal.lines)
    for pattern in patterns:
        found = any(re.fullmatch(pattern, line) for line in lines)
        assert found, f"no {pattern!r} in its place in:\n" + "\n".join(terminal.lines)


def line(name: str, text: str) -> str:
    """The pattern of a line about somebody."""
    return rf" *\d+\.\d s  {name} *  {text}"


def test_the_story_of_one_caller(run: Run) -> None:
    terminal = run()
    phone = terminal.reads("the phone:").split()[-1]
    requests.get(phone, timeout=5).raise_for_status()
    terminal.reads("press Play on the page, or dial on the phone; Ctrl-C ends it")
    requests.get(f"http://localhost:{terminal.port}/stream", timeout=5).raise_for_status()
    terminal.reads("hears music")
    terminal.reads("Sent")  # by what is heard, and after it
    requests.get(f"http://localhost:{terminal.port}/stream/stop", timeout=5).raise_for_status()
    terminal.reads("hears the music stop")
    assert terminal.end(signal.SIGINT) == 0
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
    assert max(len(one) for one in terminal.lines) < COLUMNS
    assert not re.search(
        "POST /webhooks/(event|rtc)|started|ringing|transfer|\x1b|[0-9a-f]{8}-[0-9a-f]{4}-", story
    )
    assert not re.search(r"\d\d:\d\d:\d\d|INFO|GET / ", story)


def test_each_caller_is_heard_before_the_next_one_dials(run: Run) -> None:
    terminal = run("--callers", "5", "--quorum", "3")
    last = terminal.reads("…0005    is in the conference, with 4 more")
    assert float(last.split()[0]) < 20  # seconds, less than the music
    terminal.reads("press Play on the page")
    assert terminal.end(signal.SIGTERM) == 0
    in_order(
        terminal,
        line("…0001", "dials"),
        line("…0001", "waits for the conference to start"),
        line("…0001", r"hears hold music: hold-music\.mp3, 32 s, forever"),
        line("…0002", "dials"),
        line("…0002", r"hears hold music: hold-music\.mp3, 32 s, forever"),
        line("…0003", "dials"),
        line("app", "…0003 joined: .*"),
        line("…0003", "POST /webhooks/answer → 200 talk, conversation"),
        line("…0001", "hears the music stop"),
        line("…0001", "is in the conference, with 2 more: silence until Play"),
        line("…0002", "hears the music stop"),
        line("…0002", "is in the conference, with 2 more: silence until Play"),
        line("…0003", "is in the conference, with 2 more: silence until Play"),
        line("…0004", "dials"),
        line("sandbox", "press Play on the page, or dial on the phone; Ctrl-C ends it"),
        line("…0005", "hangs up"),
    )


def test_it_runs_where_windows_lacks_names_and_letters_without_losing_a_line(run: Run) -> None:
    terminal = run(program=ON_WINDOWS, PYTHONIOENCODING="cp1252")
    terminal.reads("…0001 joined")
    terminal.reads("POST /webhooks/answer ? 200 talk, conversation")
    terminal.reads("is in the conference")
    assert terminal.end(signal.SIGINT) == 0


# The end


def test_a_closed_terminal_leaves_nothing_behind(run: Run) -> None:
    terminal = run(as_terminal=True)
    terminal.reads("is in the conference")
    assert "\x1b" not in "".join(terminal.lines)  # nothing went wrong
    terminal.output.close()
    terminal.process.send_signal(signal.SIGHUP)
    assert terminal.wait() == 0


def test_music_instead_of_a_conference_and_the_end_of_the_app_ends_it(run: Run) -> None:
    terminal = run("--stream")
    terminal.reads("…0001    POST /webhooks/answer → 200 stream")
    terminal.reads("…0001    hears music: hold-music.mp3, 32 s")
    os.kill(min(terminal.apps), signal.SIGKILL)  # another watches over the app
    terminal.reads("app.py has ended by itself, with status -9")
    terminal.read_all()
    assert "\x1b" not in "".join(terminal.lines)
    assert terminal.wait() == 1


def test_the_app_ends_with_a_sandbox_that_is_killed(run: Run) -> None:
    terminal = run()
    terminal.reads("is in the conference")
    terminal.process.kill()
    assert terminal.process.wait(5) == -signal.SIGKILL
    wait_until(terminal.has_left_nothing, "the end of the app", 5)


def test_an_app_that_does_not_start_says_why(run: Run) -> None:
    terminal = run(VOICE_STREAM_LEVEL="loud")
    terminal.read_all()
    assert terminal.wait() == 1
    said = "\n".join(terminal.lines)
    assert said.startswith("The app did not start:\n")
    assert "VOICE_STREAM_LEVEL must be" in said
    assert "Traceback" not in said


# Options


@pytest.fixture
def say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Give options that end it at once; returns its status, and what it says."""

    def say(*options: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["sandbox", *map(str, options)])
        with pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        return end.value.code, " ".join("".join(capsys.readouterr()).split())

    return say


@pytest.mark.parametrize("option", ["--port", "--phone-port"])
def test_a_port_that_is_taken_is_named_before_anything_starts(
    say: Callable[..., tuple[int, str]], option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ports = {"--port": free_port(), "--phone-port": free_port(), option: port}
        status, said = say(*(part for pair in ports.items() for part in pair))
    assert status == 2
    why = f"port {port} is in use, perhaps by an earlier run's app.py, or not allowed"
    assert f"{why}: choose another with {option}" in said


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--callers", "many"], 2, ["argument --callers: invalid int value"]),
        (["--help"], 0, ["without a Vonage account", "press Play on the server's page"]),
        (["--help"], 0, ["--callers", "--quorum", "--stream", "--port", "--phone-port"]),
    ],
)
def test_an_option_out_of_range_is_an_error_and_the_help_says_what_to_do(
    say: Callable[..., tuple[int, str]], options: list[str], status: int, words: list[str]
) -> None:
    code, said = say(*options)
    assert code == status
    assert all(word in said for word in words)
