"""The sandbox fetches audio as Vonage would, and refuses what Vonage does not play."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from werkzeug import Response

from sandbox import sound
from sandbox.music import Music
from tests.helpers.audio import MUSIC, wav
from tests.helpers.ports import free_port
from tests.helpers.stub import StubbedSandbox

HTML = "<p>No such file</p>"


def fetch(sandbox: StubbedSandbox, url: str) -> None:
    Music(sandbox, url).fetch()


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(MUSIC, mimetype="text/html"), "is text/html, not audio"),
        (Response(MUSIC, mimetype="application/json"), "is application/json, not audio"),
        (Response(HTML, mimetype="audio/mpeg"), "neither an MP3 nor a WAV"),
        (Response(MUSIC, 404), "answers 404"),
        (Response(status=302, headers={"Location": "http://127.0.0.1:1/a"}), "cannot reach"),
        (Response(status=302, headers={"Location": "/file"}), "redirects more than 5 times"),
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


def test_audio_without_a_type_is_followed_to_another_public_host_and_its_query(
    sandbox: StubbedSandbox,
) -> None:
    sandbox.web["music.example"] = sandbox.app_url
    there = {"Location": "https://music.example/file?name=a%20b&x=1"}
    sandbox.files["/old"] = Response(status=301, headers=there)
    sandbox.files["/file?name=a%20b&x=1"] = Response(MUSIC, mimetype="")
    call = sandbox.dial()
    call.start_stream(sandbox.public_url + "/old", 1, 0)
    call.hears("hears music")


@pytest.mark.parametrize("host", ["localhost:9000", "192.168.1.2", "[::1]:9000", "2130706433"])
def test_audio_on_this_machine_or_its_network_is_out_of_reach(
    sandbox: StubbedSandbox, host: str
) -> None:
    with pytest.raises(ValueError, match="cannot reach"):
        fetch(sandbox, f"http://{host}/a.mp3")


def test_hold_music_is_an_mp3(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[sandbox.hold(sandbox.short)]]
    call = sandbox.dial()
    call.hears("could not be played: musicOnHoldUrl must be an MP3, not a WAV")
    assert call.heard.wait(20)


TAG = b"ID3\x03\x00\x00\x00\x00\x0f\x60" + MUSIC[37 : 37 + 2016]


@pytest.mark.parametrize(
    ("data", "kind", "seconds"),
    [
        pytest.param(MUSIC, "MP3", 31.968, id="the bundled music"),
        pytest.param(MUSIC[:37] + bytes(40000) + MUSIC[37:], "MP3", 31.968, id="zeros after a tag"),
        pytest.param(TAG + MUSIC, "MP3", 31.968, id="after a tag with frames in it"),
        pytest.param(wav(), "WAV", 1, id="a WAV of 8 kHz"),
        pytest.param(wav(hertz=16000), "WAV", 1, id="a WAV of 16 kHz"),
        pytest.param(wav(size=0), "WAV", 1, id="a WAV whose size is not known"),
        pytest.param(wav(before=b"LIST\x03\0\0\0abc\0"), "WAV", 1, id="a WAV with an odd chunk"),
    ],
)
def test_audio_that_vonage_plays(data: bytes, kind: str, seconds: float) -> None:
    found, lasts = sound(data)
    assert found == kind
    assert lasts == pytest.approx(seconds, abs=0.1)


NEITHER = "it is neither an MP3 nor a WAV"
UNREADABLE = "it is a WAV that cannot be read: "


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "it is empty, neither an MP3 nor a WAV", id="nothing"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + MUSIC, NEITHER, id="a picture with an MP3 in it"),
        pytest.param(MUSIC[43:47], NEITHER, id="a header"),
        pytest.param(b"\xff\xfb\x90\x64" + HTML.encode() * 300, NEITHER, id="a header and HTML"),
        pytest.param(b"\xff\xfd\x90\x64" + bytes(5000), NEITHER, id="a header of another layer"),
        pytest.param(
            wav(bits=8), "it is a WAV of 8 bits, 8 kHz, mono; it must be 16 bits", id="8 bits"
        ),
        pytest.param(wav(channels=2), "it is a WAV of 16 bits, 8 kHz, stereo", id="stereo"),
        pytest.param(
            wav(channels=6), "it is a WAV of 16 bits, 8 kHz, 6 channels", id="six channels"
        ),
        pytest.param(wav(hertz=44100), "it is a WAV of 16 bits, 44.1 kHz, mono", id="44.1 kHz"),
        pytest.param(wav(coding=6), UNREADABLE, id="a WAV of A-law"),
        pytest.param(wav()[:44], "it is a WAV without sound in it", id="a WAV without samples"),
        pytest.param(wav()[:30], UNREADABLE, id="a WAV cut off"),
    ],
)
def test_audio_that_vonage_does_not_play_is_refused_with_what_it_is(
    data: bytes, words: str
) -> None:
    with pytest.raises(ValueError) as error:
        sound(data)
    assert str(error.value).startswith(words)


# Audio that does not come, or does not end


def byte_by_byte() -> Iterator[bytes]:
    while True:
        yield b"\0"
        time.sleep(0.02)


def test_audio_without_end_is_given_up(
    sandbox: StubbedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = sandbox.add_file("/fast", itertools.repeat(bytes(10**6)))
    with pytest.raises(ValueError, match="it is longer than 50 MB"):
        fetch(sandbox, fast)
    monkeypatch.setattr(sandbox, "audio_time", 0.2)
    radio = sandbox.add_file("/radio", byte_by_byte())
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"it does not end within 0\.2 s, like internet radio"):
        fetch(sandbox, radio)
    assert time.monotonic() - began < 10


def test_a_server_that_cannot_be_reached_or_does_not_answer_is_given_up(
    sandbox: StubbedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "audio_time", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        sandbox.web["silent.example"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=r"it timed out after 0\.2 s"):
            fetch(sandbox, "https://silent.example/a.mp3")
    sandbox.web["closed.example"] = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match="it cannot be reached"):
        fetch(sandbox, "https://closed.example/a.mp3")
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror))
    with pytest.raises(ValueError, match=r"DNS lookup failed for nowhere\.invalid"):
        fetch(sandbox, "https://nowhere.invalid/a.mp3")


@pytest.mark.parametrize(
    "url",
    [
        "https://[::::]/a.mp3",
        "https://exa\ud800mple.com/a.mp3",
        "https://example.com:99999/a.mp3",
        "ftp://example.com/a.mp3",
    ],
)
def test_an_address_that_is_none_is_nothing_to_hear(sandbox: StubbedSandbox, url: str) -> None:
    call = sandbox.dial()
    call.start_stream(url, 1, 0)
    call.hears("hears nothing: a.mp3 could not be played: its address is not valid")
    (done,) = sandbox.rtc(call, 1)
    assert done["body"]["error"] == "its address is not valid"
