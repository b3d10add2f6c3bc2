"""/stream and /stream/stop: which legs hear the audio, what is reported, and what is saved."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from calls import AudioNote, open_calls
from tests.helpers.faults import Fault
from tests.helpers.sandboxes import InProcess, StartSandbox, browse, error_of
from tests.helpers.waiting import wait_until

PATHS = pytest.mark.parametrize("path", ["/stream", "/stream/stop"])
STARTED = Fault(200, b'{"message": "Stream started", "uuid": "a"}')


# The active call


def test_music_plays_into_the_leg_that_joined_last(stream: InProcess) -> None:
    first, last = stream.dial(), stream.dial()
    browse(stream, "/stream").raise_for_status()
    assert [asked.path for asked in stream.asked] == [f"/v1/calls/{last.uuid}/stream"]
    music = f"{stream.public_url}/static/hold-music.mp3"
    assert stream.asked[0].body == {"stream_url": [music]}  # and only what is set
    assert first.playing is None


def test_everyone_in_the_conference_hears_the_music_and_its_end(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(3)]
    uuids = {caller.uuid for caller in callers}
    response = browse(conference, "/stream").json()
    for caller in callers:
        caller.hears("hears music: hold-music.mp3, 32 s")
    assert response["message"] == "Sent hold-music.mp3 to all 3 callers"
    assert {leg["uuid"] for leg in response["legs"]} == uuids
    response = browse(conference, "/stream/stop").json()
    for caller in callers:
        caller.hears("hears the music stop")
    assert response["message"] == "Stopped for all 3 callers"
    assert {leg["uuid"] for leg in response["legs"]} == uuids


def test_music_reaches_no_other_conference(conference: InProcess, start: StartSandbox) -> None:
    url = conference.environment["CALLS_URL"]
    start(VOICE_CONFERENCE_NAME="Another Conference", CALLS_URL=url).dial()
    caller = conference.dial()
    assert len(open_calls(url, conference.account.application_id).live()) == 2
    browse(conference, "/stream").raise_for_status()
    assert [asked.path for asked in conference.asked] == [f"/v1/calls/{caller.uuid}/stream"]


def test_one_leg_can_be_named_in_either_spelling(conference: InProcess) -> None:
    first, last = conference.dial({"uuid": uuid.UUID(int=1).hex}), conference.dial()
    browse(conference, "/stream", uuid=str(uuid.UUID(int=1))).raise_for_status()
    first.hears("hears music")
    assert last.playing is None
    browse(conference, "/stream").raise_for_status()
    browse(conference, "/stream/stop", uuid=first.uuid).raise_for_status()
    first.hears("hears the music stop")
    assert last.playing is not None


@PATHS
def test_a_uuid_that_is_not_on_the_line_is_a_404(conference: InProcess, path: str) -> None:
    conference.dial()
    for value in ("", "../../v2/calls", "1?a=b", "a" * 36, str(uuid.UUID(int=1))):
        assert browse(conference, path, uuid=value).status_code == 404
    assert conference.asked == []


@PATHS
def test_with_no_one_on_the_line_it_says_to_dial(conference: InProcess, path: str) -> None:
    error = error_of(browse(conference, path), 409)
    assert error == "No one is on the line. Dial the number first."


ID, KEY = "VONAGE_APPLICATION_ID", "VONAGE_PRIVATE_KEY"


@pytest.mark.parametrize("missing", [[ID], [KEY], [ID, KEY]], ids=" and ".join)
def test_missing_credentials_are_named_first(start: StartSandbox, missing: list[str]) -> None:
    sandbox = start(**dict.fromkeys(missing, ""))
    assert sandbox.dial().ncco
    for path in ("/stream?loop=x&uuid=y", "/stream/stop"):
        error = error_of(browse(sandbox, path), 503)
        assert error == f"Set {' and '.join(missing)}: needed by /stream."


# What goes to Vonage


def test_a_request_may_replace_url_loop_and_level(start: StartSandbox) -> None:
    ours, other = "https://example.com/ours.mp3", "https://example.com/a.mp3?b=1&c=2"
    settings = {"VOICE_STREAM_URL": ours, "VOICE_STREAM_LOOP": "0", "VOICE_STREAM_LEVEL": "0.5"}
    sandbox = start(**settings)
    sandbox.dial()
    for given in ({}, {"url": other, "loop": "3", "level": "-1"}, {}):
        browse(sandbox, "/stream", **given).raise_for_status()
    as_set = {"stream_url": [ours], "loop": 0, "level": 0.5}
    as_given = {"stream_url": [other], "loop": 3, "level": -1}
    assert [asked.body for asked in sandbox.asked] == [as_set, as_given, as_set]


@pytest.mark.parametrize("where", ["params", "data"])
def test_a_post_does_the_same_as_a_get(conference: InProcess, where: str) -> None:
    call = conference.dial()
    conference.request("/stream", "POST", **{where: {"loop": "0"}}).raise_for_status()
    call.hears("forever")


@pytest.mark.parametrize("path", ["/stream", "/stream/stop", "/webhooks/answer", "/webhooks/event"])
def test_head_neither_joins_nor_starts_nor_stops(conference: InProcess, path: str) -> None:
    call = conference.dial()
    for leg in (call.uuid, str(uuid.uuid4())):
        given = {"uuid": leg}
        if path == "/webhooks/event":
            given["status"] = "completed"
        headers = {"Authorization": conference.account.sign()}
        response = conference.request(path, "HEAD", params=given, headers=headers)
        assert response.status_code == 405
    assert conference.asked == []
    assert conference.live == [call.uuid]


# The report


def test_one_sentence_reports_a_play(conference: InProcess) -> None:
    """In the log, in JSON, and in the news, with each reason of a failure once."""
    reached = [conference.dial() for _ in range(2)]
    lost = [conference.dial_at("localhost:9000"), conference.dial_at("localhost:9000")]
    answer = browse(conference, "/stream").json()
    sentence = "Sent hold-music.mp3 to 2 of 4 callers"
    why = (
        "The audio's address https://localhost:9000/static/hold-music.mp3 is not on the public "
        "internet, where Vonage could fetch it. Set PUBLIC_URL"
    )
    assert answer["message"] == sentence
    assert {leg["uuid"]: leg.get("error") for leg in answer["legs"]} == {
        **{caller.uuid: None for caller in reached},
        **dict.fromkeys(lost, f"{why}."),
    }
    [news] = [line for line in conference.store.news() if "Sent" in line.text]
    assert (news.text, news.bad) == (f"{sentence}; {why}", True)
    [line] = [line for line in conference.lines if "Sent" in line]
    said, _, uuids = line.rpartition(" (")
    assert said == f"WARNING: {sentence}; {why}"
    assert sorted(uuids.removesuffix(")").split(", ")) == sorted(lost)


def test_one_sentence_reports_a_stop(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(2)]
    browse(conference, "/stream/stop").raise_for_status()
    callers[0].over.set()  # its completed event is on the way
    for caller in callers:
        browse(conference, "/stream/stop", uuid=caller.uuid)
    why = f"Vonage at localhost:{conference.api_port} has no such call"
    told = [line for line in reversed(conference.store.news()) if "Stopped" in line.text]
    said = [(line.bad, line.text.partition(" (")[0]) for line in told]
    assert said == [
        (False, "Stopped for all 2 callers"),
        (True, f"Stopped for no one; {why}"),
        (False, "Stopped for the caller"),
    ]
    logged = [line.partition(" (")[0] for line in conference.lines if "Stopped" in line]
    assert logged == [f"{'WARNING' if bad else 'INFO'}: {text}" for bad, text in said]


def test_no_such_call_is_reported_only_if_it_is_true_of_all(conference: InProcess) -> None:
    for _ in range(2):
        conference.dial()
    conference.faults = [Fault(404), Fault(500)]
    assert "answered 500" in error_of(browse(conference, "/stream"), 502)


def test_only_the_name_of_the_audio_is_shown(start: StartSandbox) -> None:
    sandbox = start(VOICE_STREAM_URL="https://user:hush@example.com/a/b%20c.mp3?key=hush")
    sandbox.dial()
    assert browse(sandbox, "/stream").json()["message"] == "Sent b c.mp3 to the caller"
    assert "Sent b c.mp3 to the caller" in [news.text for news in sandbox.store.news()]
    assert "INFO: Sent b c.mp3 to the caller" in sandbox.lines
    assert "hush" not in sandbox.log.read_text()


# What is saved


def test_stream_notes_what_it_sent_and_stop_that_it_stopped(conference: InProcess) -> None:
    """Before any event about the audio."""
    first, last = conference.dial(), conference.dial()
    conference.faults = [STARTED]
    began = time.time()
    browse(conference, "/stream", uuid=first.uuid).raise_for_status()
    assert conference.notes == {first.uuid: AudioNote("sent", "hold-music.mp3"), last.uuid: None}
    browse(conference, "/stream/stop", uuid=first.uuid).raise_for_status()
    assert conference.notes == {first.uuid: AudioNote("stopped"), last.uuid: None}
    assert began <= conference.store.live()[1].audio_at <= time.time()


def test_an_event_of_the_meantime_is_not_overwritten(conference: InProcess) -> None:
    call = conference.dial()
    conference.faults = [STARTED]
    conference.released.clear()
    playing = {"type": "audio:play", "body": {"channel": {"id": call.uuid}}}
    with ThreadPoolExecutor(1) as operator:
        pressed = operator.submit(browse, conference, "/stream")
        wait_until(lambda: conference.asked)
        assert conference.webhook("rtc", playing).status_code == 204
        assert not pressed.done()
        conference.released.set()
        pressed.result().raise_for_status()
    assert conference.notes == {call.uuid: AudioNote("playing")}


# Parameters: nothing else plays than was asked for


UNKNOWN = {
    "Signature": "/stream?url=https://cdn.example.com/a.mp3?Expires=1&Signature=abc",
    "url": "/stream/stop?url=https://example.com/a.mp3",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_parameter_is_named(conference: InProcess, name: str) -> None:
    conference.dial()
    error = error_of(browse(conference, UNKNOWN[name]), 400)
    assert f"has no parameter {name}," in error
    assert "write each & of that address as %26" in error
    assert conference.asked == []


WRONG = ["url=", "url=http://10.0.0.1/a?key=hush", "loop=", "loop=-1", "level=", "level=1.1"]


@pytest.mark.parametrize("given", WRONG)
def test_a_parameter_out_of_range_is_a_400(conference: InProcess, given: str) -> None:
    conference.dial()
    error = error_of(browse(conference, f"/stream?{given}"), 400)
    assert error.startswith(f"{given.partition('=')[0]} must be ")
    assert "hush" not in conference.log.read_text()
    assert conference.asked == []


NOT_READ: dict[str, dict[str, Any]] = {
    "JSON": {"json": {"uuid": "63f61863"}},
    "a form with a file": {"files": {"uuid": b"63f61863"}, "data": {"loop": "0"}},
    "a form by GET": {"data": {"uuid": "63f61863"}, "method": "GET"},
}


@pytest.mark.parametrize("given", NOT_READ.values(), ids=NOT_READ)
def test_a_body_that_would_be_ignored_is_refused(
    conference: InProcess, given: dict[str, Any]
) -> None:
    conference.dial()
    error = error_of(conference.request("/stream", **{"method": "POST", **given}), 400)
    assert error.startswith("Parameters go into the address")
    assert conference.asked == []


MANY = 65_000
LONG = {
    "loop": "9" * MANY,
    "level": "9" * MANY,
    "url": "@" * MANY,
    "url of one host": f"http://{'9.' * (MANY // 2)}",
    "url of digits": "9" * MANY,
    "uuid": "a" * MANY,
    "9" * MANY: "x",
}


@pytest.mark.parametrize("name", LONG, ids=lambda name: name[:20])
def test_a_long_value_costs_no_time(conference: InProcess, name: str) -> None:
    conference.dial()
    body = f"{name.split()[0]}={LONG[name]}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(2):  # the first may import something
        began = time.process_time()
        response = conference.request("/stream", "POST", data=body, headers=headers)
        took = time.process_time() - began
    assert took < 0.2
    assert response.status_code in (400, 404)
    assert len(response.text) < 1_000
    assert conference.asked == []


def test_a_wrong_loop_is_not_called_a_wrong_address(conference: InProcess) -> None:
    conference.dial()
    form = {"url": "https://example.com/a.mp3", "loop": "x"}
    page = conference.request("/stream", "POST", data=form, headers={"Accept": "text/html"})
    assert "loop must be a whole number" in page.text
    assert "Use a public" not in page.text
