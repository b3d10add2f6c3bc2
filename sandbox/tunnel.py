"""The way from Vonage to the app: a tunnel that carries webhooks, signed as Vonage signs them."""

import json
import uuid
from contextlib import suppress
from typing import Any

import requests

from sandbox.account import Account

# Seconds to connect and to wait, and how often Vonage asks in all. Its documents disagree: 1 s,
# 5 s for an answer, 10 s for an event, twice [Application API 2.4.1]; 3 s, 5 s, three times
# [Troubleshooting]. An event may be sent again [support article], or not [Webhook reference].
ANSWER_TIMES = (1, 5)
ANSWER_TRIES = 3
EVENT_TIMES = (1, 10)
TRY_AGAIN = (429, 503, 504)  # on these, a time-out, and a dropped connection [Troubleshooting]


class Tunnel:
    """Vonage's end of a tunnel such as ngrok: one public host that leads to the app.

    `audio_time` is how many seconds a fetch of audio may take.
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
        """Send a signed webhook; returns its response, or None if there is none.

        `headers` replace those that Vonage and the tunnel send, or leave one out (None).
        """
        # A query, too, is signed as compact JSON. [support article 19033783342876]
        text = json.dumps(parameters, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors="replace")
        sent: dict[str, str | None] = dict(self.forwarded(self.public_host))
        sent["Content-Type"] = "application/json"
        sent["Authorization"] = self.account.sign(body)
        sent.update(headers)
        times, tries = EVENT_TIMES, 1
        if path.startswith("/webhooks/answer"):
            times, tries = ANSWER_TIMES, ANSWER_TRIES
        options: dict[str, Any] = {"headers": sent, "timeout": times, "data": body}
        if method == "GET":
            options |= {"params": parameters, "data": None}
        response = None
        with requests.Session() as session:
            session.trust_env = False  # no proxy for what is on this machine
            for _ in range(tries):
                with suppress(requests.RequestException):
                    response = session.request(
                        method, self.app_url + path, allow_redirects=False, **options
                    )
                    if response.status_code not in TRY_AGAIN:
                        break
        return response

    def forwarded(self, host: str) -> dict[str, str]:
        """Return the headers that the tunnel adds to a request for a public host."""
        return {
            "Host": host,
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Host": host,
            "X-Forwarded-Proto": "https",
        }

    def server_of(self, host: str) -> str | None:
        """Return the server on this machine to which a public host leads, or None."""
        if host == self.public_host:
            return self.app_url
        return None


def describe_status(response: requests.Response | None) -> str:
    """Return the status of a webhook's response in a word or two."""
    if response is None:
        return "no answer"
    return str(response.status_code)
