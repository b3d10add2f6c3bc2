"""The Voice API: start and stop audio in legs, and ask whether a call is over."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from threading import Lock, Semaphore, Thread

from requests import RequestException, Response
from requests.exceptions import SSLError
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader
from vonage_http_client import Auth, HttpClient, HttpClientOptions
from vonage_http_client.errors import HttpRequestError
from vonage_jwt.jwt import JwtClient
from vonage_voice import Voice as VoiceApi
from vonage_voice.models import AudioStreamOptions
from werkzeug.exceptions import BadGateway, Conflict, GatewayTimeout, ServiceUnavailable
from werkzeug.exceptions import HTTPException as HttpError

import webhooks
from calls import Calls, Leg
from config import NEEDED_BY_STREAM, Config, load_key

log = logging.getLogger("app")
DEFAULT_HOST = "api.nexmo.com"
ANSWER_TIME = 60  # seconds in which a leg that Vonage does not know may still be answered
# Vonage takes 15 requests a second [Troubleshooting, Capacity]; at 14, one that is late fits in.
SPACING = 1 / 14  # seconds
Ask = Callable[[VoiceApi, Leg], object]
Trouble = HttpError | None  # what became of a leg


class NoSuchCall(Conflict):
    """Vonage answered 404 at `host`, which may not be the one that controls this call."""

    def __init__(self, host: str, leg: Leg) -> None:
        self.is_own_host = host == (leg.api_host or DEFAULT_HOST)
        self.is_over = self.is_own_host and time.time() - leg.joined > ANSWER_TIME
        has_none = "has no such call (ended, not answered yet, or in another region)"
        super().__init__(f"Vonage at {host} {has_none}.")


class Voice:
    """The Voice API with the application's credentials.

    Vonage may be silent for `silence` seconds; `play` and `stop` take `deadline` seconds at most.
    """

    def __init__(self, config: Config, *, silence: int = 5, deadline: float = 14.0) -> None:
        self._missing = [name for name, why in config.not_set_up.items() if why == NEEDED_BY_STREAM]
        self._auth = Auth() if self._missing else _Auth(config)
        self._api_host, self._silence, self._deadline = config.VONAGE_API_HOST, silence, deadline
        self._late = f"Vonage did not answer within {deadline:g} s."
        self._turns, self._version = Semaphore(2), version("vonage")
        self._lock, self._next_request = Lock(), 0.0

    @contextmanager
    def turn(self) -> Iterator["Voice"]:
        """One of two plays or stops at a time: the other threads are for the callers.

        Raises ServiceUnavailable without credentials, and if both turns are taken.
        """
        if self._missing:
            raise ServiceUnavailable(f"Set {' and '.join(self._missing)}: {NEEDED_BY_STREAM}.")
        if not self._turns.acquire(blocking=False):
            raise ServiceUnavailable("Two others play or stop already. Try again.", retry_after=2)
        try:
            yield self
        finally:
            self._turns.release()

    def play(self, legs: Sequence[Leg], config: Config) -> list[Trouble]:
        """Start the configured audio in each leg, or else the leg's own; replaces what plays.

        Gives for each leg None, or what went wrong: NoSuchCall for a 404. [Vonage, Voice API]
        """
        how = {"loop": config.VOICE_STREAM_LOOP, "level": config.VOICE_STREAM_LEVEL}

        def ask(api: VoiceApi, leg: Leg) -> None:
            if not (url := config.VOICE_STREAM_URL or leg.audio_url):
                raise ServiceUnavailable("Set PUBLIC_URL: no address for the audio is known.")
            api.play_audio_into_call(leg.uuid, AudioStreamOptions(stream_url=[url], **how))

        return self._side_by_side(ask, legs)

    def stop(self, legs: Sequence[Leg]) -> list[Trouble]:
        """Stop the audio in each leg; otherwise like `play`."""
        return self._side_by_side(lambda api, leg: api.stop_audio_stream(leg.uuid), legs)

    def end_what_is_over(self, calls: Calls) -> None:
        """End the legs whose calls are over at Vonage, or unknown at their own host."""

        def ask(api: VoiceApi, leg: Leg) -> None:
            client = api.http_client  # the SDK's get_call refuses a call whose `from` is null
            call = client.get(client.api_host, f"/v1/calls/{leg.uuid}") or {}
            if call["status"] in webhooks.ENDS:
                raise NoSuchCall(leg.api_host or DEFAULT_HOST, leg)

        with suppress(ServiceUnavailable):  # the store failed: it is said when it is needed
            for leg in [] if self._missing else calls.live():
                trouble = self._ask(ask, leg, time.monotonic() + self._deadline)
                if isinstance(trouble, NoSuchCall) and trouble.is_own_host:
                    calls.end(leg.uuid)
                    log.info("leg %s: had ended before the start", leg.uuid)

    def _side_by_side(self, ask: Ask, legs: Sequence[Leg]) -> list[Trouble]:
        until = time.monotonic() + self._deadline
        troubles: list[Trouble] = [GatewayTimeout(self._late)] * len(legs)

        def ask_about(index: int) -> None:
            troubles[index] = self._ask(ask, legs[index], until)

        # Daemon threads, since an executor's would hold up the end of the process.
        threads = [Thread(target=ask_about, args=[i], daemon=True) for i in range(len(legs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, until - time.monotonic()))
        return troubles.copy()

    def _ask(self, ask: Ask, leg: Leg, until: float) -> Trouble:
        """Ask about one leg: three times where Vonage says 429, twice where it hangs up."""
        host = self._api_host or leg.api_host or DEFAULT_HOST
        limited = dropped = 0
        while self._may_begin(until):
            try:
                ask(self._client(host), leg)
                return None
            except HttpError as trouble:
                return trouble
            except HttpRequestError as error:
                if error.response.status_code != 429:
                    return _refused(error.response, host, leg)
                limited += 1
                wait = 1.0
                with suppress(InvalidHeader, ValueError):
                    wait = Retry().parse_retry_after(error.response.headers.get("Retry-After", "1"))
                if limited == 3 or time.monotonic() + wait > until:
                    again = f"Vonage's rate limit is reached (429). Try again in {wait:.0f} s."
                    return ServiceUnavailable(again, retry_after=math.ceil(wait))
                time.sleep(wait)
            except RequestException as error:
                if "timed out" in str(error):
                    return GatewayTimeout(f"Vonage at {host} timed out after {self._silence} s.")
                dropped += 1
                if dropped == 2 or isinstance(error, SSLError):
                    reason = re.split(r": |['\"(]{2}", re.sub(r"['\"]\)*$", "", str(error)))[-1]
                    return GatewayTimeout(f"Vonage at {host} cannot be reached: {reason}.")
            except (ValueError, TypeError, LookupError, RecursionError):
                return BadGateway(f"Vonage at {host} returned an unexpected body.")
        return GatewayTimeout(self._late)

    def _may_begin(self, until: float) -> bool:
        """Wait for a request's turn, one each SPACING seconds; False if that is after `until`."""
        with self._lock:
            begin = max(self._next_request, time.monotonic())
            if begin > until:
                return False
            self._next_request = begin + SPACING
        time.sleep(max(0, begin - time.monotonic()))
        return True

    def _client(self, host: str) -> VoiceApi:
        """A client for one request. It tries as often as its pool is large at a dropped one."""
        options = {"timeout": self._silence, "max_retries": 0, "pool_maxsize": 1}
        client = HttpClient(self._auth, HttpClientOptions(api_host=host, **options), self._version)
        # The SDK has no public way to keep `.netrc` out, whose Basic would replace our token.
        client._session.auth = lambda request: request
        return VoiceApi(client)


class _Auth(Auth):
    """The SDK's Auth, which would parse the key for each token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        key = load_key(str(config.VONAGE_PRIVATE_KEY))
        self._tokens = JwtClient(str(config.VONAGE_APPLICATION_ID), key)  # type: ignore[arg-type]

    def generate_application_jwt(self, claims: dict[str, object] | None = None) -> bytes:
        token: bytes = self._tokens.generate_application_jwt(claims or {})
        return token


def _refused(response: Response, host: str, leg: Leg) -> HttpError:
    if response.status_code == 404:
        return NoSuchCall(host, leg)
    if response.status_code in (401, 403):
        check = "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY and this machine's clock."
        return BadGateway(f"Vonage refused the credentials ({response.status_code}). {check}")
    said = webhooks.text(" ".join(re.sub("<[^>]*>", " ", response.text).split()))
    return BadGateway(f"Vonage at {host} answered {response.status_code}: {said or 'no reason'}")
