"""/stream and /stream/stop: audio into the active call, through the SDK, over TLS."""

from __future__ import annotations

import requests

from sandbox import Sandbox
from tests.conftest import StartSandbox, browse


def test_music_plays_into_the_leg_that_joined_last(sandbox: Sandbox) -> None:
    first, last = sandbox.dial(), sandbox.dial()
    browse(sandbox, "/stream").raise_for_status()
    assert [asked.path for asked in sandbox.asked] == [f"/v1/calls/{last.uuid}/stream"]
    assert first.playing is None


def test_vonage_gets_the_public_address_though_stream_is_opened_at_localhost(
    conference: Sandbox,
) -> None:
    call = conference.dial()
    browse(conference, "/stream").raise_for_status()
    call.hears(f"hears music: {conference.public_url}/static/hold-music.mp3, MP3 of 32 s, 1 time")


def test_only_what_is_set_is_sent_to_vonage(conference: Sandbox) -> None:
    conference.dial()
    browse(conference, "/stream")
    music = f"{conference.public_url}/static/hold-music.mp3"
    assert conference.asked[0].body == {"stream_url": [music]}


def test_the_settings_for_loop_and_level_are_sent(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="conversation", VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="0.5")
    sandbox.dial()
    browse(sandbox, "/stream")
    assert (sandbox.asked[0].body["loop"], sandbox.asked[0].body["level"]) == (0, 0.5)


def test_loop_and_level_can_be_given_for_once(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="conversation", VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="0.5")
    call = sandbox.dial()
    browse(sandbox, "/stream", loop="3", level="-1")
    call.hears("3 times at level -1")


def test_stop_stops_it(conference: Sandbox) -> None:
    call = conference.dial()
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")
    browse(conference, "/stream/stop").raise_for_status()
    call.hears("hears the music stop")


def test_a_post_does_the_same_as_a_get(conference: Sandbox) -> None:
    call = conference.dial()
    requests.post(f"{conference.app_url}/stream", data={"loop": "0"}, timeout=5)
    call.hears("for ever")


def test_one_leg_can_be_named(conference: Sandbox) -> None:
    first, last = conference.dial(), conference.dial()
    browse(conference, "/stream", uuid=first.uuid).raise_for_status()
    first.hears("hears music")
    assert last.playing is None


def test_a_leg_can_be_named_in_either_spelling(conference: Sandbox) -> None:
    call = conference.dial({"uuid": "63f618634a514f6b86e146edebcf9356"})
    browse(conference, "/stream", uuid="63f61863-4a51-4f6b-86e1-46edebcf9356").raise_for_status()
    call.hears("hears music")


def test_one_token_serves_many_requests(conference: Sandbox) -> None:
    conference.dial()
    for _ in range(3):
        browse(conference, "/stream")
    assert len({asked.authorization for asked in conference.asked}) == 1


def test_head_starts_no_music(conference: Sandbox) -> None:
    conference.dial()
    assert requests.head(f"{conference.app_url}/stream", timeout=5).status_code == 405
    assert conference.asked == []
