"""`python -m sandbox`: the story of a call beside the app's log, and an end that leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from sandbox import free_port
from sandbox.__main__ import main
from tests.processes import children_of, end

Run = Callable[..., "Terminal"]


class Terminal:
    """`python -m sandbox` with these options, as a process whose files are in a folder."""

    def __init__(self, copy: Path, folder: Path, *options: str, **environment: str) -> None:
        self.folder, self.port, self.lines = folder, free_port(), list[str]()
        ports = ("--port", str(self.port), "--phone-port", str(free_port()))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", *ports, *options],
            cwd=copy,
            env={**os.environ, "TMPDIR": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.timer = threading.Timer(20, end, [self.process])  # or a test might read forever
        self.timer.start()

    def reads(self, text: str) -> str:
        """Read lines until one has this text in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in {self.lines}")

    def app(self) -> int:
        """The process of the app."""
        return children_of(self.process)[0]

    def end(self, how: signal.Signals) -> int:
        """End it with a signal; gives its exit status, after a look for what is left."""
        app = self.app()
        self.process.send_signal(how)
        self.lines += self.process.communicate(timeout=10)[0].splitlines(keepends=True)
        assert not Path(f"/proc/{app}").exists()
        assert list(self.folder.iterdir()) == []
        return self.process.returncode


@pytest.fixture
def run(copy: Path, tmp_path: Path) -> Iterator[Run]:
    """Run `python -m sandbox` with options and variables of the environment."""
    running: list[Terminal] = []

    def run(*options: str, **environment: str) -> Terminal:
        running.append(Terminal(copy, tmp_path, *options, **environment))
        return running[-1]

    yield run
    for terminal in running:
        terminal.timer.cancel()
        end(terminal.process)


def test_without_options_one_caller_waits_in_the_conference_until_ctrl_c(run: Run) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"  # where nobody listens
    terminal = run(HTTP_PROXY=proxy, HTTPS_PROXY=proxy, http_proxy=proxy, https_proxy=proxy)
    assert f"http://localhost:{terminal.port}" in terminal.reads("the app is at")
    terminal.reads("caller 1   is in the conference")
    terminal.reads("app        ")
    requests.get(f"http://localhost:{terminal.port}/stream", timeout=5).raise_for_status()
    terminal.reads("caller 1   hears music: …/static/hold-music.mp3, MP3 of 32 s")
    assert terminal.end(signal.SIGINT) == 0
    assert any("caller 1   hangs up" in line for line in terminal.lines)


def test_a_quorum(run: Run) -> None:
    terminal = run("--callers", "2", "--quorum", "2")
    terminal.reads("caller 1   hears hold music")
    terminal.reads("is in the conference, with 1 more")
    assert terminal.end(signal.SIGTERM) == 0


def test_a_closed_terminal_leaves_nothing_behind(run: Run) -> None:
    terminal = run("--callers", "0")
    terminal.reads("the phone is at http://localhost:")
    app = terminal.app()
    assert terminal.process.stdout is not None
    terminal.process.stdout.close()
    terminal.process.send_signal(signal.SIGHUP)
    assert terminal.process.wait(10) == 0
    assert not Path(f"/proc/{app}").exists()
    assert list(terminal.folder.iterdir()) == []


def test_the_end_of_the_app_ends_it(run: Run) -> None:
    terminal = run("--stream")
    terminal.reads("caller 1   hears music: …/static/hold-music.mp3, MP3 of 32 s, 1 time")
    os.kill(terminal.app(), signal.SIGKILL)
    terminal.reads("app.py has ended: -9")
    assert terminal.process.wait(10) == 1
    assert list(terminal.folder.iterdir()) == []


def test_an_app_that_does_not_start_says_why(run: Run) -> None:
    terminal = run(VOICE_STREAM_LEVEL="loud")
    assert "VOICE_STREAM_LEVEL" in terminal.reads("VOICE_STREAM_LEVEL")
    assert terminal.process.wait(10) == 1
    assert list(terminal.folder.iterdir()) == []


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
    said = f"port {port} is in use or not allowed: choose another with {option}"
    assert said in capsys.readouterr().err


def test_fewer_than_no_callers_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sandbox", "--callers", "-1"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--callers must be 0 or more" in capsys.readouterr().err
