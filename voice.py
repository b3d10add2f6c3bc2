"""The Voice API: start and stop audio in legs, and ask whether a call is over."""

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import Any

from requests import Response
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader
from vonage import Auth, HttpClientOptions, Vonage
from vonage_http_client.errors import HttpRequestError
from vonage_jwt.jwt import JwtClient
from vonage_voice.models import AudioStreamOptions
from werkzeug.exceptions import (
    BadGateway,
    Conflict,
    GatewayTimeout,
    HTTPException,
    ServiceUnavailable,
)

from calls import ENDS, MOST_LEGS, Leg
from config import Audio, Config, is_public
from incoming import clean

DEFAULT_HOST = "api.nexmo.com"
ANSWER_TIME = 60  # seconds; a younger leg may not be answered yet, so a 404 does not end it
TRIES = 3  # at 429
# Vonage takes 15 requests a second [Troubleshooting, Capacity]; at 14, a late one fits in.
SPACING = 1 / 14  # seconds
LONGEST_REASON = 4096  # characters that are read of a refusal


@dataclass(frozen=True)
class Outcome:
    """What became of a request for a leg: `error` is None if it succeeded."""

    leg: Leg
    at: float  # when the request began, in seconds since 1970
    error: HTTPException | None = None


class Voice:
    """The Voice API with the application's credentials.

    Vonage may take `silence` seconds to answer; `play` and `stop` take `deadline` seconds at most,
    of the 15 that a request to this server may take: the rest is for the list of calls.
    """

    def __init__(self, config: Config, *, silence: int = 5, deadline: float = 14.0) -> None:
        self._config = config
        self._silence = silence
        self._deadline = deadline
        self._turns = Semaphore(2)
        self._lock = Lock()
        self._next_request = 0.0
        self._clients: dict[str, Vonage] = {}
        os.environ["NETRC"] = os.devnull  # requests would replace our token by ~/.netrc's password

    def play(self, legs: Sequence[Leg], audio: Audio) -> list[Outcome]:
        """Start the audio in each leg, replacing what plays there. [Vonage, Voice API]"""

        def start(leg: Leg) -> None:
            url = find_audio(leg, audio)
            options = AudioStreamOptions(stream_url=[url], loop=audio.loop, level=audio.level)
            with self.client_for(leg) as client:
                client.voice.play_audio_into_call(leg.uuid, options)

        return self._for_each(legs, start)

    def stop(self, legs: Sequence[Leg]) -> list[Outcome]:
        """Stop the audio in each leg; otherwise like `play`. [Vonage, Voice API]"""

        def end(leg: Leg) -> None:
            with self.client_for(leg) as client:
                client.voice.stop_audio_stream(leg.uuid)

        return self._for_each(legs, end)

    def is_over(self, leg: Leg) -> bool:
        """Return whether Vonage says that the call has ended, or that its host has no such call."""
        try:
            with self.client_for(leg) as client:
                # The SDK's get_call refuses a call whose `from` is null.
                http = client.http_client
                call: Any = http.get(http.api_host, f"/v1/calls/{leg.uuid}")
                return call["status"] in ENDS
        except NoSuchLeg as error:
            return error.is_own_host  # however young: its events may be lost
        except HTTPException:
            return False

    @contextmanager
    def client_for(self, leg: Leg) -> Iterator[Vonage]:
        """Yield the SDK's client for a leg's host, which is kept, so connections are reused.

        Raise its errors as NoSuchLeg, RateLimited, BadGateway or GatewayTimeout.
        """
        host = self._config.VONAGE_API_HOST or leg.api_host or DEFAULT_HOST
        with self._lock:
            if host not in self._clients:
                # The SDK tries a closed connection again as often as its pool is large.
                options = HttpClientOptions(
                    api_host=host, timeout=self._silence, max_retries=0, pool_maxsize=5
                )
                self._clients[host] = Vonage(ParsedKeyAuth(self._config), options)
            client = self._clients[host]
        try:
            yield client
        except HttpRequestError as error:
            raise refusal(error.response, host, leg) from None
        except OSError as error:  # as all errors of requests are
            cause = first_cause(error)
            if isinstance(cause, TimeoutError):
                late = f"Vonage at {host} timed out after {self._silence} s."
                raise GatewayTimeout(late) from None
            why = getattr(cause, "strerror", None) or cause
            raise GatewayTimeout(f"Vonage at {host} cannot be reached: {why}.") from None
        except (ValueError, TypeError, LookupError, RecursionError):
            raise BadGateway(f"Vonage at {host} returned an unexpected body.") from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one of two turns to play or stop: the server's other threads are for callers.

        Raise ServiceUnavailable without credentials, and if both turns are taken.
        """
        missing = self._config.missing_credentials
        if missing:
            raise ServiceUnavailable(f"Set {' and '.join(missing)}: needed by /stream.")
        if not self._turns.acquire(blocking=False):
            raise ServiceUnavailable("Two other requests play or stop. Try again.", retry_after=2)
        try:
            yield
        finally:
            self._turns.release()

    def _for_each(self, legs: Sequence[Leg], request: Callable[[Leg], None]) -> list[Outcome]:
        """Make the request for each leg, side by side, and return the outcomes."""
        began = time.time()
        until = time.monotonic() + self._deadline
        pool = futures.ThreadPoolExecutor(MOST_LEGS)
        asked = [pool.submit(self._ask, leg, until, request) for leg in legs]
        pool.shutdown(wait=False)
        done = futures.wait(asked, self._deadline).done
        late = GatewayTimeout(f"Vonage did not answer within {self._deadline:g} s.")
        outcomes = []
        for leg, future in zip(legs, asked, strict=True):
            if future in done:
                outcomes.append(future.result())
            else:
                outcomes.append(Outcome(leg, began, late))
        return outcomes

    def _ask(self, leg: Leg, until: float, request: Callable[[Leg], None]) -> Outcome:
        """Make the request when it is its turn, and again if Vonage's rate limit is reached."""
        limited = 0
        while True:
            began = time.time()
            try:
                began = self._wait_for_begin(until)
                request(leg)
                return Outcome(leg, began)
            except RateLimited as error:
                limited += 1
                if limited == TRIES or error.pause > until - time.monotonic():
                    return Outcome(leg, began, error)
                time.sleep(error.pause)
            except HTTPException as error:
                return Outcome(leg, began, error)

    def _wait_for_begin(self, until: float) -> float:
        """Wait for this request's turn, and return its time in seconds since 1970.

        Raise GatewayTimeout if that is after `until`.
        """
        with self._lock:
            begin = max(self._next_request, time.monotonic())
            if begin > until:
                raise GatewayTimeout("Not sent: too many requests wait, at 14 a second.")
            self._next_request = begin + SPACING
        time.sleep(max(0, begin - time.monotonic()))
        return time.time()


