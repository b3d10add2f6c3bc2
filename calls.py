"""Who is on the line: the legs that joined and have not ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

DAY = 24 * 3600.0  # seconds; no call is longer, and nothing is kept for longer


@dataclass(frozen=True)
class Leg:
    """One connection into the platform: a caller, from the answer webhook until the end.

    `api_host` is where this call is controlled, None for the default; `audio_url` is the
    audio's address as Vonage can reach it; `conference` is the name of the conference that
    the NCCO sent the caller to, None in stream mode. `joined` is in seconds since 1970.

    With a quorum, `starts` is what the caller's NCCO said, and `waiting` is true until
    somebody is told to start. `played` is when /stream last started the audio here (None
    when nobody did, or it was stopped), and `played_loop` how often it was to play.
    """

    uuid: str
    conversation_uuid: str
    from_: str
    to: str
    api_host: str | None
    audio_url: str
    conference: str | None
    joined: float
    answered: bool = False
    starts: bool | None = None
    waiting: bool = False
    played: float | None = None
    played_loop: int | None = None


@dataclass(frozen=True)
class Note:
    """Something to remember beside the legs, and when it was noted, in seconds since 1970."""

    text: str
    at: float


class Calls(Protocol):
    """What both stores promise. Each method raises Trouble (503) when the store fails.

    All processes that share a store see the same legs. A leg goes by either spelling of its
    uuid, with hyphens or without. What a method costs does not grow with the calls of the past.
    """

    def join(self, leg: Leg, quorum: int | None) -> Leg:
        """Put the leg on the line, in one atomic step; return it as it is kept.

        With a quorum, whoever completes it (or comes when it is complete) has `starts` true,
        the others false. A leg that joined before is returned as it is; one that has ended
        stays off the line.
        """

    def change(self, uuid: str, **fields: str | float | bool | None) -> None:
        """Set fields of a leg on the line; nothing happens if it is not."""

    def end(self, uuid: str) -> None:
        """Take the leg off the line for good, whether or not it was on it."""

    def live(self) -> list[Leg]:
        """The legs on the line, the one that joined last first."""

    def note(self, name: str, text: str) -> None:
        """Remember a text under a name, for a day, in place of what was there."""

    def notes(self) -> dict[str, Note]:
        """What is remembered, by name."""


def open_calls(url: str, application: str) -> Calls:
    """The store at `sqlite:///path`, `redis://…` or `rediss://…`; nothing is connected yet.

    `application` keeps the calls of applications apart that share one Redis.
    """
    if url.startswith("sqlite:///"):
        from calls_sqlite import SqliteCalls

        return SqliteCalls(url.removeprefix("sqlite:///"))
    from calls_redis import RedisCalls

    return RedisCalls(url, application)


def key(uuid: str) -> str:
    """The one spelling of a leg's uuid under which it is kept."""
    return uuid.replace("-", "").lower()
