"""/stream and /stream/stop: audio into the active call, through the SDK, over TLS."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import requests

from tests.helpers.sandboxes import InProcess, StartSandbox, browse


def test_music_plays_into_the_leg_that_joined_last(stream: InProcess) -> None:
    first, last = stream.dial(), stream.dial()
    browse(stream, "/stream").raise_for_status()
    assert [asked.path for asked in stream.asked] == [f"/v1/calls/{last.uuid}/stream"]
    assert first.playing is None


def test_vonage_gets_the_public_address_though_stream_is_opened_at_localhost(
    conference: InProcess,
) -> None:
    call = conference.dial()
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music: hold-music.mp3, 32 s")
    assert call.playing == f"{conference.public_url}/static/hold-music.mp3"


def test_only_what_is_set_is_sent_to_vonage(conference: InProcess) -> None:
    conference.dial()
    browse(conference, "/stream")
    music = f"{conference.public_url}/static/hold-music.mp3"
    assert conference.asked[0].body == {"stream_url": [music]}


def test_the_settings_for_loop_and_level_are_sent(start: StartSandbox) -> None:
    sandbox = start(VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="0.5")
    sandbox.dial()
    browse(sandbox, "/stream")
    assert (sandbox.asked[0].body["loop"], sandbox.asked[0].body["level"]) == (0, 0.5)


def test_loop_and_level_can_be_given_for_once(start: StartSandbox) -> None:
    sandbox = start(VOICE_STREAM_LOOP="0", VOICE_STREAM_LEVEL="0.5")
    call = sandbox.dial()
    browse(sandbox, "/stream", loop="3", level="-1")
    call.hears("3 times at level -1")
    browse(sandbox, "/stream")
    call.hears("forever at level 0.5")


def test_another_audio_address_can_be_given_for_once(conference: InProcess) -> None:
    conference.dial()
    browse(conference, "/stream", url="https://example.com/closing.mp3").raise_for_status()
    browse(conference, "/stream").raise_for_status()
    urls = [asked.body["stream_url"] for asked in conference.asked]
    assert urls == [
        ["https://example.com/closing.mp3"],
        [f"{conference.public_url}/static/hold-music.mp3"],
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "closing.mp3"),
        ("url", "http://10.0.0.1/a"),
        ("loop", "-1"),
        ("loop", "x"),
        ("level", "1.1"),
        ("level", "0.55"),
    ],
)
def test_a_parameter_out_of_range_gets_400(conference: InProcess, name: str, value: str) -> None:
    conference.dial()
    response = browse(conference, "/stream", **{name: value})
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{name} must be")
    assert conference.asked == []


def test_stop_stops_it(conference: InProcess) -> None:
    call = conference.dial()
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")
    browse(conference, "/stream/stop").raise_for_status()
    call.hears("hears the music stop")


@pytest.mark.parametrize("how", ["params", "data"])
def test_a_post_does_the_same_as_a_get(conference: InProcess, how: str) -> None:
    call = conference.dial()
    given = {"params": {"loop": "0"}} if how == "params" else {"data": {"loop": "0"}}
    requests.post(f"{conference.app_url}/stream", timeout=5, **given).raise_for_status()  # type: ignore[arg-type]
    call.hears("forever")


def test_one_leg_can_be_named(conference: InProcess) -> None:
    first, last = conference.dial(), conference.dial()
    browse(conference, "/stream", uuid=first.uuid).raise_for_status()
    first.hears("hears music")
    assert last.playing is None


def test_one_leg_can_be_stopped(conference: InProcess) -> None:
    first, last = conference.dial(), conference.dial()
    browse(conference, "/stream").raise_for_status()
    browse(conference, "/stream/stop", uuid=first.uuid).raise_for_status()
    first.hears("hears the music stop")
    assert last.playing is not None


def test_a_leg_can_be_named_in_either_spelling(conference: InProcess) -> None:
    call = conference.dial({"uuid": "63f618634a514f6b86e146edebcf9356"})
    browse(conference, "/stream", uuid="63f61863-4a51-4f6b-86e1-46edebcf9356").raise_for_status()
    call.hears("hears music")


@pytest.mark.parametrize("value", ["../../v2/calls", "1?a=b", "a" * 36])
def test_a_uuid_that_is_none_gets_404_and_changes_no_path(
    conference: InProcess, value: str
) -> None:
    conference.dial()
    assert browse(conference, "/stream", uuid=value).status_code == 404
    assert conference.asked == []


def test_a_uuid_that_is_not_on_the_line_gets_404(conference: InProcess) -> None:
    conference.dial()
    assert browse(conference, "/stream", uuid=str(uuid.uuid4())).status_code == 404
    assert conference.asked == []


@pytest.mark.parametrize("path", ["/stream", "/stream/stop"])
def test_with_no_one_on_the_line_it_says_to_dial(conference: InProcess, path: str) -> None:
    response = browse(conference, path)
    assert response.status_code == 409
    assert response.json()["error"] == "No one is on the line. Dial the number first."


@pytest.mark.parametrize("setting", ["VONAGE_APPLICATION_ID", "VONAGE_PRIVATE_KEY"])
def test_a_missing_credential_is_named_before_anything_else(
    start: StartSandbox, setting: str
) -> None:
    sandbox = start(**{setting: ""})
    assert sandbox.dial().ncco
    for path in ("/stream?loop=x&uuid=y", "/stream/stop"):
        response = browse(sandbox, path)
        assert response.status_code == 503
        assert response.json()["error"] == f"Set {setting}: needed by /stream."


def test_without_any_credentials_both_are_named(start: StartSandbox) -> None:
    response = browse(start(VONAGE_APPLICATION_ID="", VONAGE_PRIVATE_KEY=""), "/stream")
    assert "VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY" in response.json()["error"]


@pytest.mark.parametrize("path", ["/stream", "/stream/stop"])
def test_head_starts_and_stops_nothing(conference: InProcess, path: str) -> None:
    conference.dial()
    assert requests.head(f"{conference.app_url}{path}", timeout=5).status_code == 405
    assert conference.asked == []


def test_another_method_gets_405_and_is_logged(conference: InProcess) -> None:
    response = requests.put(f"{conference.app_url}/stream", timeout=5)
    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))
    assert "PUT /stream: 405" in conference.log.read_text()


def test_an_unknown_path_gets_404_and_the_log_names_the_right_ones(conference: InProcess) -> None:
    stranger = {"Host": "a.ngrok.example"}
    url = f"{conference.app_url}/webhooks/events?from=447700900123"
    response = requests.post(url, headers=stranger, data="{}", timeout=5)
    assert response.status_code == 404
    lines = conference.log.read_text().splitlines()
    [line] = [line for line in lines if "/webhooks/events" in line]
    for part in ("WARNING", "/webhooks/answer", "/webhooks/event."):
        assert part in line
    assert "447700900123" not in line


def test_no_part_of_the_audios_address_but_its_name_is_said(start: StartSandbox) -> None:
    sandbox = start(VOICE_STREAM_URL="https://user:hush@example.com/a/b%20c.mp3?key=hush")
    sandbox.dial()
    assert browse(sandbox, "/stream").json()["message"] == "Sent b c.mp3 to the caller"
    assert sandbox.told()[0].text == "Sent b c.mp3 to the caller"
    assert "INFO: Sent b c.mp3 to the caller\n" in sandbox.log.read_text()
    assert "hush" not in sandbox.log.read_text()


def test_netrc_is_not_sent_to_vonage(
    start: StartSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the home folder's, nor one that the environment names."""
    (tmp_path / ".netrc").write_text("default login someone password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    sandbox = start(fresh=True)
    sandbox.dial()
    browse(sandbox, "/stream").raise_for_status()
    assert sandbox.asked[0].authorization.startswith("Bearer ")


def test_a_proxy_of_the_environment_is_used(regions: InProcess, connected: set[str]) -> None:
    regions.dial(region="api-us-3.vonage.com")
    browse(regions, "/stream").raise_for_status()
    assert connected == {"api-us-3.vonage.com:443"}
