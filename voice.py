"""The Voice API: start and stop audio in legs, and ask whether a call is over."""

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from threading import Lock, Semaphore
from typing import Any

from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import SSLError
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader
from vonage_http_client import Auth, HttpClient, HttpClientOptions
from vonage_http_client.errors import HttpRequestError
from vonage_jwt.jwt import JwtClient
from vonage_voice import Voice as VoiceApi
from vonage_voice.models import AudioStreamOptions
from werkzeug.exceptions import (
    BadGateway,
    Conflict,
    GatewayTimeout,
    HTTPException,
    ServiceUnavailable,
)

from calls import MOST_LEGS, Leg
from config import Audio, Config, is_public
from webhooks import ENDS, clean

DEFAULT_HOST = "api.nexmo.com"
SILENCE = 5  # seconds for which Vonage may be silent
DEADLINE = 14.0  # seconds, of the 15 that a request may take: the rest is for the list of calls
ANSWER_TIME = 60  # seconds in which a leg that Vonage does not know may still be answered
TRIES = 3  # where Vonage answers 429
# Vonage takes 15 requests a second [Troubleshooting, Capacity]; at 14, one that is late fits in.
SPACING = 1 / 14  # seconds
OnSuccess = Callable[[Leg, float], None]


class NoSuchCall(Conflict):
    """Vonage answered 404 at `host`; `ends_leg` says whether the leg is over by that."""

    def __init__(self, host: str, leg: Leg) -> None:
        super().__init__(
            f"Vonage at {host} has no such call (ended, not answered yet, or in another region)."
        )
        self.is_own_host = host == (leg.api_host or DEFAULT_HOST)
        self.ends_leg = self.is_own_host and time.time() - leg.joined > ANSWER_TIME


@dataclass(frozen=True)
class Outcome:
    """What became of a request for a leg: `error` is None where Vonage did it."""

    leg: Leg
    error: HTTPException | None


