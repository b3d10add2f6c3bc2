"""The bundled hold music is of a kind that Vonage plays for certain."""

from __future__ import annotations

import pytest

from tests.helpers.audio import MUSIC

TITLE = b"ID3\3\0\0\0\0\0\x1bTIT2\0\0\0\x11\0\0\0Hold music (CC0)"
FRAME = 144  # bytes: 36 ms at 32 kbit/s


def test_the_music_is_32_s_of_mono_at_16_khz_and_a_constant_32_kbits() -> None:
    """[support article 115007447567]"""
    assert MUSIC.startswith(TITLE)
    frames = MUSIC[len(TITLE) :]
    assert len(frames) % FRAME == 0
    for at in range(0, len(frames), FRAME):
        sync, coding, channels = frames[at : at + 2], frames[at + 2], frames[at + 3]
        assert sync == b"\xff\xf3"  # MPEG 2, layer III
        assert coding >> 4 == 4  # 32 kbit/s
        assert coding >> 2 & 3 == 2  # 16 kHz
        assert channels >> 6 == 3  # mono
    assert len(frames) // FRAME * 0.036 == pytest.approx(32, abs=0.1)  # seconds
