"""The sandbox sends what Vonage sends, and says what is heard."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from werkzeug import Response

from tests.helpers.audio import MUSIC
from tests.helpers.faults import HeardCall
from tests.helpers.stub import CONFERENCE, INPUT, TALK, StubbedSandbox
from tests.helpers.waiting import wait_until

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MUSIC_HEARD = "hears music: music.mp3, 32 s"


# Webhooks


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_answer_webhook_is_signed_and_comes_through_a_tunnel(
    sandbox: StubbedSandbox, method: str
) -> None:
    own = {"SipHeader_X-Name": 'Zoë "Z" & co', "endpoint_type": None}
    sandbox.dial(own, method=method, region="api-eu-3.vonage.com")
    (answer,) = [one for one in sandbox.webhooks if one.path == "/webhooks/answer"]
    given = answer.args.to_dict() if method == "GET" else answer.json
    usual = {"to", "from", "uuid", "conversation_uuid", "region_url"}
    assert set(given) == {*usual, "SipHeader_X-Name"}
    assert given["SipHeader_X-Name"] == 'Zoë "Z" & co'
    assert given["region_url"] == "https://api-eu-3.vonage.com"
    compact = json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()
    assert answer.get_data() == (b"" if method == "GET" else compact)
    token = answer.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, sandbox.account.signature_secret, algorithms=["HS256"])
    assert claims["payload_hash"] == hashlib.sha256(compact).hexdigest()
    assert set(claims) == {"iat", "jti", "iss", "api_key", "application_id", "payload_hash"}
    assert answer.headers["Host"] == answer.headers["X-Forwarded-Host"] == sandbox.public_host
    assert answer.headers["X-Forwarded-Proto"] == "https"


def test_the_events_of_a_call(sandbox: StubbedSandbox) -> None:
    call = sandbox.dial()
    call.hears("is in the conference")
    call.hang_up()
    started, ringing, answered, transfer, completed = sandbox.events(call)
    statuses = [event["status"] for event in (started, ringing, answered, completed)]
    assert statuses == ["started", "ringing", "answered", "completed"]
    usual = {"from", "to", "uuid", "conversation_uuid", "status", "direction", "timestamp"}
    assert set(started) == usual
    unknown = {name for name, value in answered.items() if value is None}
    assert unknown == {"start_time", "rate", "network"}
    moved = {"conversation_uuid_from", "conversation_uuid_to", "uuid", "timestamp", "type"}
    assert set(transfer) == moved
    assert transfer["conversation_uuid_to"] == completed["conversation_uuid"]
    costs = {"start_time", "end_time", "rate", "price", "network", "duration"}
    assert set(completed) == usual | costs | {"disconnected_by", "sip_code"}
    assert (completed["duration"], completed["sip_code"]) == ("0", 200)
    assert completed["disconnected_by"] == "user"
    times = [event["timestamp"] for event in (started, ringing, answered, transfer, completed)]
    assert times == sorted(times)
    assert all(TIME.fullmatch(moment) for moment in [*times, completed["start_time"]])


def test_a_uuid_has_hyphens_as_often_as_not(sandbox: StubbedSandbox) -> None:
    lengths = [len(sandbox.create_call().uuid) for _ in range(4)]
    assert sorted(lengths) == [32, 32, 36, 36]


def test_a_caller_who_hangs_up_before_the_call_is_answered_cancels_it(
    sandbox: StubbedSandbox,
) -> None:
    call = sandbox.dial(pick_up=False)
    sandbox.webhooks.clear()
    call.hang_up()
    call.pick_up()  # which comes too late
    assert call.answered is None
    cancelled, completed = sandbox.events(call)
    assert (cancelled["status"], completed["status"]) == ("cancelled", "completed")
    assert (completed["sip_code"], completed["disconnected_by"]) == (487, "user")
    assert "start_time" not in completed


def test_an_event_that_fails_is_sent_once(
    sandbox: StubbedSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.files["/webhooks/event"] = Response(status=503)
    call = sandbox.dial(pick_up=False)
    del sandbox.files["/webhooks/event"]
    assert [event["status"] for event in sandbox.events(call)] == ["started", "ringing"]
    assert f"{call.name} POST /webhooks/event ringing → 503" in capsys.readouterr().out


# What is heard


SILENT = "https://silent.example/a.mp3"


@pytest.fixture
def silent(sandbox: StubbedSandbox) -> Iterator[socket.socket]:
    """Yield a server that never answers, at SILENT."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sandbox.web["silent.example"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield server


