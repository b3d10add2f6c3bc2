"""/stream and /stream/stop: which legs are meant, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from calls import Calls, Leg, key
from errors import Trouble
from voice import DEADLINE, UnknownLeg, Voice

PICKED_UP = 60  # seconds after which a leg that Vonage does not know is taken to be over

Ask = Callable[[list[Leg], float], list[Trouble | None]]


@dataclass(frozen=True)
class Outcome:
    """What became of one leg: no trouble, or which."""

    leg: Leg
    trouble: Trouble | None


def play(
    calls: Calls, voice: Voice, uuid: str | None, loop: int | None, level: float | None
) -> list[Outcome]:
    """Start the audio in the active call: the leg that joined last, or all in its conference.

    `uuid` names one leg instead; `loop` and `level` are as in an NCCO. Gives what became of
    each leg if Vonage took it for any. Raises Trouble: 409 with nobody on the line or where
    Vonage knows no leg, 404 for a uuid that is not on the line, else what Vonage said.
    """
    outcomes = _reach(calls, lambda legs, until: voice.play(legs, loop, level, until), uuid)
    _remember(calls, outcomes, played=time.time(), played_loop=loop)
    return outcomes


def stop(calls: Calls, voice: Voice, uuid: str | None) -> list[Outcome]:
    """Stop the audio in the active call; in all else like `play`."""
    outcomes = _reach(calls, voice.stop, uuid)
    _remember(calls, outcomes, played=None, played_loop=None)
    return outcomes


def _reach(calls: Calls, ask: Ask, uuid: str | None) -> list[Outcome]:
    until = time.monotonic() + DEADLINE
    while True:
        legs = _meant(calls.live(), uuid)
        outcomes = [
            Outcome(leg, trouble) for leg, trouble in zip(legs, ask(legs, until), strict=True)
        ]
        over = [outcome.leg for outcome in outcomes if _is_over(outcome)]
        with suppress(Trouble):  # the store; the next request will say what is wrong with it
            for leg in over:
                calls.end(leg.uuid)
        if any(outcome.trouble is None for outcome in outcomes):
            return outcomes
        may_try_the_next = uuid is None and legs[0].conference is None and over
        if not may_try_the_next or time.monotonic() > until or not calls.live():
            raise _why_none(outcomes)


def _meant(live: list[Leg], uuid: str | None) -> list[Leg]:
    if uuid is not None:
        named = [leg for leg in live if key(leg.uuid) == key(uuid)]
        if not named:
            raise Trouble(f"The leg {uuid} is not on the line.", status=404)
        return named
    if not live:
        raise Trouble("Nobody is on the line: dial the number first.", status=409)
    newest = live[0]
    if newest.conference is None:
        return [newest]
    return [leg for leg in live if leg.conference == newest.conference]


def _is_over(outcome: Outcome) -> bool:
    """A leg that Vonage does not know is over, unless nobody may have picked up yet."""
    leg = outcome.leg
    old = leg.answered or time.time() - leg.joined > PICKED_UP
    return old and isinstance(outcome.trouble, UnknownLeg)


def _why_none(outcomes: list[Outcome]) -> Trouble:
    """What to tell when no leg was reached: that Vonage knows none only if it said so of all."""
    troubles = [outcome.trouble for outcome in outcomes if outcome.trouble]
    unknown = [trouble for trouble in troubles if isinstance(trouble, UnknownLeg)]
    if len(unknown) < len(troubles):
        return next(trouble for trouble in troubles if not isinstance(trouble, UnknownLeg))
    return UnknownLeg(*(host for trouble in unknown for host in trouble.hosts))


def _remember(
    calls: Calls, outcomes: list[Outcome], played: float | None, played_loop: int | None
) -> None:
    with suppress(Trouble):  # the music plays all the same
        for outcome in outcomes:
            if outcome.trouble is None:
                calls.change(outcome.leg.uuid, played=played, played_loop=played_loop)
