"""The way between Vonage and the app: webhooks through a tunnel, and audio fetched through it."""

import json
import socket
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
ANSWER, EVENT = ((1, 5), 3), ((1, 10), 1)
TRY_AGAIN = (429, 503, 504)  # on these, a time-out, and a dropped connection [Troubleshooting]
AUDIO_TIMEOUT, MOST_REDIRECTS = (3, 10), 5  # no source gives these


class Tunnel:
    """Vonage's end of a tunnel such as ngrok: one public host that leads to the app."""

    def __init__(self, account: Account, host: str, port: int) -> None:
        self.account, self.host, self.port = account, host, port
        self.app_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.public_host = f"{uuid.uuid4().hex[:8]}.ngrok.example"
        self.web: dict[str, str] = {}  # other public hosts, and the servers here in their place

    @property
    def public_url(self) -> str:
        """Where the app is for Vonage."""
        return f"https://{self.public_host}"

    def send(
        self, method: str, path: str, parameters: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """A signed webhook, and its answer; `headers` replace Vonage's, or leave one out (None)."""
        # A query, too, is signed as compact JSON. [support article 19033783342876]
        body = json.dumps(parameters, ensure_ascii=False, separators=(",", ":")).encode()
        signed = {"Content-Type": "application/json", "Authorization": self.account.sign(body)}
        timeout, tries = ANSWER if "/answer" in path else EVENT
        sent: dict[str, Any] = {"headers": {**signed, **headers}, "timeout": timeout}
        sent |= {"params": parameters} if method == "GET" else {"data": body}
        response = None
        for _ in range(tries):
            with suppress(requests.RequestException):
                response = _ask_here(method, self.app_url + path, self.public_host, **sent)
                if response.status_code not in TRY_AGAIN:
                    break
        return response

    def fetch(self, url: str) -> bytes:
        """The audio at a public address; ValueError or OSError where Vonage could not get it."""
        for _ in range(1 + MOST_REDIRECTS):
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts._replace(scheme="", netloc="").geturl()
            if here := {self.public_host: self.app_url, **self.web}.get(host):
                response = _ask_here("GET", here + path, host, timeout=AUDIO_TIMEOUT)
            elif _is_public(host):
                response = requests.get(url, timeout=AUDIO_TIMEOUT, allow_redirects=False)
            else:
                raise ValueError(f"Vonage cannot reach {url} from the internet")
            if not response.is_redirect:
                break
            url = urljoin(url, response.headers["Location"])
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status_code != 200:
            raise ValueError(f"{url} answers {response.status_code}")
        if kind.startswith("text/") or kind.endswith("json"):
            raise ValueError(f"{url} is {kind}, not audio")
        return response.content


def _ask_here(method: str, url: str, host: str, **options: Any) -> requests.Response:
    tunnel = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-For": "203.0.113.9"}
    options["headers"] = {**tunnel, "X-Forwarded-Proto": "https", **options.get("headers", {})}
    with requests.Session() as session:
        session.trust_env = False  # no proxy for what is on this machine
        return session.request(method, url, allow_redirects=False, **options)


def _is_public(host: str) -> bool:  # that no address of it is of this machine, or its network
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True  # unknown here, but perhaps not to a proxy
    return all(ip_address(address).is_global for address in found)
