"""A leg, what is known of its audio, a line of what happened, and what every store promises."""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

DAY = 24 * 3600  # seconds; no call is longer, and nothing is kept for longer
MOST_LEGS = 50  # in a conversation, and so the largest quorum [Vonage, NCCO reference]
MOST_NEWS = 20  # lines of what happened
# The statuses that end a leg. [Vonage, Webhook reference]
ENDS = {"completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"}

# "failed": Vonage could not play it. "unreached": the request to play or stop did not succeed.
AudioState = Literal["over", "stopped", "unreached", "sent", "playing", "failed"]
# Of two notes with one time, the later in this order counts: the old song stops as the new starts.
ORDER = (None, *get_args(AudioState))


class AudioNote(NamedTuple):
    """What is known of the audio in a leg."""

    state: AudioState
    detail: str = ""  # the file's name, or why it failed or did not reach the leg


class News(NamedTuple):
    """A line of what happened. It names callers by four digits at most."""

    at: float  # seconds since 1970
    text: str
    bad: bool = False  # whether something went wrong


@dataclass(frozen=True)
class Leg:
    """A caller's connection, from the answer webhook until the call ends. Times are since 1970."""

    uuid: str
    caller: str  # a number without a plus, a SIP address, a name, or "" [Webhook reference]
    api_host: str | None  # where Vonage controls this call; None for the default
    audio_url: str | None  # where Vonage can fetch the music; None if no address is known
    conference: str | None  # the conversation that the NCCO leads to; None in stream mode
    joined: float  # seconds
    audio: AudioNote | None = None
    audio_at: float = 0.0  # seconds

    @property
    def shown_caller(self) -> str:
        """The caller for the page: a number with its plus."""
        if re.fullmatch("[0-9]{7,15}", self.caller):
            return f"+{self.caller}"
        return self.caller or "Unknown number"

    @property
    def short_caller(self) -> str:
        """The caller for the log: a number's last four digits; of a SIP address the first part."""
        name = self.caller.partition("@")[0]
        digits = re.sub(r"\D", "", name)
        if len(digits) > 4:
            return f"…{digits[-4:]}"
        return name or "Unknown number"

    def with_audio(self, audio: AudioNote, at: float) -> "Leg":
        """Return the leg with this note, or the leg as it is if its own note is newer."""
        state = self.audio and self.audio.state
        if (at, ORDER.index(audio.state)) < (self.audio_at, ORDER.index(state)):
            return self
        return replace(self, audio=audio, audio_at=at)

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @staticmethod
    def from_json(text: str) -> "Leg":
        values = json.loads(text)
        if values["audio"] is not None:
            values["audio"] = AudioNote(*values["audio"])
        return Leg(**values)


class Calls(ABC):
    """The legs on the line, each from `join` until `end` or for 24 hours, and the latest news.

    All processes that share a store see the same of one application. A uuid may have hyphens or
    not. Every method raises ServiceUnavailable when the store fails.
    """

    @abstractmethod
    def join(self, leg: Leg) -> int:
        """Add the leg, and a line of news, unless it is listed already or ended within a day.

        Return how many legs are on the line in its conference, 50 at most; 0 outside a
        conference. Joining and counting are one atomic step.
        """

    @abstractmethod
    def end(self, uuid: str) -> None:
        """Keep the leg off the line for a day; if it was on the line, add a line of news."""

    @abstractmethod
    def live(self) -> list[Leg]:
        """Return the legs on the line, the one that joined last first."""

    @abstractmethod
    def note(self, uuid: str, audio: AudioNote, at: float) -> Leg | None:
        """Save the state that a live leg's audio had at this time, unless a newer one is saved.

        Return the leg if this changed its state or detail, otherwise None.
        """

    @abstractmethod
    def tell(self, news: News) -> None:
        """Add a line to what happened."""

    @abstractmethod
    def news(self) -> list[News]:
        """Return the last 20 lines of what happened within a day, the newest first."""

    @abstractmethod
    def check_writable(self) -> None:
        """Write something that changes nothing."""


def key(uuid: str) -> str:
    """Return the one spelling of a uuid that stores use."""
    return uuid.replace("-", "").lower()


def joined(leg: Leg) -> News:
    """Return the line for a leg that has joined."""
    return News(leg.joined, f"{leg.short_caller} joined")


def left(leg: Leg, at: float) -> News:
    """Return the line for a leg that has left."""
    return News(at, f"{leg.short_caller} left")