class Voice:
    """The Voice API with the application's credentials.

    Vonage may be silent for `silence` seconds; `play` and `stop` take `deadline` seconds at most.
    """

    def __init__(
        self, config: Config, *, silence: int = SILENCE, deadline: float = DEADLINE
    ) -> None:
        self._config = config
        self._silence = silence
        self._deadline = deadline
        self._turns = Semaphore(2)
        self._lock = Lock()
        self._next_request = 0.0
        self._clients: dict[str, VoiceApi] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One of two plays or stops at a time: the other threads are for the callers.

        Raises ServiceUnavailable without credentials, and where both turns are taken.
        """
        missing = self._config.missing_credentials
        if missing:
            raise ServiceUnavailable(f"Set {' and '.join(missing)}: needed by /stream.")
        if not self._turns.acquire(blocking=False):
            raise ServiceUnavailable("Two others play or stop already. Try again.", retry_after=2)
        try:
            yield
        finally:
            self._turns.release()

    def play(self, legs: Sequence[Leg], audio: Audio, on_success: OnSuccess) -> list[Outcome]:
        """Start the audio in each leg, in place of what plays there. [Vonage, Voice API]

        `on_success` gets each leg as soon as Vonage has taken its request, and when that began, in
        seconds since 1970; in a thread of its own.
        """
        return self._side_by_side(legs, partial(self._play, audio), on_success)

    def stop(self, legs: Sequence[Leg], on_success: OnSuccess) -> list[Outcome]:
        """Stop the audio in each leg; otherwise like `play`. [Vonage, Voice API]"""
        return self._side_by_side(legs, self._stop, on_success)

    def is_over(self, leg: Leg) -> bool:
        """Whether the call has ended by Vonage's word, or is unknown at its own host."""
        until = time.monotonic() + self._deadline
        try:
            status = self._ask(leg, until, get_status)
        except NoSuchCall as error:
            return error.is_own_host
        except HTTPException:
            return False
        return status in ENDS

    def _play(self, audio: Audio, leg: Leg, until: float) -> None:
        url = audio.url or leg.audio_url
        if url is None:
            raise ServiceUnavailable("No address of the audio is known. Set PUBLIC_URL.")
        if not is_public(url):
            wrong = "is not on the public internet, where Vonage could fetch it"
            raise ServiceUnavailable(f"The audio's address {url} {wrong}. Set PUBLIC_URL.")
        options = AudioStreamOptions(stream_url=[url], loop=audio.loop, level=audio.level)
        self._ask(leg, until, VoiceApi.play_audio_into_call, options)

    def _stop(self, leg: Leg, until: float) -> None:
        self._ask(leg, until, VoiceApi.stop_audio_stream)

    def _side_by_side(
        self, legs: Sequence[Leg], request: Callable[[Leg, float], None], on_success: OnSuccess
    ) -> list[Outcome]:
        """Make the request for each leg in a thread of its own; who is not done in time is late."""
        until = time.monotonic() + self._deadline

        def ask(leg: Leg) -> None:
            began = time.time()
            request(leg, until)
            on_success(leg, began)

        pool = ThreadPoolExecutor(MOST_LEGS)
        futures = [pool.submit(ask, leg) for leg in legs]
        wait(futures, self._deadline)
        pool.shutdown(wait=False)
        errors = [self._error(future) for future in futures]
        return [Outcome(leg, error) for leg, error in zip(legs, errors, strict=True)]

    def _error(self, future: Future[None]) -> HTTPException | None:
        """What went wrong with Vonage, or None; what went wrong with us is raised."""
        if not future.done():
            return GatewayTimeout(f"Vonage did not answer within {self._deadline:g} s.")
        error = future.exception()
        if error is None or isinstance(error, HTTPException):
            return error
        raise error

    def _ask(self, leg: Leg, until: float, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the SDK about a leg, again where that helps.

        Raises NoSuchCall, BadGateway, GatewayTimeout or ServiceUnavailable.
        """
        host = self._config.VONAGE_API_HOST or leg.api_host or DEFAULT_HOST
        client = self._client(host)
        limited = 0
        dropped = 0
        while True:
            self._wait_for_begin(until)
            try:
                return method(client, leg.uuid, *arguments)
            except HttpRequestError as error:
                if error.response.status_code != 429:
                    raise refusal(error.response, host, leg) from None
                limited += 1
                pause = retry_after(error.response)
                if limited == TRIES or pause > until - time.monotonic():
                    again = f"Vonage's rate limit is reached (429). Try again in {pause} s."
                    raise ServiceUnavailable(again, retry_after=pause) from None
                time.sleep(pause)
            except OSError as error:  # as all errors of requests are
                cause = first_cause(error)
                if isinstance(cause, TimeoutError):
                    late = f"Vonage at {host} timed out after {self._silence} s."
                    raise GatewayTimeout(late) from None
                dropped += 1
                if dropped == 2 or isinstance(error, SSLError):
                    why = getattr(cause, "strerror", None) or cause
                    raise GatewayTimeout(f"Vonage at {host} cannot be reached: {why}.") from None
            except (ValueError, TypeError, LookupError, RecursionError):
                raise BadGateway(f"Vonage at {host} returned an unexpected body.") from None

    def _wait_for_begin(self, until: float) -> None:
        """Wait for this request's turn: requests begin SPACING seconds apart."""
        with self._lock:
            begin = max(self._next_request, time.monotonic())
            if begin > until:
                raise GatewayTimeout("Not asked in time: 14 requests a second may begin.")
            self._next_request = begin + SPACING
        time.sleep(max(0, begin - time.monotonic()))

    def _client(self, host: str) -> VoiceApi:
        """The SDK's client for a host. It is kept, and its connections with it."""
        with self._lock:
            if host not in self._clients:
                self._clients[host] = create_client(self._config, host, self._silence)
            return self._clients[host]


class KeyAuth(Auth):
    """The SDK's Auth with a key that is parsed already: the SDK's own parses it for each token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        key: Any = config.VONAGE_PRIVATE_KEY  # the SDK's hint says str
        self._tokens = JwtClient(str(config.VONAGE_APPLICATION_ID), key)

    def generate_application_jwt(self, claims: Any = None) -> bytes:
        token: bytes = self._tokens.generate_application_jwt(claims)
        return token


def create_client(config: Config, host: str, silence: int) -> VoiceApi:
    """A client that keeps a connection for each leg of a conference, and makes no second try."""
    options = HttpClientOptions(api_host=host, timeout=silence, max_retries=0, pool_maxsize=1)
    client = HttpClient(KeyAuth(config), options, version("vonage"))
    # The SDK tries a dropped connection as often as its own pool is large, so this is the pool.
    client._session.mount("https://", HTTPAdapter(pool_maxsize=MOST_LEGS))
    # The SDK has no public way to keep `.netrc` out, whose Basic would replace our token.
    client._session.auth = keep_token
    return VoiceApi(client)


def keep_token(request: Any) -> Any:
    return request


def get_status(api: VoiceApi, uuid: str) -> str:
    """A call's status; the SDK's get_call refuses a call whose `from` is null."""
    call: Any = api.http_client.get(api.http_client.api_host, f"/v1/calls/{uuid}")
    return str(call["status"])


def retry_after(response: Response) -> int:
    """The seconds that Vonage says to wait; 1 if it says nothing that can be read."""
    try:
        return math.ceil(Retry().parse_retry_after(response.headers.get("Retry-After", "1")))
    except (InvalidHeader, ValueError, OverflowError):
        return 1


def first_cause(error: BaseException) -> BaseException:
    """The error in which this one began: the socket's own."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def refusal(response: Response, host: str, leg: Leg) -> HTTPException:
    """The error for what Vonage refused."""
    status = response.status_code
    if status == 404:
        return NoSuchCall(host, leg)
    if status in (401, 403):
        check = "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY and this machine's clock."
        return BadGateway(f"Vonage refused the credentials ({status}). {check}")
    words = re.sub("<[^>]*>", " ", response.text).split()
    said = clean(" ".join(words)) or "no reason"
    return BadGateway(f"Vonage at {host} answered {status}: {said}")
