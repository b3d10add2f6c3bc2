"""Three addresses in one form: what is sent to another's address, and what is said of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess

ENDS = {"status": "completed", "duration": "42", "from": "447700900123", "to": "442079460000"}
EVENTS: dict[str, dict[str, Any]] = {
    "the end of a call": ENDS,
    "a transfer": {"type": "transfer", "conversation_uuid_to": "CON-1"},
    "an error": {"reason": "Syntax error in NCCO."},
    "keys": {"dtmf": {"digits": "1"}, "from": "447700900123", "to": "442079460000"},
    "speech": {"speech": {"results": []}},
    "a recording": {"recording_url": "https://api.nexmo.com/v1/files/1"},
}
EVENT_URL = "received what belongs to /webhooks/event: correct the application's Event URL\n"
ANSWER_URL = "received what belongs to /webhooks/answer: correct the application's Answer URL\n"


def send(sandbox: InProcess, path: str, given: dict[str, Any], method: str = "POST") -> int:
    """Send a webhook; gives the status of its answer."""
    response = sandbox.send(method, f"/webhooks/{path}", given)
    assert response is not None
    return response.status_code


def warnings(sandbox: InProcess) -> list[str]:
    """The warnings in the log, without their time."""
    lines = sandbox.log.read_text().splitlines(keepends=True)
    return [line.partition("WARNING: ")[2] for line in lines if "WARNING" in line]


def live(sandbox: InProcess) -> list[str]:
    """The uuids of those who are on the line."""
    return [leg.uuid for leg in sandbox.store.live()]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_at_the_answer_url_is_taken_as_one(
    conference: InProcess, kind: str, method: str
) -> None:
    """Or an ended call would be on the line for a day, and count towards the quorum."""
    event = {"uuid": str(uuid.uuid4()), **EVENTS[kind]}
    assert send(conference, "answer", event, method) == 204
    assert live(conference) == []
    assert warnings(conference)[0] == f"/webhooks/answer {EVENT_URL}"
    assert f"leg {event['uuid']}: " in conference.log.read_text()


def test_an_end_at_the_answer_url_ends_the_call(conference: InProcess) -> None:
    call = conference.dial()
    assert send(conference, "answer", {"uuid": call.uuid, **ENDS}) == 204
    assert live(conference) == []
    assert f"leg {call.uuid}: completed after 42 s" in conference.log.read_text()


def test_an_event_without_a_uuid_at_the_answer_url_is_logged(conference: InProcess) -> None:
    assert send(conference, "answer", EVENTS["an error"]) == 204
    assert warnings(conference) == [
        f"/webhooks/answer {EVENT_URL}",
        "event without a uuid: error: Syntax error in NCCO.\n",
    ]


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_at_rtcs_url_is_only_a_warning(conference: InProcess, kind: str) -> None:
    """It may be unsigned."""
    call = conference.dial()
    assert send(conference, "rtc", {"uuid": call.uuid, **EVENTS[kind]}) == 204
    assert live(conference) == [call.uuid]
    assert warnings(conference) == [f"/webhooks/rtc {EVENT_URL}"]


def test_a_request_for_an_ncco_at_rtcs_url_is_only_a_warning(conference: InProcess) -> None:
    asks = {"uuid": str(uuid.uuid4()), "from": "447700900123", "to": "442079460000"}
    assert send(conference, "rtc", asks) == 204
    assert live(conference) == []
    assert warnings(conference) == [f"/webhooks/rtc {ANSWER_URL}"]


def test_at_the_right_urls_nothing_is_warned_of(conference: InProcess) -> None:
    call = conference.dial()
    for kind in EVENTS.keys() - {"an error"}:
        send(conference, "event", {"uuid": call.uuid, **EVENTS[kind]})
    send(conference, "rtc", {"type": "audio:play", "body": {"channel": {"id": call.uuid}}})
    assert warnings(conference) == []
