"""Music: audio at an address, fetched as Vonage does, and heard until it ends or is stopped."""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from threading import TIMEOUT_MAX, Event, Lock
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit
from uuid import uuid4

import certifi
import requests

from sandbox.audio import sound

if TYPE_CHECKING:
    from sandbox.sandbox import Sandbox

MOST_TIMES = 10**9  # what is more is as good as forever
# No source gives these.
CONNECTS_WITHIN = 3  # seconds
MOST_BYTES = 50_000_000
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(timezone.utc)


@dataclass(eq=False)
class Music:
    """Audio to be heard so many `times`, 0 for forever, at a level from -1 to 1.

    Another thread may stop it at any moment, which requests could not do while it fetches. Vonage
    plays hold music by itself; other music comes from the app.
    """

    vonage: Sandbox
    url: str
    times: int = 1
    level: float = 0
    is_hold: bool = False
    data: bytearray = field(default_factory=bytearray)
    seconds: float = 0.0
    is_heard: bool = False
    ends: float = 0.0  # time.monotonic()
    stopped: Event = field(default_factory=Event)  # by the app, a key, other music, or a hang-up
    stopped_at: datetime = field(default_factory=now)
    _lock: Lock = field(default_factory=Lock)
    _socket: socket.socket | None = None

    def __post_init__(self) -> None:
        self.times = min(self.times, MOST_TIMES)
        self.play_id = str(uuid4())
        self.name = re.split("[?#]", self.url)[0].rstrip("/").rpartition("/")[2]

    def fetch(self) -> None:
        """Fetch the audio; raises ValueError with the reason if Vonage cannot play it."""
        seconds = self.vonage.audio_time
        self._until = time.monotonic() + seconds
        try:
            self._follow()
        except (OSError, HTTPException) as error:
            reason = "it cannot be reached"
            if isinstance(error, TimeoutError) and self._socket:
                reason = f"it timed out after {seconds:g} s"
            if isinstance(error, TimeoutError) and self.data:
                reason = f"it does not end within {seconds:g} s, like internet radio"
            raise ValueError(reason) from error
        kind, self.seconds = sound(bytes(self.data))
        self.lasts = min(self.seconds * (self.times or MOST_TIMES), TIMEOUT_MAX)
        if self.is_hold and kind != "MP3":
            raise ValueError(f"musicOnHoldUrl must be an MP3, not a {kind}")

    def stop(self) -> None:
        """End at once, also while it is fetched: what has come by then may be a part of it."""
        with self._lock:
            self.stopped_at = now()
            self.stopped.set()
            if self._socket:
                with suppress(OSError):  # it has ended already
                    self._socket.shutdown(socket.SHUT_RDWR)

    def describe(self) -> str:
        """Return what is heard, such as "hears music: a.mp3, 32 s, 2 times at level 0.5"."""
        kind = "music"
        if self.is_hold:
            kind = "hold music"
        line = f"hears {kind}: {self.name}, {self.seconds:.0f} s"
        if self.times == 0:
            line += ", forever"
        if self.times > 1:
            line += f", {self.times} times"
        if self.level:
            line += f" at level {self.level:g}"
        return line

    def _follow(self) -> None:
        """Fetch what is at the address, or where that redirects to."""
        url = self.url
        for _ in range(MOST_REDIRECTS + 1):
            parts = parse_address(url)
            host = str(parts.hostname)
            headers = {"User-Agent": requests.utils.default_user_agent()}
            server = self.vonage.server_of(host)
            if server is not None:
                headers = self.vonage.forwarded(host)
                parts = parts._replace(scheme="http", netloc=urlsplit(server).netloc)
            else:
                check_public(host)
            with closing(make_connection(parts)) as connection:
                self._open(connection)
                path = parts._replace(scheme="", netloc="", fragment="").geturl()
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                location = response.headers["Location"]
                if response.status not in REDIRECTS or location is None:
                    self._read(response)
                    return
            url = urljoin(url, location)
        raise ValueError(f"it redirects more than {MOST_REDIRECTS} times")

    def _open(self, connection: HTTPConnection) -> None:
        """Connect, unless it is stopped; from now on stop() ends it."""
        connection.connect()
        with self._lock:
            self._socket = connection.sock
            if self.stopped.is_set():
                raise OSError
        connection.sock.settimeout(self.vonage.audio_time)

    def _read(self, response: HTTPResponse) -> None:
        if response.status != 200:
            raise ValueError(f"it answers {response.status}")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith("text/") or kind.endswith("json"):
            raise ValueError(f"it is {kind}, not audio")
        while len(self.data) <= MOST_BYTES:
            if time.monotonic() > self._until:
                raise TimeoutError
            part = response.read1(65536)
            if not part:
                return
            self.data += part
        raise ValueError(f"it is longer than {MOST_BYTES // 1_000_000} MB")


def parse_address(url: str) -> SplitResult:
    """Return the parts of a URL as requests would ask for it; raises ValueError."""
    try:
        parts = urlsplit(str(requests.Request("GET", url).prepare().url))
        if parts.scheme in ("http", "https") and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise ValueError("its address is not valid")


def make_connection(parts: SplitResult) -> HTTPConnection:
    """Return a connection to a URL's host that is not open yet."""
    host = str(parts.hostname)
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=CONNECTS_WITHIN)
    trusted = ssl.create_default_context(cafile=certifi.where())
    return HTTPSConnection(host, parts.port, timeout=CONNECTS_WITHIN, context=trusted)


def check_public(host: str) -> None:
    """Raise ValueError for a host that is not on the public internet."""
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"DNS lookup failed for {host}") from error
    for *_, address in found:
        if not ip_address(str(address[0]).partition("%")[0]).is_global:
            raise ValueError(f"Vonage cannot reach {host} from the internet")