def test_music_does_not_wait_for_what_it_replaces(
    sandbox: StubbedSandbox, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "audio_time", 60)  # longer than the test waits for a line
    call = sandbox.dial()
    call.hears("is in the conference")
    call.start_stream(SILENT, 1, 0)
    first = silent.accept()
    call.start_stream(sandbox.music, 1, 0)
    call.hears(MUSIC_HEARD)
    call.stop_stream()
    call.start_stream(SILENT, 1, 0)
    second = silent.accept()
    call.stop_stream()
    assert not call.is_fetching
    call.start_stream(sandbox.short, 1, 0)
    call.hears("hears the music end")
    heard = [line for line in call.story if "hears music" in line or "nothing" in line]
    assert heard == [MUSIC_HEARD, "hears music: short.wav, 0 s"]
    for connection, _ in (first, second):
        connection.close()


def test_no_thread_outlives_its_call(sandbox: StubbedSandbox, silent: socket.socket) -> None:
    call = sandbox.dial()
    call.hears("is in the conference")
    before = threading.active_count()
    for _ in range(40):
        call.start_stream(SILENT, 1, 0)
    wait_until(lambda: threading.active_count() <= before + 2, "the end of 39", 8)
    call.hang_up()
    wait_until(lambda: threading.active_count() < before, "the end of the last", 8)


def test_a_key_press_ends_the_music_and_is_sent(sandbox: StubbedSandbox) -> None:
    asked = {**INPUT, "dtmf": {"maxDigits": 2, "timeOut": 0}}
    sandbox.answers = [[sandbox.stream(bargeIn=True, loop=10**400), asked]]
    call = sandbox.dial()
    call.hears("hears music")
    call.press("12")
    call.hears("hears the music stop")
    call.hears("hears the end of the NCCO")
    assert pressed(sandbox, call) == {"digits": "12", "timed_out": False}


def pressed(sandbox: StubbedSandbox, call: HeardCall) -> Any:
    """Return the keys in the one event that has any."""
    (keys,) = [event["dtmf"] for event in sandbox.events(call) if "dtmf" in event]
    return keys


@pytest.mark.parametrize(
    ("dtmf", "keys", "sent"),
    [
        ({"timeOut": 1}, "5", {"digits": "5", "timed_out": True}),
        ({"maxDigits": 2, "timeOut": 10}, "567", {"digits": "56", "timed_out": False}),
        (None, "5678", {"digits": "5678", "timed_out": False}),
    ],
)
def test_an_input_waits_for_keys(
    sandbox: StubbedSandbox, dtmf: Any, keys: str, sent: dict[str, Any]
) -> None:
    """The defaults are 4 keys, and 3 s for each. [NCCO reference of 2021]"""
    sandbox.answers = [[{**INPUT, "dtmf": dtmf}]]
    call = sandbox.dial()
    seconds = 3 if dtmf is None else dtmf["timeOut"]
    call.hears(f"may press keys, the next within {seconds} s")
    began = time.monotonic()
    call.press(keys)
    call.hears("hears the end of the NCCO")
    assert pressed(sandbox, call) == sent
    assert (time.monotonic() - began >= 1) == sent["timed_out"]


def test_what_is_not_run_is_said(sandbox: StubbedSandbox) -> None:
    conference = {**CONFERENCE, "endOnExit": True, "eventUrl": ["https://a.example/"]}
    asked: dict[str, Any] = {"action": "input", "type": ["speech"], "speech": {}, "eventUrl": None}
    sandbox.answers = [[{"action": "record", "split": None}, TALK, asked, conference]]
    call = sandbox.dial()
    call.hears("is in the conference")
    not_run = [line.partition(": not run here")[0] for line in call.story if ": not" in line]
    conference_with = ["conversation with endOnExit", "conversation with eventUrl"]
    assert not_run == ["record", "input of speech", *conference_with]


