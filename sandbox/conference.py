"""A conference: who waits for its start, and who is in it. [NCCO reference]"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.call import Call


class Conference:
    """A conversation by its name, to which legs come; the lock for it is the calls' own."""

    def __init__(self) -> None:
        self.waiting: list[Call] = []
        self.inside: list[Call] = []

    def enter(self, leg: Call, starts: bool) -> list[Call]:
        """Let a leg in, or have it wait for one that starts the conference; gives who joins now.

        One that does not start it joins at once where others are inside.
        """
        if not starts and not self.inside:
            self.waiting.append(leg)
            return []
        joining = [*self.waiting, leg]
        self.waiting.clear()
        self.inside.extend(joining)
        return joining

    def leave(self, leg: Call) -> None:
        """Forget a leg that is over."""
        for legs in (self.waiting, self.inside):
            if leg in legs:
                legs.remove(leg)
        self.count()

    def count(self) -> None:
        """Say to each leg how many others are inside, where that has changed."""
        others = len(self.inside) - 1
        for leg in self.inside:
            if leg.others is not None and leg.others != others:
                leg.others = others
                leg.sound("conference", others=others)
