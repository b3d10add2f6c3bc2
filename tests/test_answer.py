"""The answer webhook: what a caller hears."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
import requests

from sandbox import Sandbox
from tests.conftest import StartSandbox, browse, serve_folder

METHODS = pytest.mark.parametrize("method", ["GET", "POST"])


@METHODS
def test_a_caller_hears_the_bundled_music(sandbox: Sandbox, method: str) -> None:
    call = sandbox.dial(method=method)
    call.hears(f"hears music: {sandbox.public_url}/static/hold-music.mp3, MP3 of 32 s, 1 time")


@METHODS
def test_a_caller_is_sent_to_the_conference(conference: Sandbox, method: str) -> None:
    call = conference.dial(method=method)
    call.hears('hears "Please wait while we connect you to the conference"')
    call.hears("is in the conference")


def test_only_what_is_set_goes_into_a_stream_ncco(sandbox: Sandbox) -> None:
    music = f"{sandbox.public_url}/static/hold-music.mp3"
    assert sandbox.dial().ncco == [{"action": "stream", "streamUrl": [music]}]


def test_only_what_is_set_goes_into_a_conversation_ncco(conference: Sandbox) -> None:
    assert conference.dial().ncco == [
        {"action": "talk", "text": "Please wait while we connect you to the conference"},
        {"action": "conversation", "name": "Relaxing Conference"},
    ]


def test_loop_and_level_go_into_the_stream(start: StartSandbox) -> None:
    call = start(VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="-0.5").dial()
    call.hears("for ever at level -0.5")


def test_a_level_of_nought_is_a_level(start: StartSandbox) -> None:
    assert start(VOICE_STREAM_LEVEL="0").dial().ncco[0]["level"] == 0


def test_a_key_press_ends_the_music_with_barge_in(start: StartSandbox) -> None:
    call = start(VOICE_STREAM_BARGE_IN="true").dial()
    assert [action["action"] for action in call.ncco] == ["stream", "input"]
    call.hears("hears music")
    call.press()
    call.hears("hears the end of the NCCO")


def test_a_key_press_does_nothing_without_barge_in(sandbox: Sandbox) -> None:
    call = sandbox.dial()
    call.hears("hears music")
    call.press()
    assert not call.over.wait(0.2)


def test_the_conference_and_what_is_said_before_it_are_settings(start: StartSandbox) -> None:
    call = start(
        ANSWER_WITH="conversation", VOICE_TEXT="One moment", VOICE_CONFERENCE_NAME="Quiet Room"
    ).dial()
    assert call.ncco == [
        {"action": "talk", "text": "One moment"},
        {"action": "conversation", "name": "Quiet Room"},
    ]


def test_a_single_space_says_nothing(start: StartSandbox) -> None:
    call = start(ANSWER_WITH="conversation", VOICE_TEXT=" ").dial()
    assert [action["action"] for action in call.ncco] == ["conversation"]


def test_a_wav_of_ones_own_plays_to_its_end(start: StartSandbox, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "beep.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    sandbox = start(VOICE_STREAM_URL="https://music.example/beep.wav")
    with serve_folder(tmp_path) as sandbox.web["music.example"]:
        call = sandbox.dial()
        call.hears("hears music: https://music.example/beep.wav, WAV of 0 s")
        call.hears("hears the end of the NCCO")


def test_public_url_is_where_the_bundled_music_is(start: StartSandbox) -> None:
    sandbox = start(PUBLIC_URL="https://public.example/")
    sandbox.web["public.example"] = sandbox.app_url
    sandbox.dial().hears("hears music: https://public.example/static/hold-music.mp3")


def test_the_bundled_music_answers_range_requests(sandbox: Sandbox) -> None:
    music = Path("static/hold-music.mp3").read_bytes()
    part = requests.get(
        f"{sandbox.app_url}/static/hold-music.mp3", headers={"Range": "bytes=100-199"}, timeout=5
    )
    assert (part.status_code, part.content) == (206, music[100:200])


def test_the_bundled_music_may_be_cached(sandbox: Sandbox) -> None:
    whole = browse(sandbox, "/static/hold-music.mp3")
    assert "max-age=" in whole.headers["Cache-Control"]
    again = requests.get(whole.url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=5)
    assert again.status_code == 304


def test_a_client_sdk_user_is_on_the_line_by_name(conference: Sandbox) -> None:
    conference.dial({"from": None, "from_user": "alice"})
    assert "from alice" in conference.log.read_text()


@METHODS
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "63f61863",
        "63f61863-4a51-4f6b-86e1-46edebcf935g",
        "63f61863-4a51-4f6b-86e1-46edebcf9356/../..",
        "63f618634a514f6b86e146edebcf9356?",
        "63f61863-4a514f6b-86e1-46edebcf9356",
        "../" * 12,
    ],
)
def test_a_uuid_that_is_missing_or_malformed_gets_400_and_is_not_kept(
    conference: Sandbox, method: str, wrong: str | None
) -> None:
    parameters = {"from": "447700900123"} if wrong is None else {"uuid": wrong}
    response = conference.send(method, "/webhooks/answer", parameters)
    assert response is not None
    assert response.status_code == 400
    assert "uuid must name a leg" in response.json()["error"]
    assert browse(conference, "/stream").status_code == 409


def test_head_does_not_take_a_call(sandbox: Sandbox) -> None:
    call = {"uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356"}
    response = sandbox.send("HEAD", "/webhooks/answer", call)
    assert response is not None
    assert response.status_code == 405
    assert browse(sandbox, "/stream").status_code == 409
