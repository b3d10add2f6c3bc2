"""The Voice API: start and stop audio in legs, each in its own region."""

from __future__ import annotations

import math
import re
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import ValidationError
from requests import RequestException, Response, Timeout
from requests.exceptions import SSLError
from urllib3.exceptions import ReadTimeoutError
from vonage import Auth, HttpClientOptions, Vonage
from vonage import Voice as VoiceApi
from vonage_http_client.errors import HttpRequestError
from vonage_voice.models import AudioStreamOptions

from errors import Trouble

DEFAULT_HOST = "api.nexmo.com"
VONAGE_HOST = re.compile(r"api\.nexmo\.com|api-[a-z0-9-]+\.(nexmo|vonage)\.com")
SILENCE = 5  # seconds that Vonage may be silent
DEADLINE = 14.0  # seconds for all legs, tries and waits together, so that /stream answers in 15
TOKEN_LIFE = 15 * 60  # seconds, as the SDK makes them
# Vonage takes at most 15 requests a second [Troubleshooting, Capacity]. They begin evenly, and
# a little slower, so that one which is late on its way does not make it 16 at Vonage's end.
SPACING = 1 / 14


class Leg(Protocol):
    """What is needed of a leg: `api_host` is None where the default will do."""

    @property
    def uuid(self) -> str: ...
    @property
    def api_host(self) -> str | None: ...
    @property
    def audio_url(self) -> str: ...


