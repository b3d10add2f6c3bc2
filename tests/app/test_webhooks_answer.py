"""The answer webhook: what a caller hears."""

from __future__ import annotations

import uuid
import wave
from pathlib import Path
from typing import Any

import pytest
import requests

from app import create_app
from config import Config
from sandbox import FOLDER
from tests.helpers.sandboxes import InProcess, StartSandbox, browse
from tests.helpers.servers import serve_folder


def test_a_caller_hears_the_bundled_music(stream: InProcess) -> None:
    call = stream.dial()
    call.hears("hears music: hold-music.mp3, 32 s")
    assert call.ncco[0]["streamUrl"] == [f"{stream.public_url}/static/hold-music.mp3"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_caller_is_sent_to_the_conference(conference: InProcess, method: str) -> None:
    call = conference.dial(method=method)
    call.hears('hears "Please wait while we connect you to the conference"')
    call.hears("is in the conference")


def test_vonage_may_answer_the_call_first(conference: InProcess) -> None:
    call = conference.dial(answered_first=True)
    call.hears("is in the conference")
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")


def test_only_what_is_set_goes_into_a_stream_ncco(stream: InProcess) -> None:
    music = f"{stream.public_url}/static/hold-music.mp3"
    assert stream.dial().ncco == [{"action": "stream", "streamUrl": [music]}]


def test_only_what_is_set_goes_into_a_conversation_ncco(conference: InProcess) -> None:
    assert conference.dial().ncco == [
        {"action": "talk", "text": "Please wait while we connect you to the conference"},
        {"action": "conversation", "name": "Relaxing Conference"},
    ]


def test_loop_and_level_go_into_the_stream(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="stream", VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="-0.5")
    sandbox.dial().hears("forever at level -0.5")


def test_a_level_of_nought_is_a_level(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="stream", VOICE_STREAM_LEVEL="0")
    assert sandbox.dial().ncco[0]["level"] == 0


def test_a_key_press_ends_the_music_with_barge_in(start: StartSandbox) -> None:
    call = start(ANSWER_WITH="stream", VOICE_STREAM_BARGE_IN="true").dial()
    assert [action["action"] for action in call.ncco] == ["stream", "input"]
    call.hears("hears music")
    call.press()
    call.hears("hears the end of the NCCO")


def test_a_key_press_does_nothing_without_barge_in(stream: InProcess) -> None:
    call = stream.dial()
    call.hears("hears music")
    call.press()
    assert not call.over.wait(0.2)


def test_the_conference_and_what_is_said_before_it_are_settings(start: StartSandbox) -> None:
    call = start(VOICE_TEXT="One moment", VOICE_CONFERENCE_NAME="Quiet Conference").dial()
    assert call.ncco == [
        {"action": "talk", "text": "One moment"},
        {"action": "conversation", "name": "Quiet Conference"},
    ]


def test_a_single_space_says_nothing(start: StartSandbox) -> None:
    call = start(VOICE_TEXT=" ").dial()
    assert [action["action"] for action in call.ncco] == ["conversation"]


def test_a_wav_of_ones_own_plays_to_its_end(start: StartSandbox, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "beep.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    sandbox = start(ANSWER_WITH="stream", VOICE_STREAM_URL="https://music.example/beep.wav")
    with serve_folder(tmp_path) as sandbox.web["music.example"]:
        call = sandbox.dial()
        call.hears("hears music: beep.wav, 0 s")
        assert call.ncco[0]["streamUrl"] == ["https://music.example/beep.wav"]
        call.hears("hears the end of the NCCO")


def test_public_url_is_where_the_bundled_music_is(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="stream", PUBLIC_URL="https://public.example/")
    sandbox.web["public.example"] = sandbox.app_url
    call = sandbox.dial()
    call.hears("hears music: hold-music.mp3")
    assert call.ncco[0]["streamUrl"] == ["https://public.example/static/hold-music.mp3"]


def test_the_bundled_music_answers_range_requests(stream: InProcess) -> None:
    music = (FOLDER / "static/hold-music.mp3").read_bytes()
    part = requests.get(
        f"{stream.app_url}/static/hold-music.mp3", headers={"Range": "bytes=100-199"}, timeout=5
    )
    assert (part.status_code, part.content) == (206, music[100:200])


def test_the_bundled_music_is_not_cached_without_asking(stream: InProcess) -> None:
    whole = browse(stream, "/static/hold-music.mp3")
    assert whole.headers["Cache-Control"] == "no-cache"
    again = requests.get(whole.url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=5)
    assert again.status_code == 304


def test_the_bundled_music_may_be_asked_for_by_head(stream: InProcess) -> None:
    assert requests.head(f"{stream.app_url}/static/hold-music.mp3", timeout=5).ok


def test_a_client_sdk_user_is_on_the_line_by_name(conference: InProcess) -> None:
    conference.dial({"from_user": "alice"})
    assert "from alice joined" in conference.log.read_text()


def test_below_a_path_the_music_is_there_too(conference: InProcess) -> None:
    """As Apache's `WSGIScriptAlias /calls` mounts it; PUBLIC_URL is taken whole."""
    given = {"query_string": {"uuid": "63f618634a514f6b86e146edebcf9356"}}
    mounted = {"SCRIPT_NAME": "/calls", "HTTP_HOST": "a.example"}
    settings = {"ANSWER_WITH": "stream", "CALLS_URL": conference.config.CALLS_URL or ""}
    for more, music in (
        ({}, "http://a.example/calls/static/hold-music.mp3"),
        (
            {"PUBLIC_URL": "https://b.example/there"},
            "https://b.example/there/static/hold-music.mp3",
        ),
    ):
        app = create_app(Config.from_text(settings | more))
        answer = app.test_client().get("/webhooks/answer", environ_overrides=mounted, **given)
        assert answer.get_json()[0]["streamUrl"] == [music]


def test_webhooks_always_answer_json(conference: InProcess) -> None:
    for method, path, status in (
        ("PUT", "answer", 405),
        ("HEAD", "rtc", 405),
        ("POST", "event", 401),
        ("GET", "events", 404),
    ):
        url = f"{conference.app_url}/webhooks/{path}"
        response = requests.request(method, url, headers={"Accept": "text/html"}, timeout=5)
        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/json"


def test_a_slash_at_the_end_of_the_path_is_forgiven(conference: InProcess) -> None:
    response = conference.send("POST", "/webhooks/answer/", {"uuid": str(uuid.uuid4())})
    assert response is not None
    assert response.json()[-1]["action"] == "conversation"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "63f61863-4a51-4f6b-86e1-46edebcf935g",
        "63f61863-4a51-4f6b-86e1-46edebcf9356/../..",
        "63f61863-4a514f6b-86e1-46edebcf9356",
    ],
)
def test_a_uuid_that_is_missing_or_malformed_gets_400_and_is_not_kept(
    conference: InProcess, wrong: Any
) -> None:
    parameters = {"from": "447700900123"} if wrong is None else {"uuid": wrong}
    response = conference.send("POST", "/webhooks/answer", parameters)
    assert response is not None
    assert response.status_code == 400
    assert "uuid must be 36 characters" in response.json()["error"]
    assert conference.store.live() == []


