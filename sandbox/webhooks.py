"""The way between Vonage and the app: webhooks through a tunnel, and audio fetched through it."""

import json
import socket
import uuid
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
    """Vonage's end of a tunnel such as ngrok: one public host that leads to the app.

    `web` has other public hosts, each with the address of the server here that stands in for it.
    """

    def __init__(self, account: Account, host: str, port: int) -> None:
        self.account, self.host, self.port = account, host, port
        self.public_host = f"{uuid.uuid4().hex[:8]}.ngrok.example"
        self.web: dict[str, str] = {}

    @property
    def app_url(self) -> str:
        """Where the app is, on this machine."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def public_url(self) -> str:
        """Where the app is for Vonage."""
        return f"https://{self.public_host}"

    def send(
        self, method: str, path: str, parameters: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """A signed webhook, by GET with a query, else with a compact body: its answer, if any.

        `headers` replace Vonage's own; one that is None is left out. What is signed of a query
        is its parameters as JSON. [support article 19033783342876]
        """
        body = json.dumps(parameters, ensure_ascii=False, separators=(",", ":")).encode()
        sent = {"params": parameters} if method == "GET" else {"data": body}
        signed = {"Content-Type": "application/json", "Authorization": self.account.sign(body)}
        all_headers = {**_tunnel(self.public_host), **signed, **headers}
        timeout, tries = ANSWER if "/answer" in path else EVENT
        response = None
        for _ in range(tries):
            try:
                response = _ask(method, self.app_url + path, all_headers, timeout, **sent)
            except requests.RequestException:
                continue
            if response.status_code not in TRY_AGAIN:
                break
        return response

    def fetch(self, url: str) -> bytes:
        """The audio at a public address; ValueError or OSError where Vonage could not get it."""
        for _ in range(1 + MOST_REDIRECTS):
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts._replace(scheme="", netloc="").geturl()
            here = {self.public_host: self.app_url, **self.web}.get(host)
            if here is None and not _is_public(host):
                raise ValueError(f"Vonage cannot reach {url} from the internet")
            response = _ask("GET", here + path if here else url, _tunnel(host) if here else {})
            if not response.is_redirect:
                break
            url = urljoin(url, response.headers["Location"])
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status_code != 200:
            raise ValueError(f"{url} answers {response.status_code}")
        if kind.startswith("text/") or kind.endswith("json"):
            raise ValueError(f"{url} is {kind}, not audio")
        return response.content


def _tunnel(host: str) -> dict[str, str | None]:
    """The headers that a tunnel adds."""
    public = {"Host": host, "X-Forwarded-Host": host}
    return {**public, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


def _ask(
    method: str, url: str, headers: dict[str, str | None], timeout: Any = AUDIO_TIMEOUT, **sent: Any
) -> requests.Response:
    """Send a request; with the headers of a tunnel it is for this machine, and needs no proxy."""
    with requests.Session() as session:
        session.trust_env = not headers
        more = {"timeout": timeout, "allow_redirects": False, **sent}
        return session.request(method, url, headers=headers, **more)


def _is_public(host: str) -> bool:
    """Whether no address of this host is one of this machine, or of its network."""
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True  # unknown here, but perhaps not to a proxy
    return all(ip_address(address).is_global for address in found)
