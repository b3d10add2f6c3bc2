"""The event webhook: what Vonage tells about a call."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from sandbox import Sandbox
from tests.conftest import StartSandbox, browse

ENDS = ["completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"]


def tell(sandbox: Sandbox, event: dict[str, Any], method: str = "POST") -> int:
    """Send an event; gives the status it is answered with."""
    response = sandbox.send(method, "/webhooks/event", event)
    assert response is not None
    return response.status_code


@pytest.mark.parametrize("status", ENDS)
def test_a_word_that_ends_a_leg_takes_it_off_the_line(conference: Sandbox, status: str) -> None:
    conference.dial().hang_up(status)
    assert browse(conference, "/stream").status_code == 409


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_event_is_answered_with_204_and_nothing(conference: Sandbox, method: str) -> None:
    event = {"uuid": str(uuid.uuid4()), "status": "completed"}
    response = conference.send(method, "/webhooks/event", event)
    assert response is not None
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("status", ["started", "ringing", "answered", "human", "machine", "news"])
def test_other_words_leave_the_leg_on_the_line(conference: Sandbox, status: str) -> None:
    call = conference.dial()
    call.event(status)
    assert browse(conference, "/stream").status_code == 200


def test_a_late_event_does_not_bring_an_ended_leg_back(conference: Sandbox) -> None:
    call = conference.dial()
    call.hang_up()
    for status in ("answered", "ringing", "completed"):
        call.event(status)
    conference.send("POST", "/webhooks/answer", call.parameters)
    assert browse(conference, "/stream").status_code == 409


def test_the_uuid_without_hyphens_ends_the_same_leg(conference: Sandbox) -> None:
    call = conference.dial()
    call.over.set()
    tell(conference, {"uuid": call.uuid.replace("-", ""), "status": "completed"})
    assert browse(conference, "/stream").status_code == 409


def test_the_end_is_logged_with_its_duration(conference: Sandbox) -> None:
    leg = str(uuid.uuid4())
    tell(conference, {"uuid": leg, "status": "completed", "duration": "42"})
    assert f"leg {leg}: completed after 42 s" in conference.log.read_text()


def test_an_error_event_is_logged_as_a_warning_in_full(conference: Sandbox) -> None:
    conversation = f"CON-{uuid.uuid4()}"
    error = {
        "reason": "Syntax error in NCCO. Invalid value type or action.",
        "conversation_uuid": conversation,
        "timestamp": "2026-11-23T10:00:00.000Z",
    }
    assert tell(conference, error) == 204
    lines = [line for line in conference.log.read_text().splitlines() if conversation in line]
    assert all(text in lines[0] for text in ("WARNING", *error.values()))


def test_an_error_event_of_nothing_but_a_reason_gets_204(conference: Sandbox) -> None:
    assert tell(conference, {"reason": "Out of tea"}) == 204


def test_machine_detection_has_no_leg_and_gets_204(conference: Sandbox) -> None:
    assert tell(conference, {"call_uuid": str(uuid.uuid4()), "status": "machine"}) == 204


def test_a_recording_has_no_leg_and_gets_204(conference: Sandbox) -> None:
    recording = {"recording_url": "https://api.nexmo.com/v1/files/1", "conversation_uuid": "CON-1"}
    assert tell(conference, recording) == 204


@pytest.mark.parametrize(
    "event", [{}, {"status": "completed"}, {"uuid": "63f61863", "status": "completed"}, {"uuid": 1}]
)
def test_an_event_without_a_good_uuid_gets_400(conference: Sandbox, event: dict[str, Any]) -> None:
    assert tell(conference, event) == 400


def test_a_restart_in_mid_call_loses_nobody(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="conversation", VOICE_TEXT="Restart")
    call = sandbox.dial()
    assert sandbox.app is not None
    sandbox.app.kill()
    sandbox.app.wait()
    sandbox.start_app()
    browse(sandbox, "/stream").raise_for_status()
    call.hears("hears music")
