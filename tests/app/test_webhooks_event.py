"""The event webhook: what Vonage sends about a call, and what the log says of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess, browse

ENDS = ["completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"]


def send(sandbox: InProcess, event: dict[str, Any]) -> int:
    """Send an event; gives the status it is answered with."""
    response = sandbox.send("POST", "/webhooks/event", event)
    assert response is not None
    return response.status_code


def logged(sandbox: InProcess, text: str) -> str:
    """The one line of the log with this text, without its time."""
    lines = [line for line in sandbox.log.read_text().splitlines() if text in line]
    assert len(lines) == 1, lines
    return lines[0].partition("] ")[2]


@pytest.mark.parametrize("status", ENDS)
def test_a_status_that_ends_a_leg_takes_it_off_the_line(conference: InProcess, status: str) -> None:
    call = conference.dial()
    assert send(conference, {"uuid": call.uuid, "status": status}) == 204
    assert browse(conference, "/stream").status_code == 409


def test_an_event_by_get_ends_a_leg(conference: InProcess) -> None:
    call = conference.dial()
    event = {"uuid": call.uuid, "status": "completed"}
    response = conference.send("GET", "/webhooks/event", event)
    assert response is not None
    assert (response.status_code, response.content) == (204, b"")
    assert browse(conference, "/stream").status_code == 409


@pytest.mark.parametrize("status", ["ringing", "machine", "news"])
def test_another_status_leaves_the_leg_on_the_line(conference: InProcess, status: str) -> None:
    call = conference.dial()
    call.event(status)
    assert browse(conference, "/stream").status_code == 200


def test_a_late_event_does_not_bring_an_ended_leg_back(conference: InProcess) -> None:
    call = conference.dial()
    call.hang_up()
    for status in ("answered", "ringing", "completed"):
        call.event(status)
    conference.send("POST", "/webhooks/answer", call.parameters)
    assert browse(conference, "/stream").status_code == 409


def test_the_uuid_without_hyphens_ends_the_same_leg(conference: InProcess) -> None:
    call = conference.dial()
    send(conference, {"uuid": call.uuid.replace("-", ""), "status": "completed"})
    assert browse(conference, "/stream").status_code == 409


def test_a_slash_at_the_end_of_the_path_is_forgiven(conference: InProcess) -> None:
    call = conference.dial()
    event = {"uuid": call.uuid, "status": "completed"}
    response = conference.send("POST", "/webhooks/event/", event)
    assert response is not None
    assert response.status_code == 204
    assert browse(conference, "/stream").status_code == 409


# The log


def test_the_end_is_logged_with_its_duration(conference: InProcess) -> None:
    leg = str(uuid.uuid4())
    send(conference, {"uuid": leg, "status": "completed", "duration": "42", "price": "0.01"})
    assert logged(conference, leg) == f"INFO: leg {leg}: completed after 42 s"


def test_a_null_duration_leaves_a_clean_line(conference: InProcess) -> None:
    leg = str(uuid.uuid4())
    event = {"uuid": leg, "status": "completed", "duration": None, "reason": None}
    assert send(conference, event) == 204
    assert logged(conference, leg) == f"INFO: leg {leg}: completed"


def test_a_transfer_is_logged_by_its_type(conference: InProcess) -> None:
    conference.dial().hears("is in the conference")
    assert ": transfer" in conference.log.read_text()


def test_an_error_event_is_logged_as_a_warning_with_its_reason(conference: InProcess) -> None:
    error = {
        "reason": "Syntax error in NCCO. Invalid value type or action.",
        "conversation_uuid": f"CON-{uuid.uuid4()}",
        "timestamp": "2026-11-23T10:00:00.000Z",
    }
    assert send(conference, error) == 204
    line = logged(conference, "Syntax error")
    assert line == f"WARNING: event without a uuid: error: {error['reason']}"


def test_a_reason_beside_a_status_is_no_error(conference: InProcess) -> None:
    leg = str(uuid.uuid4())
    assert send(conference, {"uuid": leg, "status": "failed", "reason": "Declined"}) == 204
    assert logged(conference, leg) == f"INFO: leg {leg}: failed: Declined"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"reason": None},
        {"status": "completed"},
        {"call_uuid": str(uuid.UUID(int=1)), "status": "machine"},
        {"recording_url": "https://api.nexmo.com/v1/files/1", "conversation_uuid": "CON-1"},
        {"uuid": None, "status": "completed"},
    ],
    ids=["empty", "null reason", "status", "machine", "recording", "null"],
)
def test_an_event_without_a_uuid_is_logged_and_gets_204(
    conference: InProcess, event: dict[str, Any]
) -> None:
    assert send(conference, event) == 204
    assert "event without a uuid" in conference.log.read_text()


def test_an_event_with_a_malformed_uuid_gets_400(conference: InProcess) -> None:
    assert send(conference, {"uuid": "63f61863", "status": "completed"}) == 400


def test_a_call_can_be_followed_one_line_an_event(conference: InProcess) -> None:
    call = conference.dial({"from": "447700900456"})
    call.hears("in the conference")
    call.hang_up()
    said = [line.partition(call.uuid)[2] for line in conference.log.read_text().splitlines()]
    assert said[:3] == [": started", ": ringing", " from …0456 joined: conference"]
    assert set(said[3:-1]) == {": answered", ": transfer"}
    assert said[-1].startswith(": completed after ")
