"""The answer webhook: the host of Vonage's that controls the call, and the music."""

from __future__ import annotations

import uuid

import pytest

from app import create_app
from config import Config
from tests.helpers.audio import MUSIC as SOUND
from tests.helpers.sandboxes import InProcess

MUSIC = "/static/hold-music.mp3"
VONAGES = {
    "https://api-us-3.vonage.com": "api-us-3.vonage.com",
    "https://api.nexmo.com": "api.nexmo.com",
    "https://API-US-3.vonage.com/v1/calls": "api-us-3.vonage.com",
    "https://api-us-3.vonage.com:443": "api-us-3.vonage.com",
}
OTHERS = [
    *["https://api.nexmo.com.evil.example", "https://evil.example/api.nexmo.com", ""],
    *["http://api-us-3.vonage.com", "https://user@api-us-3.vonage.com"],
    *["https://api-us-3.vonage.com:8443", "https://api-us-3.vonage.com."],
    *["https://evil.example#@api-us-3.vonage.com", "https://api-.evil.example/.vonage.com"],
]


@pytest.mark.parametrize("region_url", [*VONAGES, *OTHERS])
def test_region_url_may_only_be_vonages(conference: InProcess, region_url: str) -> None:
    conference.webhook("answer", {"uuid": str(uuid.uuid4()), "region_url": region_url})
    assert [leg.api_host for leg in conference.store.live()] == [VONAGES.get(region_url)]


# The bundled music


def test_below_a_path_the_music_is_there_too(conference: InProcess) -> None:
    """Apache's `WSGIScriptAlias /calls` mounts an app below a path. PUBLIC_URL has its own."""
    given = {"query_string": {"uuid": uuid.UUID(int=1).hex}}
    mounted = {"SCRIPT_NAME": "/calls", "HTTP_HOST": "a.example"}
    settings = {"ANSWER_WITH": "stream", "CALLS_URL": conference.environment["CALLS_URL"]}
    for own, address in (("", "http://a.example/calls"), ("https://b.example/there",) * 2):
        app = create_app(Config.from_text({**settings, "PUBLIC_URL": own}))
        answer = app.test_client().get("/webhooks/answer", environ_overrides=mounted, **given)
        assert answer.get_json()[0]["streamUrl"] == [address + MUSIC]


def test_the_bundled_music_comes_in_parts_and_uncached(stream: InProcess) -> None:
    part = stream.request(MUSIC, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, SOUND[100:200])
    assert part.headers["Cache-Control"] == "no-cache"
    again = stream.request(MUSIC, headers={"If-None-Match": part.headers["ETag"]})
    assert again.status_code == 304
    assert stream.request(MUSIC, "HEAD").ok
    assert stream.lines[-2:] == [f"INFO: GET {MUSIC}: {status}" for status in (206, 304)]


TITLE = b"ID3\3\0\0\0\0\0\x1bTIT2\0\0\0\x11\0\0\0Hold music (CC0)"
FRAME = 144  # bytes: 36 ms at 32 kbit/s


def test_the_music_is_32_s_of_mono_at_16_khz_and_a_constant_32_kbits() -> None:
    """[support article 115007447567]"""
    assert SOUND.startswith(TITLE)
    frames = SOUND[len(TITLE) :]
    assert len(frames) % FRAME == 0
    for at in range(0, len(frames), FRAME):
        sync, coding, channels = frames[at : at + 2], frames[at + 2], frames[at + 3]
        assert sync == b"\xff\xf3"  # MPEG 2, layer III
        assert coding >> 4 == 4  # 32 kbit/s
        assert coding >> 2 & 3 == 2  # 16 kHz
        assert channels >> 6 == 3  # mono
    assert len(frames) // FRAME * 0.036 == pytest.approx(32, abs=0.1)  # seconds
