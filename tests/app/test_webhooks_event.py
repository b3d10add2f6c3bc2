"""The event webhook: which events end a leg, and what the log says of each."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess, browse

ENDS = ["completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"]
A_LEG = str(uuid.UUID(int=1))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", ENDS)
def test_a_status_that_ends_a_leg(conference: InProcess, status: str, method: str) -> None:
    call = conference.dial()
    response = conference.webhook("event", {"uuid": call.uuid, "status": status}, method)
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
    conference.webhook("answer", call.parameters)
    assert browse(conference, "/stream").status_code == 409


# The log

SYNTAX = "Syntax error in NCCO. Invalid value type or action."
LOGGED: list[tuple[dict[str, Any], str]] = [
    (
        {"uuid": A_LEG, "status": "completed", "duration": "42", "price": "0.01"},
        f"INFO: leg {A_LEG}: completed after 42 s",
    ),
    (
        {"uuid": A_LEG, "status": "completed", "duration": None, "reason": None},
        f"INFO: leg {A_LEG}: completed",
    ),
    (
        {"uuid": A_LEG, "status": "failed", "reason": "Declined"},
        f"INFO: leg {A_LEG}: failed: Declined",
    ),
    ({"uuid": A_LEG, "type": "transfer"}, f"INFO: leg {A_LEG}: transfer"),
    (
        {"reason": SYNTAX, "conversation_uuid": "CON-1", "timestamp": "2026-11-23T10:00:00.000Z"},
        f"WARNING: event without a uuid: error: {SYNTAX}",
    ),
    ({"reason": None}, "INFO: event without a uuid: no status"),
    ({"uuid": None, "status": "completed"}, "INFO: event without a uuid: completed"),
    ({"call_uuid": A_LEG, "status": "machine"}, "INFO: event without a uuid: machine"),
]


@pytest.mark.parametrize(("event", "line"), LOGGED, ids=str)
def test_an_event_is_one_line(conference: InProcess, event: dict[str, Any], line: str) -> None:
    assert conference.webhook("event", event).status_code == 204
    assert conference.lines == [line]


def test_a_call_can_be_followed_one_line_an_event(conference: InProcess) -> None:
    call = conference.dial({"from": "447700900456"})
    call.hears("in the conference")
    call.hang_up()
    said = [line.partition(call.uuid)[2] for line in conference.lines]
    assert said[:3] == [": started", ": ringing", " from …0456 joined: conference"]
    assert set(said[3:-1]) == {": answered", ": transfer"}
    assert said[-1].startswith(": completed after ")
