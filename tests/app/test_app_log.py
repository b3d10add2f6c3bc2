"""What the log says, and what it never says."""

from __future__ import annotations

import base64
import logging
import uuid

import pytest
from pytest import MonkeyPatch

from calls import Leg
from tests.helpers.faults import Fault
from tests.helpers.sandboxes import InProcess, StartSandbox, browse

NUMBER = "447700900456"
SHOWN = {
    **dict.fromkeys([NUMBER, "44 7700 900 456", "tel:+44-7700-900456"], "…0456"),
    f"sip:{NUMBER}@example.com": "…0456",
    "sip:alice@203.0.113.9:5061": "sip:alice",
    **{"alice": "alice", "1234": "1234", "": "Unknown number"},
}


@pytest.mark.parametrize("caller", SHOWN)
def test_a_caller_is_the_last_four_digits_of_a_number(caller: str) -> None:
    assert Leg("a", caller, None, None, None, 0).short_caller == SHOWN[caller]


def test_no_password_token_or_key_is_in_the_log(start: StartSandbox) -> None:
    password = "the-operators-password"
    sandbox = start(STREAM_PASSWORD=password)
    call = sandbox.dial(method="GET")
    sandbox.faults = [Fault(401)]
    for given in (password, password + "x"):
        sandbox.request("/stream", auth=("me", given))
    sandbox.request(f"/nowhere?password={password}")
    wrong = sandbox.account.sign(iat=1)
    sandbox.webhook("event", {"uuid": call.uuid}, "GET", Authorization=wrong)
    log = sandbox.log.read_text()
    key = sandbox.account.private_key.splitlines()[3]
    encoded = base64.b64encode(f"me:{password}".encode()).decode()
    tokens = [token.split(".")[1] for token in (wrong, sandbox.asked[0].authorization)]
    for secret in (password, encoded, sandbox.account.signature_secret, key, *tokens):
        assert secret not in log


@pytest.mark.parametrize("breaks", ["\n", "\u2028", "\x1b[2J\n", "\u202e"])
def test_no_line_of_the_log_can_be_forged(conference: InProcess, breaks: str) -> None:
    forged = f"x{breaks}[2026-11-23 10:00:00,000] INFO: leg forged"
    for method in ("GET", "POST"):
        conference.dial({"from": forged}, method=method).hang_up()
    fields = dict.fromkeys(("status", "duration", "reason", "type"), forged)
    conference.webhook("event", {"uuid": str(uuid.uuid4()), **fields})
    conference.webhook("event", {"reason": forged})
    browse(conference, "/stream", uuid=forged)
    browse(conference, f"/{forged}")
    log = conference.log.read_text()
    assert "leg forged" in log  # as a part of a line
    assert [line for line in log.splitlines() if line.startswith("[2026-11-23 10:00:00,000]")] == []
    assert "\u202e" not in log


def test_what_anyone_can_choose_is_cut_to_256_characters(conference: InProcess) -> None:
    conference.dial({"from": "x" * 1_000})
    browse(conference, f"/{'x' * 5_000}")
    assert conference.store.live()[0].caller == "x" * 256
    log = conference.log.read_text()
    assert f"GET /{'x' * 255}: 404 Not found." in log
    assert "x" * 257 not in log


def test_at_an_unknown_path_the_log_names_the_right_ones(conference: InProcess) -> None:
    path, stranger = "/webhooks/events?from=447700900123", {"Host": "a.ngrok.example"}
    assert conference.request(path, "POST", headers=stranger, data="{}").status_code == 404
    sentence = "Not found. The webhooks are /webhooks/answer and /webhooks/event."
    assert conference.lines == [f"WARNING: POST /webhooks/events: 404 {sentence}"]


def test_the_sdks_lines_are_off(conference: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    conference.dial()
    conference.faults = [Fault(500)]
    browse(conference, "/stream")
    assert {record.name for record in caplog.records} == {"app"}


# Faults of the app

PLANTED = {
    "calls.Leg.from_json": "/stream",
    "calls.Leg.short_caller": "/webhooks/answer",
    "voice.AudioStreamOptions": "/stream",
    "player.render_template": "/",
}


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, RuntimeError])
@pytest.mark.parametrize("store", ["sqlite", "redis"])
@pytest.mark.parametrize(("where", "path"), PLANTED.items())
def test_a_fault_of_ours_is_a_500_with_a_traceback_in_the_log(
    start: StartSandbox,
    redis_url: str,
    monkeypatch: MonkeyPatch,
    where: str,
    path: str,
    store: str,
    error: type[Exception],
) -> None:
    """The response blames neither Vonage nor CALLS_URL."""

    def break_down(*_: object, **__: object) -> None:
        raise error("planted")

    sandbox = start(CALLS_URL=redis_url) if store == "redis" else start()
    sandbox.dial()
    with monkeypatch.context() as patched:
        is_property = where.endswith("short_caller")
        patched.setattr(where, property(break_down) if is_property else break_down)
        if path == "/webhooks/answer":
            response = sandbox.webhook("answer", {"uuid": str(uuid.uuid4())})
        else:
            response = browse(sandbox, path)
    assert response.status_code == 500
    assert set(response.json()) == {"error"}
    for blamed in ("Vonage", "CALLS_URL", "planted", error.__name__):
        assert blamed not in response.text
    log = sandbox.log.read_text()
    assert "Traceback" in log
    assert f"{error.__name__}: " in log
    assert "planted" in log