class ParsedKeyAuth(Auth):
    """The SDK's Auth with a parsed key: the SDK's own takes 30 ms to parse it for each token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        key: Any = config.VONAGE_PRIVATE_KEY  # the SDK's hint says str
        self.tokens = JwtClient(str(config.VONAGE_APPLICATION_ID), key)

    def generate_application_jwt(self, claims: Any = None) -> bytes:
        return self.tokens.generate_application_jwt(claims)


class NoSuchLeg(Conflict):
    """Vonage answered 404.

    `is_own_host` says whether this was the call's own host, `ends_leg` whether the call has ended.
    """

    def __init__(self, host: str, leg: Leg) -> None:
        super().__init__(
            f"Vonage at {host} has no such call (ended, not answered yet, or in another region)."
        )
        self.is_own_host = host == (leg.api_host or DEFAULT_HOST)
        self.ends_leg = self.is_own_host and time.time() - leg.joined > ANSWER_TIME


class RateLimited(ServiceUnavailable):
    """Vonage answered 429. `pause` is how many seconds to wait."""

    def __init__(self, response: Response) -> None:
        self.pause = 1  # without a valid Retry-After
        with suppress(InvalidHeader, ValueError, OverflowError):
            wait = Retry().parse_retry_after(response.headers.get("Retry-After", "1"))
            self.pause = math.ceil(wait)
        super().__init__(
            f"Vonage's rate limit is reached (429). Try again in {self.pause} s.",
            retry_after=self.pause,
        )


def find_audio(leg: Leg, audio: Audio) -> str:
    """Return the address of what to play; raise ServiceUnavailable if Vonage cannot fetch it."""
    url = audio.url or leg.audio_url
    if url is None:
        raise ServiceUnavailable("The audio's address is unknown. Set PUBLIC_URL.")
    if not is_public(url):
        wrong = "is not on the public internet, where Vonage could fetch it"
        raise ServiceUnavailable(f"The audio's address {url} {wrong}. Set PUBLIC_URL.")
    return url


def first_cause(error: BaseException) -> BaseException:
    """Return the first error in the chain: the socket's own."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def refusal(response: Response, host: str, leg: Leg) -> HTTPException:
    """Return the error for a request that Vonage refused."""
    status = response.status_code
    if status == 404:
        return NoSuchLeg(host, leg)
    if status == 429:
        return RateLimited(response)
    if status in (401, 403):
        check = "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY and this machine's clock."
        return BadGateway(f"Vonage refused the credentials ({status}). {check}")
    words = re.sub("<[^<>]*>", " ", response.text[:LONGEST_REASON]).split()
    reason = clean(" ".join(words)) or "no reason"
    return BadGateway(f"Vonage at {host} answered {status}: {reason}")