@pytest.mark.parametrize("body", ["", "[]", "null", "[" * 60_000])
def test_a_body_that_is_no_json_object_gets_400_and_is_not_kept(
    conference: InProcess, body: str
) -> None:
    response = post(conference, "/webhooks/answer", body.encode())
    assert response.status_code == 400
    assert "must be" in response.json()["error"]
    assert conference.store.live() == []


def test_a_null_is_as_if_the_field_were_not_there(conference: InProcess) -> None:
    call: dict[str, Any] = {"uuid": str(uuid.uuid4()), "from": None, "from_user": "alice"}
    response = conference.send("POST", "/webhooks/answer", {**call, "region_url": None})
    assert response is not None
    assert response.ok
    assert [leg.caller for leg in conference.store.live()] == ["alice"]


def test_head_does_not_take_a_call(conference: InProcess) -> None:
    call = {"uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356"}
    response = conference.send("HEAD", "/webhooks/answer", call)
    assert response is not None
    assert response.status_code == 405
    assert conference.store.live() == []


# The region of the call


@pytest.mark.parametrize(
    ("region_url", "host"),
    [
        ("https://api-us-3.vonage.com", "api-us-3.vonage.com"),
        ("https://api.nexmo.com", "api.nexmo.com"),
        ("https://API-US-3.vonage.com/v1/calls", "api-us-3.vonage.com"),
        ("https://api-us-3.vonage.com:443", "api-us-3.vonage.com"),
        ("https://api.nexmo.com.evil.example", None),
        ("https://evil.example/api.nexmo.com", None),
        ("http://api-us-3.vonage.com", None),
        ("https://user@api-us-3.vonage.com", None),
        ("https://api-us-3.vonage.com:8443", None),
        ("https://api-us-3.vonage.com.", None),
        ("https://evil.example#@api-us-3.vonage.com", None),
        ("https://api-.evil.example/.vonage.com", None),
        ("", None),
    ],
)
def test_region_url_is_followed_to_vonages_hosts_only(
    conference: InProcess, region_url: str, host: str | None
) -> None:
    call = {"uuid": str(uuid.uuid4()), "region_url": region_url}
    conference.send("POST", "/webhooks/answer", call)
    assert [leg.api_host for leg in conference.store.live()] == [host]


