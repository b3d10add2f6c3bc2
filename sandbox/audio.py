"""Tell what kind of audio a file is, whether Vonage can play it, and about how long it lasts."""

import io
import re
import wave

# How a frame of an MP3 starts: sync, MPEG 1, 2 or 2.5, layer III, and a bit rate.
FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef].", re.DOTALL)
KILOBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG 1
KILOBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG 2 and 2.5
HERTZ = (44100, 48000, 32000)  # MPEG 1
# By the version's bits: samples a frame, kbit/s, and what the hertz are divided by.
VERSIONS = {3: (1152, KILOBITS_1, 1), 2: (576, KILOBITS_2, 2), 0: (576, KILOBITS_2, 4)}
WAV_HEADER = 44  # bytes, at least
CHANNELS = {1: "mono", 2: "stereo"}


def sound(data: bytes) -> tuple[str, float]:
    """Return "MP3" or "WAV" and how many seconds it lasts; ValueError if Vonage cannot play it."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV", _wav_seconds(data)
    if not data:
        raise ValueError("it is empty, neither an MP3 nor a WAV")
    return "MP3", _mp3_seconds(data)


def _wav_seconds(data: bytes) -> float:
    """Return the length of a WAV of 16 bits [NCCO reference], mono, 8 or 16 kHz [.NET SDK]."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            bits = 8 * file.getsampwidth()
            channels = file.getnchannels()
            hertz: int = file.getframerate()
    except (wave.Error, EOFError) as error:
        raise ValueError(f"it is a WAV that cannot be read: {error}") from error
    if bits != 16 or channels != 1 or hertz not in (8000, 16000):
        heard = CHANNELS.get(channels, f"{channels} channels")
        has = f"{bits} bits, {hertz / 1000:g} kHz, {heard}"
        raise ValueError(f"it is a WAV of {has}; it must be 16 bits, 8 or 16 kHz, mono")
    if len(data) <= WAV_HEADER:
        raise ValueError("it is a WAV without sound in it")
    return len(data) / (2 * hertz)  # its header may not know: it may be written while recorded


def _mp3_seconds(data: bytes) -> float:
    """Return how long an MP3 lasts if all of it is like its first frame, followed by another."""
    frames = _without_tags(data).lstrip(b"\0")
    if FRAME.match(frames):
        length, rate = _frame(frames)
        following = frames[length : length + 2]
        if length == len(frames) or (length and following == frames[:2]):
            return len(frames) / rate
    raise ValueError("it is neither an MP3 nor a WAV")


def _without_tags(data: bytes) -> bytes:
    """Return what comes after ID3 tags: a picture in them may look like frames of an MP3."""
    while data[:3] == b"ID3" and len(data) >= 10:
        size = 0
        for byte in data[6:10]:
            size = size * 128 + (byte & 127)
        data = data[10 + size :]
    return data


def _frame(header: bytes) -> tuple[int, float]:
    """Return a frame's length in bytes, 0 if this is no frame, and its bytes a second."""
    samples, kilobits, divisor = VERSIONS[header[1] >> 3 & 3]
    rate = header[2] >> 2 & 3
    if rate == 3:
        return 0, 0
    a_second = kilobits[(header[2] >> 4) - 1] * 125
    padding = header[2] >> 1 & 1
    return samples * a_second * divisor // HERTZ[rate] + padding, a_second
