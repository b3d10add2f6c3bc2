"""The sandbox fetches audio as Vonage would, and refuses what Vonage does not play."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator

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


@pytest.mark.parametrize("host", ["localhost:9000", "192.168.1.2", "[::1]:9000", "2130706433"])
def test_audio_on_this_machine_or_its_network_is_out_of_reach(
    sandbox: StubbedSandbox, host: str
) -> None:
    with pytest.raises(ValueError, match="cannot reach"):
        fetch(sandbox, f"http://{host}/a.mp3")


def test_hold_music_is_an_mp3(sandbox: StubbedSandbox) -> None:
    sandbox.answers = [[sandbox.hold(sandbox.short)]]
    sandbox.dial().hears("could not be played: musicOnHoldUrl must be an MP3, not a WAV")


TAG = b"ID3\x03\x00\x00\x00\x00\x0f\x60" + MUSIC[37 : 37 + 2016]
PLAYABLE: dict[str, tuple[bytes, str, float]] = {
    "the bundled music": (MUSIC, "MP3", 31.968),
    "zeros after a tag": (MUSIC[:37] + bytes(40000) + MUSIC[37:], "MP3", 31.968),
    "after a tag with frames in it": (TAG + MUSIC, "MP3", 31.968),
    "a WAV of 8 kHz": (wav(), "WAV", 1),
    "a WAV of 16 kHz": (wav(hertz=16000), "WAV", 1),
    "a WAV whose size is not known": (wav(size=0xFFFFFFFF), "WAV", 1),
    "a WAV whose size is 0": (wav(size=0), "WAV", 1),
    "a WAV with an odd chunk": (wav(before=b"LIST\x03\x00\x00\x00abc\x00"), "WAV", 1),
}


@pytest.mark.parametrize("name", PLAYABLE)
def test_audio_that_vonage_plays(name: str) -> None:
    data, kind, seconds = PLAYABLE[name]
    found, lasts = sound(data)
    assert found == kind
    assert lasts == pytest.approx(seconds, abs=0.1)


NEITHER = "it is neither an MP3 nor a WAV"
UNREADABLE = "it is a WAV that cannot be read: "
UNPLAYABLE = {
    "nothing": (b"", "it is empty, neither an MP3 nor a WAV"),
    "Ogg": (b"OggS" + bytes(500), NEITHER),
    "a picture with an MP3 in it": (b"\x89PNG\r\n\x1a\n" + MUSIC, NEITHER),
    "a tag": (b"ID3\x03\x00\x00\x00\x00\x00\x00", NEITHER),
    "ones": (b"\xff" * 5000, NEITHER),
    "a header": (MUSIC[43:47], NEITHER),
    "a header and HTML": (b"\xff\xfb\x90\x64" + HTML.encode() * 300, NEITHER),
    "a header of another layer": (b"\xff\xfd\x90\x64" + bytes(5000), NEITHER),
    "an MP3 after a megabyte of nothing": (bytes(1_000_000) + MUSIC, NEITHER),
    "a WAV of 8 bits": (wav(bits=8), "it is a WAV of 8 bits, 8 kHz, mono; it must be 16 bits"),
    "a WAV in stereo": (
        wav(channels=2, hertz=44100),
        "it is a WAV of 16 bits, 44.1 kHz, stereo; it must be 16 bits, 8 or 16 kHz, mono",
    ),
    "a WAV of six channels": (wav(channels=6), "it is a WAV of 16 bits, 8 kHz, 6 channels"),
    "a WAV of 44.1 kHz": (wav(hertz=44100), "it is a WAV of 16 bits, 44.1 kHz, mono"),
    "a WAV of A-law": (wav(coding=6), UNREADABLE),
    "a WAV without samples": (wav()[:44], "it is a WAV without sound in it"),
    "a WAV cut off": (wav()[:30], UNREADABLE),
}


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_audio_that_vonage_does_not_play_is_refused_with_what_it_is(name: str) -> None:
    data, words = UNPLAYABLE[name]
    with pytest.raises(ValueError) as error:
        sound(data)
    assert str(error.value).startswith(words)


# Audio that does not come, or does not end


def slowly(part: bytes) -> Iterator[bytes]:
    for _ in itertools.count():
        yield part
        time.sleep(0.02)


@pytest.mark.parametrize("part", [MUSIC[37:181], b"\0"], ids=["radio", "a byte at a time"])
def test_audio_without_end_is_given_up_in_time(
    sandbox: StubbedSandbox, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(sandbox, "audio_time", 0.2)
    sandbox.files["/radio"] = Response(slowly(part), mimetype="audio/mpeg")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"it does not end within 0\.2 s, like internet radio"):
        fetch(sandbox, sandbox.public_url + "/radio")
    assert time.monotonic() - began < 2


def test_audio_without_end_that_comes_fast_is_given_up(sandbox: StubbedSandbox) -> None:
    sandbox.files["/fast"] = Response(itertools.repeat(bytes(10**6)), mimetype="audio/mpeg")
    with pytest.raises(ValueError, match="it is longer than 50 MB"):
        fetch(sandbox, sandbox.public_url + "/fast")


def test_a_silent_server_is_given_up_in_time(
    sandbox: StubbedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "audio_time", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        sandbox.web["silent.example"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=r"it timed out after 0\.2 s"):
            fetch(sandbox, "https://silent.example/a.mp3")


def test_what_cannot_be_reached_is_said_in_words(
    sandbox: StubbedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror

    with monkeypatch.context() as offline:
        offline.setattr(socket, "getaddrinfo", fail)  # which may ask for 5 s
        with pytest.raises(ValueError, match=r"DNS lookup failed for nowhere\.invalid"):
            fetch(sandbox, "https://nowhere.invalid/a.mp3")
    sandbox.web["closed.example"] = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match="it cannot be reached"):
        fetch(sandbox, "https://closed.example/a.mp3")


@pytest.mark.parametrize(
    "url",
    [
        "https://[::::]/a.mp3",
        "https://exa[mple.com/a.mp3",
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
    call.hang_up()
    assert call.over.is_set()
