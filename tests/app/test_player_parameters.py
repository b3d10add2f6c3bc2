"""What /stream and /stream/stop are asked for: nothing else plays than was meant."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.helpers.sandboxes import InProcess, StartSandbox, browse

PATHS = pytest.mark.parametrize("path", ["/stream", "/stream/stop"])


def send(sandbox: InProcess, path: str, method: str = "POST", **given: Any) -> requests.Response:
    """Send a request in which parameters are elsewhere than in the address."""
    return requests.request(method, sandbox.app_url + path, timeout=5, **given)


@PATHS
def test_an_empty_uuid_is_a_call_that_is_not_on_the_line(conference: InProcess, path: str) -> None:
    """As an empty shell variable makes it."""
    conference.dial()
    assert browse(conference, f"{path}?uuid=").status_code == 404
    assert conference.asked == []


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("/stream?ulr=https://example.com/a.mp3", "ulr"),
        ("/stream?url=https://cdn.example.com/a.mp3?Expires=1&Signature=abc", "Signature"),
        ("/stream/stop?url=https://example.com/a.mp3", "url"),
    ],
)
def test_an_unknown_parameter_is_named(conference: InProcess, asked: str, name: str) -> None:
    conference.dial()
    response = browse(conference, asked)
    assert response.status_code == 400
    assert f"has no parameter {name}," in response.json()["error"]
    assert "write each & of that address as %26" in response.json()["error"]
    assert conference.asked == []


def test_an_address_with_its_ampersand_written_so_plays_whole(conference: InProcess) -> None:
    conference.dial()
    url = "https://cdn.example.com/a.mp3?Expires=1&Signature=abc"
    browse(conference, "/stream?url=" + url.replace("&", "%26")).raise_for_status()
    assert conference.asked[0].body["stream_url"] == [url]


@pytest.mark.parametrize("name", ["url", "loop", "level"])
def test_an_empty_parameter_is_none_that_can_be_played(conference: InProcess, name: str) -> None:
    conference.dial()
    response = browse(conference, f"/stream?{name}=")
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{name} must be ")
    assert conference.asked == []


@pytest.mark.parametrize(
    "given",
    [
        {"json": {"uuid": "63f61863"}},
        {"data": b"uuid", "headers": {"Content-Type": "text/plain"}},
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"files": {"uuid": b"63f61863"}, "data": {"loop": "0"}},
        {"data": {"uuid": "63f61863"}, "method": "GET"},
    ],
    ids=["JSON", "text", "a form that is none", "a form with a file", "a form by GET"],
)
def test_what_no_one_would_look_at_is_refused(conference: InProcess, given: dict[str, Any]) -> None:
    conference.dial()
    response = send(conference, "/stream", **given)
    assert response.status_code == 400
    assert response.json()["error"].startswith("Parameters go into the address")
    assert conference.asked == []


def test_a_query_of_the_audios_address_is_not_in_the_log(conference: InProcess) -> None:
    conference.dial()
    response = browse(conference, "/stream", url="http://localhost/a.mp3?key=hush")
    assert response.status_code == 400
    assert "hush" not in conference.log.read_text()


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
def test_a_message_about_a_long_value_costs_nothing(conference: InProcess, name: str) -> None:
    conference.dial()
    body = f"{name.split()[0]}={LONG[name]}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    send(conference, "/stream", data=body, headers=headers)  # the first may import something
    began = time.process_time()
    response = send(conference, "/stream", data=body, headers=headers)
    assert time.process_time() - began < 0.2
    assert response.status_code in (400, 404)
    assert len(response.text) < 1_000
    assert conference.asked == []


# The audio's address


@pytest.mark.parametrize("host", ["localhost:9000", "flask_app:9000"])
def test_audio_that_vonage_cannot_fetch_is_a_503_that_names_it(
    conference: InProcess, host: str
) -> None:
    """As behind a proxy that rewrites Host, and sends no X-Forwarded-Host."""
    conference.dial_at(host)
    assert "WARNING" in conference.log.read_text()
    assert "set PUBLIC_URL" in conference.log.read_text()
    response = browse(conference, "/stream")
    assert response.status_code == 503
    assert f"https://{host}/static/hold-music.mp3" in response.json()["error"]
    assert "PUBLIC_URL" in response.json()["error"]
    assert conference.asked == []


def test_where_one_legs_audio_can_be_fetched_the_others_outcome_says_why(
    conference: InProcess,
) -> None:
    call = conference.dial()
    lost = conference.dial_at("localhost:9000")
    answer = browse(conference, "/stream").json()
    assert answer["message"] == "Sent hold-music.mp3 to 1 of 2 callers"
    errors = {leg["uuid"]: leg.get("error") for leg in answer["legs"]}
    assert errors[call.uuid] is None
    assert "PUBLIC_URL" in str(errors[lost])


def test_hold_music_that_vonage_cannot_fetch_is_left_out(start: StartSandbox) -> None:
    sandbox = start(VOICE_CONFERENCE_QUORUM="3")
    response = sandbox.answer_at("localhost:9000")
    assert response.json()[-1] == {
        "action": "conversation",
        "name": "Relaxing Conference",
        "startOnEnter": False,
    }


def test_a_stream_whose_audio_vonage_cannot_fetch_is_answered(stream: InProcess) -> None:
    music = "https://localhost:9000/static/hold-music.mp3"
    assert stream.answer_at("localhost:9000").json() == [{"action": "stream", "streamUrl": [music]}]