def test_hold_music_ends_when_the_conference_starts(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[sandbox.hold()], [sandbox.hold()], [CONFERENCE], [sandbox.hold()]]
    waiting, listening = sandbox.dial(), sandbox.dial()
    for call in (waiting, listening):
        call.hears("hears hold music: music.mp3, 32 s, forever")
    waiting.stop_stream()  # hold music, which goes on
    assert "hears the music stop" not in waiting.story
    listening.start_stream(sandbox.music, 1, 0)  # in place of the hold music
    listening.hears("hears music")
    sandbox.dial().hears("is in the conference, with 2 more: silence until Play")
    waiting.hears("is in the conference, with 2 more: silence until Play")
    assert waiting.story[-2] == "hears the music stop"
    assert listening.hears("is in the conference") == "is in the conference, with 2 more"
    listening.stop_stream()
    assert listening.story[-1] == "hears the music stop"
    assert "with 3 more" in sandbox.dial().hears("is in the conference")


def test_a_conference_that_everybody_has_left_has_to_start_again(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[{**CONFERENCE, "startOnEnter": "true"}]]
    first = sandbox.dial()
    first.hears("is in the conference, alone: silence until Play")
    first.hang_up()
    sandbox.answers = [[{**CONFERENCE, "startOnEnter": "false"}]]
    sandbox.dial().hears("waits for the conference to start")


# What a phone gets beside the story


def test_a_phone_gets_what_happens_in_order(sandbox: StubbedSandbox) -> None:
    sandbox.add_file("/music.mp3?x=1", MUSIC)
    sandbox.answers = [[{**TALK, "level": 0.55, "bargeIn": True}, INPUT, CONFERENCE]]
    call = sandbox.dial({"from": "447700900123"})
    call.hears("may press keys")
    call.press("5")
    call.hears("is in the conference")
    call.start_stream(sandbox.music + "?x=1", 10**12, 0.1)
    call.hears("hears music")
    call.stop_stream()
    call.hang_up()
    who = {"uuid": call.uuid, "number": "+447700900123", "name": "…0123"}
    heard = {"seconds": pytest.approx(32, abs=0.1), "times": 10**9, "level": 0.1}
    line = "hears music: music.mp3, 32 s, 1000000000 times at level 0.1"
    talk = {"sound": "talk", "text": "One moment", "level": 0.55}
    assert call.happened == [
        {"line": "dials", "place": "ringing", "state": "Ringing", **who},
        {"place": "answered", "state": "Connected"},
        {"line": 'hears "One moment"', "keys": True, **talk},
        {"line": "may press keys, the next within 3 s", "sound": "silence", "keys": True},
        {"line": "presses 5", "sound": "silence"},
        {"keys": False},
        {"place": "conference", "state": "In the conference, alone"},
        {"line": "is in the conference, alone: silence until Play"},
        {"line": line, "sound": "music", "keys": False, **heard},
        {"sound": "silence"},
        {"line": "hears the music stop"},
        {"line": "hangs up", "place": "over", "state": "Call ended"},
    ]
    assert call.audio == MUSIC


def test_a_phone_gets_who_else_is_there(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[sandbox.hold()], [CONFERENCE]]
    first = sandbox.dial()
    first.hears("hears hold music")
    second = sandbox.dial()
    second.hears("is in the conference, with 1 more")
    third = sandbox.dial()
    third.hears("is in the conference, with 2 more")
    second.hang_up()
    there = [f"In the conference, with {others} more" for others in (1, 2, 1)]
    assert states(first)[2:] == ["Waiting for the conference to start", *there]
    assert states(third)[2:] == there[1:]
    sandbox.hang_up_all()
    assert states(third)[-2:] == [there[-1], "The sandbox has ended"]


def states(call: HeardCall) -> list[Any]:
    return [event["state"] for event in call.happened if "state" in event]
