"""A call: what its caller does, and the NCCO that it runs.

Not acted on: the NCCO in an answer to an `input` event, `endOnExit`, and actions known by name.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import Event, Thread
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sandbox.conference import Conference
from sandbox.listener import Listener
from sandbox.music import Music


@dataclass(eq=False, kw_only=True)
class Call(Listener):
    """A leg, from dialling to hanging up."""

    conferences: defaultdict[str, Conference]  # by their names
    ncco: list[dict[str, Any]] = field(default_factory=list)
    speaks: bool = False  # whether a talk lasts until `go_on`
    ended: Event = field(default_factory=Event)  # over, and the app knows
    go_on: Event = field(default_factory=Event)  # to the next action
    others: int | None = None  # how many are in the conference with this leg, once it is in
    _conference: Conference | None = None
    _digits: str = ""

    def press(self, digits: str = "1") -> None:
        """Press keys."""
        with self.news:
            self._digits += digits
            self.tell(f"presses {digits}", "pressed", digit=digits, listened=self.barges)
            if not self.barges:
                return
            self.go_on.set()
            if self.music:
                self.music.stopped.set()

    def answer(self) -> None:
        """The leg is answered, before the app is asked for its NCCO or after it."""
        self.answered = datetime.now(timezone.utc)
        self.status = "answered"
        self.sound("answered")
        self.event("answered")

    def pick_up(self) -> None:
        """The leg is answered, and its NCCO runs."""
        if not self.answered:
            self.answer()
        Thread(target=self._run, daemon=True).start()

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
            if self.music:
                self.music.stopped.set()
            if self._conference:
                self._conference.leave(self)
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
        url = action["streamUrl"][0]
        music, replaced = self.take(
            Music("music", url, action.get("loop", 1), action.get("level", 0))
        )
        began = time.monotonic()
        lasts = self.play(music, replaced)
        # It lasts as long, although the app has stopped it or plays something in its place.
        self.go_on.wait(max(0, began + lasts - time.monotonic()))

    def _input(self, action: dict[str, Any]) -> None:
        """Send the keys that were pressed; it waits for no more."""
        if "dtmf" not in action["type"]:
            return
        pressed = {"digits": self._digits, "timed_out": not self._digits}
        self.send_event("event", "dtmf", self.named() | {"dtmf": pressed})

    def _enter(self, action: dict[str, Any]) -> None:
        name = action["name"]
        with self.news:
            if self.over.is_set():
                return
            conference = self.conferences[name]
            self._conference = conference
            joining = conference.enter(self, action.get("startOnEnter", True))
            if not joining:
                self.tell("waits for the conference to start", "waits")
        for leg in joining:
            leg._join(f"CON-{uuid5(NAMESPACE_URL, name)}")
        if joining:
            return
        if "musicOnHoldUrl" not in action:
            self.heard.set()
            return
        music, _ = self.take(Music("hold music", action["musicOnHoldUrl"][0], 0, 0))
        self.hear(music)

    def _join(self, conversation: str) -> None:
        """Be moved from a conversation of one's own to the conference's. [NCCO reference]"""
        came_from = self.parameters.get("conversation_uuid")
        self.parameters["conversation_uuid"] = conversation
        moved = {"conversation_uuid_from": came_from, "conversation_uuid_to": conversation}
        self.send_event("event", "transfer", {**moved, "uuid": self.uuid, "type": "transfer"})
        with self.news:
            conference = self._conference
            if conference is None or self.over.is_set():
                return
            self.others = len(conference.inside) - 1
            line = f"is in the conference, with {self.others} more"
            music = self.music
            if music and music.kind == "hold music":
                self.music = None
                music.stopped.set()
                if music.heard:
                    self.sound("music stopped")
                    line = f"hears the music stop, {line}"
            self.tell(line, "conference", others=self.others)
            conference.count()
