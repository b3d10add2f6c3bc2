"""Audio that a leg is to hear, and how that is said in words."""

import uuid
from dataclasses import dataclass, field
from threading import TIMEOUT_MAX, Event
from urllib.parse import urlsplit

MOST_TIMES = 10**9  # what is more is as good as forever


@dataclass(eq=False)
class Music:
    """A file at a public address; as hold music, it is Vonage that plays it."""

    kind: str  # "music" or "hold music"
    url: str
    times: int  # 0 is forever
    level: float  # -1 to 1
    play_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    heard: bool = False
    stopped: Event = field(default_factory=Event)  # by the app, a key, or other audio
    finished: Event = field(default_factory=Event)  # and the app knows

    @property
    def name(self) -> str:
        """Its file's name, or else its host."""
        parts = urlsplit(self.url)
        return parts.path.rpartition("/")[2] or parts.netloc

    def describe(self, format: str, seconds: float) -> str:
        """What of it is heard, such as "hears music: https://…/a.mp3, MP3 of 32 s, 2 times"."""
        times = f"{self.times} times"
        if self.times == 0:
            times = "forever"
        if self.times == 1:
            times = "1 time"
        line = f"hears {self.kind}: {self.url}, {format} of {seconds:.0f} s, {times}"
        if self.level:
            line += f" at level {self.level:g}"
        return line

    def lasts(self, seconds: float) -> float:
        """For how many seconds it is heard if once takes so many; as a thread can wait for it."""
        if self.times == 0:
            return TIMEOUT_MAX
        return min(seconds * min(self.times, MOST_TIMES), TIMEOUT_MAX)
