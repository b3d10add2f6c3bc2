"""A leg of a call: what Vonage knows of it, the events that it sends about it, and its audio."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import TIMEOUT_MAX, Condition, Event, Lock, Thread
from typing import Any

import requests

from sandbox.audio import Music, sound
from sandbox.tunnel import Tunnel, describe_status

NAMES = ("from", "to", "from_user", "uuid", "conversation_uuid")
EVENT_TIME = "%Y-%m-%dT%H:%M:%S.000Z"
API_TIME = "%Y-%m-%d %H:%M:%S"  # [OpenAPI file]
COSTS = {"rate": "0.00", "price": "0.00", "network": "65512"}


@dataclass(eq=False, kw_only=True)
class Leg:
    """A caller's connection, in which somebody listens until it is over.

    `story` has what its caller does and hears, and `sounds` the same as a phone shows and plays
    it; `news` is notified of both, and is the lock for what happens to all calls. `on_line` gets
    the leg's name and each line about it.
    """

    tunnel: Tunnel
    news: Condition
    on_line: Callable[[str, str], None]
    name: str
    region: str
    parameters: dict[str, Any]  # of the answer webhook
    status: str = "ringing"
    answered: datetime | None = None
    ended_at: datetime | None = None
    over: Event = field(default_factory=Event)
    story: list[str] = field(default_factory=list)
    sounds: list[dict[str, Any]] = field(default_factory=list)
    heard: Event = field(default_factory=Event)  # music or the conference, or why there is none
    music: Music | None = None  # what is heard now, or fetched in order to be heard
    audio: bytes = b""  # what was fetched last
    barges: bool = False  # whether a key ends what is heard
    _playing: Lock = field(default_factory=Lock)
    _rtc_events: int = 0

    def __post_init__(self) -> None:
        self.uuid = str(self.parameters.get("uuid"))

    def tell(self, line: str, what: str = "", **more: Any) -> None:
        """Add a line to the story, and what a phone makes of it; nothing comes after the end."""
        with self.news:
            if self.over.is_set():
                return
            self.story.append(line)
            if what:
                self.show(what, **more)
            self.news.notify_all()
            self.on_line(self.name, line)

    def show(self, what: str, **more: Any) -> None:
        """Add what a phone shows or plays."""
        with self.news:
            if self.over.is_set():
                return
            self.sounds.append({"what": what, **more})
            if what in ("music", "conference", "nothing"):
                self.heard.set()
            self.news.notify_all()

    # What the Voice API does

    def describe(self) -> dict[str, Any]:
        """The leg as the Voice API describes it. [Voice API]"""
        described = {
            "_links": {"self": {"href": f"/calls/{self.uuid}"}},
            "uuid": self.uuid,
            "conversation_uuid": self.parameters.get("conversation_uuid"),
            "to": {"type": "phone", "number": self.parameters.get("to")},
            "from": self._describe_caller(),
            "status": self.status,
            "direction": "inbound",
        }
        if self.ended_at:
            described |= self._lasted(self.ended_at, API_TIME)
        return described

    def _describe_caller(self) -> dict[str, Any] | None:
        user = self.parameters.get("from_user")
        if user:
            return {"type": "app", "user": user}
        caller = self.parameters.get("from")
        if not caller:
            return None
        if str(caller).startswith(("sip:", "sips:")):
            return {"type": "sip", "uri": caller}
        return {"type": "phone", "number": caller}

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio in place of what is heard. [vonage-java-sdk issue 243]"""
        self.on_line(self.name, "the app asks: PUT /v1/calls/…/stream → 200")
        self.start(Music(url, loop, level))

    def stop_stream(self) -> None:
        """Stop what the Voice API or an NCCO's stream plays, which hold music is not."""
        self.on_line(self.name, "the app asks: DELETE /v1/calls/…/stream → 200")
        with self.news:
            if self.music and self.music.kind == "music" and self.stop_music():
                self.tell("hears the music stop")

    # What is heard

    def start(self, music: Music) -> None:
        """Hear this from now on, while the call goes on."""
        self.take(music)
        Thread(target=self.play, args=[music], daemon=True).start()

    def take(self, music: Music) -> None:
        """Let this be heard as soon as it is fetched, in place of what is heard."""
        with self.news:
            if self.music:
                self.music.stopped.set()
            self.music = music
            if self.over.is_set():
                music.stopped.set()

    def stop_music(self) -> bool:
        """Stop what is heard, or fetched; gives whether something was heard."""
        with self.news:
            music = self.music
            if music is None:
                return False
            self.music = None
            music.stopped.set()
            if music.begun:
                self.show("music stopped")
            return music.begun

    def play(self, music: Music) -> float:
        """Hear audio to its end, with RTC's events; gives how many seconds it would last."""
        with self._playing:  # after the events of what it replaces
            lasts = self._begin(music)
            if not lasts:
                return 0
            how = {"stream_url": [music.url], "level": music.level, "loop": music.times}
            self.send_rtc("audio:play", music, **how)
            music.stopped.wait(lasts)
            with self.news:
                if self.over.is_set():
                    return lasts
                end = "audio:play:stop"
                if not music.stopped.is_set():
                    end = "audio:play:done"
                    self.music = None
                    self.tell("hears the music end", "music over")
            self.send_rtc(end, music)
        return lasts

    def _begin(self, music: Music) -> float:
        """Fetch audio and hear it begin, unless it is stopped; gives how many seconds it lasts."""
        try:
            data = self.tunnel.fetch(music.url)
            format, seconds = sound(data)
            if music.kind == "hold music" and format != "MP3":
                raise ValueError(f"musicOnHoldUrl must be an MP3, not a {format}")
        except ValueError as error:
            self._hear_nothing(music, str(error))
            return 0
        with self.news:
            if music.stopped.is_set():
                return 0
            music.begun = True
            self.audio = data
            self.tell(
                music.describe(format, seconds),
                "music",
                name=music.name,
                kind=music.kind,
                times=music.times,
                level=music.level,
                seconds=seconds,
                barges=self.barges,
            )
        if music.times == 0:
            return TIMEOUT_MAX
        return min(seconds * music.times, TIMEOUT_MAX)

    def _hear_nothing(self, music: Music, reason: str) -> None:
        why = f"{music.name} could not be played: {reason}"
        with self.news:
            if music.stopped.is_set():
                return
            self.music = None
            self.tell(f"hears nothing: {why}", "nothing", why=why)
        self.send_rtc("audio:play:done", music, error=reason)

    # Events

    def event(self, status: str, **more: Any) -> requests.Response | None:
        """Send the event of a status; gives the answer. [Webhook reference]"""
        fields = self.named() | {"status": status, "direction": "inbound"}
        if status == "answered":  # what is not known yet is null [captured bodies]
            fields |= {"start_time": None, "rate": None, "network": None}
        if status == "completed" and self.ended_at:
            fields |= self._lasted(self.ended_at, EVENT_TIME) | {"sip_code": 200}
        return self.send_event("event", status, fields | more)

    def send_rtc(self, kind: str, music: Music, **body: Any) -> None:
        """Send what RTC says of audio in a leg, but for hold music. [Conversation API, Event]"""
        if music.kind == "hold music":
            return
        self._rtc_events += 1
        channel = {"id": self.uuid, "type": "phone"}
        fields = {
            "type": kind,
            "application_id": self.tunnel.account.application_id,
            "id": self._rtc_events,
            "conversation_id": self.parameters.get("conversation_uuid"),
            "body": {"play_id": music.play_id, "channel": channel, **body},
        }
        self.send_event("rtc", kind, fields, Authorization=None)

    def send_event(
        self, webhook: str, what: str, fields: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """Send a webhook about `what`; gives the answer."""
        now = datetime.now(timezone.utc)
        fields["timestamp"] = f"{now:{EVENT_TIME}}"
        response = self.tunnel.send("POST", f"/webhooks/{webhook}", fields, **headers)
        came = describe_status(response)
        self.on_line(self.name, f"POST /webhooks/{webhook} {what} → {came}")
        return response

    def named(self) -> dict[str, Any]:
        """What most events say of a leg."""
        return {name: self.parameters[name] for name in NAMES if name in self.parameters}

    def _lasted(self, ended: datetime, format: str) -> dict[str, Any]:
        """What is known of a leg that is over: times in a format, seconds and costs as texts."""
        known: dict[str, Any] = {"start_time": None, "duration": "0", **COSTS}
        if self.answered:
            known["start_time"] = f"{self.answered:{format}}"
            known["duration"] = str(int((ended - self.answered).total_seconds()))
        known["end_time"] = f"{ended:{format}}"
        return known
