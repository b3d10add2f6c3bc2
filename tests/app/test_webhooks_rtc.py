"""What Vonage says of audio that it plays: from such an event follows a note, and nothing else."""

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
from tests.helpers.sandboxes import InProcess, StartSandbox

KINDS = ["audio:play", "audio:play:done", "audio:play:stop"]


def event(kind: str, leg: object, at: object = None, **body: Any) -> dict[str, Any]:
    """An event about audio in a leg, in Vonage's shape. [Vonage, Conversation API, Event]

    It is of this moment, unless `at` is its timestamp.
    """
    channel = {"id": leg, "type": "phone"}
    return {
        "id": 7,
        "type": kind,
        "timestamp": at or stamp(time.time()),
        "conversation_id": f"CON-{uuid.UUID(int=1)}",
        "body": {"play_id": str(uuid.UUID(int=2)), "channel": channel, **body},
    }


def stamp(at: float) -> str:
    """Seconds since 1970 as Vonage's timestamp."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


def tell(sandbox: InProcess, given: Any, authorization: str | None = None) -> int:
    """Send an event, without a token unless one is given; gives the status of its answer."""
    return sandbox.webhook("rtc", given, Authorization=authorization).status_code


def notes(sandbox: InProcess) -> dict[str, AudioNote | None]:
    """What is known of each caller's audio."""
    return {leg.uuid: leg.audio for leg in sandbox.store.live()}


@pytest.fixture
def call(conference: InProcess) -> Call:
    """A caller in the conference, of whom the app knows all that there is to know."""
    call = conference.dial()
    call.hears("is in the conference")
    return call


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("audio:play", AudioNote("playing")),
        ("audio:play:done", AudioNote("over")),
        ("audio:play:stop", AudioNote("stopped")),
    ],
)
def test_what_becomes_of_the_audio_is_noted_and_logged(
    conference: InProcess, call: Call, kind: str, note: AudioNote
) -> None:
    assert tell(conference, event(kind, call.uuid)) == 204
    assert notes(conference) == {call.uuid: note}
    assert f"INFO: leg {call.uuid}: audio {note.state}" in conference.log.read_text()


@pytest.mark.parametrize("error", ["404\nnot found", "x" * 300, "This was not sent"])
def test_audio_that_could_not_be_played_is_a_warning_and_a_line_with_its_reason(
    conference: InProcess, call: Call, error: str
) -> None:
    done = event("audio:play:done", call.uuid, error=error)
    assert [tell(conference, done), tell(conference, done)] == [204, 204]  # it may come again
    detail = error.replace("\n", "")[:256]
    assert notes(conference) == {call.uuid: AudioNote("failed", detail)}
    warning = f"WARNING: leg {call.uuid}: audio could not be played: {detail}\n"
    assert warning in conference.log.read_text()
    [news] = [line for line in conference.told() if line.bad]
    assert news.text == f"Audio for …{call.name[-4:]} could not be played: {detail}"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (["https://me:hush@example.com/b%20c.mp3?key=hush"], "b c.mp3"),
        ("https://example.com/a.mp3", "a.mp3"),
        (["https://example.com/"], "example.com"),
        ([], ""),
        ([["a"]], ""),
        ({"a": 1}, ""),
        ("https://[", ""),
    ],
    ids=str,
)
def test_what_plays_is_noted(conference: InProcess, call: Call, url: object, name: str) -> None:
    assert tell(conference, event("audio:play", call.uuid, stream_url=url)) == 204
    assert notes(conference) == {call.uuid: AudioNote("playing", name)}


# When an event was

ODD: list[Any] = [
    *[None, "soon", "", 1e300, -1e300, True, [], {}, "9999-12-31T23:59:59-14:00"],
    *["2100-01-01T00:00:00Z", "2026-02-30T00:00:00Z"],
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_timestamp_is_this_moment(conference: InProcess, call: Call, odd: object) -> None:
    began = time.time()
    assert tell(conference, {**event("audio:play", call.uuid), "timestamp": odd}) == 204
    [leg] = conference.store.live()
    assert began <= leg.audio_at <= time.time()


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("2020-01-01T00:00:01.500Z", 1_577_836_801.5),
        ("2020-01-01T01:00:01.500+01:00", 1_577_836_801.5),
        ("2020-01-01T00:00:01.500", 1_577_836_801.5),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200),
    ],
)
def test_a_timestamp_is_in_utc_unless_it_says_otherwise(
    conference: InProcess, call: Call, timestamp: str, seconds: float
) -> None:
    assert tell(conference, event("audio:play", call.uuid, timestamp)) == 204
    [leg] = conference.store.live()
    assert leg.audio_at == max(seconds, 0)


