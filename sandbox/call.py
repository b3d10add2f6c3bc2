"""A call: what its caller does, the NCCO that it runs, and the conference that it is in.

Not acted on: the NCCO in an answer to an `input` event, `endOnExit`, and actions known by name.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import Event, Thread
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sandbox.audio import Music
from sandbox.leg import Leg
from sandbox.ncco import read_ncco
from sandbox.tunnel import describe_status


@dataclass(eq=False, kw_only=True)
class Call(Leg):
    """A leg, from dialling to hanging up; `calls` are all, among which are those it meets."""

    calls: dict[str, Call]
    ncco: list[dict[str, Any]] = field(default_factory=list)
    speaks: bool = False  # on a phone, where a talk lasts until `go_on`
    ended: Event = field(default_factory=Event)  # over, and the app knows
    go_on: Event = field(default_factory=Event)  # to the next action
    conference: str | None = None  # its name, once the leg has come to it
    inside: bool = False  # or it waits for the start
    others: int | None = None  # how many are in the conference with this leg, as it was told
    _digits: str = ""

    # What its caller does

    def dial(self) -> None:
        """Call the number, and run the NCCO unless it is refused."""
        self.ring()
        self.connect()
        self.pick_up()

    def ring(self) -> None:
        """Ring, and tell the app so."""
        line = "dials"
        if self.speaks:
            line = "dials on the phone"
        self.tell(line, "dials", uuid=self.uuid, number=self.parameters.get("from"))
        self.event("started")
        self.event("ringing")

    def connect(self, method: str = "POST") -> None:
        """Ask the app for the NCCO; the call is over if Vonage would not run it."""
        response = self.tunnel.send(method, "/webhooks/answer", self.parameters)
        came = f"{method} /webhooks/answer → {describe_status(response)}"
        try:
            self.ncco = read_ncco(response)
        except ValueError as error:
            self.on_line(self.name, came)
            conversation = self.parameters.get("conversation_uuid")
            fields = {"conversation_uuid": conversation, "reason": error.args[0]}
            self.send_event("event", "error", fields)
            reason = " ".join(error.args)
            self.end(f"is cut off: {reason}", f"Cut off: {reason}")
            return
        actions = ", ".join(action["action"] for action in self.ncco)
        self.on_line(self.name, f"{came} {actions}")

    def answer(self) -> None:
        """The leg is answered, before the app is asked for its NCCO or after it."""
        self.answered = datetime.now(timezone.utc)
        self.status = "answered"
        self.show("answered")
        self.event("answered")

    def pick_up(self) -> None:
        """The leg is answered, and its NCCO runs."""
        if self.over.is_set():
            return
        if not self.answered:
            self.answer()
        Thread(target=self._run, daemon=True).start()

    def press(self, digits: str = "1") -> None:
        with self.news:
            self._digits += digits
            self.tell(f"presses {digits}", "pressed", digit=digits, listened=self.barges)
            if not self.barges:
                return
            if self.stop_music():
                self.tell("hears the music stop")
            self.go_on.set()

    def hang_up(self, status: str = "completed", why: str = "You hung up") -> None:
        """End the call, as the caller; it is over for Vonage before the events are sent."""
        self.end("hangs up", why, status, by="user")

    def end(self, line: str, why: str, status: str = "completed", by: str = "platform") -> None:
        """The leg is over: the story's last line, and why, for a phone.

        `completed` follows every end but `rejected`. [support article]
        """
        with self.news:
            if self.over.is_set():
                return
            self.tell(line, "over", why=why)
            self.status = status
            self.ended_at = datetime.now(timezone.utc)
            self.over.set()
            self.heard.set()
            self.go_on.set()
            self.stop_music()
            self._count()
        if status != "completed":
            self.event(status)
        if status != "rejected":
            self.event("completed", disconnected_by=by)
        self.ended.set()

    # The NCCO

    def _run(self) -> None:
        for action in self.ncco:
            given = {name: value for name, value in action.items() if value is not None}
            self.go_on.clear()
            if self.over.is_set():
                return
            self.barges = given.get("bargeIn", False)
            if self.barges:
                self._digits = ""
            if given["action"] == "talk":
                self._say(given)
            elif given["action"] == "stream":
                self._stream(given)
            elif given["action"] == "input":
                self._input(given)
            elif given["action"] == "conversation":
                self._enter(given)
                self.over.wait()
        self.end("hears the end of the NCCO", "The NCCO is at its end")

    def _say(self, action: dict[str, Any]) -> None:
        text = action["text"]
        level = action.get("level", 0)
        self.tell(f'hears "{text}"', "talk", text=text, level=level, barges=self.barges)
        if self.speaks:
            self.go_on.wait(10 + len(text) / 5)

    def _stream(self, action: dict[str, Any]) -> None:
        music = Music(action["streamUrl"][0], action.get("loop", 1), action.get("level", 0))
        self.take(music)
        began = time.monotonic()
        lasts = self.play(music)
        # It lasts as long, although the app has stopped it or plays something in its place.
        self.go_on.wait(max(0, began + lasts - time.monotonic()))

    def _input(self, action: dict[str, Any]) -> None:
        """Send the keys that were pressed; it waits for no more."""
        if "dtmf" in action["type"]:
            fields = self.named()
            fields["dtmf"] = {"digits": self._digits, "timed_out": not self._digits}
            self.send_event("event", "dtmf", fields)

    # The conference [NCCO reference]

    def _enter(self, action: dict[str, Any]) -> None:
        """Start the conference, join it where it has started, or wait for its start."""
        with self.news:
            self.conference = action["name"]
            there = self._meet()
            starts = action.get("startOnEnter", True)
            if starts or any(leg.inside for leg in there):
                joining = [leg for leg in there if not leg.inside]
                for leg in joining:
                    leg.inside = True
            else:
                self._wait(action)
                return
        for leg in joining:
            leg._join()

    def _wait(self, action: dict[str, Any]) -> None:
        self.tell("waits for the conference to start", "waits")
        if "musicOnHoldUrl" not in action:
            self.heard.set()
            return
        url = action["musicOnHoldUrl"][0]
        self.start(Music(url, times=0, level=0, kind="hold music"))

    def _join(self) -> None:
        """Be moved from a conversation of one's own to the conference's."""
        came_from = self.parameters.get("conversation_uuid")
        conversation = f"CON-{uuid5(NAMESPACE_URL, str(self.conference))}"
        self.parameters["conversation_uuid"] = conversation
        fields = {"conversation_uuid_from": came_from, "conversation_uuid_to": conversation}
        fields |= {"uuid": self.uuid, "type": "transfer"}
        self.send_event("event", "transfer", fields)
        with self.news:
            self.others = self._count()
            line = f"is in the conference, with {self.others} more"
            if self.others == 0:
                line = "is in the conference, alone"
            if self.music and self.music.kind == "hold music" and self.stop_music():
                line = f"hears the music stop, {line}"
            self.tell(line, "conference", others=self.others)

    def _count(self) -> int:
        """How many others are inside; says so to each of them where that has changed."""
        inside = [leg for leg in self._meet() if leg.inside]
        others = len(inside) - 1
        for leg in inside:
            if leg.others is not None and leg.others != others:
                leg.others = others
                leg.show("conference", others=others)
        return others

    def _meet(self) -> list[Call]:
        """Who has come to the conference and is not over, in turn, this leg included."""
        legs = list(self.calls.values())
        return [leg for leg in legs if leg.conference == self.conference and not leg.over.is_set()]
