"""A leg, and what every store of legs promises."""

import re
from dataclasses import dataclass
from typing import Protocol

DAY = 24 * 3600  # seconds; no call is longer, and nothing is kept for longer
MOST = 50  # legs in a conversation, and so the largest quorum [Vonage, NCCO reference]


@dataclass(frozen=True)
class Leg:
    """A caller's connection, from the answer webhook until the call ends."""

    uuid: str
    caller: str
    api_host: str | None  # where Vonage controls this call; None for the default
    audio_url: str | None  # where Vonage can fetch the audio; None if no address is known
    conference: str | None  # the conversation that the NCCO leads to; None in stream mode
    joined: float  # seconds since 1970

    @property
    def short_caller(self) -> str:
        """The caller for the log: a number's last four digits; of a SIP address the first part."""
        name = self.caller.partition("@")[0]
        digits = re.sub(r"\D", "", name)
        return f"…{digits[-4:]}" if len(digits) > 4 else name or "unknown"


class Calls(Protocol):
    """What both stores promise. Each method raises ServiceUnavailable when the store fails.

    All processes that share a store see the same legs. A uuid may have hyphens or not.
    """

    def join(self, leg: Leg) -> int:
        """Put the leg on the line, unless it is there, or has ended within a day.

        Gives how many are on the line in its conference, this one included, 50 at most; 0 outside
        a conference. Joining and counting are one atomic step.
        """

    def end(self, uuid: str) -> None:
        """Keep the leg off the line for a day, whether or not it was on it."""

    def live(self) -> list[Leg]:
        """The legs on the line that joined within a day, the one that joined last first."""


def key(uuid: str) -> str:
    """The one spelling of a uuid that stores use."""
    return uuid.replace("-", "").lower()