def test_a_clock_that_is_ahead_a_little_is_believed(conference: InProcess, call: Call) -> None:
    ahead = time.time() + 240
    assert tell(conference, event("audio:play", call.uuid, stamp(ahead))) == 204
    [leg] = conference.store.live()
    assert leg.audio_at == pytest.approx(ahead, abs=0.002)


# Events that have no effect

BODIES = [None, "over", *({"channel": channel} for channel in ("a", {}, {"id": 7}, {"id": "63f6"}))]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_an_event_without_a_leg_is_logged(conference: InProcess, call: Call, body: object) -> None:
    assert tell(conference, {"type": "audio:play:done", "body": body}) == 204
    assert notes(conference) == {call.uuid: None}
    assert "INFO: audio:play:done without a leg" in conference.lines


@pytest.mark.parametrize("kind", ["member:joined", "audio:say", "leg:status:update", None])
def test_other_types_are_ignored(conference: InProcess, call: Call, kind: object) -> None:
    before = conference.log.read_text()
    assert tell(conference, event("audio:play", call.uuid) | {"type": kind}) == 204
    assert notes(conference) == {call.uuid: None}
    assert conference.log.read_text() == before


def test_another_applications_event_has_no_effect(conference: InProcess, call: Call) -> None:
    stranger = {"application_id": str(uuid.uuid4())}
    assert tell(conference, event("audio:play", call.uuid) | stranger) == 204
    assert notes(conference) == {call.uuid: None}
    ours = {"application_id": conference.account.application_id}
    tell(conference, event("audio:play", call.uuid) | ours)
    assert notes(conference) == {call.uuid: AudioNote("playing")}


def test_a_token_that_is_there_must_be_right(conference: InProcess, call: Call) -> None:
    playing = event("audio:play", call.uuid)
    body = json.dumps(playing, separators=(",", ":")).encode()
    assert tell(conference, playing, "Bearer a.b.c") == 401
    assert tell(conference, playing, conference.account.sign(b"{}")) == 401
    assert notes(conference) == {call.uuid: None}
    assert tell(conference, playing, conference.account.sign(body)) == 204
    assert notes(conference) == {call.uuid: AudioNote("playing")}


def test_an_event_can_neither_join_nor_end_nor_change_who_counts(start: StartSandbox) -> None:
    """Whatever other fields it carries."""
    sandbox = start(VOICE_CONFERENCE_QUORUM="3")
    call = sandbox.dial()
    more = {"uuid": call.uuid, "status": "completed", "from": "447700900123"}
    for kind in KINDS:
        tell(sandbox, event(kind, call.uuid) | more)
        tell(sandbox, event(kind, str(uuid.uuid4())) | more)
    assert list(notes(sandbox)) == [call.uuid]
    sandbox.dial()
    assert "conference, 2 of 3 on the line" in sandbox.log.read_text()


@pytest.fixture
def ended(conference: InProcess) -> Call:
    call = conference.dial()
    call.hang_up()
    return call


ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_events_in_any_order_and_shape_change_nothing_but_a_note(
    conference: InProcess, call: Call, ended: Call, data: st.DataObject
) -> None:
    legs = st.sampled_from([call.uuid, ended.uuid, str(uuid.UUID(int=3))]) | ANYTHING
    for _ in range(3):
        made = event(data.draw(st.sampled_from(KINDS)), data.draw(legs))
        where = data.draw(st.sampled_from([made, made["body"], made["body"]["channel"]]))
        where[data.draw(st.sampled_from(sorted(where)))] = data.draw(ANYTHING)
        assert tell(conference, made) == 204
    assert [leg.uuid for leg in conference.store.live()] == [call.uuid]
