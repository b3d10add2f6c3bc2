"""Three addresses in one form: what is sent to another's address, and what is said of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess

A_LEG = str(uuid.UUID(int=1))
NUMBERS = {"from": "447700900123", "to": "442079460000"}
EVENTS: dict[str, dict[str, Any]] = {
    "the end of a call": {"status": "completed", "duration": "42", **NUMBERS},
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


def live(sandbox: InProcess) -> list[str]:
    return [leg.uuid for leg in sandbox.store.live()]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_at_the_answer_url_is_one(conference: InProcess, kind: str, method: str) -> None:
    """Or an ended call would be on the line for a day, and count towards the quorum."""
    event = {"uuid": A_LEG, **EVENTS[kind]}
    assert conference.webhook("answer", event, method).status_code == 204
    assert live(conference) == []
    said = SAID.get(kind, "INFO: leg {}: no status")
    assert conference.lines == [warning("answer", "event"), said.format(A_LEG)]


def test_an_end_at_the_answer_url_ends_the_call(conference: InProcess) -> None:
    call = conference.dial()
    event = {"uuid": call.uuid, **EVENTS["the end of a call"]}
    assert conference.webhook("answer", event).status_code == 204
    assert live(conference) == []


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_at_rtcs_url_is_only_a_warning(conference: InProcess, kind: str) -> None:
    """It may be unsigned."""
    call = conference.dial(pick_up=False)
    before = conference.lines
    assert conference.webhook("rtc", {"uuid": call.uuid, **EVENTS[kind]}).status_code == 204
    assert live(conference) == [call.uuid]
    assert conference.lines == [*before, warning("rtc", "event")]


def test_a_stray_answer_webhook_at_rtcs_url_is_only_a_warning(conference: InProcess) -> None:
    assert conference.webhook("rtc", {"uuid": A_LEG, **NUMBERS}).status_code == 204
    assert live(conference) == []
    assert conference.lines == [warning("rtc", "answer")]


def test_at_the_right_urls_nothing_is_warned_of(conference: InProcess) -> None:
    call = conference.dial()
    for kind in EVENTS.keys() - {"an error"}:
        conference.webhook("event", {"uuid": call.uuid, **EVENTS[kind]})
    conference.webhook("rtc", {"type": "audio:play", "body": {"channel": {"id": call.uuid}}})
    assert "WARNING" not in conference.log.read_text()
