"""A caller's leg: what is heard in it, and the events about it.

Not acted on: the NCCO in an answer to an `input` event, `endOnExit`, and actions known by name.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import TIMEOUT_MAX, Condition, Event, Thread
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sandbox.audio import sound
from sandbox.webhooks import Tunnel

NAMES = ("from", "to", "from_user", "uuid", "conversation_uuid")  # what most events say of a leg
TIME = "%Y-%m-%dT%H:%M:%S.000Z"
API_TIME = "%Y-%m-%d %H:%M:%S"  # [OpenAPI file]
COSTS = {"rate": "0.00", "price": "0.00", "network": "65512"}


@dataclass(eq=False)
class Call:
    """A leg, from dialling to hanging up; `on_line` gets its name and each line of its story."""

    tunnel: Tunnel
    calls: dict[str, "Call"]  # all of the application
    news: Condition  # the lock for what happens to them
    on_line: Callable[[str, str], None]
    name: str
    region: str
    parameters: dict[str, Any]  # of the answer webhook
    ncco: list[dict[str, Any]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    sounds: list[dict[str, Any]] = field(default_factory=list)  # the story as a phone plays it
    audio: bytes = b""  # what was fetched last
    playing: str | None = None  # the URL that the Voice API was told to play
    speaks: bool = False  # whether a talk lasts until `go_on`
    status: str = "ringing"
    answered: datetime | None = None  # since when
    ended_at: datetime | None = None
    over: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)  # over, and the app knows
    go_on: Event = field(default_factory=Event)  # to the next action
    _conference: str | None = None
    _waiting: bool = False  # for the conference to start
    _digits: str = ""
    _barges: bool = False  # whether a key ends what is heard
    _music: tuple[str, str, int, float] | None = None  # what is heard now

    def __post_init__(self) -> None:
        self.uuid = str(self.parameters.get("uuid"))

    def tell(self, line: str, **sounds: Any) -> None:
        """Add a line to the story, of which the end of the call is the last."""
        with self.news:
            if self.over.is_set():
                return
            self.story.append(line)
            self.sounds.append({"line": line, **sounds})
            self.news.notify_all()
            self.on_line(self.name, line)

    def hears(self, text: str, timeout: float = 10) -> str:
        """Wait for a line of the story with this text in it, and give it; fail without one."""
        with self.news:
            found = self.news.wait_for(lambda: [a for a in self.story if text in a], timeout)
        assert found, f"{self.name} never hears {text!r}, but: {self.story}"
        return found[0]

    def press(self, digit: str = "1") -> None:
        """Press a key."""
        self._digits += digit
        if self._barges:
            self.go_on.set()

    def answer(self) -> None:
        """The leg is answered, before the app is asked for its NCCO or after it."""
        self.answered, self.status = datetime.now(timezone.utc), "answered"
        self.event("answered")

    def pick_up(self) -> None:
        """The leg is answered, and its NCCO runs."""
        if not self.answered:
            self.answer()
        Thread(target=self._run, daemon=True).start()

    def hang_up(self, status: str = "completed") -> None:
        """End the call, as the caller; it is over for Vonage before the events are sent."""
        self.end("hangs up", status, by="user")

    def end(self, line: str, status: str = "completed", by: str = "platform") -> None:
        """The leg is over: `completed` follows every end but `rejected`. [support article]"""
        with self.news:
            if self.over.is_set():
                return
            self.tell(line, over=True)
            self.status = status
            self.ended_at = datetime.now(timezone.utc)
            self.over.set()
            self.go_on.set()
        if status != "completed":
            self.event(status)
        if status != "rejected":
            self.event("completed", disconnected_by=by)
        self.ended.set()

    def event(self, status: str | None = None, names: Iterable[str] = NAMES, **more: Any) -> Any:
        """Send an event with the fields of its status: gives the answer. [Webhook reference]"""
        fields = {name: self.parameters[name] for name in names if name in self.parameters}
        now, began = datetime.now(timezone.utc), self.answered
        if status:
            fields |= {"status": status, "direction": "inbound"}
        if status == "answered":  # what is not known yet is null [captured bodies]
            fields |= {"start_time": None, "rate": None, "network": None}
        if status == "completed":
            fields |= {
                "start_time": began and f"{began:{TIME}}",
                "end_time": f"{self.ended_at or now:{TIME}}",
            }
            fields |= {"duration": self.seconds, **COSTS}
            fields |= {"disconnected_by": "platform", "sip_code": 200}
        fields |= {"timestamp": f"{now:{TIME}}", **more}
        return self.tunnel.send("POST", "/webhooks/event", fields)

    def describe(self) -> dict[str, Any]:
        """The leg as the Voice API describes it. [Voice API]"""
        described: dict[str, Any] = {
            "_links": {"self": {"href": f"/calls/{self.uuid}"}},
            "uuid": self.uuid,
            "conversation_uuid": self.parameters.get("conversation_uuid"),
            "to": {"type": "phone", "number": self.parameters.get("to")},
            "from": self._describe_caller(),
            "status": self.status,
            "direction": "inbound",
        }
        if self.ended_at:
            began = self.answered or self.ended_at
            described["start_time"] = f"{began:{API_TIME}}"
            described["end_time"] = f"{self.ended_at:{API_TIME}}"
            described["duration"] = self.seconds
            described |= COSTS
        return described

    def _describe_caller(self) -> dict[str, Any] | None:
        user = self.parameters.get("from_user")
        if user:
            return {"type": "app", "user": user}
        caller = self.parameters.get("from")
        if not caller:
            return None
        if caller.startswith(("sip:", "sips:")):
            return {"type": "sip", "uri": caller}
        return {"type": "phone", "number": caller}

    @property
    def seconds(self) -> str:
        """How long the call has lasted since it was answered, as its event has it."""
        if not self.answered or not self.ended_at:
            return "0"
        return str(int((self.ended_at - self.answered).total_seconds()))

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio in place of what is heard, as the Voice API. [vonage-java-sdk issue 243]"""
        music = "music", url, loop, level
        self.playing, self._music = url, music
        Thread(target=self._listen, args=[music], daemon=True).start()

    def stop_stream(self) -> None:
        """Stop what the Voice API plays."""
        self.playing = self._music = None
        self.tell("hears the music stop", stop=True)

    def _run(self) -> None:
        for action in self.ncco:
            given = {name: value for name, value in action.items() if value is not None}
            name, level = given["action"], given.get("level", 0)
            self._barges = given.get("bargeIn", False)
            self._digits = "" if self._barges else self._digits
            self.go_on.clear()
            if self.over.is_set():
                return
            if name == "talk":
                text = given["text"]
                self.tell(f'hears "{text}"', say=text, barges=self._barges, level=level)
                self.go_on.wait(self.speaks * (10 + len(text) / 5))
            elif name == "stream":
                self._music = music = "music", given["streamUrl"][0], given.get("loop", 1), level
                lasts = self._listen(music)
                self.go_on.wait(lasts)
                if lasts:
                    self.tell("hears the music end", stop=True)
            elif name == "input" and "dtmf" in given["type"]:  # it waits for no more keys
                self.event(dtmf={"digits": self._digits, "timed_out": not self._digits})
            elif name == "conversation":
                self._enter(given)
                self.over.wait()
        self.end("hears the end of the NCCO")

    def _enter(self, action: dict[str, Any]) -> None:
        with self.news:  # no one is in a conference until it starts [NCCO reference]
            self._conference, self._waiting = action["name"], True
            legs = [leg for leg in list(self.calls.values()) if not leg.over.is_set()]
            legs = [leg for leg in legs if leg._conference == self._conference]
            started = action.get("startOnEnter", True) or not all(leg._waiting for leg in legs)
            joining = [leg for leg in legs if leg._waiting and started]
            for leg in joining:
                leg._waiting = False
            if not started:
                self.tell("waits for the conference to start")
        to = f"CON-{uuid5(NAMESPACE_URL, action['name'])}"
        for leg in joining:
            moved = {"conversation_uuid_from": leg.parameters.get("conversation_uuid")}
            moved["conversation_uuid_to"] = leg.parameters["conversation_uuid"] = to
            leg.event(None, ("uuid",), type="transfer", **moved)
            with self.news:
                held = "hears hold music" in leg.story[-1]
                stops = "hears the music stop, " if held else ""
                leg.tell(f"{stops}is in the conference, with {len(legs) - 1} more", stop=held)
        if not started and "musicOnHoldUrl" in action:
            self._music = music = "hold music", action["musicOnHoldUrl"][0], 0, 0
            self._listen(music)

    def _listen(self, music: tuple[str, str, int, float]) -> float:
        """Fetch music and hear it, unless it is stopped meanwhile; gives for how many seconds."""
        what, url, loop, level = music
        try:
            audio = self.tunnel.fetch(url)
            kind, seconds = sound(audio)
            if what == "hold music" and kind != "MP3":
                raise ValueError(f"musicOnHoldUrl must be an MP3, not a {kind}")
        except (OSError, ValueError) as error:
            self.tell(f"hears nothing: {error}")
            return 0
        times = f"{loop} time{'s' * (loop > 1)}" if loop else "for ever"
        at = f" at level {level:g}" if level else ""
        with self.news:
            if self._music is not music or (what == "hold music" and not self._waiting):
                return 0
            self.audio, plays = audio, {"play": min(loop, 10**9), "level": level}
            self.tell(f"hears {what}: {url}, {kind} of {seconds:.0f} s, {times}{at}", **plays)
        return min(seconds * min(loop or 10**9, 10**9), TIMEOUT_MAX)
