"""What the log says, and what it never says; and how the server ends."""

from __future__ import annotations

import signal
import socket
import threading
import time
import uuid

import pytest
import requests

from sandbox import Account, Sandbox, Weather
from tests.conftest import StartSandbox, browse

NUMBER = "447700900456"


def test_a_call_can_be_followed_one_line_an_event(conference: Sandbox) -> None:
    call = conference.dial({"from": NUMBER})
    call.hears("in the conference")
    call.hang_up()
    said = [line.partition(call.uuid)[2] for line in conference.log.read_text().splitlines()]
    said = [text for text in said if text]
    assert said[0:2] == [": started", ": ringing"]
    assert said[2] == " from …0456 has joined"
    assert set(said[3:-1]) == {": answered", ": transfer"}
    assert said[-1].startswith(": completed after ")
    assert "HTTP/1." not in conference.log.read_text()  # no line of an access log beside them


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_whole_number_is_in_the_log(conference: Sandbox, method: str) -> None:
    conference.dial({"from": NUMBER, "to": "442079460999"}, method=method).hang_up()
    conference.send(method, "/webhooks/event", {"reason": f"No route to {NUMBER}", "to": NUMBER})
    for name in (
        f"sip:{NUMBER}@example.com",
        f"+{NUMBER}",
        "44 7700 900 456",
        "tel:+44-7700-900456",
    ):
        conference.dial({"from": name}, method=method).hang_up()
    log = conference.log.read_text()
    assert "0456" in log
    for whole in (NUMBER, NUMBER[2:], "442079460999", "900 456", "900456"):
        assert whole not in log


def test_no_token_and_no_secret_is_in_the_log(start: StartSandbox, account: Account) -> None:
    token = "the-operators-token"
    sandbox = start(STREAM_TOKEN=token, ANSWER_WITH="conversation")
    call = sandbox.dial({"from": NUMBER}, method="GET")
    browse(sandbox, "/stream", token=token)
    browse(sandbox, "/stream", token=token + "x")
    browse(sandbox, "/nowhere", token=token)
    with socket.create_connection(("localhost", sandbox.port)) as wire:
        wire.sendall(f"GET /stream?token={token} x HTTP/1.1\r\n\r\n".encode())
        while wire.recv(1000):
            pass
    sandbox.weather = [Weather(401)]
    browse(sandbox, "/stream", token=token)
    wrong = account.sign(iat=1)
    sandbox.send("GET", "/webhooks/event", {"uuid": call.uuid}, Authorization=wrong)
    log = sandbox.log.read_text()
    for secret in (token, account.signature_secret, account.private_key.splitlines()[3]):
        assert secret not in log
    assert "Bearer" not in log
    assert wrong.split(".")[1] not in log
    assert sandbox.asked[0].authorization.split(".")[1] not in log


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\x85", "\u2028", "\x1b[2J\n", "\x00\n"])
def test_no_line_of_the_log_can_be_forged(conference: Sandbox, breaks: str) -> None:
    forged = f"x{breaks}[2026-11-23 10:00:00,000] INFO in app: leg forged"
    conference.dial({"from": forged}, method="POST").hang_up()
    conference.dial({"from": forged}, method="GET").hang_up()
    leg = str(uuid.uuid4())
    conference.send("POST", "/webhooks/event", {"uuid": leg, "status": forged, "duration": forged})
    conference.send("POST", "/webhooks/event", {"reason": forged})
    browse(conference, "/stream", uuid=forged)
    log = conference.log.read_text()
    assert "leg forged" in log  # as a part of a line
    assert [line for line in log.splitlines() if line.startswith("[2026-11-23 10:00:00,000]")] == []


def test_a_stranger_is_logged_with_the_reason_and_not_told_it(conference: Sandbox) -> None:
    response = requests.get(f"{conference.app_url}/webhooks/event", timeout=5)
    assert response.json() == {"error": "This webhook takes only what Vonage has signed."}
    assert "/webhooks/event answered 401: no Authorization header" in conference.log.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_quietly_and_at_once(account: Account, how: signal.Signals) -> None:
    with Sandbox({"ANSWER_WITH": "conversation"}, account=account) as sandbox:
        sandbox.dial()
        sandbox.weather = [Weather(delay=30)]
        request = threading.Thread(target=_swallow, args=(sandbox,), daemon=True)
        request.start()
        while not sandbox.asked:  # /stream has begun, and hangs
            time.sleep(0.01)
        before = sandbox.log.read_text()
        began = time.monotonic()
        assert sandbox.app is not None
        sandbox.app.send_signal(how)
        assert sandbox.app.wait(5) == 0
        assert time.monotonic() - began < 1
        assert sandbox.log.read_text() == before


def _swallow(sandbox: Sandbox) -> None:
    with pytest.raises(requests.ConnectionError):
        browse(sandbox, "/stream")
