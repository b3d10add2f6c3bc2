"""The stand-in for Vonage: one application, whose webhooks lead to an app, and its callers."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from typing_extensions import Self
from werkzeug.serving import make_ssl_devcert

from sandbox.account import Account
from sandbox.call import Call
from sandbox.voice_api import REGIONS, Connection, VoiceApi

FOLDER = Path(__file__).resolve().parent.parent
WATCH = Path(__file__).with_name("watch.py")
STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 10
# Seconds to connect and to wait, and how often Vonage asks in all. Its documents disagree: 1 s,
# 5 s for an answer, 10 s for an event, twice [Application API 2.4.1]; 3 s, 5 s, three times
# [Troubleshooting]. An event may be sent again [support article], or not [Webhook reference].
ANSWER_TIMES = (1, 5)
ANSWER_TRIES = 3
EVENT_TIMES = (1, 10)
TRY_AGAIN = (429, 503, 504)  # on these, a time-out, and a dropped connection [Troubleshooting]


class Sandbox:
    """Vonage, with one application whose webhooks lead to an app, which runs in the context.

    `settings` are the app's, beside what it needs here; `command` starts it. `on_line` receives the
    name of a caller, and each line of what happens in that call. `news` is notified of each, and is
    the lock for what happens to all calls. `audio_time` is how many seconds a fetch of audio may
    take.
    """

    call_type: type[Call] = Call

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        port: int = 9000,
        command: list[str] | None = None,
        account: Account | None = None,
    ) -> None:
        own = {"HOST": "localhost", "PORT": str(port), **(settings or {})}
        self.account = account or Account()
        self.host = own["HOST"]
        self.port = int(own["PORT"])
        self.app_url = f"http://{self.host}:{self.port}"
        if ":" in self.host:
            self.app_url = f"http://[{self.host}]:{self.port}"
        self.public_host = f"{uuid4().hex[:8]}.ngrok.example"
        self.public_url = f"https://{self.public_host}"
        self.audio_time = 10.0
        self.on_line: Callable[[str, str], None] = print
        self.calls: dict[str, Call] = {}
        self._command = command or [sys.executable, str(FOLDER / "app.py")]
        self.news = threading.Condition()
        self._numbers = count(1)
        self._temporary = tempfile.TemporaryDirectory(
            prefix="sandbox-",
            ignore_cleanup_errors=True,  # Windows keeps what is still open
        )
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "app.log"
        self.voice_api = self.serve_voice_api()
        self.api_port = self.voice_api.server_port
        self.asked = self.voice_api.asked
        self.environment = {**self._needed(), **own}

    def serve_voice_api(self) -> VoiceApi:
        """Serve the Voice API, with a certificate for the app to trust."""
        certificate = make_ssl_devcert(str(self.folder / "voice-api"), host="localhost")
        return VoiceApi(self.account, self.calls, certificate, Connection)

    def _needed(self) -> dict[str, str]:
        """Return the environment of this process, with what the app needs here."""
        needed = os.environ.copy()
        needed["no_proxy"] = "localhost"  # before NO_PROXY, where that is set
        needed["PYTHONIOENCODING"] = "utf-8"
        needed["PYTHONUNBUFFERED"] = "1"
        needed["REQUESTS_CA_BUNDLE"] = self.voice_api.certificate[0]
        needed["VONAGE_APPLICATION_ID"] = self.account.application_id
        needed["VONAGE_PRIVATE_KEY"] = self.account.private_key
        needed["VONAGE_SIGNATURE_SECRET"] = self.account.signature_secret
        needed["VONAGE_API_HOST"] = f"localhost:{self.api_port}"
        needed["CALLS_URL"] = f"sqlite:///{self.folder}/calls.sqlite3"
        for name in ("ANSWER_WITH", "VOICE_CONFERENCE_QUORUM", "PUBLIC_URL"):
            needed[name] = ""  # unset, whatever `.env` says
        return needed

    def __enter__(self) -> Self:
        self.start_app()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_app()
        self.voice_api.stop()
        self._temporary.cleanup()

    def start_app(self) -> None:
        """Start the app, and wait until it listens; raises RuntimeError with its output."""
        # So that no Ctrl-C in this terminal reaches them; the second is Windows' way.
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        apart: dict[str, Any] = {"start_new_session": True, "creationflags": flags, "cwd": FOLDER}
        with self.log.open("ab") as file:
            out: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
            self.app = subprocess.Popen(self._command, env=self.environment, **out, **apart)
        # It ends the app when this process is gone, and with it the pipe's other end.
        watch = [sys.executable, "-I", "-S", str(WATCH), str(self.app.pid)]
        self._watch = subprocess.Popen(watch, stdin=subprocess.PIPE, **apart)
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until and self.app.poll() is None:
            with suppress(OSError), socket.create_connection((self.host, self.port)):
                return
            time.sleep(0.01)
        self.stop_app()
        said = self.log.read_text(encoding="utf-8", errors="replace").strip()
        raise RuntimeError(f"The app did not start:\n{said}")

    def stop_app(self) -> int:
        """End the app, at last by force, with all that it has started; returns its exit status."""
        self._watch.terminate()
        self._watch.communicate()
        self.app.terminate()
        try:
            self.app.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.app.kill()
        if hasattr(os, "killpg"):  # which Windows lacks
            with suppress(ProcessLookupError):
                os.killpg(self.app.pid, signal.SIGKILL)
        return self.app.wait()

    def create_call(
        self, parameters: dict[str, Any] | None = None, region: str = REGIONS[0]
    ) -> Call:
        """Return a call to be dialled; `parameters` replace Vonage's, or leave one out (None)."""
        number = next(self._numbers)
        uuid = str(uuid4())
        if number % 2 == 0:  # Vonage spells uuids either way
            uuid = uuid.replace("-", "")
        asked: dict[str, Any] = {
            "to": "442079460000",
            "from": f"4477009{number:05d}",
            "endpoint_type": "phone",
            "uuid": uuid,
            "conversation_uuid": f"CON-{uuid4()}",
            "region_url": f"https://{region}",
            **(parameters or {}),
        }
        kept = {name: value for name, value in asked.items() if value is not None}
        call = self.call_type(vonage=self, region=region, parameters=kept)
        self.calls[call.uuid] = call
        return call

    def hang_up_all(self) -> None:
        """End every call that still lasts, without telling one that others have left."""
        calls = list(self.calls.values())
        for call in calls:
            call.inside = False
        for call in calls:
            call.hang_up(place="closed", state="The sandbox has ended")

    # Webhooks

    def send(
        self, method: str, path: str, parameters: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """Send a signed webhook; returns its response, or None if there is none.

        `headers` replace those that Vonage and the tunnel send, or leave one out (None).
        """
        # A query, too, is signed as compact JSON. [support article 19033783342876]
        text = json.dumps(parameters, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors="replace")
        sent: dict[str, str | None] = {
            **self.forwarded(self.public_host),
            "Content-Type": "application/json",
            "Authorization": self.account.sign(body),
            **headers,
        }
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

    # The tunnel, such as ngrok: a public host that leads to the app

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
