"""Music: audio at an address, fetched as Vonage does, and heard until it ends or is stopped."""

import re
import socket
import ssl
from contextlib import closing, suppress
from datetime import datetime, timezone
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from threading import TIMEOUT_MAX, Event, Lock, Timer
from urllib.parse import SplitResult, urljoin, urlsplit
from uuid import uuid4

import certifi
import requests

from sandbox.audio import sound
from sandbox.tunnel import Tunnel

MOST_TIMES = 10**9  # what is more is as good as forever
# No source gives these.
CONNECTS_WITHIN = 3  # seconds
MOST_BYTES = 50_000_000
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)


class Music:
    """Audio to be heard so many `times`, 0 for forever, at a level from -1 to 1.

    Another thread may stop it at any moment, which requests could not do while it fetches. Vonage
    plays hold music by itself; other music comes from the app.
    """

    def __init__(
        self, tunnel: Tunnel, url: str, times: int = 1, level: float = 0, is_hold: bool = False
    ) -> None:
        self.url = url
        self.times = min(times, MOST_TIMES)
        self.level = level
        self.is_hold = is_hold
        self.play_id = str(uuid4())
        self.name = re.split("[?#]", url)[0].rstrip("/").rpartition("/")[2]
        self.data = b""
        self.seconds = 0.0
        self.is_heard = False
        self.ends = 0.0  # time.monotonic()
        self.settled = Event()  # it is heard, or will never be
        self.stopped = Event()  # by the app, by a key, by other music, or at the call's end
        self.stopped_at = datetime.now(timezone.utc)
        self._tunnel = tunnel
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False
        self._came = bytearray()

    def fetch(self) -> None:
        """Fetch the audio; raises ValueError with the reason if Vonage cannot play it."""
        seconds = self._tunnel.audio_time
        timer = Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            self._follow()
        except (OSError, HTTPException) as error:
            reason = "it cannot be reached"
            if isinstance(error, TimeoutError):
                reason = f"it timed out after {CONNECTS_WITHIN} s"
            if self._is_cut:
                reason = f"it timed out after {seconds:g} s"
            if self._is_cut and self._came:
                reason = f"it does not end within {seconds:g} s, like internet radio"
            raise ValueError(reason) from error
        finally:
            timer.cancel()
        self.data = bytes(self._came)
        kind, self.seconds = sound(self.data)
        if self.is_hold and kind != "MP3":
            raise ValueError(f"musicOnHoldUrl must be an MP3, not a {kind}")

    def stop(self) -> None:
        """End at once, also while it is fetched."""
        self.stopped_at = datetime.now(timezone.utc)
        self.stopped.set()
        self.settled.set()
        self._cut()

    @property
    def lasts(self) -> float:
        """The seconds for which all of it is heard."""
        if self.times == 0:
            return TIMEOUT_MAX
        return min(self.seconds * self.times, TIMEOUT_MAX)

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

    def _cut(self) -> None:
        """End the fetch, wherever it is."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                with suppress(OSError):  # it has ended already
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _check_uncut(self) -> None:
        """Raise TimeoutError after a cut: what has come may be half of the audio."""
        with self._lock:
            if self._is_cut:
                raise TimeoutError

    def _follow(self) -> None:
        """Fetch what is at the address, or where that redirects to."""
        url = self.url
        for _ in range(MOST_REDIRECTS + 1):
            self._check_uncut()
            parts = parse_address(url)
            headers = {"User-Agent": requests.utils.default_user_agent()}
            server = self._tunnel.server_of(str(parts.hostname))
            if server is not None:
                headers = self._tunnel.forwarded(str(parts.hostname))
            with closing(make_connection(parts, server)) as connection:
                connection.connect()
                connection.sock.settimeout(None)  # the timer ends it
                with self._lock:
                    self._socket = connection.sock
                self._check_uncut()
                path = parts._replace(scheme="", netloc="", fragment="").geturl()
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                location = response.headers["Location"]
                if response.status not in REDIRECTS or location is None:
                    self._read(response)
                    return
            url = urljoin(url, location)
        raise ValueError(f"it redirects more than {MOST_REDIRECTS} times")

    def _read(self, response: HTTPResponse) -> None:
        if response.status != 200:
            raise ValueError(f"it answers {response.status}")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith("text/") or kind.endswith("json"):
            raise ValueError(f"it is {kind}, not audio")
        while len(self._came) <= MOST_BYTES:
            part = response.read1(65536)
            self._check_uncut()
            if not part:
                return
            self._came += part
        raise ValueError(f"it is longer than {MOST_BYTES // 1_000_000} MB")


def parse_address(url: str) -> SplitResult:
    """Return the parts of a URL as requests would ask for it; raises ValueError."""
    try:
        parts = urlsplit(str(requests.Request("GET", url).prepare().url))
        known = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError as error:
        raise ValueError("its address is not valid") from error
    if not known:
        raise ValueError("its address is not valid")
    return parts


def make_connection(parts: SplitResult, server: str | None) -> HTTPConnection:
    """Return a connection to a URL's host, or to the server here that stands for it.

    It is not open yet. Raises ValueError for a host that is not on the public internet.
    """
    host = str(parts.hostname)
    if server is not None:
        return HTTPConnection(urlsplit(server).netloc, timeout=CONNECTS_WITHIN)
    check_public(host)
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=CONNECTS_WITHIN)
    trusted = ssl.create_default_context()
    trusted.load_verify_locations(certifi.where())
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
