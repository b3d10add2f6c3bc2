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
AUDIO = (3, 10)  # no source gives these


class Tunnel:
    """Vonage's end of a tunnel such as ngrok: one public host that leads to the app."""

    def __init__(self, account: Account, host: str, port: int) -> None:
        self.account, self.host, self.port = account, host, port
        self.app_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.public_host = f"{uuid.uuid4().hex[:8]}.ngrok.example"
        self.public_url = f"https://{self.public_host}"
        self.web: dict[str, str] = {}  # other public hosts, and the servers here in their place

    def send(
        self, method: str, path: str, parameters: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """A signed webhook, and its answer; `headers` replace Vonage's, or leave one out (None)."""
        # A query, too, is signed as compact JSON. [support article 19033783342876]
        body = json.dumps(parameters, ensure_ascii=False, separators=(",", ":")).encode()
        signed = {"Content-Type": "application/json", "Authorization": self.account.sign(body)}
        sent: dict[str, Any] = {"params": parameters} if method == "GET" else {"data": body}
        sent |= {"headers": {**signed, **headers}}
        timeout, tries = ANSWER if "/answer" in path else EVENT
        response = None
        for _ in range(tries):
            with suppress(requests.RequestException):
                response = self._ask(method, self.public_url + path, timeout=timeout, **sent)
                if response.status_code not in TRY_AGAIN:
                    break
        return response

    def fetch(self, url: str, redirects: int = 5) -> bytes:
        """The audio at a public address; ValueError or OSError where Vonage could not get it."""
        response = self._ask("GET", url, timeout=AUDIO)
        if response.is_redirect and redirects:
            return self.fetch(urljoin(url, response.headers["Location"]), redirects - 1)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status_code != 200:
            raise ValueError(f"{url} answers {response.status_code}")
        if kind.startswith("text/") or kind.endswith("json"):
            raise ValueError(f"{url} is {kind}, not audio")
        return response.content

    def _ask(self, method: str, url: str, **options: Any) -> requests.Response:
        """Ask a public address: through the tunnel, where a server here is in its place."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        here = {self.public_host: self.app_url, **self.web}.get(host)
        if not here:
            found = [ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)]
            if not all(address.is_global for address in found):
                raise ValueError(f"Vonage cannot reach {url} from the internet")
        with requests.Session() as session:
            if here:
                session.trust_env = False  # no proxy for what is on this machine
                session.headers.update({"Host": host, "X-Forwarded-Host": host})
                session.headers["X-Forwarded-For"] = "203.0.113.9"
                session.headers["X-Forwarded-Proto"] = "https"
                url = here + url.partition(parts.netloc)[2]
            return session.request(method, url, allow_redirects=False, **options)
