"""What a caller hears on answering: the NCCO of each mode, and the quorum that starts it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.sandboxes import InProcess, StartSandbox

MUSIC = "https://public.example/static/hold-music.mp3"
OWN = "https://music.example/a.mp3?key=1"
TALK = {"action": "talk", "text": "Please wait while we connect you to the conference"}
CONVERSATION = {"action": "conversation", "name": "Relaxing Conference"}
WAITING = {**CONVERSATION, "startOnEnter": False}
INPUT = {"action": "input", "type": ["dtmf"]}
STREAM: dict[str, Any] = {"action": "stream", "streamUrl": [MUSIC]}
STREAMING = {"ANSWER_WITH": "stream"}
NCCOS: list[tuple[dict[str, str], list[dict[str, Any]]]] = [
    ({}, [TALK, CONVERSATION]),
    ({"VOICE_TEXT": "One moment"}, [{**TALK, "text": "One moment"}, CONVERSATION]),
    ({"VOICE_TEXT": " "}, [CONVERSATION]),
    ({"VOICE_CONFERENCE_NAME": "Café"}, [TALK, {**CONVERSATION, "name": "Café"}]),
    ({"VOICE_CONFERENCE_QUORUM": "2"}, [TALK, {**WAITING, "musicOnHoldUrl": [MUSIC]}]),
    (STREAMING, [STREAM]),
    ({**STREAMING, "VOICE_STREAM_LOOP": "0"}, [{**STREAM, "loop": 0}]),
    ({**STREAMING, "VOICE_STREAM_LEVEL": "0"}, [{**STREAM, "level": 0}]),
    ({**STREAMING, "VOICE_STREAM_BARGE_IN": "true"}, [{**STREAM, "bargeIn": True}, INPUT]),
    ({**STREAMING, "VOICE_STREAM_URL": OWN}, [{**STREAM, "streamUrl": [OWN]}]),
]


@pytest.mark.parametrize(("settings", "ncco"), NCCOS, ids=str)
def test_only_what_is_set_goes_into_an_ncco(
    start: StartSandbox, settings: dict[str, str], ncco: list[dict[str, Any]]
) -> None:
    sandbox = start(PUBLIC_URL="https://public.example/", **settings)
    assert sandbox.dial().ncco == ncco


def test_a_caller_hears_the_bundled_music(stream: InProcess) -> None:
    call = stream.dial()
    call.hears("hears music: hold-music.mp3, 32 s")
    assert call.ncco[0]["streamUrl"] == [f"{stream.public_url}/static/hold-music.mp3"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_caller_is_sent_to_the_conference(conference: InProcess, method: str) -> None:
    call = conference.dial(method=method)
    call.hears('hears "Please wait while we connect you to the conference"')
    call.hears("is in the conference")


# The quorum


@pytest.fixture
def of_three(start: StartSandbox) -> InProcess:
    return start(VOICE_CONFERENCE_QUORUM="3")


def test_callers_hear_hold_music_until_three_are_on_the_line(of_three: InProcess) -> None:
    early = [of_three.dial(), of_three.dial()]
    for caller in early:
        caller.hears("hears hold music: hold-music.mp3")
        assert not any("in the conference" in line for line in caller.story)
    late = [of_three.dial(), of_three.dial()]
    for caller in (*early, *late):
        caller.hears("is in the conference")
    music = f"{of_three.public_url}/static/hold-music.mp3"
    waits = {**WAITING, "musicOnHoldUrl": [music]}
    starts = {**CONVERSATION, "startOnEnter": True}
    assert [caller.ncco[-1] for caller in (*early, *late)] == [waits, waits, starts, starts]
    said = [line.partition(" joined: ")[2] for line in of_three.lines if " joined: " in line]
    counts = ("1 of 3", "2 of 3", "3 of 3", "4")
    assert said == [f"conference, {count} on the line" for count in counts]


def test_a_replayed_answer_webhook_gets_the_same_answer(of_three: InProcess) -> None:
    for _ in range(3):
        call = of_three.dial()
        assert of_three.webhook("answer", call.parameters, "GET").json() == call.ncco
    assert call.ncco[-1]["startOnEnter"] is True
