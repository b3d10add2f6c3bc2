"""The way between Vonage and the app: webhooks through a tunnel, and audio fetched through it."""

import json
import socket
import time
import uuid
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from sandbox.account import Account

# Seconds to connect and to wait, and how often Vonage asks in all. Its documents disagree: 1 s,
# 5 s for an answer, 10 s for an event, twice [Application API 2.4.1]; 3 s, 5 s, three times
# [Troubleshooting]. An event may be sent again [support article], or not [Webhook reference].
ANSWER_TIMES = (1, 5)
ANSWER_TRIES = 3
EVENT_TIMES = (1, 10)
EVENT_TRIES = 1
TRY_AGAIN = (429, 503, 504)  # on these, a time-out, and a dropped connection [Troubleshooting]
# No source gives these.
AUDIO_CONNECTS = 3  # seconds
AUDIO_BYTES = 50_000_000
REDIRECTS = 5


class Tunnel:
    """Vonage's end of a tunnel such as ngrok: one public host that leads to the app.

    `audio_time` is the seconds that audio may take to come.
    """

    def __init__(self, account: Account, host: str, port: int) -> None:
        self.account = account
        self.host = host
        self.port = port
        self.app_url = f"http://{host}:{port}"
        if ":" in host:
            self.app_url = f"http://[{host}]:{port}"
        self.public_host = f"{uuid.uuid4().hex[:8]}.ngrok.example"
        self.public_url = f"https://{self.public_host}"
        self.audio_time = 10.0

    def send(
        self, method: str, path: str, parameters: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """Send a signed webhook; gives its answer, or None.

        `headers` replace Vonage's, or leave one out (None).
        """
        # A query, too, is signed as compact JSON. [support article 19033783342876]
        body = json.dumps(parameters, ensure_ascii=False, separators=(",", ":")).encode()
        signed = {"Content-Type": "application/json", "Authorization": self.account.sign(body)}
        options: dict[str, Any] = {"headers": {**signed, **headers}, "timeout": EVENT_TIMES}
        tries = EVENT_TRIES
        if path.startswith("/webhooks/answer"):
            options["timeout"] = ANSWER_TIMES
            tries = ANSWER_TRIES
        if method == "GET":
            options["params"] = parameters
        else:
            options["data"] = body
        response = None
        for _ in range(tries):
            with suppress(requests.RequestException):
                response = self._ask(method, self.public_url + path, **options)
                if response.status_code not in TRY_AGAIN:
                    break
        return response

    def fetch(self, url: str) -> bytes:
        """The audio at a public address; ValueError says why Vonage could not get it."""
        until = time.monotonic() + self.audio_time
        times = (AUDIO_CONNECTS, self.audio_time)
        try:
            for _ in range(REDIRECTS + 1):
                with self._ask("GET", url, stream=True, timeout=times) as response:
                    if not response.is_redirect:
                        return self._read(response, until)
                    url = urljoin(url, response.headers["Location"])
        except requests.Timeout as error:
            raise ValueError(f"it timed out after {self.audio_time:g} s") from error
        except OSError as error:  # of which requests' own errors are a kind
            raise ValueError("it cannot be reached") from error
        raise ValueError(f"it redirects more than {REDIRECTS} times")

    def _read(self, response: requests.Response, until: float) -> bytes:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status_code != 200:
            raise ValueError(f"it answers {response.status_code}")
        if kind.startswith("text/") or kind.endswith("json"):
            raise ValueError(f"it is {kind}, not audio")
        data = bytearray()
        while len(data) <= AUDIO_BYTES:
            if time.monotonic() > until:
                seconds = f"{self.audio_time:g} s"
                raise ValueError(f"it does not end within {seconds}, like internet radio")
            part = response.raw.read1(65536, decode_content=True)
            if not part:
                return bytes(data)
            data += part
        raise ValueError(f"it is longer than {AUDIO_BYTES // 1_000_000} MB")

    def _ask(self, method: str, url: str, **options: Any) -> requests.Response:
        """Ask a public address; ValueError where Vonage could not."""
        parts = urlsplit(url)
        host = str(parts.hostname)
        server = self.server_of(host)
        with requests.Session() as session:
            if server is None:
                _check_public(host)
            else:
                url = server + url.partition(parts.netloc)[2]
                session.trust_env = False  # no proxy for what is on this machine
                session.headers["Host"] = host
                session.headers["X-Forwarded-For"] = "203.0.113.9"
                session.headers["X-Forwarded-Host"] = host
                session.headers["X-Forwarded-Proto"] = "https"
            return session.request(method, url, allow_redirects=False, **options)

    def server_of(self, host: str) -> str | None:
        """The address of the server on this machine to which a public host leads, if one does."""
        if host == self.public_host:
            return self.app_url
        return None


def _check_public(host: str) -> None:
    """Raise ValueError for a host that is not on the public internet."""
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"its host, {host}, has no address") from error
    for *_, address in found:
        if not ip_address(address[0]).is_global:
            raise ValueError(f"Vonage cannot reach {host} from the internet")


def describe_status(response: requests.Response | None) -> str:
    """The status of a webhook's answer, in a word or two."""
    if response is None:
        return "no answer"
    return str(response.status_code)
