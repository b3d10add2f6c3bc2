"""Which audio Vonage can play, and how long it lasts: an MP3, or a WAV of 16 bits."""

import re
import struct

# How a frame of an MP3 starts: sync, MPEG 1, 2 or 2.5, layer III, and a bit rate.
FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef].", re.DOTALL)
SEARCHED = 65536  # bytes in which a frame must come, as in mpg123
KILOBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KILOBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def sound(data: bytes) -> tuple[str, float]:
    """What audio this is, "MP3" or "WAV", and its seconds; ValueError if Vonage cannot play it."""
    is_wav = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    kind, seconds = ("WAV", _wav_seconds(data)) if is_wav else ("MP3", _mp3_seconds(data))
    if not seconds:
        raise ValueError("neither an MP3 nor a WAV with sound in it")
    return kind, seconds


def _wav_seconds(data: bytes) -> float:
    """How long a WAV lasts: of 16 bits [NCCO reference], mono, 8 or 16 kHz [.NET SDK]."""
    at, size, name, form = 12, 0, b"", b""
    while name != b"data" and at + size + 8 <= len(data):
        name, size, at = *struct.unpack_from("<4sI", data, at + size), at + size + 8
        form = data[at : at + size] if name == b"fmt " else form
        size += size % 2  # chunks have an even length
    if name != b"data" or len(form) < 16:
        return 0
    coding, channels, hertz, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if coding == 0xFFFE:  # extensible: the coding comes later
        coding = int.from_bytes(form[24:26], "little")
    if (coding, bits, channels) != (1, 16, 1) or hertz not in (8000, 16000):
        has = f"{bits} bits, {channels} channels, {hertz} Hz, coding {coding}"
        raise ValueError(f"a WAV of {has}, not 16 bits, 1 channel, 8000 or 16000 Hz, coding 1")
    rest = len(data) - at  # the size is 0 or too large in a WAV written while it was recorded
    return float((min(size, rest) or rest) / 2 / hertz)


def _mp3_seconds(data: bytes) -> float:
    """How long its frames last: two of a kind in a row, or a last one. Players skip the rest."""
    at, good, seconds = 0, 0, 0.0
    while True:
        if data[at : at + 3] == b"ID3" and len(data) >= at + 10:
            sizes = zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True)
            at = good = at + 10 + sum((byte & 0x7F) << shift for byte, shift in sizes)
        found = FRAME.search(data, at, good + SEARCHED)
        if not found:
            return seconds
        at, end, lasts = found.start() + 1, found.start(), 0.0
        first = frame = _frame(data, end)
        while first and frame and frame[0] == first[0]:
            end, lasts = frame[1], lasts + frame[2]
            frame = _frame(data, end)
        if first and (lasts > first[2] or end == len(data)):
            at, good, seconds = end, end, seconds + lasts


def _frame(data: bytes, at: int) -> tuple[int, int, float] | None:
    """The sampling rate of the MP3 frame here, its end, and its seconds; None without one."""
    if not FRAME.match(data, at) or data[at + 2] & 12 == 12:
        return None
    version, rate, bits = data[at + 1] >> 3 & 3, data[at + 2] >> 2 & 3, data[at + 2] >> 4
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples, kilobits = (1152, KILOBITS_1) if version == 3 else (576, KILOBITS_2)
    end = at + samples // 8 * kilobits[bits - 1] * 1000 // hertz + (data[at + 2] >> 1 & 1)
    return (hertz, end, samples / hertz) if end <= len(data) else None
