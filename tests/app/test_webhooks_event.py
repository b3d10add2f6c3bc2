"""The event webhook: which events end a leg, the log, and webhooks at the wrong address."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess, browse

ENDS = ["completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"]
A_LEG = str(uuid.UUID(int=1))
NUMBERS = {"from": "447700900123", "to": "442079460000"}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", ENDS)
def test_a_status_that_ends_a_leg(conference: InProcess, status: str, method: str) -> None:
    call = conference.dial()
    response = conference.webhook("event", {"uuid": call.uuid, "status": status}, method)
    assert (response.status_code, response.content) == (204, b"")
    assert browse(conference, "/stream").status_code == 409


# The log

SYNTAX = "Syntax error in NCCO. Invalid value type or action."
LOGGED: dict[str, dict[str, Any]] = {
    f"INFO: leg {A_LEG}: completed after 42 s": {"status": "completed", "duration": "42"},
    f"INFO: leg {A_LEG}: completed": {"status": "completed", "duration": None, "reason": None},
    f"INFO: leg {A_LEG}: failed: Declined": {"status": "failed", "reason": "Declined", **NUMBERS},
    f"INFO: leg {A_LEG}: transfer": {"type": "transfer", "price": "0.01"},
    f"WARNING: event without a uuid: error: {SYNTAX}": {"reason": SYNTAX},
    "INFO: event without a uuid: no status": {"reason": None},
    "INFO: event without a uuid: completed": {"uuid": None, "status": "completed"},
    "INFO: event without a uuid: machine": {"call_uuid": A_LEG, "status": "machine"},
}


@pytest.mark.parametrize("line", LOGGED)
def test_an_event_is_one_line(conference: InProcess, line: str) -> None:
    event = dict(LOGGED[line])
    if "leg" in line:
        event["uuid"] = A_LEG
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


# Webhooks at the address of another

EVENTS: dict[str, dict[str, Any]] = {
    "the end of a call": {"status": "completed", "type": "a:b", "duration": "42", **NUMBERS},
    "a transfer": {"type": "transfer", "conversation_uuid_to": "CON-1"},
    "an error": {"reason": "Syntax error in NCCO."},
    "keys": {"dtmf": {"digits": "1"}, **NUMBERS},
    "speech": {"speech": {"results": []}},
    "a recording": {"recording_url": "https://api.nexmo.com/v1/files/1"},
}
SAID = {
    "the end of a call": "INFO: leg {}: completed after 42 s",
    "a transfer": "INFO: leg {}: transfer",
    "an error": "WARNING: leg {}: error: Syntax error in NCCO.",
}
URLS = {"answer": "Answer URL", "event": "Event URL"}


def warning(came_to: str, right: str) -> str:
    what = f"/webhooks/{came_to} received what belongs to /webhooks/{right}"
    return f"WARNING: {what}: correct the application's {URLS[right]}"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_at_the_answer_url_is_one(conference: InProcess, kind: str, method: str) -> None:
    """Otherwise an ended call would be on the line for a day, and count towards the quorum."""
    call = conference.dial(pick_up=False)
    before = conference.lines
    for leg in (A_LEG, call.uuid):
        event = {"uuid": leg, **EVENTS[kind]}
        assert conference.webhook("answer", event, method).status_code == 204
    assert conference.live == ([] if kind == "the end of a call" else [call.uuid])
    said = SAID.get(kind, "INFO: leg {}: no status")
    lines = [warning("answer", "event"), said.format(A_LEG), warning("answer", "event")]
    assert conference.lines == [*before, *lines, said.format(call.uuid)]


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_at_rtcs_url_is_only_a_warning(conference: InProcess, kind: str) -> None:
    """It may be unsigned."""
    call = conference.dial(pick_up=False)
    before = conference.lines
    assert conference.webhook("rtc", {"uuid": call.uuid, **EVENTS[kind]}).status_code == 204
    assert conference.live == [call.uuid]
    assert conference.lines == [*before, warning("rtc", "event")]


def test_a_request_for_an_ncco_at_rtcs_url_is_only_a_warning(conference: InProcess) -> None:
    assert conference.webhook("rtc", {"uuid": A_LEG, **NUMBERS}).status_code == 204
    assert conference.live == []
    assert conference.lines == [warning("rtc", "answer")]


def test_at_the_right_urls_nothing_is_warned_of(conference: InProcess) -> None:
    call = conference.dial()
    for kind in EVENTS.keys() - {"an error"}:
        conference.webhook("event", {"uuid": call.uuid, **EVENTS[kind]})
    conference.webhook("rtc", {"type": "audio:play", "body": {"channel": {"id": call.uuid}}})
    assert "WARNING" not in conference.log.read_text()