class UnknownLeg(Trouble):
    """Vonage, asked at these hosts, answers 404: over, not picked up yet, or another region."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = sorted(set(hosts))
        super().__init__(
            f"Vonage, asked at {', '.join(self.hosts)}, knows no such leg: the call has ended, is "
            "not picked up yet, or lives in another region (VONAGE_API_HOST).",
            status=409,
        )


def region_host(region_url: str) -> str | None:
    """The API host that an answer webhook's `region_url` names, or None if it is not Vonage's.

    Our token goes to this host, so only https and Vonage's own names will do. [Webhook reference]
    """
    try:
        url = urlsplit(region_url)
        if url.scheme == "https" and url.port in (None, 443) and "@" not in url.netloc:
            host = url.hostname or ""
            return host if VONAGE_HOST.fullmatch(host) else None
    except ValueError:
        pass
    return None


class Voice:
    """Plays and stops audio with the application's credentials.

    `api_host`, if given, is asked for every leg, whatever region its call lives in; `clock`
    gives seconds since 1970.
    """

    def __init__(
        self,
        application_id: str,
        private_key: str,
        api_host: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._auth = _KeptToken(application_id, private_key, clock)
        self._api_host = api_host
        self._idle: dict[str, list[VoiceApi]] = {}
        self._pace = _Pace()

    def play(
        self, legs: Sequence[Leg], loop: int | None, level: float | None, until: float
    ) -> list[Trouble | None]:
        """Start each leg's audio, side by side: `loop` times (0 is for ever), at a level of -1..1.

        Gives for each leg None, or the Trouble it met: UnknownLeg for a 404. Returns by `until`,
        a time of time.monotonic(). A stream that plays in a leg is replaced.
        """

        def request(api: VoiceApi, leg: Leg) -> None:
            options = AudioStreamOptions(stream_url=[leg.audio_url], loop=loop, level=level)
            api.play_audio_into_call(leg.uuid, options)

        return self._side_by_side(request, legs, until)

    def stop(self, legs: Sequence[Leg], until: float) -> list[Trouble | None]:
        """Stop the audio in each leg; in all else like `play`."""
        return self._side_by_side(lambda api, leg: api.stop_audio_stream(leg.uuid), legs, until)

    def _side_by_side(
        self, request: Callable[[VoiceApi, Leg], object], legs: Sequence[Leg], until: float
    ) -> list[Trouble | None]:
        done: SimpleQueue[tuple[int, Trouble | Exception | None]] = SimpleQueue()

        def ask(index: int, leg: Leg) -> None:
            try:
                done.put((index, self._ask(request, leg, until)))
            except Exception as error:
                done.put((index, error))

        self._auth.create_jwt_auth_string()  # now, or it would make the first request late
        # Threads of their own, since no time-out of the SDK ends an answer that trickles in; plain
        # ones, since threading's would hold the caller up until they run.
        begun = 0
        for index, leg in enumerate(legs):
            if self._pace.wait(until):
                start_new_thread(ask, (index, leg))
                begun += 1
        late = Trouble(f"Vonage has not answered within {DEADLINE:.0f} s.", status=504)
        outcomes: list[Trouble | None] = [late] * len(legs)
        try:
            for _ in range(begun):
                index, outcome = done.get(timeout=max(0, until - time.monotonic()))
                if outcome is not None and not isinstance(outcome, Trouble):
                    raise outcome
                outcomes[index] = outcome
        except Empty:
            pass
        return outcomes

    def _ask(
        self, request: Callable[[VoiceApi, Leg], object], leg: Leg, until: float
    ) -> Trouble | None:
        """Ask for one leg: up to three times where Vonage says 429, twice where it hangs up."""
        host = self._api_host or leg.api_host or DEFAULT_HOST
        for tries_left in (2, 1, 0):
            try:
                with self._client(host) as api:
                    request(api, leg)
                return None
            except HttpRequestError as error:
                if error.response.status_code != 429:
                    return _refused(error.response, host)
                wait = _retry_after(error.response)
                again = Trouble(
                    f"Vonage says that it is asked too often (429); try again in {wait:.0f} s.",
                    status=503,
                    retry_after=math.ceil(wait),
                )
                if not tries_left or not self._pace.wait(until, wait):
                    return again
            except (ValidationError, TypeError):
                return Trouble(
                    f"Vonage at {host} answered 200, but not what its documents say; the music "
                    "may or may not play.",
                    status=502,
                )
            except OSError as error:
                reason = _reason(error)
                if isinstance(error, Timeout) or isinstance(reason, ReadTimeoutError):
                    return Trouble(f"Vonage at {host} was silent for {SILENCE} s.", status=504)
                if tries_left < 2 or isinstance(error, SSLError) or not self._pace.wait(until):
                    said = re.sub(r"^HTTPS\w+\(.*?\): ", "", str(reason))[:200].rstrip(".")
                    return Trouble(f"Vonage at {host} cannot be reached: {said}.", status=504)
        raise AssertionError("the last try returns")

    @contextmanager
    def _client(self, host: str) -> Iterator[VoiceApi]:
        """A client for this region that no other request uses meanwhile, with its connection."""
        idle = self._idle.setdefault(host, [])
        try:
            api = idle.pop()
        except IndexError:
            # The SDK tries again as often as its pool is large when a connection is dropped,
            # without a pause: with a pool of one, trying again and its pace are ours.
            options = HttpClientOptions(
                api_host=host, timeout=SILENCE, max_retries=0, pool_maxsize=1
            )
            api = Vonage(self._auth, options).voice
        try:
            yield api
        finally:
            idle.append(api)


class _KeptToken(Auth):
    """The SDK's Auth, but with one token for many requests: making one costs 40 ms of CPU."""

    def __init__(self, application_id: str, private_key: str, clock: Callable[[], float]) -> None:
        super().__init__(application_id=application_id, private_key=private_key)
        self._clock = clock
        self._lock = threading.Lock()
        self._made = -math.inf
        self._token = b""

    def create_jwt_auth_string(self) -> bytes:
        """The Authorization header; renewed when a third of the token's life is left."""
        with self._lock:
            now = self._clock()
            if not self._made <= now < self._made + TOKEN_LIFE * 2 / 3:
                token: bytes = super().create_jwt_auth_string()  # type: ignore[no-untyped-call]
                self._token, self._made = token, now
            return self._token


class _Pace:
    """Lets requests begin, in all threads together, one each SPACING seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, until: float, seconds: float = 0) -> bool:
        """Wait these seconds and then for a turn; False, at once, if that is after `until`."""
        with self._lock:
            turn = max(self._next, time.monotonic() + seconds)
            if turn > until:
                return False
            self._next = turn + SPACING
        if (early := turn - time.monotonic()) > 0:
            time.sleep(early)
        return True


def _refused(response: Response, host: str) -> Trouble:
    if response.status_code in (401, 403):
        return Trouble(
            f"Vonage refused our credentials ({response.status_code}): check "
            "VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY and this machine's clock.",
            status=502,
        )
    if response.status_code == 404:
        return UnknownLeg(host)
    said = " ".join(re.sub(r"<[^>]*>", " ", response.text).split())[:200]
    return Trouble(f"Vonage at {host} answered {response.status_code}: {said or 'no more'}", 502)


def _retry_after(response: Response) -> float:
    """Seconds to wait, from the header's number or date; 1 without one."""
    told = response.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", told):
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 1.0


def _reason(error: OSError) -> object:
    """What is behind an error of `requests`, which wraps those of urllib3 in its own."""
    inner = error.args[0] if isinstance(error, RequestException) and error.args else error
    return getattr(inner, "reason", None) or inner
