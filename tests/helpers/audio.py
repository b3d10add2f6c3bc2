"""Audio for tests: the bundled music, and any kind of WAV."""

from __future__ import annotations

import struct
from typing import Any

from sandbox import FOLDER

MUSIC = (FOLDER / "static" / "hold-music.mp3").read_bytes()


def wav(
    bits: int = 16, channels: int = 1, hertz: int = 8000, seconds: float = 1, **more: Any
) -> bytes:
    """Return a WAV; `more` has what may be wrong with its header."""
    coding, extra = more.get("coding", 1), more.get("extra", b"")
    samples = bytes(max(1, bits // 8 * channels) * int((hertz or 8000) * seconds))
    form = struct.pack("<HHIIHH", coding, channels, hertz, hertz * 2, 2, bits) + extra
    size = more.get("size", len(samples))
    chunks: bytes = b"fmt " + struct.pack("<I", len(form)) + form + more.get("before", b"")
    chunks += b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
