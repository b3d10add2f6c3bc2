"""Tests of the bundled hold music, decoded as a simple player on a telephone line hears it."""

from __future__ import annotations

from pathlib import Path

import miniaudio
import numpy as np
import pytest
from numpy.typing import NDArray

Samples = NDArray[np.float64]

MUSIC = Path(__file__).resolve().parent.parent / "static" / "hold-music.mp3"


def level(fraction: float) -> float:
    """Return a fraction of full scale in dBFS."""
    return float(20 * np.log10(max(fraction, 1e-9)))


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


@pytest.fixture(scope="module")
def decoded() -> miniaudio.DecodedSoundFile:
    """Decode every frame, hiding any tag that would tell the decoder to trim the padding."""
    data = MUSIC.read_bytes()
    for tag in (b"Xing", b"Info", b"VBRI"):
        data = data.replace(tag, bytes(4))
    return miniaudio.mp3_read_f32(data)


@pytest.fixture(scope="module")
def samples(decoded: miniaudio.DecodedSoundFile) -> Samples:
    """Return the samples, mixed to one channel if there are more."""
    raw = np.array(decoded.samples, dtype=np.float64)
    return np.asarray(raw.reshape(-1, decoded.nchannels).mean(axis=1))


def test_the_music_lasts_twenty_to_forty_seconds(decoded: miniaudio.DecodedSoundFile) -> None:
    assert 20 <= decoded.num_frames / decoded.sample_rate <= 40


def test_the_music_is_mono(decoded: miniaudio.DecodedSoundFile) -> None:
    assert decoded.nchannels == 1


def test_the_music_file_is_smaller_than_250_kilobytes() -> None:
    assert 0 < MUSIC.stat().st_size < 250_000


def test_nearly_all_the_energy_is_in_the_telephone_band(
    decoded: miniaudio.DecodedSoundFile, samples: Samples
) -> None:
    energy = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(samples.size, 1 / decoded.sample_rate)
    in_band = energy[(frequency >= 300) & (frequency <= 3_400)].sum()
    assert in_band / energy.sum() >= 0.95


def test_the_music_does_not_clip(decoded: miniaudio.DecodedSoundFile) -> None:
    assert level(np.max(np.abs(np.array(decoded.samples)))) < -1


def test_the_music_is_neither_too_loud_nor_too_quiet(samples: Samples) -> None:
    assert -24 <= level(np.sqrt(np.mean(samples**2))) <= -16


def test_the_join_of_the_loop_jumps_no_more_than_the_music_itself(samples: Samples) -> None:
    assert abs(samples[0] - samples[-1]) <= np.max(np.abs(np.diff(samples)))


def test_the_join_of_the_loop_has_no_click(
    decoded: miniaudio.DecodedSoundFile, samples: Samples
) -> None:
    # A click spreads energy far above the notes. A Fourier transform sees the file as a loop.
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / decoded.sample_rate) < 4_000] = 0
    treble = np.abs(np.fft.irfft(spectrum, samples.size))
    near = decoded.sample_rate // 10
    at_join = np.concatenate([treble[-near:], treble[:near]])
    assert np.max(at_join) <= np.max(treble[near:-near])


def test_the_join_of_the_loop_has_no_gap(
    decoded: miniaudio.DecodedSoundFile, samples: Samples
) -> None:
    around_join = np.concatenate(
        [samples[-decoded.sample_rate :], samples[: decoded.sample_rate]],
    )
    silent = np.abs(around_join) < 10 ** (-50 / 20)
    assert longest_run(silent) / decoded.sample_rate <= 0.080