# The address that the webhook came in on


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"X-Forwarded-Host": "flask_app:9000"}, "https://flask_app:9000"),
        ({"X-Forwarded-Proto": "HTTPS"}, "https://PUBLIC"),
        ({"X-Forwarded-Proto": "http, https"}, "http://PUBLIC"),
        ({"X-Forwarded-Host": "a.example, b.example"}, "https://a.example"),
        ({"X-Forwarded-Host": "[2001:db8::1]:9000"}, "https://[2001:db8::1]:9000"),
        ({"X-Forwarded-Host": None, "X-Forwarded-Proto": None}, "http://PUBLIC"),
    ],
    ids=lambda value: str(value),
)
def test_the_music_is_where_the_webhook_came_in(
    stream: InProcess, headers: dict[str, Any], address: str
) -> None:
    call = {"uuid": str(uuid.uuid4())}
    response = stream.send("GET", "/webhooks/answer", call, **headers)
    assert response is not None
    url = f"{address}/static/hold-music.mp3".replace("PUBLIC", stream.public_host)
    assert response.json()[0]["streamUrl"] == [url]


NO_HOSTS = ["evil.example/x", "[::1", "[::::]", "a.example:99999", "a@b", "ü"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_a_host_that_is_none_gets_400_where_the_music_needs_it(
    stream: InProcess, host: str
) -> None:
    call = {"uuid": str(uuid.uuid4())}
    response = stream.send("GET", "/webhooks/answer", call, **{"X-Forwarded-Host": latin(host)})
    assert response is not None
    assert response.status_code == 400
    assert "PUBLIC_URL" in response.json()["error"]
    assert stream.store.live() == []


def test_a_host_that_is_none_cuts_no_one_off_in_a_conference(conference: InProcess) -> None:
    call = {"uuid": str(uuid.uuid4())}
    headers = {"X-Forwarded-Host": "a b"}
    response = conference.send("GET", "/webhooks/answer", call, **headers)
    assert response is not None
    assert response.json()[-1] == {"action": "conversation", "name": "Relaxing Conference"}
    assert "set PUBLIC_URL" in conference.log.read_text()
    stream = browse(conference, "/stream")
    assert stream.status_code == 503
    assert "PUBLIC_URL" in stream.json()["error"]
    assert conference.asked == []


def test_who_waits_at_no_known_address_waits_without_music(start: StartSandbox) -> None:
    sandbox = start(VOICE_CONFERENCE_QUORUM="3")
    call = {"uuid": str(uuid.uuid4())}
    response = sandbox.send("GET", "/webhooks/answer", call, **{"X-Forwarded-Host": "a b"})
    assert response is not None
    waits = {"action": "conversation", "name": "Relaxing Conference", "startOnEnter": False}
    assert response.json()[-1] == waits


def test_an_event_asks_for_no_address(conference: InProcess) -> None:
    event = {"uuid": str(uuid.uuid4()), "status": "answered"}
    headers = {"X-Forwarded-Host": "a b"}
    response = conference.send("POST", "/webhooks/event", event, **headers)
    assert response is not None
    assert response.status_code == 204


def latin(header: str) -> str:
    """A header as it arrives."""
    return header.encode().decode("latin-1")


def post(sandbox: InProcess, path: str, body: bytes) -> requests.Response:
    """A signed webhook with any body."""
    headers = {"Authorization": sandbox.account.sign(body), "Content-Type": "application/json"}
    return requests.post(sandbox.app_url + path, data=body, headers=headers, timeout=5)
