"""What a caller hears, as terminal and phone tell it, and the webhooks about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import requests

from sandbox.music import Music, now

if TYPE_CHECKING:
    from sandbox.sandbox import Sandbox

NAMES = ("from", "to", "from_user", "uuid", "conversation_uuid")
COSTS = {"rate": "0.00", "price": "0.00", "network": "65512"}
# The SIP codes of calls that were never answered. [RFC 3261]
SIP_CODES = {"busy": 486, "cancelled": 487, "timeout": 408}
SUCCESS = range(200, 206)  # [Webhooks guide]


@dataclass(eq=False, kw_only=True)
class Listener:
    """Somebody who hears something, until the call is over.

    `happened` is what happened in the call: each event has the `line` that tells it in words, if
    any, and what a phone shows or plays.
    """

    vonage: Sandbox
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
    _rtc_ids: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.news = self.vonage.news
        self.uuid = str(self.parameters.get("uuid"))
        caller = str(self.parameters.get("from", self.parameters.get("from_user", "unknown")))
        self.name = caller.partition("@")[0]
        if self.name.isdigit():
            self.name = f"…{caller[-4:]}"

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

    def event(self, status: str, **more: Any) -> requests.Response | None:
        """Send the event of a status; returns its response."""
        fields = {**self._named(), "status": status, "direction": "inbound"}
        if status == "answered":  # what is not known yet is null [captured bodies]
            fields |= {"start_time": None, "rate": None, "network": None}
        if status == "completed":
            fields |= self.lasted(write_time)
            if self.answered:
                fields["sip_code"] = 200
            elif self.status in SIP_CODES:
                fields["sip_code"] = SIP_CODES[self.status]
        return self.send_event("event", status, fields | more)

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
    ) -> requests.Response | None:
        """Send a webhook about `what`; returns its response, and tells only of a refusal."""
        sent = {"timestamp": write_time(now()), **fields}
        response = self.vonage.send("POST", f"/webhooks/{webhook}", sent, **headers)
        if response is None or response.status_code not in SUCCESS:
            self.vonage.on_line(
                self.name, f"POST /webhooks/{webhook} {what} → {describe_status(response)}"
            )
        return response


def write_time(moment: datetime) -> str:
    """Return a time as webhooks have it, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def describe_status(response: requests.Response | None) -> str:
    """Return the status of a webhook's response in a word or two."""
    if response is None:
        return "no answer"
    return str(response.status_code)
