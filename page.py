"""What the page shows: who is on the line, what plays as far as we know, what is not set up."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

import log
from calls import Calls, Leg, Note
from config import Config
from errors import Trouble

NEWS = 3600.0  # seconds for which an error event is worth reading
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Caller:
    """A leg on the line, in the page's words."""

    leg: Leg

    @property
    def name(self) -> str:
        """The number, whole."""
        return visible(self.leg.from_) or "no number"

    @property
    def place(self) -> str:
        """Where its NCCO put the caller."""
        if self.leg.conference is None:
            return "answered with music"
        where = f"the conference “{visible(self.leg.conference)}”"
        return f"waiting for {where}, with music" if self.leg.waiting else f"in {where}"

    @property
    def json(self) -> dict[str, Any]:
        """The same without the whole number, which only the page shows."""
        played = None if self.leg.played is None else local(self.leg.played)
        return {
            "uuid": self.leg.uuid,
            "from": log.number(visible(self.leg.from_)),
            "joined": local(self.leg.joined).isoformat(timespec="seconds"),
            "answered": self.leg.answered,
            "conference": self.leg.conference,
            "waiting": self.leg.waiting,
            "played": played and played.isoformat(timespec="seconds"),
            "played_loop": self.leg.played_loop,
        }


@dataclass(frozen=True)
class View:
    """All that the page shows; `trouble` is why it cannot tell who is on the line."""

    callers: list[Caller]
    address: str | None
    not_set_up: dict[str, str]
    error: Note | None
    trouble: Trouble | None

    @property
    def title(self) -> str:
        """How many are on the line, in words that fit a tab."""
        if self.trouble:
            return "Who is on the line is not known"
        return f"{len(self.callers) or 'Nobody'} on the line"

    @property
    def json(self) -> dict[str, Any]:
        """The same for whoever does not ask for HTML."""
        if self.trouble:
            return {"error": self.trouble.sentence}
        error = self.error and {
            "reason": log.NUMBER.sub(r"…\1", self.error.text),
            "at": local(self.error.at).isoformat(timespec="seconds"),
        }
        return {
            "on_the_line": [caller.json for caller in self.callers],
            "not_set_up": self.not_set_up,
            "last_error": error,
        }

    @property
    def whom(self) -> str:
        """Whom /stream means when it names nobody."""
        conferences = {caller.leg.conference for caller in self.callers}
        if len(self.callers) == 1 or (len(conferences) == 1 and None not in conferences):
            return "all"
        newest = self.callers[0].leg.conference
        return "whoever joined last" if newest is None else f"all in “{visible(newest)}”"


def view(calls: Calls, config: Config, port: str) -> View:
    """What there is to see now; `port` is the one that this server listens on."""
    legs: list[Leg] = []
    notes: dict[str, Note] = {}
    trouble = None
    try:
        legs, notes = calls.live(), calls.notes()
    except Trouble as failed:
        trouble = failed
    address = config.public_url or (notes["address"].text if "address" in notes else None)
    not_set_up = config.not_set_up
    if address is None and trouble is None:
        not_set_up["PUBLIC_URL"] = (
            "no public address seen yet: nothing has come in from Vonage within a day. "
            f"Run ngrok http {port}, or set the address that this server has."
        )
    error = notes.get("error")
    if error and time.time() - error.at > NEWS:
        error = None
    return View([Caller(leg) for leg in legs], address, not_set_up, error, trouble)


def local(at: float) -> datetime:
    """A time in seconds since 1970 as this machine's clock shows it."""
    return datetime.fromtimestamp(at).astimezone()


def visible(text: str) -> str:
    """Text that a caller chose, with whatever would not print, or turn the line, spelled out."""
    return "".join(c if c.isprintable() else f"[U+{ord(c):04X}]" for c in text)


def is_public(address: str) -> bool:
    """Whether an address such as https://example.ngrok.app may lead here from the internet."""
    host = re.sub(r":[0-9]+$", "", address.partition("://")[2]).strip("[].")
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local"))
