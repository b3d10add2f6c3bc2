"""The sandbox sends what Vonage sends, fetches audio as Vonage would, and tells what is heard."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
from werkzeug import Response

from sandbox import FOLDER, sound
from tests.stub import StubbedSandbox, Webhook

MUSIC = (FOLDER / "static" / "hold-music.mp3").read_bytes()
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
INPUT = {"action": "input", "type": ["dtmf"]}
HTML = "<p>No such file</p>"


@pytest.fixture
def sandbox(sandbox: StubbedSandbox) -> StubbedSandbox:
    """A sandbox whose app answers with a conference, and has the bundled music."""
    sandbox.files["/music.mp3"] = Response(MUSIC, mimetype="audio/mpeg")
    return sandbox


def stream(sandbox: StubbedSandbox, path: str = "/music.mp3", **more: Any) -> dict[str, Any]:
    """An action that plays a file of the app."""
    return {"action": "stream", "streamUrl": [sandbox.public_url + path], **more}


def wav(bits: int = 16, channels: int = 1, hertz: int = 8000, **more: Any) -> bytes:
    """A WAV of one second, if its header is right."""
    coding, extra = more.get("coding", 1), more.get("extra", b"")
    samples = bytes(max(1, bits // 8 * channels) * (hertz or 8000))
    form = struct.pack("<HHIIHH", coding, channels, hertz, hertz * 2, 2, bits) + extra
    size = more.get("size", len(samples))
    chunks: bytes = b"fmt " + struct.pack("<I", len(form)) + form + more.get("before", b"")
    chunks += b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


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
    [(word, [word, "completed"]) for word in ("busy", "cancelled", "unanswered", "timeout")]
    + [("rejected", ["rejected"]), ("completed", ["completed"])],
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
    room = {"action": "conversation", "name": "Quorum"}
    hold = {"startOnEnter": False, "musicOnHoldUrl": [sandbox.public_url + "/music.mp3"]}
    sandbox.answers = [[{**room, **hold}], [{**room, **hold}], [room], [{**room, **hold}]]
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


def test_a_conference_that_everybody_has_left_has_to_start_again(sandbox: StubbedSandbox) -> None:
    room = {"action": "conversation", "name": "Again"}
    sandbox.answers = [[room], [{**room, "startOnEnter": False}]]
    first = sandbox.dial()
    first.hears("is in the conference, with 0 more")
    first.hang_up()
    sandbox.dial().hears("waits for the conference to start")


# Audio


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(MUSIC, mimetype="text/html"), "is text/html, not audio"),
        (Response(MUSIC, mimetype="application/json"), "is application/json, not audio"),
        (Response(HTML, mimetype="audio/mpeg"), "neither an MP3 nor a WAV"),
        (Response(MUSIC, 404), "answers 404"),
        (Response(status=302, headers={"Location": "http://127.0.0.1:1/a"}), "cannot reach"),
        (Response(status=302, headers={"Location": "/file"}), "answers 302"),
    ],
    ids=["HTML", "JSON", "HTML as audio", "missing", "redirected to us", "redirected in circles"],
)
def test_audio_that_vonage_could_not_get(
    sandbox: StubbedSandbox, response: Response, reason: str
) -> None:
    sandbox.files["/file"] = response
    call = sandbox.dial()
    call.start_stream(sandbox.public_url + "/file", 1, 0)
    assert reason in call.hears("hears nothing: ")


@pytest.mark.parametrize("mimetype", ["audio/mpeg", "application/octet-stream", ""])
def test_audio_keeps_its_query_and_may_have_another_type(
    sandbox: StubbedSandbox, mimetype: str
) -> None:
    sandbox.files["/file?name=a%20b&x=1"] = Response(MUSIC, mimetype=mimetype)
    call = sandbox.dial()
    call.start_stream(sandbox.public_url + "/file?name=a%20b&x=1", 1, 0)
    call.hears("hears music")


def test_audio_is_followed_to_another_public_host(sandbox: StubbedSandbox) -> None:
    sandbox.web["music.example"] = sandbox.app_url
    there = {"Location": "https://music.example/music.mp3"}
    sandbox.files["/old"] = Response(status=301, headers=there)
    call = sandbox.dial()
    call.start_stream(sandbox.public_url + "/old", 1, 0)
    call.hears("hears music")


@pytest.mark.parametrize(
    "host", ["localhost:9000", "127.0.0.1", "192.168.1.2", "[::1]:9000", "127.1", "2130706433"]
)
def test_audio_on_this_machine_or_its_network_is_out_of_reach(
    sandbox: StubbedSandbox, host: str
) -> None:
    with pytest.raises(ValueError, match="cannot reach"):
        sandbox.fetch(f"http://{host}/a.mp3")


def test_hold_music_is_an_mp3(sandbox: StubbedSandbox) -> None:
    sandbox.files["/a.wav"] = Response(wav(), mimetype="audio/wav")
    hold = {"startOnEnter": False, "musicOnHoldUrl": [sandbox.public_url + "/a.wav"]}
    sandbox.answers = [[{"action": "conversation", "name": "WAV", **hold}]]
    sandbox.dial().hears("hears nothing: musicOnHoldUrl must be an MP3, not a WAV")


TAG = b"ID3\x03\x00\x00\x00\x00\x0f\x60" + MUSIC[37 : 37 + 2016]
PCM = struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
PLAYABLE: dict[str, tuple[bytes, str, float]] = {
    "the bundled music": (MUSIC, "MP3", 32.256),
    "after blanks": (b" " * 999 + MUSIC, "MP3", 32.256),
    "after zeros": (bytes(40000) + MUSIC, "MP3", 32.256),
    "after a tag with frames in it": (TAG + MUSIC, "MP3", 32.256),
    "two MP3s in one": (MUSIC + TAG + MUSIC, "MP3", 64.512),
    "a WAV of 8 kHz": (wav(), "WAV", 1),
    "a WAV of 16 kHz": (wav(hertz=16000), "WAV", 1),
    "an extensible WAV": (wav(coding=0xFFFE, extra=PCM), "WAV", 1),
    "a WAV whose size is not known": (wav(size=0xFFFFFFFF), "WAV", 1),
    "a WAV whose size is 0": (wav(size=0), "WAV", 1),
    "a WAV with an odd chunk": (wav(before=b"LIST\x03\x00\x00\x00abc\x00"), "WAV", 1),
}


@pytest.mark.parametrize("name", PLAYABLE)
def test_audio_that_vonage_plays(name: str) -> None:
    data, kind, seconds = PLAYABLE[name]
    found, lasts = sound(data)
    assert (found, round(lasts, 3)) == (kind, seconds)


UNPLAYABLE = {
    "nothing": b"",
    "HTML": HTML.encode(),
    "a tag": b"ID3\x03\x00\x00\x00\x00\x00\x00",
    "half a tag": b"ID3\x03",
    "ones": b"\xff" * 5000,
    "a header": MUSIC[43:47],
    "a header and HTML": b"\xff\xfb\x90\x64" + HTML.encode() * 300,
    "a header of another layer": b"\xff\xfd\x90\x64" + bytes(5000),
    "a picture": (FOLDER / "docs" / "page.png").read_bytes(),
    "an MP3 after a megabyte of nothing": bytes(1_000_000) + MUSIC,
    "a WAV of 8 bits": wav(bits=8),
    "a WAV of 24 bits": wav(bits=24),
    "a WAV in stereo": wav(channels=2),
    "a WAV of 44.1 kHz": wav(hertz=44100),
    "a WAV of 0 Hz": wav(hertz=0),
    "a WAV of A-law": wav(coding=6),
    "an extensible WAV of numbers with a point": wav(coding=0xFFFE, extra=b"\3" * 24),
    "a WAV without samples": wav()[:44],
    "a WAV without chunks": wav()[:12],
    "a WAV cut off": wav()[:30],
}


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_audio_that_vonage_does_not_play(name: str) -> None:
    with pytest.raises(ValueError, match="WAV"):
        sound(UNPLAYABLE[name])
