"""Callers come first: they are answered whatever hangs or sends half a request."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.helpers.faults import FaultySandbox
from tests.helpers.ports import free_port
from tests.helpers.sandboxes import InProcess, Process
from tests.helpers.waiting import wait_until

PASSWORD = "open sesame"
KILLS_AFTER = 1  # seconds
ROUTES = [
    *["POST /webhooks/answer", "GET /webhooks/answer", "POST /webhooks/event"],
    *["POST /webhooks/rtc", "PUT /webhooks/rtc", "POST /webhooks/rtc/", "POST /nowhere"],
    *["POST /stream", "GET /stream", "POST /stream/stop", "POST /", "GET /"],
    "POST /static/hold-music.mp3",
]
TOKENS = ["", "Authorization: Bearer a.b.c\r\n", "Authorization: Basic eDp4\r\n"]
LENGTH = "Content-Length: 100\r\n"
BODIES = [(LENGTH, b"{"), ("Transfer-Encoding: chunked\r\n", b"64\r\n{")]


def run(process: Process, copy: Path, server: str, workers: int = 1) -> FaultySandbox:
    """Start an app that has every secret; granian as docs/production.md says."""
    port = str(free_port())
    command = None
    if server == "granian":
        granian = [sys.executable, "-m", "granian", "--interface", "wsgi", "--factory"]
        granian += ["app:create_app", "--port", port, "--blocking-threads", "4"]
        granian += ["--workers-kill-timeout", str(KILLS_AFTER), "--workers", str(workers)]
        command = ["sh", "-c", 'cd "$0" && exec "$@"', str(copy), *granian]
    sandbox = process(command, HOST="127.0.0.1", PORT=port, STREAM_PASSWORD=PASSWORD)
    # A granian worker that is told to end while it starts does not end.
    started = re.compile("Started worker-|Running on")
    wait_until(lambda: len(started.findall(sandbox.log.read_text())) == workers, "the start")
    return sandbox


@contextmanager
def two_plays(sandbox: FaultySandbox) -> Iterator[list[Future[requests.Response]]]:
    """Let two plays hang as long as the block lasts, which must be less than 5 s."""
    sandbox.dial()
    sandbox.released.clear()
    before = len(sandbox.asked)
    with ThreadPoolExecutor(2) as operators:
        try:
            playing = [operators.submit(play, sandbox) for _ in range(2)]
            wait_until(lambda: len(sandbox.asked) == before + 2, "two plays")
            yield playing
        finally:
            sandbox.released.set()
            sandbox.hang_up_all()
            sandbox.calls.clear()


def play(sandbox: FaultySandbox) -> requests.Response:
    return sandbox.request("/stream", auth=("me", PASSWORD))


def connect(sandbox: FaultySandbox, route: str, head: str, begun: bytes = b"") -> socket.socket:
    """Send the head of a request, and the beginning of its body."""
    line = socket.create_connection((sandbox.host, sandbox.port))
    line.sendall(f"{route} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + begun)
    return line


def check_answered_within_a_second(sandbox: FaultySandbox) -> None:
    began = time.monotonic()
    assert sandbox.dial(pick_up=False).ncco
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("server", ["python app.py", "granian"])
def test_neither_half_requests_nor_slow_bodies_hold_up_a_caller_or_the_end(
    copy: Path, process: Process, server: str
) -> None:
    """Three of each kind come at once, while two plays hang; granian has four threads."""
    sandbox = run(process, copy, server)
    half = [(token + length, begun) for token in TOKENS for length, begun in BODIES]
    with two_plays(sandbox) as playing, ExitStack() as stack:

        def send(head: str, begun: bytes) -> list[socket.socket]:
            lines = [connect(sandbox, route, head, begun) for route in ROUTES * 3]
            return [stack.enter_context(line) for line in lines]

        for head, begun in half:
            send(head, begun)
        slow = send(LENGTH, b"")
        for _ in range(8):
            for line in slow:
                with suppress(OSError):  # of a request that is refused already
                    line.sendall(b" ")
            check_answered_within_a_second(sandbox)
        assert not any(one.done() for one in playing)
        began = time.monotonic()
        sandbox.app.terminate()
        assert sandbox.app.wait(10) == 0
        assert time.monotonic() - began < KILLS_AFTER + 2
        for one in playing:
            assert isinstance(one.exception(), requests.ConnectionError)


def unsigned(sandbox: InProcess) -> int:
    over = {"type": "audio:play:done", "body": {}}
    return sandbox.request("/webhooks/rtc", "POST", json=over).status_code


def test_a_second_unsigned_event_at_a_time_is_refused(conference: InProcess) -> None:
    with connect(conference, "POST /webhooks/rtc", "Content-Length: 2\r\n", b"{") as line:
        wait_until(lambda: unsigned(conference) == 503, "a refusal")
        assert conference.webhook("rtc", {}).status_code == 204  # it has shown its token
        line.sendall(b"}")
        assert line.recv(100).split()[1] == b"204"
    assert unsigned(conference) == 204
    assert "POST /webhooks/rtc: 503" in conference.log.read_text()


def test_an_unsigned_event_that_is_broken_off_is_in_no_ones_way(conference: InProcess) -> None:
    with connect(conference, "POST /webhooks/rtc", "Content-Length: 2\r\n", b"{"):
        wait_until(lambda: unsigned(conference) == 503, "a refusal")
    wait_until(lambda: unsigned(conference) == 204, "its end")


def test_two_processes_share_who_is_on_the_line(copy: Path, process: Process) -> None:
    """Of ten operators at once, each process plays for two."""
    sandbox = run(process, copy, "granian", workers=2)
    callers = {sandbox.dial().uuid for _ in range(3)}
    sandbox.released.clear()
    with ThreadPoolExecutor(10) as operators:
        pressed = [operators.submit(play, sandbox) for _ in range(10)]
        wait_until(lambda: sum(one.done() for one in pressed) >= 6, "the refusals")
        for _ in range(8):
            check_answered_within_a_second(sandbox)
        sandbox.released.set()
    played = [one.result() for one in pressed if one.result().status_code == 200]
    assert 2 <= len(played) <= 4
    for answer in played:
        assert {leg["uuid"] for leg in answer.json()["legs"]} >= callers
