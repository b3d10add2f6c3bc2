"""A call: what its caller does, the NCCO that it runs, and the conference that it may come to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sandbox.listener import Listener, describe_status
from sandbox.music import Music, now
from sandbox.ncco import list_not_run, read_ncco


@dataclass(eq=False, kw_only=True)
class Call(Listener):
    """A call from dialling to hanging up: for Vonage one leg, which its uuid names."""

    region: str
    speaks: bool = False  # on a phone, where a talk lasts until `go_on`
    ncco: list[dict[str, Any]] = field(default_factory=list)
    ended: Event = field(default_factory=Event)  # over, and the app knows
    go_on: Event = field(default_factory=Event)  # to the next action
    conference: str | None = None  # its name, once the call has come to it
    inside: bool = False  # or it waits for the start
    others: str = ""  # who is in the conference with it, in words
    _digits: str = ""

    # What its caller does

    def dial(self) -> None:
        """Call the number, and run the NCCO unless it is refused."""
        self.ring()
        self.connect()
        self.pick_up()

    def ring(self) -> None:
        """Ring, and tell the app."""
        line = "dials"
        if self.speaks:
            line = "dials on the phone"
        number = str(self.parameters.get("from", "Unknown number"))
        if number.isdigit():
            number = f"+{number}"
        who = {"uuid": self.uuid, "number": number, "name": self.name}
        self.tell(line, place="ringing", state="Ringing", **who)
        self.event("started")
        self.event("ringing")

    def connect(self, method: str = "POST") -> None:
        """Ask the app for the NCCO; the call is over if Vonage would not run it."""
        response = self.vonage.send(method, "/webhooks/answer", self.parameters)
        came = f"{method} /webhooks/answer → {describe_status(response)}"
        try:
            self.ncco = read_ncco(response)
        except ValueError as error:
            self.vonage.on_line(self.name, came)
            conversation = self.parameters.get("conversation_uuid")
            fields = {"conversation_uuid": conversation, "reason": error.args[0]}
            self.send_event("event", "error", fields)
            self.end(f"is cut off: {' '.join(error.args)}", trouble=True)
            return
        actions = ", ".join(action["action"] for action in self.ncco)
        self.vonage.on_line(self.name, f"{came} {actions}")

    def answer(self) -> None:
        """Be answered, before the app is asked for its NCCO or after it."""
        with self.news:
            if self.over.is_set():
                return
            self.answered = now()
            self.status = "answered"
            self.show(place="answered", state="Connected")
        self.event("answered")

    def pick_up(self) -> None:
        """Be answered, and run the NCCO."""
        if not self.answered:
            self.answer()
        Thread(target=self._run, daemon=True).start()

    def press(self, digits: str = "1") -> None:
        """Press keys, which end what is heard or answer an `input`, if anything listens."""
        with self.news:
            if not self.listens:
                self.tell(f"presses {digits}: nothing listens for keys")
                return
            self._digits += digits
            self.tell(f"presses {digits}", sound="silence")
            if self.stop_music():
                self.tell("hears the music stop")
            self.go_on.set()

    def hang_up(self, status: str = "", **shown: Any) -> None:
        """End the call, as its caller; the status is cancelled before it is answered."""
        if not status:
            status = "cancelled"
            if self.answered:
                status = "completed"
        by = "user"
        if status == "timeout":
            by = "platform"
        self.end("hangs up", status, by, **shown)

    def end(self, line: str, status: str = "completed", by: str = "platform", **shown: Any) -> None:
        """Be over, with a last line; then the events are sent.

        `completed` follows every end but `rejected`. [support article]
        """
        with self.news:
            if self.over.is_set():
                return
            self.stop_music()
            self.tell(line, **{"place": "over", "state": "Call ended", **shown})
            self.status = status
            self.ended_at = now()
            self.over.set()
            self.heard.set()
            self.go_on.set()
            self._count()
        if status != "completed":
            self.event(status)
        if status != "rejected":
            self.event("completed", disconnected_by=by)
        self.ended.set()

    # The NCCO

    def _run(self) -> None:
        for action in self.ncco:
            self.go_on.clear()
            if self.over.is_set():
                return
            for skipped in list_not_run(action):
                self.tell(f"{skipped}: not run here")
            name = action["action"]
            if name != "input":
                self.listens = action.get("bargeIn", False)
                self._digits = ""
            if name == "talk":
                self._say(action)
            elif name == "stream":
                self._stream(action)
            elif name == "input":
                self._input(action)
            elif name == "conversation":
                self._enter(action)
                self.over.wait()
        self.end("hears the end of the NCCO")

    def _say(self, action: dict[str, Any]) -> None:
        text = action["text"].strip()
        how = {"text": text, "level": action.get("level", 0), "keys": self.listens}
        self.tell(f'hears "{text}"', sound="talk", **how)
        if self.speaks:
            self.go_on.wait(10 + len(text) / 5)

    def _stream(self, action: dict[str, Any]) -> None:
        url = action["streamUrl"][0]
        music = Music(self.vonage, url, action.get("loop", 1), action.get("level", 0))
        self.hear(music).join()
        # It lasts as long, although the app has stopped it or plays something in its place.
        self.go_on.wait(music.ends - time.monotonic())

    def _input(self, action: dict[str, Any]) -> None:
        """Collect keys, those that ended what was heard among them, and send them."""
        if "dtmf" not in action["type"]:
            return
        asked = {"maxDigits": 4, "timeOut": 3, **action.get("dtmf", {})}  # [NCCO reference of 2021]
        most, seconds = asked["maxDigits"], asked["timeOut"]
        self.listens = True
        self.tell(f"may press keys, the next within {seconds} s", sound="silence", keys=True)
        while len(self._digits) < most and self.go_on.wait(seconds):
            if self.over.is_set():
                return
            self.go_on.clear()
        digits = self._digits[:most]
        self.listens = False
        self.show(keys=False)
        fields = self._named()
        fields["dtmf"] = {"digits": digits, "timed_out": len(digits) < most}
        self.send_event("event", "dtmf", fields)

    # The conference [NCCO reference]

    def _enter(self, action: dict[str, Any]) -> None:
        """Start the conference, join it where it has started, or wait for its start."""
        with self.news:
            self.conference = action["name"]
            there = self._meet()
            joining = [call for call in there if not call.inside]
            if action.get("startOnEnter", True) or len(joining) < len(there):
                for call in joining:
                    call.inside = True
            else:
                joining = []
                self._wait(action)
        for call in joining:
            call._join()

    def _wait(self, action: dict[str, Any]) -> None:
        line = "waits for the conference to start"
        self.tell(line, place="waiting", state="Waiting for the conference to start")
        if "musicOnHoldUrl" not in action:
            self.heard.set()
            return
        url = action["musicOnHoldUrl"][0]
        self.hear(Music(self.vonage, url, times=0, is_hold=True))

    def _join(self) -> None:
        """Be moved from a conversation of one's own to the conference's."""
        came_from = self.parameters.get("conversation_uuid")
        conversation = f"CON-{uuid5(NAMESPACE_URL, ascii(self.conference))}"
        self.parameters["conversation_uuid"] = conversation
        fields = {"conversation_uuid_from": came_from, "conversation_uuid_to": conversation}
        fields |= {"uuid": self.uuid, "type": "transfer"}
        self.send_event("event", "transfer", fields)
        with self.news:
            if self.music and self.music.is_hold and self.stop_music():
                self.tell("hears the music stop")
            self._count()
            line = f"is in the conference, {self.others}"
            if self.music is None:
                line += ": silence until Play"
            self.tell(line)
            self.heard.set()

    def _count(self) -> None:
        """Let each phone in the conference show how many others are there."""
        inside = [call for call in self._meet() if call.inside]
        others = "alone"
        if len(inside) > 1:
            others = f"with {len(inside) - 1} more"
        for call in inside:
            if call.others != others:
                call.others = others
                call.show(place="conference", state=f"In the conference, {others}")

    def _meet(self) -> list[Call]:
        """Return who has come to this conference and is not over, in turn."""
        calls = list(self.vonage.calls.values())
        return [one for one in calls if one.conference == self.conference and not one.over.is_set()]
