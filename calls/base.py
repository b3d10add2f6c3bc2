"""A leg, and what every store of legs promises."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

DAY = 24 * 3600  # seconds; no call is longer, and nothing is kept for longer
MOST_LEGS = 50  # legs in a conversation, and so the largest quorum [Vonage, NCCO reference]


@dataclass(frozen=True)
class Leg:
    """A caller's connection, from the answer webhook until the call ends. Times count from 1970."""

    uuid: str
    caller: str  # a number without a plus, a SIP address, a name, or "" [Webhook reference]
    api_host: str | None  # where Vonage controls this call; None for the default
    audio_url: str | None  # where the music is for Vonage; None if no address is known
    conference: str | None  # the conversation that the NCCO leads to; None in stream mode
    joined: float  # seconds
    audio: str = ""  # what was last known of it, such as "a.mp3 sent", "playing", "over"
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


class Calls(ABC):
    """Who is on the line: each leg from `join` until `end`, or until 24 hours have passed.

    All processes that share a store see the same legs. A uuid may have hyphens or not. Each
    method raises ServiceUnavailable when the store fails.
    """

    @abstractmethod
    def join(self, leg: Leg) -> int:
        """Put the leg on the line, unless it is there, or has ended within a day.

        Gives how many are on the line in its conference, with this one unless it has ended, 50 at
        most; 0 outside a conference. Joining and counting are one atomic step.
        """

    @abstractmethod
    def note(self, uuid: str, audio: str, at: float | None = None) -> None:
        """Keep what is now known of the audio in a leg, and when; nothing if it is not live.

        With `at`, it was known then: it replaces nothing that came later.
        """

    @abstractmethod
    def end(self, uuid: str) -> None:
        """Keep the leg off the line for a day, whether or not it was on it."""

    @abstractmethod
    def live(self) -> list[Leg]:
        """The legs on the line, the one that joined last first."""


def key(uuid: str) -> str:
    """The one spelling of a uuid that stores use."""
    return uuid.replace("-", "").lower()
