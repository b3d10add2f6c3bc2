"""The sandbox sends RTC's events about audio; test_rules.py lists what no source documents."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.helpers.faults import HeardCall
from tests.helpers.stub import CONFERENCE, INPUT, StubbedSandbox


@pytest.fixture
def call(sandbox: StubbedSandbox) -> HeardCall:
    """Return a call in the conference."""
    call = sandbox.dial()
    call.hears("is in the conference")
    return call


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_audio_that_ends_by_itself(sandbox: StubbedSandbox, call: HeardCall) -> None:
    call.start_stream(sandbox.short, 2, -0.5)
    play, done = sandbox.rtc(call, 2)
    both = {"play_id": play["body"]["play_id"], "channel": {"id": call.uuid, "type": "phone"}}
    assert play == {
        "type": "audio:play",
        "application_id": sandbox.account.application_id,
        "id": 1,
        "conversation_id": call.parameters["conversation_uuid"],
        "timestamp": play["timestamp"],
        "body": {**both, "stream_url": [sandbox.short], "level": -0.5, "loop": 2},
    }
    assert (done["type"], done["id"], done["body"]) == ("audio:play:done", 2, both)
    webhook = next(one for one in sandbox.webhooks if one.path == "/webhooks/rtc")
    assert "Authorization" not in webhook.headers


def test_events_say_when_it_happened_however_late_they_come(
    sandbox: StubbedSandbox, call: HeardCall
) -> None:
    with sandbox.arrived:  # no event is taken
        before = datetime.now(timezone.utc)
        call.start_stream(sandbox.music, 1, 0)
        call.hears("hears music: music.mp3")
        call.start_stream(sandbox.short, 1, 0)
        call.hears("hears music: short.wav")
        call.hears("hears the music end")
        after = datetime.now(timezone.utc)
        time.sleep(0.1)
    events = sandbox.rtc(call, 4)
    assert types(events) == ["audio:play", "audio:play:stop", "audio:play", "audio:play:done"]
    first, stopped, second, done = [event["body"]["play_id"] for event in events]
    assert first == stopped != second == done
    moments = [datetime.fromisoformat(one["timestamp"].replace("Z", "+00:00")) for one in events]
    assert before - timedelta(milliseconds=1) <= moments[0] <= moments[-1] <= after


def test_an_nccos_stream(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[sandbox.stream(sandbox.short), sandbox.stream(bargeIn=True), INPUT]]
    call = sandbox.dial()
    sandbox.rtc(call, 3)
    call.press()
    events = types(sandbox.rtc(call, 4))
    assert events == ["audio:play", "audio:play:done", "audio:play", "audio:play:stop"]


def test_hold_music_and_the_end_of_a_call_have_no_events(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[sandbox.hold()], [CONFERENCE]]
    waits = sandbox.dial()
    waits.hears("hears hold music")
    starts = sandbox.dial()
    waits.hears("is in the conference")
    waits.start_stream(sandbox.music, 1, 0)
    sandbox.rtc(waits, 1)
    waits.hang_up()
    waits.start_stream(sandbox.music, 1, 0)  # as it ends
    starts.start_stream(sandbox.short, 1, 0)
    sandbox.rtc(starts, 2)
    assert types(sandbox.rtc(waits, 1)) == ["audio:play"]
