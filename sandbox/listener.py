"""What a caller hears: the music in a leg, and the story of it in words."""

from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Any

from sandbox.audio import sound
from sandbox.leg import Leg
from sandbox.music import MOST_TIMES, Music


@dataclass(eq=False, kw_only=True)
class Listener(Leg):
    """A leg in which somebody listens, until it is over.

    `story` has what its caller does and hears, and `sounds` the same as a phone shows and plays
    it; `news` is notified of both, and is the lock for what happens to all calls.
    """

    news: Condition
    story: list[str] = field(default_factory=list)
    sounds: list[dict[str, Any]] = field(default_factory=list)
    audio: bytes = b""  # what was fetched last
    playing: str | None = None  # the URL that the Voice API was told to play
    music: Music | None = None  # what is heard now, or fetched in order to be heard
    barges: bool = False  # whether a key ends what is heard
    heard: Event = field(default_factory=Event)  # music or the conference, or why there is none
    over: Event = field(default_factory=Event)

    def tell(self, line: str, what: str = "", **more: Any) -> None:
        """Add a line to the story, and what a phone makes of it; nothing comes after the end."""
        with self.news:
            if self.over.is_set():
                return
            self.story.append(line)
            if what:
                self.sound(what, **more)
            self.news.notify_all()
            self.on_line(self.name, line)

    def sound(self, what: str, **more: Any) -> None:
        """Add what a phone shows or plays."""
        with self.news:
            if self.over.is_set():
                return
            self.sounds.append({"what": what, **more})
            if what in ("music", "conference", "nothing"):
                self.heard.set()
            self.news.notify_all()

    # The Voice API

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio in place of what is heard, as the Voice API. [vonage-java-sdk issue 243]"""
        self.on_line(self.name, "the app asks: PUT /v1/calls/…/stream → 200")
        self.playing = url
        music, replaced = self.take(Music("music", url, loop, level))
        Thread(target=self.play, args=[music, replaced], daemon=True).start()

    def stop_stream(self) -> None:
        """Stop what the Voice API or a stream plays, which hold music is not."""
        self.on_line(self.name, "the app asks: DELETE /v1/calls/…/stream → 200")
        self.playing = None
        with self.news:
            music = self.music
            if music is None or music.kind == "hold music":
                return
            self.music = None
            music.stopped.set()
            if music.heard:
                self.tell("hears the music stop", "music stopped")

    # What is heard

    def take(self, music: Music) -> tuple[Music, Music | None]:
        """Let this be heard as soon as it is fetched; gives it, and what it replaces."""
        with self.news:
            replaced = self.music
            self.music = music
            if replaced:
                replaced.stopped.set()
            if self.over.is_set():
                music.stopped.set()
        return music, replaced

    def play(self, music: Music, replaced: Music | None) -> float:
        """Hear a stream to its end, with RTC's events; gives how many seconds it would last."""
        if replaced and replaced.kind == "music":
            replaced.finished.wait(10)
        try:
            lasts = self.hear(music)
            if lasts:
                how = {"stream_url": [music.url], "level": music.level, "loop": music.times}
                self.send_rtc("audio:play", music.play_id, **how)
                self._hear_the_end(music, lasts)
            return lasts
        finally:
            music.finished.set()

    def hear(self, music: Music) -> float:
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
            music.heard = True
            self.audio = data
            self.tell(
                music.describe(format, seconds),
                "music",
                name=music.name,
                kind=music.kind,
                times=min(music.times, MOST_TIMES),
                level=music.level,
                seconds=seconds,
                barges=self.barges,
            )
        return music.lasts(seconds)

    def _hear_nothing(self, music: Music, reason: str) -> None:
        why = f"{music.name} could not be played: {reason}"
        with self.news:
            if music.stopped.is_set():
                return
            self.music = None
            self.tell(f"hears nothing: {why}", "nothing", why=why)
        if music.kind == "music":
            self.send_rtc("audio:play:done", music.play_id, error=reason)

    def _hear_the_end(self, music: Music, lasts: float) -> None:
        music.stopped.wait(lasts)
        with self.news:
            if self.over.is_set():
                return
            if not music.stopped.is_set():
                self.music = None
                self.tell("hears the music end", "music over")
            elif self.music is music:  # by a key
                self.music = None
                self.tell("hears the music stop", "music stopped")
        if music.stopped.is_set():
            self.send_rtc("audio:play:stop", music.play_id)
        else:
            self.send_rtc("audio:play:done", music.play_id)
