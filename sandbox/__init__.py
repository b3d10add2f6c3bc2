"""A stand-in for Vonage on loopback: dial the server, and hear what it plays, without an account.

Vonage's document follows a fact in brackets; tests/test_sandbox.py has what no document says.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask
from typing_extensions import Self
from werkzeug import serving

from sandbox.account import Account
from sandbox.audio import sound
from sandbox.call import Call
from sandbox.ncco import read_ncco
from sandbox.server import Connection, Server
from sandbox.voice_api import REGIONS, Asked, VoiceApi
from sandbox.webhooks import Tunnel

__all__ = ["FOLDER", "REGIONS", "Account", "Asked", "Call", "Sandbox", "free_port", "sound"]

FOLDER = Path(__file__).resolve().parent.parent


class Sandbox(Tunnel):
    """Vonage, with one application whose webhooks lead to an app, which runs in the context."""

    def __init__(
        self,
        settings: dict[str, str] | None = None,  # of the app, beside what it needs here
        *,
        port: int | None = None,
        command: list[str] | None = None,
        account: Account | None = None,
        on_line: Callable[[str, str], None] = lambda caller, line: None,  # of a call's story
    ) -> None:
        own = {"HOST": "localhost", "PORT": str(port or free_port()), **(settings or {})}
        super().__init__(account or Account(), own["HOST"], int(own["PORT"]))
        self._command = command or [sys.executable, str(FOLDER / "app.py")]
        self._on_line, self._news, self._numbers = on_line, threading.Condition(), count(1)
        self.calls: dict[str, Call] = {}
        self.asked: list[Asked] = []  # of the Voice API
        self._temporary = tempfile.TemporaryDirectory(prefix="sandbox-")
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "app.log"
        certificate = self.certificate()
        self.voice_api = VoiceApi(self.account, self.calls)
        self._server = Server(self.voice_api, self.asked, certificate, self.connection)
        self.api_port = self._server.server_port
        self.environment = {  # of the app; what is empty is unset, whatever `.env` says
            **os.environ,
            "no_proxy": "localhost",  # before NO_PROXY, where that is set
            "REQUESTS_CA_BUNDLE": certificate[0],
            "VONAGE_APPLICATION_ID": self.account.application_id,
            "VONAGE_PRIVATE_KEY": self.account.private_key,
            "VONAGE_SIGNATURE_SECRET": self.account.signature_secret,
            "VONAGE_API_HOST": f"localhost:{self.api_port}",
            "CALLS_URL": f"sqlite:///{self.folder}/calls.sqlite3",
            **dict.fromkeys(("ANSWER_WITH", "VOICE_CONFERENCE_QUORUM", "PUBLIC_URL"), ""),
            **own,
        }

    def certificate(self) -> tuple[str, str]:
        """The files with the certificate of the Voice API, which the app trusts, and its key."""
        return serving.make_ssl_devcert(str(self.folder / "voice-api"), host="localhost")

    def connection(self, *given: Any) -> Connection:
        """Serve a client's connection to the Voice API; takes what http.server gives."""
        return Connection(*given)

    def __enter__(self) -> Self:
        self.start_app()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_app()
        self._server.stop()
        self._temporary.cleanup()

    def start_app(self) -> None:
        """Start the app, where no Ctrl-C reaches it, and wait for it; RuntimeError if it fails."""
        with self.log.open("ab") as log:
            options: Any = {"stdout": log, "stderr": log, "start_new_session": True}
            self.app = subprocess.Popen(self._command, env=self.environment, cwd=FOLDER, **options)
        until = time.monotonic() + 30
        while time.monotonic() < until and self.app.poll() is None:
            with suppress(OSError), socket.create_connection((self.host, self.port)):
                return
            time.sleep(0.01)
        self.stop_app()
        raise RuntimeError(f"The app did not start: {self.log.read_text()}")

    def stop_app(self) -> int:
        """End the app, by SIGTERM and after 10 s by SIGKILL; gives its exit status."""
        self.app.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.app.wait(10)
        with suppress(ProcessLookupError):  # also what it has started itself
            os.killpg(self.app.pid, signal.SIGKILL)
        return self.app.wait()

    def dial(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        method: str = "POST",
        region: str = "api.nexmo.com",
        pick_up: bool = True,
        answered_first: bool = False,
        phone: Callable[[Call], None] | None = None,
    ) -> Call:
        """Call the number: gives the call when its NCCO has come, and runs unless it is refused.

        `parameters` replace Vonage's own, or leave one out (None). Without `pick_up` the leg waits
        for call.pick_up(). A `phone` gets the call before it rings, and speaks its talks.
        """
        number = next(self._numbers)
        asked: dict[str, Any] = {"to": "442079460000", "from": f"4477009{number:05d}"}
        asked |= {"uuid": str(uuid.uuid4()), "conversation_uuid": f"CON-{uuid.uuid4()}"}
        asked |= {"endpoint_type": "phone", "region_url": f"https://{region}", **(parameters or {})}
        if asked.get("from_user"):  # never both [Webhook reference]
            del asked["from"]
        asked = {name: value for name, value in asked.items() if value is not None}
        call = Call(self, self.calls, self._news, self._on_line, f"caller {number}", region, asked)
        self.calls[call.uuid] = call
        if phone:
            call.speaks = True
            phone(call)
        call.tell("dials", uuid=call.uuid, number=asked.get("from"))
        call.event("started")
        call.event("ringing")
        if answered_first:  # as a support article has it
            call.answer()
        try:
            call.ncco = read_ncco(self.send(method, "/webhooks/answer", asked))
        except ValueError as error:
            call.event(None, ("conversation_uuid",), reason=error.args[0])
            call.end(f"is cut off: {' '.join(error.args)}")
        if pick_up and not call.over.is_set():
            call.pick_up()
        return call

    def hang_up_all(self, line: str = "hangs up") -> None:
        """End every call that still lasts, with this as its last line."""
        for call in list(self.calls.values()):
            call.end(line, by="user")


class _Silent(serving.WSGIRequestHandler):  # a client that hangs up is no news
    def log(self, type: str, message: str, *args: Any) -> None: ...


def serve(app: Flask, port: int) -> serving.BaseWSGIServer:
    """Serve an app on this machine until server.shutdown()."""
    server = serving.make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def free_port() -> int:
    """A port of this machine that no one listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
