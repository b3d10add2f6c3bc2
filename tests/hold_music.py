"""Compose static/hold-music.mp3: run `python -m tests.hold_music` from the repository root."""

from __future__ import annotations

from pathlib import Path

import lameenc
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

OUTPUT = Path(__file__).resolve().parent.parent / "static" / "hold-music.mp3"
RATE = 24_000
BEAT = 28 * 576  # 28 mp3 frames, so about 89 beats a minute.
BAR = 3 * BEAT
PADDING = 2 * 576  # Silence that decoding adds to a whole number of frames.
TITLE_TAG = b"ID3\3\0\0\0\0\0\x1bTIT2\0\0\0\x11\0\0\0Hold music (CC0)"

# Each bar is a bass note and four chord notes, as MIDI numbers.
CHORDS = [
    *[(55, 67, 71, 74, 78), (52, 64, 67, 71, 74), (60, 64, 67, 71, 76), (62, 66, 69, 74, 76)],
    *[(59, 66, 69, 74, 78), (52, 67, 71, 74, 76), (57, 64, 67, 72, 76), (62, 67, 69, 72, 74)],
    *[(60, 67, 71, 74, 76), (59, 66, 69, 71, 74), (57, 64, 67, 69, 72), (52, 64, 67, 71, 74)],
    *[(60, 64, 67, 71, 76), (62, 66, 69, 71, 74), (55, 67, 71, 74, 78), (62, 67, 69, 74, 76)],
]
PATTERNS = [(1, 2, 3, 4, 3, 2), (1, 3, 2, 4, 3, 2)]  # Chord notes on the six quavers.
# Each bar has a melody note on its first beat and perhaps one on its third.
MELODY = [(83, 86), (83,), (79, 83), (81,), (81, 86), (83,), (79, 84), (81,)]
MELODY += [(88, 83), (86, 81), (84, 79), (83,), (79, 88), (86, 81), (83,), (81,)]


def tone(note: int, time: Samples, multiple: float = 1.0) -> Samples:
    """Return a steady tone at a multiple of a MIDI note's frequency."""
    return np.sin(2 * np.pi * multiple * 440.0 * 2.0 ** ((note - 69) / 12) * time)


def pluck(note: int, partials: tuple[float, ...], decay: float) -> Samples:
    """Return a note that starts softly and dies away, the high partials first."""
    time = np.arange(2 * BAR) / RATE
    sound = np.zeros(time.size)
    for number, level in enumerate(partials, 1):
        sound += level * np.exp(-time * (0.6 + 0.4 * number) / decay) * tone(note, time, number)
    attack = 0.5 - 0.5 * np.cos(np.pi * np.minimum(time / 0.012, 1))
    return sound * attack * np.minimum((time[-1] - time) / 0.2, 1)


def pad(note: int) -> Samples:
    """Return a quiet tone that swells, then fades into the next bar."""
    time = np.arange(BAR + BEAT) / RATE
    swell = np.minimum(np.minimum(time, time[-1] - time) * RATE / BEAT, 1)
    return np.sin(np.pi / 2 * swell) ** 2 * (tone(note, time, 0.9993) + tone(note, time, 1.0007))


def compose() -> Samples:
    """Return the loop, less the silence that decoding adds to it."""
    dry = np.zeros((len(CHORDS) + 3) * BAR)
    for bar, (chord, tune) in enumerate(zip(CHORDS, MELODY, strict=True)):
        parts = [(0.0, 0.07 * pad(note)) for note in chord[1:4]]
        # The bass has no fundamental: a telephone line would drop it, and the ear supplies it.
        parts.append((0.0, 0.4 * pluck(chord[0], (0.0, 1.0, 0.6, 0.3), 1.1)))
        for quaver, index in enumerate(PATTERNS[bar % 2][: 4 if bar == len(CHORDS) - 1 else 6]):
            parts.append((quaver / 2, 0.45 * pluck(chord[index], (1.0, 0.35, 0.12), 0.6)))
        for position, note in enumerate(tune):
            parts.append((2.0 * position, 0.5 * pluck(note, (1.0, 0.2, 0.06), 0.8)))
        for beat, sound in parts:
            start = bar * BAR + int(beat * BEAT)
            dry[start : start + sound.size] += sound
    music = dry.copy()
    for delay, level in ((1_741, 0.16), (3_323, 0.12), (5_197, 0.08), (BEAT, 0.12)):
        music[delay:] += level * dry[:-delay]  # A small room and one soft echo.
    music = music[: len(CHORDS) * BAR - PADDING]
    left = np.arange(music.size)[::-1] / RATE
    music *= np.clip(left / 1.2, 0.25, 1) * np.sin(np.pi / 2 * np.minimum(left / 0.015, 1)) ** 2
    return music * 0.105 / np.sqrt(np.mean(music**2))


if __name__ == "__main__":
    encoder = lameenc.Encoder()
    encoder.set_channels(1)
    encoder.set_in_sample_rate(RATE)
    encoder.set_bit_rate(48)
    encoder.set_quality(2)
    pcm = np.round(compose() * 32_767).astype("<i2").tobytes()
    OUTPUT.write_bytes(TITLE_TAG + encoder.encode(pcm) + encoder.flush())
