"""The webhook of RTC's events: one about audio adds a note to a leg, and does nothing else."""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calls import AudioNote
from sandbox import Call
from tests.helpers.sandboxes import InProcess

KINDS = ["audio:play", "audio:play:done", "audio:play:stop"]


def event(kind: str, leg: object, at: object = None, **body: Any) -> dict[str, Any]:
    """Return an event about audio in a leg, now or `at`. [Vonage, Conversation API, Event]"""
    channel = {"id": leg, "type": "phone"}
    return {
        "id": 7,
        "type": kind,
        "timestamp": at or stamp(time.time()),
        "conversation_id": f"CON-{uuid.UUID(int=1)}",
        "body": {"play_id": str(uuid.UUID(int=2)), "channel": channel, **body},
    }


def stamp(at: float) -> str:
    """Return seconds since 1970 as Vonage's timestamp."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


def send(sandbox: InProcess, given: Any, authorization: str | None = None) -> int:
    """Send an event, without a token by default, and return the status of its response."""
    return sandbox.webhook("rtc", given, Authorization=authorization).status_code


@pytest.fixture
def call(conference: InProcess) -> Call:
    """Return a caller in the conference, whose events have all come."""
    call = conference.dial()
    call.hears("is in the conference")
    return call


NAMED: list[tuple[object, str]] = [
    (["https://me:hush@example.com/b%20c.mp3?key=hush"], "b c.mp3"),
    ("https://example.com/a.mp3", "a.mp3"),
    (["https://example.com/"], "example.com"),
    *[(none, "") for none in (None, [], [["a"]], {"a": 1}, "https://[")],
]
NOTED: list[tuple[str, object, AudioNote]] = [
    ("audio:play:done", None, AudioNote("over")),
    ("audio:play:stop", None, AudioNote("stopped")),
    *[("audio:play", url, AudioNote("playing", name)) for url, name in NAMED],
]


@pytest.mark.parametrize(("kind", "url", "note"), NOTED, ids=str)
def test_what_becomes_of_the_audio_is_noted_and_logged(
    conference: InProcess, call: Call, kind: str, url: object, note: AudioNote
) -> None:
    assert send(conference, event(kind, call.uuid, stream_url=url)) == 204
    assert conference.notes == {call.uuid: note}
    assert f"INFO: leg {call.uuid}: audio {note.state}" in conference.lines


@pytest.mark.parametrize("error", ["404\nnot found", "x" * 300, "This was not sent"])
def test_audio_that_could_not_be_played_is_a_warning_and_a_line_with_its_reason(
    conference: InProcess, call: Call, error: str
) -> None:
    done = event("audio:play:done", call.uuid, error=error)
    assert [send(conference, done), send(conference, done)] == [204, 204]  # it may come again
    detail = error.replace("\n", "")[:256]
    assert conference.notes == {call.uuid: AudioNote("failed", detail)}
    warning = f"WARNING: leg {call.uuid}: audio could not be played: {detail}\n"
    assert warning in conference.log.read_text()
    [news] = [line for line in conference.store.news() if line.bad]
    assert news.text == f"Audio for …{call.name[-4:]} could not be played: {detail}"


# Timestamps

ODD: list[Any] = [
    *[None, "soon", "", 1e300, -1e300, True, [], {}, "9999-12-31T23:59:59-14:00"],
    *["2100-01-01T00:00:00Z", "2026-02-30T00:00:00Z"],
]
TIMES = {
    "2020-01-01T00:00:01.500Z": 1_577_836_801.5,
    "2020-01-01T01:00:01.500+01:00": 1_577_836_801.5,
    "2020-01-01T00:00:01.500": 1_577_836_801.5,
    "0001-01-01T00:00:00+14:00": 0,  # before any note
    stamp(AHEAD := time.time() + 240): pytest.approx(AHEAD, abs=0.002),  # a clock may be ahead
}


def test_an_odd_timestamp_is_this_moment(conference: InProcess, call: Call) -> None:
    for odd in ODD:
        began = time.time()
        assert send(conference, {**event("audio:play", call.uuid), "timestamp": odd}) == 204
        [leg] = conference.store.live()
        assert began <= leg.audio_at <= time.time(), odd


def test_a_timestamp_is_in_utc_unless_it_says_otherwise(conference: InProcess) -> None:
    for timestamp, seconds in TIMES.items():
        call = conference.dial()
        assert send(conference, event("audio:play", call.uuid, timestamp)) == 204
        assert conference.store.live()[0].audio_at == seconds


# Events that have no effect

BODIES = [None, "over", *({"channel": channel} for channel in ("a", {}, {"id": 7}, {"id": "63f6"}))]


def test_an_event_without_a_leg_is_logged(conference: InProcess, call: Call) -> None:
    before = conference.lines
    for body in BODIES:
        assert send(conference, {"type": "audio:play:done", "body": body}) == 204
    assert conference.notes == {call.uuid: None}
    assert conference.lines == [*before, *["INFO: audio:play:done without a leg"] * len(BODIES)]


def test_other_types_are_ignored(conference: InProcess, call: Call) -> None:
    before = conference.log.read_text()
    for kind in ("member:joined", "audio:say", "leg:status:update", None):
        assert send(conference, event("audio:play", call.uuid) | {"type": kind}) == 204
    assert conference.notes == {call.uuid: None}
    assert conference.log.read_text() == before


def test_another_applications_event_has_no_effect(conference: InProcess, call: Call) -> None:
    stranger = {"application_id": str(uuid.uuid4())}
    assert send(conference, event("audio:play", call.uuid) | stranger) == 204
    assert conference.notes == {call.uuid: None}
    ours = {"application_id": conference.account.application_id}
    send(conference, event("audio:play", call.uuid) | ours)
    assert conference.notes == {call.uuid: AudioNote("playing")}


def test_a_token_that_is_there_must_be_right(conference: InProcess, call: Call) -> None:
    playing = event("audio:play", call.uuid)
    body = json.dumps(playing, separators=(",", ":")).encode()
    assert send(conference, playing, "Bearer a.b.c") == 401
    assert send(conference, playing, conference.account.sign(b"{}")) == 401
    assert conference.notes == {call.uuid: None}
    assert send(conference, playing, conference.account.sign(body)) == 204
    assert conference.notes == {call.uuid: AudioNote("playing")}


ENDED = str(uuid.UUID(int=4))
ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_events_in_any_order_and_shape_change_nothing_but_a_note(
    conference: InProcess, call: Call, data: st.DataObject
) -> None:
    conference.store.end(ENDED)
    legs = st.sampled_from([call.uuid, ENDED, str(uuid.UUID(int=3))]) | ANYTHING
    for _ in range(3):
        made = event(data.draw(st.sampled_from(KINDS)), data.draw(legs))
        more = {"uuid": call.uuid, "status": "completed", "from": "447700900123"}
        made |= data.draw(st.sampled_from([{}, more]))
        where = data.draw(st.sampled_from([made, made["body"], made["body"]["channel"]]))
        where[data.draw(st.sampled_from(sorted(where)))] = data.draw(ANYTHING)
        assert send(conference, made) == 204
    assert conference.live == [call.uuid]
