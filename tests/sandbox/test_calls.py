"""The sandbox sends what Vonage sends, and says what is heard."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
from werkzeug import Response

from tests.helpers.audio import MUSIC, wav
from tests.helpers.faults import HeardCall
from tests.helpers.stub import StubbedSandbox, Webhook

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
INPUT = {"action": "input", "type": ["dtmf"]}


@pytest.fixture
def sandbox(sandbox: StubbedSandbox) -> StubbedSandbox:
    """A sandbox whose app answers with a conference, and has the bundled music."""
    sandbox.files["/music.mp3"] = Response(MUSIC, mimetype="audio/mpeg")
    return sandbox


def stream(sandbox: StubbedSandbox, path: str = "/music.mp3", **more: Any) -> dict[str, Any]:
    """An action that plays a file of the app."""
    return {"action": "stream", "streamUrl": [sandbox.public_url + path], **more}


# Webhooks


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_webhook_is_signed_with_the_hash_of_its_parameters(
    sandbox: StubbedSandbox, method: str
) -> None:
    sandbox.dial({"SipHeader_X-Name": 'Zoë "Z" & co'}, method=method)
    (answer,) = [one for one in sandbox.webhooks if one.path == "/webhooks/answer"]
    assert answer.method == method
    compact = answer.payload
    if method == "GET":
        pairs = dict(parse_qsl(answer.payload.decode()))
        compact = json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()
    assert 'Zoë \\"Z\\" & co'.encode() in compact
    assert (
        compact == json.dumps(answer.parameters, ensure_ascii=False, separators=(",", ":")).encode()
    )
    claims = claims_of(sandbox, answer)
    assert claims["payload_hash"] == hashlib.sha256(compact).hexdigest()
    assert set(claims) == {"iat", "jti", "iss", "api_key", "application_id", "payload_hash"}


def claims_of(sandbox: StubbedSandbox, webhook: Webhook) -> dict[str, Any]:
    token = webhook.headers["Authorization"].removeprefix("Bearer ")
    secret = sandbox.account.signature_secret
    return jwt.decode(token, secret, algorithms=["HS256"], options={"verify_aud": False})


def test_webhooks_come_through_a_tunnel(sandbox: StubbedSandbox) -> None:
    sandbox.dial()
    headers = sandbox.webhooks[0].headers
    assert headers["Host"] == headers["X-Forwarded-Host"] == sandbox.public_host
    assert headers["X-Forwarded-Proto"] == "https"


def test_the_answer_webhooks_parameters(sandbox: StubbedSandbox) -> None:
    sandbox.dial({"endpoint_type": None}, region="api-eu-3.vonage.com")
    (answer,) = [one.parameters for one in sandbox.webhooks if one.path == "/webhooks/answer"]
    assert set(answer) == {"to", "from", "uuid", "conversation_uuid", "region_url"}
    assert answer["region_url"] == "https://api-eu-3.vonage.com"


def test_a_caller_has_from_or_from_user(sandbox: StubbedSandbox) -> None:
    call = sandbox.dial({"from_user": "alice"})
    assert {"from", "from_user"} & set(call.parameters) == {"from_user"}
    call.hang_up()
    assert all("from" not in event for event in sandbox.events(call))
    assert call.describe()["from"] == {"type": "app", "user": "alice"}


def test_the_events_of_a_call(sandbox: StubbedSandbox) -> None:
    call = sandbox.dial()
    call.hears("is in the conference")
    call.hang_up()
    events = sandbox.events(call)
    statuses = [event.get("status") for event in events]
    assert statuses == ["started", "ringing", "answered", None, "completed"]
    usual = {"from", "to", "uuid", "conversation_uuid", "status", "direction", "timestamp"}
    assert set(events[0]) == usual
    assert {name for name, value in events[2].items() if value is None} == {
        *("start_time", "rate", "network")
    }
    assert set(events[3]) == {
        *("conversation_uuid_from", "conversation_uuid_to", "uuid", "timestamp", "type")
    }
    assert events[3]["conversation_uuid_to"] == events[4]["conversation_uuid"]
    costs = {"start_time", "end_time", "rate", "price", "network", "duration"}
    assert set(events[4]) == usual | costs | {"disconnected_by", "sip_code"}
    assert events[4]["duration"] == "0"
    assert events[4]["disconnected_by"] == "user"
    times = [event["timestamp"] for event in events] + [events[4]["start_time"]]
    assert all(TIME.fullmatch(moment) for moment in [*times, events[4]["end_time"]])


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        ("busy", ["busy", "completed"]),
        ("timeout", ["timeout", "completed"]),
        ("rejected", ["rejected"]),
        ("completed", ["completed"]),
    ],
)
def test_completed_follows_every_end_but_rejected(
    sandbox: StubbedSandbox, status: str, sent: list[str]
) -> None:
    call = sandbox.dial(pick_up=False)
    sandbox.webhooks.clear()
    call.hang_up(status)
    assert [event["status"] for event in sandbox.events(call)] == sent
    assert call.ended.is_set()
    if status != "rejected":
        assert sandbox.events(call)[-1]["start_time"] is None


@pytest.mark.parametrize("answered_first", [True, False])
def test_answered_comes_before_the_answer_webhook_or_after_it(
    sandbox: StubbedSandbox, answered_first: bool
) -> None:
    call = sandbox.dial(answered_first=answered_first)
    own = [one for one in sandbox.webhooks if one.parameters.get("uuid") == call.uuid]
    sent = ["asked" if "answer" in one.path else one.parameters.get("status") for one in own]
    order = ["answered", "asked"] if answered_first else ["asked", "answered"]
    assert [one for one in sent if one in order] == order


def test_a_caller_who_is_cut_off_is_not_answered(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[{"action": "sing"}]]
    call = sandbox.dial()
    sent = [event.get("status") for event in sandbox.events(call)]
    assert sent == ["started", "ringing", None, "completed"]


def test_an_event_that_fails_is_sent_once(sandbox: StubbedSandbox) -> None:
    sandbox.files["/webhooks/event"] = Response(status=503)
    call = sandbox.dial(pick_up=False)
    response = call.event("ringing")
    assert response is not None
    assert response.status_code == 503
    del sandbox.files["/webhooks/event"]
    assert sandbox.events(call) == []


# What is heard


def test_the_music_is_heard_to_its_end(sandbox: StubbedSandbox) -> None:
    sandbox.files["/short.wav"] = Response(wav()[:-15900], mimetype="audio/wav")
    sandbox.answers = [[stream(sandbox, "/short.wav", loop=2, level=-0.5), stream(sandbox)]]
    call = sandbox.dial()
    call.hears("/short.wav, WAV of 0 s, 2 times at level -0.5")
    call.hears("hears the music end")
    call.hears("hears music: " + sandbox.public_url + "/music.mp3, MP3 of 32 s, 1 time")


def test_music_that_is_stopped_before_it_has_come_is_not_heard(sandbox: StubbedSandbox) -> None:
    stopped = threading.Event()

    def late() -> Iterator[bytes]:
        stopped.wait(5)
        yield MUSIC

    sandbox.files["/late.mp3"] = Response(late(), mimetype="audio/mpeg")
    call = sandbox.dial()
    call.hears("is in the conference")
    call.start_stream(sandbox.public_url + "/late.mp3", 1, 0)
    call.stop_stream()
    stopped.set()
    call.start_stream(sandbox.public_url + "/music.mp3", 1, 0)
    call.hears("hears music: " + sandbox.public_url + "/music.mp3")
    assert sounds(call)[2:] == ["conference", "music"]


@pytest.mark.parametrize("keys", ["", "12"])
def test_a_key_press_or_its_absence_is_sent(sandbox: StubbedSandbox, keys: str) -> None:
    sandbox.files["/short.wav"] = Response(wav()[:-15990], mimetype="audio/wav")
    path, loop = ("/music.mp3", 10**400) if keys else ("/short.wav", 1)
    music = stream(sandbox, path, bargeIn=True, loop=loop)
    sandbox.answers = [[music, INPUT]]
    call = sandbox.dial()
    if keys:
        call.hears("hears music")
        call.press(keys)
        call.hears("hears the music stop")
    call.hears("hears the end of the NCCO")
    assert call.ended.wait(5)
    (pressed,) = [event["dtmf"] for event in sandbox.events(call) if "dtmf" in event]
    assert pressed == {"digits": keys, "timed_out": not keys}
    assert sandbox.events(call)[-1]["disconnected_by"] == "platform"


def test_a_key_press_does_nothing_without_barge_in(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[stream(sandbox)]]
    call = sandbox.dial()
    call.hears("hears music")
    call.press()
    assert not call.over.wait(0.1)


def test_hold_music_ends_when_the_conference_starts(sandbox: StubbedSandbox) -> None:
    conference = {"action": "conversation", "name": "Quorum"}
    hold = {"startOnEnter": False, "musicOnHoldUrl": [sandbox.public_url + "/music.mp3"]}
    sandbox.answers = [
        [{**conference, **hold}],
        [{**conference, **hold}],
        [conference],
        [{**conference, **hold}],
    ]
    waiting, silent = sandbox.dial(), sandbox.dial()
    for call in (waiting, silent):
        call.hears("waits for the conference to start")
        call.hears("hears hold music")
    silent.start_stream(sandbox.public_url + "/music.mp3", 1, 0)  # in place of the hold music
    silent.hears("hears music")
    starter = sandbox.dial()
    waiting.hears("hears the music stop, is in the conference, with 2 more")
    assert silent.hears("is in the conference").startswith("is in")
    starter.hears("is in the conference, with 2 more")
    assert sandbox.dial().hears("is in").startswith("is in the conference, with 3 more")


def test_hold_music_is_not_stopped_with_what_the_app_plays(sandbox: StubbedSandbox) -> None:
    hold = {"startOnEnter": False, "musicOnHoldUrl": [sandbox.public_url + "/music.mp3"]}
    sandbox.answers = [[{"action": "conversation", "name": "Hold", **hold}]]
    call = sandbox.dial()
    call.hears("hears hold music")
    call.stop_stream()
    assert "hears the music stop" not in call.story
    call.start_stream(sandbox.public_url + "/music.mp3", 1, 0)
    call.hears("hears music")
    call.stop_stream()
    assert call.story[-1] == "hears the music stop"


def test_a_conference_that_everybody_has_left_has_to_start_again(sandbox: StubbedSandbox) -> None:
    conference = {"action": "conversation", "name": "Again"}
    sandbox.answers = [[conference], [{**conference, "startOnEnter": False}]]
    first = sandbox.dial()
    first.hears("is in the conference, alone")
    first.hang_up()
    sandbox.dial().hears("waits for the conference to start")


# When a caller is heard, so that the next one can dial


@pytest.mark.parametrize(
    "ncco",
    [
        [{"action": "conversation", "name": "Quorum", "startOnEnter": False}],
        [{"action": "conversation", "name": "Conference"}],
        [{"action": "talk", "text": "Bye"}],
        [{"action": "sing"}],
        [{"action": "stream", "streamUrl": ["https://10.0.0.1/a.mp3"]}],
    ],
    ids=["waits", "conference", "ends", "cut off", "nothing to hear"],
)
def test_a_caller_is_heard_whatever_the_app_answers(
    sandbox: StubbedSandbox, ncco: list[Any]
) -> None:
    sandbox.answers = [ncco]
    assert sandbox.dial().heard.wait(5)


def test_a_caller_who_is_still_spoken_to_is_not_heard_yet(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[{"action": "talk", "text": "Hello"}, stream(sandbox)]]
    call = sandbox.dial(pick_up=False)
    call.speaks = True
    call.pick_up()
    call.hears('hears "Hello"')
    assert not call.heard.is_set()
    call.go_on.set()
    assert call.heard.wait(5)


# What a phone gets


def sounds(call: HeardCall) -> list[Any]:
    return [sound["what"] for sound in call.sounds]


def test_a_phone_gets_what_is_heard_in_order(sandbox: StubbedSandbox) -> None:
    sandbox.files["/music.mp3?x=1"] = sandbox.files["/music.mp3"]
    talk = {"action": "talk", "text": "Hi", "level": 0.5, "bargeIn": True}
    sandbox.answers = [[talk, INPUT, {"action": "conversation", "name": "Phone"}]]
    call = sandbox.dial()
    call.hears("is in the conference")
    call.press("5")
    call.start_stream(sandbox.public_url + "/music.mp3?x=1", 10**12, 0.1)
    call.hears("hears music")
    call.stop_stream()
    call.hang_up()
    assert call.sounds == [
        {"what": "dials", "uuid": call.uuid, "number": call.parameters["from"]},
        {"what": "answered"},
        {"what": "talk", "text": "Hi", "level": 0.5, "barges": True},
        {"what": "conference", "others": 0},
        {"what": "pressed", "digit": "5", "listened": False},
        {
            "what": "music",
            "name": "music.mp3",
            "kind": "music",
            "times": 10**9,
            "level": 0.1,
            "seconds": pytest.approx(32, abs=0.1),
            "barges": False,
        },
        {"what": "music stopped"},
        {"what": "over", "why": "You hung up"},
    ]
    assert call.audio == MUSIC


def test_a_phone_gets_hold_music_and_who_else_is_there(sandbox: StubbedSandbox) -> None:
    conference = {"action": "conversation", "name": "Others"}
    hold = {"startOnEnter": False, "musicOnHoldUrl": [sandbox.public_url + "/music.mp3"]}
    sandbox.answers = [[{**conference, **hold}], [conference]]
    first = sandbox.dial()
    first.hears("hears hold music")
    second, third = sandbox.dial(), sandbox.dial()
    third.hears("is in the conference, with 2 more")
    second.hang_up()
    assert sounds(first)[2:5] == ["waits", "music", "music stopped"]
    assert (first.sounds[3]["kind"], first.sounds[3]["times"]) == ("hold music", 0)
    assert [sound["others"] for sound in first.sounds[5:]] == [1, 2, 1]
    assert [sound["others"] for sound in third.sounds[2:]] == [2, 1]
    third.hang_up()
    assert first.sounds[-1] == {"what": "conference", "others": 0}


def test_a_phone_gets_the_end_of_music_and_of_the_ncco(sandbox: StubbedSandbox) -> None:
    sandbox.files["/short.wav"] = Response(wav()[:-15900], mimetype="audio/wav")
    sandbox.answers = [[stream(sandbox, "/short.wav")]]
    call = sandbox.dial()
    assert call.ended.wait(5)
    assert sounds(call)[2:] == ["music", "music over", "over"]
    assert call.sounds[-1]["why"] == "The NCCO is at its end"


def test_a_phone_gets_why_nothing_is_heard_and_why_it_is_cut_off(sandbox: StubbedSandbox) -> None:
    sandbox.files["/gone.mp3"] = Response(status=404)
    call = sandbox.dial()
    call.hears("is in the conference")
    call.start_stream(sandbox.public_url + "/gone.mp3", 1, 0)
    call.hears("hears nothing")
    why = "gone.mp3 could not be played: it answers 404"
    assert call.sounds[-1] == {"what": "nothing", "why": why}
    sandbox.answers = [Response(status=500)]
    over = sandbox.dial().sounds[-1]
    assert (over["what"], over["why"][:40]) == ("over", "Cut off: The answer webhook answered 500")


def test_a_key_ends_what_is_heard_and_a_phone_gets_that(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[stream(sandbox, bargeIn=True), INPUT]]
    call = sandbox.dial()
    call.hears("hears music")
    call.press("#")
    assert call.ended.wait(5)
    assert {"what": "pressed", "digit": "#", "listened": True} in call.sounds
    assert sounds(call)[-3:] == ["pressed", "music stopped", "over"]
