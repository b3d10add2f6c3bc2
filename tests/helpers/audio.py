"""Audio for tests: the bundled music, and any kind of WAV."""

from __future__ import annotations

import struct

from sandbox import FOLDER

MUSIC = (FOLDER / "static" / "hold-music.mp3").read_bytes()


def wav(
    *,
    bits: int = 16,
    channels: int = 1,
    hertz: int = 8000,
    seconds: float = 1,
    coding: int = 1,
    before: bytes = b"",
    size: int | None = None,
) -> bytes:
    """Return a WAV with chunks `before` its samples, which its header says are of this size."""
    samples = bytes(bits // 8 * channels * int(hertz * seconds))
    if size is None:
        size = len(samples)
    form = struct.pack("<HHIIHH", coding, channels, hertz, hertz * 2, 2, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + before
    chunks += b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
