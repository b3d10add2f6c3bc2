"""A call: what its caller does and hears, the NCCO that it runs, and the webhooks about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import requests

from sandbox.music import Music, now
from sandbox.ncco import list_not_run, read_ncco

if TYPE_CHECKING:
    from sandbox.sandbox import Sandbox

NAMES = ("from", "to", "uuid", "conversation_uuid")
COSTS = {"rate": "0.00", "price": "0.00", "network": "65512"}
SUCCESS = range(200, 206)  # [Webhooks guide]


@dataclass(eq=False, kw_only=True)
class Call:
    """A call from dialling to hanging up: for Vonage one leg, which its uuid names.

    `happened` is what happened in the call: each event has the `line` that tells it in words, if
    any, and what a phone shows or plays.
    """

    vonage: Sandbox
    region: str
    parameters: dict[str, Any]  # of the answer webhook
    happened: list[dict[str, Any]] = field(default_factory=list)
    status: str = "ringing"
    answered: datetime | None = None
    ended_at: datetime | None = None
    over: Event = field(default_factory=Event)
    heard: Event = field(default_factory=Event)  # music or the conference, or why there is none
    music: Music | None = None  # what is heard now, or fetched in order to be heard
    audio: bytes = b""  # what was heard last
    listens: bool = False  # whether a key does something
    speaks: bool = False  # on a phone, where a talk lasts until `go_on`
    ncco: list[dict[str, Any]] = field(default_factory=list)
    go_on: Event = field(default_factory=Event)  # to the next action
    conference: str | None = None  # its name, once the call has come to it
    inside: bool = False  # or it waits for the start
    others: str = ""  # who is in the conference with it, in words
    _digits: str = ""
    _rtc_ids: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.news = self.vonage.news
        self.uuid = str(self.parameters.get("uuid"))
        self.number = str(self.parameters.get("from"))
        self.name = f"…{self.number[-4:]}"

    def tell(self, line: str, **shown: Any) -> None:
        """Say what happens, until the call is over; a phone gets what is shown, too."""
        with self.news:
            if not self.over.is_set():
                self.show(line=line, **shown)
                self.vonage.on_line(self.name, line)

    def show(self, **shown: Any) -> None:
        """Let a phone show or play something."""
        with self.news:
            if not self.over.is_set():
                self.happened.append(shown)
                self.news.notify_all()

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
        who = {"uuid": self.uuid, "number": f"+{self.number}", "name": self.name}
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

    def hang_up(self, **shown: Any) -> None:
        """End the call, as its caller, who cancels it before it is answered."""
        self.end("hangs up", "user", **shown)

    def end(self, line: str, by: str = "platform", **shown: Any) -> None:
        """Be over, with a last line; then the events are sent, the last of them `completed`."""
        with self.news:
            if self.over.is_set():
                return
            self.stop_music()
            self.tell(line, **{"place": "over", "state": "Call ended", **shown})
            self.status = "completed"
            if by == "user" and not self.answered:
                self.status = "cancelled"
            self.ended_at = now()
            self.over.set()
            self.heard.set()
            self.go_on.set()
            self._count()
        how: dict[str, Any] = {"disconnected_by": by}
        if self.answered:
            how["sip_code"] = 200  # [RFC 3261]
        if self.status == "cancelled":
            how["sip_code"] = 487
            self.event("cancelled")
        self.event("completed", **how)

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

    # What the Voice API does

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio in place of what is heard. [vonage-java-sdk issue 243]"""
        self.vonage.on_line(self.name, "the app asks: PUT /v1/calls/…/stream → 200")
        self.hear(Music(self.vonage, url, loop, level))

    def stop_stream(self) -> None:
        """Stop what the Voice API or an NCCO's stream plays, but not hold music."""
        self.vonage.on_line(self.name, "the app asks: DELETE /v1/calls/…/stream → 200")
        with self.news:
            if self.music and not self.music.is_hold and self.stop_music():
                self.tell("hears the music stop")

    # What is heard

    @property
    def is_fetching(self) -> bool:
        """Whether music is fetched that is not heard yet."""
        return self.music is not None and not self.music.is_heard

    def hear(self, music: Music) -> Thread:
        """Hear this once it is fetched, and end at once what is heard or fetched until now.

        Returns the thread, which ends with the music.
        """
        with self.news:
            self.stop_music()
            self.music = music
            if self.over.is_set():
                music.stop()
        player = Thread(target=self._play, args=[music], daemon=True)
        player.start()
        return player

    def stop_music(self) -> bool:
        """Stop what is heard or fetched; returns whether something was heard."""
        with self.news:
            music = self.music
            if music is None:
                return False
            self.music = None
            music.stop()
            if music.is_heard:
                self.show(sound="silence")
            return music.is_heard

    def _play(self, music: Music) -> None:
        """Hear music from its beginning to its end, and send RTC's events about it."""
        try:
            music.fetch()
        except ValueError as error:
            self._hear_nothing(music, str(error))
            return
        with self.news:
            if music.stopped.is_set():
                return
            began = now()
            self.audio = bytes(music.data)
            music.ends = time.monotonic() + music.lasts
            heard = {"seconds": music.seconds, "times": music.times, "level": music.level}
            self.tell(music.describe(), sound="music", keys=self.listens, **heard)
            music.is_heard = True
            self.heard.set()
        how = {"stream_url": [music.url], "level": music.level, "loop": music.times}
        # On its own, so that a slow app does not put off the end.
        sender = Thread(target=self.send_rtc, args=["audio:play", began, music], kwargs=how)
        sender.start()
        music.stopped.wait(music.lasts)
        with self.news:
            if self.over.is_set():
                return
            kind = "audio:play:stop"
            if not music.stopped.is_set():
                kind = "audio:play:done"
                self.music = None
                music.stopped_at = now()
                self.tell("hears the music end", sound="silence")
        sender.join()
        self.send_rtc(kind, music.stopped_at, music)

    def _hear_nothing(self, music: Music, reason: str) -> None:
        with self.news:
            if music.stopped.is_set():
                return
            failed = now()
            line = f"hears nothing: {music.name} could not be played: {reason}"
            self.tell(line, sound="silence", trouble=True)
            self.music = None
            self.heard.set()
        self.send_rtc("audio:play:done", failed, music, error=reason)

    # Webhooks [Webhook reference]

    def event(self, status: str, **more: Any) -> None:
        """Send the event of a status."""
        fields = {**self._named(), "status": status, "direction": "inbound"}
        if status == "answered":  # what is not known yet is null [captured bodies]
            fields |= {"start_time": None, "rate": None, "network": None}
        if status == "completed":
            fields |= self.lasted(write_time)
        self.send_event("event", status, fields | more)

    def _named(self) -> dict[str, Any]:
        """Return what most events say of a call."""
        return {name: self.parameters[name] for name in NAMES if name in self.parameters}

    def lasted(self, write: Callable[[datetime], str]) -> dict[str, Any]:
        """Return what is known of a call that is over, with its times as `write` has them."""
        if self.ended_at is None:
            return {}
        known = {"duration": "0", **COSTS, "end_time": write(self.ended_at)}
        if self.answered:
            known["start_time"] = write(self.answered)
            known["duration"] = str(int((self.ended_at - self.answered).total_seconds()))
        return known

    def send_rtc(self, kind: str, at: datetime, music: Music, **body: Any) -> None:
        """Send what RTC says of audio, unless it is hold music. [Conversation API, Event]"""
        if music.is_hold:
            return
        channel = {"id": self.uuid, "type": "phone"}
        fields = {
            "type": kind,
            "application_id": self.vonage.account.application_id,
            "id": next(self._rtc_ids),
            "conversation_id": self.parameters.get("conversation_uuid"),
            "body": {"play_id": music.play_id, "channel": channel, **body},
            "timestamp": write_time(at),
        }
        self.send_event("rtc", kind, fields, Authorization=None)

    def send_event(
        self, webhook: str, what: str, fields: dict[str, Any], **headers: str | None
    ) -> None:
        """Send a webhook about `what`, and tell only of a refusal."""
        sent = {"timestamp": write_time(now()), **fields}
        response = self.vonage.send("POST", f"/webhooks/{webhook}", sent, **headers)
        if response is None or response.status_code not in SUCCESS:
            came = describe_status(response)
            self.vonage.on_line(self.name, f"POST /webhooks/{webhook} {what} → {came}")


def write_time(moment: datetime) -> str:
    """Return a time as webhooks have it, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def describe_status(response: requests.Response | None) -> str:
    """Return the status of a webhook's response in a word or two."""
    if response is None:
        return "no answer"
    return str(response.status_code)
