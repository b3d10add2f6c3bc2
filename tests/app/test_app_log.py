"""What the log says, and what it never says."""

from __future__ import annotations

import base64
import logging
import socket
import uuid

import pytest
import requests

from calls import Leg
from tests.helpers.faults import Fault
from tests.helpers.sandboxes import InProcess, StartSandbox, browse

NUMBER = "447700900456"


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        (NUMBER, "…0456"),
        ("44 7700 900 456", "…0456"),
        ("tel:+44-7700-900456", "…0456"),
        (f"sip:{NUMBER}@example.com", "…0456"),
        ("sip:alice@203.0.113.9:5061", "sip:alice"),
        ("alice", "alice"),
        ("1234", "1234"),
        ("", "Unknown number"),
    ],
)
def test_a_caller_is_the_last_four_digits_of_a_number(caller: str, shown: str) -> None:
    assert Leg("a", caller, None, None, None, 0).short_caller == shown


def test_no_whole_number_is_in_the_log(conference: InProcess) -> None:
    conference.dial({"from": NUMBER, "to": "442079460999"}).hang_up()
    event = {"uuid": str(uuid.uuid4()), "status": "busy", "from": NUMBER, "to": NUMBER}
    conference.send("GET", "/webhooks/event", event)
    for name in (f"sip:{NUMBER}@example.com", "44 7700 900 456"):
        conference.dial({"from": name}, method="GET").hang_up()
    log = conference.log.read_text()
    assert "0456" in log
    for whole in (NUMBER, NUMBER[2:], "442079460999", "900 456", "900456"):
        assert whole not in log


def test_no_password_token_or_key_is_in_the_log(start: StartSandbox) -> None:
    password = "the-operators-password"
    sandbox = start(STREAM_PASSWORD=password)
    call = sandbox.dial({"from": NUMBER}, method="GET")
    for given in (password, password + "x"):
        requests.get(f"{sandbox.app_url}/stream", auth=("me", given), timeout=5)
    requests.get(f"{sandbox.app_url}/nowhere?password={password}", timeout=5)
    with socket.create_connection(("localhost", sandbox.port)) as wire:
        wire.sendall(f"GET /stream?password={password} x HTTP/1.1\r\n\r\n".encode())
        while wire.recv(1000):
            pass
    sandbox.faults = [Fault(401)]
    requests.get(f"{sandbox.app_url}/stream", auth=("me", password), timeout=5)
    wrong = sandbox.account.sign(iat=1)
    sandbox.send("GET", "/webhooks/event", {"uuid": call.uuid}, Authorization=wrong)
    log = sandbox.log.read_text()
    key = sandbox.account.private_key.splitlines()[3]
    encoded = base64.b64encode(f"me:{password}".encode()).decode()
    for secret in (password, encoded, sandbox.account.signature_secret, key):
        assert secret not in log
    assert wrong.split(".")[1] not in log
    assert sandbox.asked[0].authorization.split(".")[1] not in log


@pytest.mark.parametrize("breaks", ["\n", "\u2028", "\x1b[2J\n", "\u202e"])
def test_no_line_of_the_log_can_be_forged(conference: InProcess, breaks: str) -> None:
    forged = f"x{breaks}[2026-11-23 10:00:00,000] INFO: leg forged"
    for method in ("GET", "POST"):
        conference.dial({"from": forged}, method=method).hang_up()
    leg = str(uuid.uuid4())
    fields = ("status", "duration", "reason", "type")
    conference.send("POST", "/webhooks/event", {"uuid": leg, **dict.fromkeys(fields, forged)})
    conference.send("POST", "/webhooks/event", {"reason": forged})
    browse(conference, "/stream", uuid=forged)
    browse(conference, f"/{forged}")
    log = conference.log.read_text()
    assert "leg forged" in log  # as a part of a line
    assert [line for line in log.splitlines() if line.startswith("[2026-11-23 10:00:00,000]")] == []
    assert "\u202e" not in log


def test_what_a_caller_can_choose_is_cut_to_256_characters(conference: InProcess) -> None:
    conference.dial({"from": "x" * 1_000})
    assert conference.store.live()[0].caller == "x" * 256
    assert "x" * 257 not in conference.log.read_text()


def test_there_is_no_line_for_each_request(conference: InProcess) -> None:
    conference.dial()
    browse(conference, "/static/hold-music.mp3")
    browse(conference, "/")
    log = conference.log.read_text()
    assert "HTTP/1." not in log
    assert log.count("GET") == 1  # after silence, the first question is whether Vonage fetched it
    assert "INFO: GET /static/hold-music.mp3: 200" in log


def test_many_failures_are_one_warning_that_says_each_sentence_once(start: StartSandbox) -> None:
    sandbox = start(VOICE_STREAM_URL="https://example.com/a.mp3")
    legs = [sandbox.dial_at("a.example") for _ in range(6)]
    calls = [sandbox.dial() for _ in range(4)]
    browse(sandbox, "/stream").raise_for_status()
    [line] = [line for line in sandbox.log.read_text().splitlines() if "Sent" in line]
    assert "WARNING: Sent a.mp3, once, at Vonage's default volume, to 4 of 10: " in line
    assert sum(call.uuid in line for call in calls) == 3
    assert " and 1 more; " in line
    assert line.count("has no such call") == 1
    assert all(leg in line for leg in legs)


def test_what_plays_is_said_in_words(start: StartSandbox) -> None:
    sandbox = start(VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="-0.5")
    call = sandbox.dial()
    browse(sandbox, "/stream").raise_for_status()
    sent = f"INFO: Sent hold-music.mp3, forever, at level -0.5, to 1 of 1: {call.uuid}"
    assert sent in sandbox.log.read_text()


def test_the_sdks_own_lines_are_off(
    conference: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    conference.dial()
    conference.faults = [Fault(500)]
    browse(conference, "/stream")
    assert {record.name for record in caplog.records} == {"app"}


def test_an_error_in_a_view_is_logged_with_its_traceback_and_not_shown(
    start: StartSandbox,
) -> None:
    sandbox = start(fresh=True)
    sandbox.flask.config["PROPAGATE_EXCEPTIONS"] = False
    extensions = sandbox.flask.extensions.copy()
    sandbox.flask.extensions.clear()
    response = browse(sandbox, "/stream")
    sandbox.flask.extensions.update(extensions)
    assert response.status_code == 500
    assert set(response.json()) == {"error"}
    assert "Traceback" in sandbox.log.read_text()
    assert "KeyError" not in response.text
