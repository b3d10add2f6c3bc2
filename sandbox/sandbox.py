"""The stand-in for Vonage: one application, whose webhooks lead to an app, and its callers."""

import os
import sys
import tempfile
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from typing_extensions import Self
from werkzeug.serving import make_ssl_devcert

from sandbox import process
from sandbox.account import Account
from sandbox.call import Call
from sandbox.conference import Conference
from sandbox.ncco import read_ncco
from sandbox.ports import free_port
from sandbox.server import Connection, Server
from sandbox.tunnel import Tunnel, describe_status
from sandbox.voice_api import Asked, VoiceApi

FOLDER = Path(__file__).resolve().parent.parent


class Sandbox(Tunnel):
    """Vonage, with one application whose webhooks lead to an app, which runs in the context.

    `settings` are the app's, beside what it needs here; `command` starts it. `on_line` may be set
    to what gets the name of a caller, and each line of what becomes of that call.
    """

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        port: int | None = None,
        command: list[str] | None = None,
        account: Account | None = None,
    ) -> None:
        own = {"HOST": "localhost", "PORT": str(port or free_port())}
        own.update(settings or {})
        super().__init__(account or Account(), own["HOST"], int(own["PORT"]))
        self.on_line: Callable[[str, str], None] = say_nothing
        self.calls: dict[str, Call] = {}
        self.asked: list[Asked] = []  # of the Voice API
        self._command = command or [sys.executable, str(FOLDER / "app.py")]
        self._news = threading.Condition()
        self._conferences: defaultdict[str, Conference] = defaultdict(Conference)
        self._numbers = count(1)
        self._temporary = tempfile.TemporaryDirectory(
            prefix="sandbox-",
            ignore_cleanup_errors=True,  # Windows keeps what is still open
        )
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "app.log"
        certificate = self.certificate()
        self.voice_api = VoiceApi(self.account, self.calls)
        self._server = Server(self.voice_api, self.asked, certificate, self.connection)
        self.api_port = self._server.server_port
        self.environment = {  # of the app; what is empty is unset, whatever `.env` says
            **os.environ,
            "no_proxy": "localhost",  # before NO_PROXY, where that is set
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",
            "REQUESTS_CA_BUNDLE": certificate[0],
            "VONAGE_APPLICATION_ID": self.account.application_id,
            "VONAGE_PRIVATE_KEY": self.account.private_key,
            "VONAGE_SIGNATURE_SECRET": self.account.signature_secret,
            "VONAGE_API_HOST": f"localhost:{self.api_port}",
            "CALLS_URL": f"sqlite:///{self.folder}/calls.sqlite3",
            "ANSWER_WITH": "",
            "VOICE_CONFERENCE_QUORUM": "",
            "PUBLIC_URL": "",
            **own,
        }

    def certificate(self) -> tuple[str, str]:
        """The files with the certificate of the Voice API, which the app trusts, and its key."""
        return make_ssl_devcert(str(self.folder / "voice-api"), host="localhost")

    def connection(self, *given: Any) -> Connection:
        """Serve a client's connection to the Voice API; takes what http.server gives."""
        return Connection(*given)

    def __enter__(self) -> Self:
        try:
            self.start_app()
        except RuntimeError:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_app()
        self._close()

    def _close(self) -> None:
        self._server.stop()
        self._temporary.cleanup()

    def start_app(self) -> None:
        """Start the app, and wait until it listens; RuntimeError with what it said, if it fails."""
        self.app = process.start(self._command, self.environment, FOLDER, self.log)
        if not process.listens(self.app, self.host, self.port):
            self.stop_app()
            said = self.log.read_text(encoding="utf-8", errors="replace").strip()
            raise RuntimeError(f"The app did not start:\n{said}")

    def stop_app(self) -> int:
        """End the app; gives its exit status."""
        return process.stop(self.app)

    def dial(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        method: str = "POST",
        region: str = "api.nexmo.com",
        pick_up: bool = True,
        phone: Callable[[Call], None] | None = None,
    ) -> Call:
        """Call the number: gives the call when its NCCO has come, and runs unless it is refused.

        `parameters` replace Vonage's own, or leave one out (None). Without `pick_up` the leg waits
        for call.pick_up(). A `phone` gets the call before it rings, and speaks its talks.
        """
        call = self.ring(parameters, region, phone)
        self.connect(call, method, pick_up)
        return call

    def ring(
        self,
        parameters: dict[str, Any] | None,
        region: str,
        phone: Callable[[Call], None] | None = None,
    ) -> Call:
        """Dial, so that it rings."""
        number = next(self._numbers)
        asked = {
            "to": "442079460000",
            "from": f"4477009{number:05d}",
            "uuid": str(uuid.uuid4()),
            "conversation_uuid": f"CON-{uuid.uuid4()}",
            "endpoint_type": "phone",
            "region_url": f"https://{region}",
            **(parameters or {}),
        }
        if asked.get("from_user"):  # never both [Webhook reference]
            del asked["from"]
        asked = {name: value for name, value in asked.items() if value is not None}
        call = self.create_call(
            tunnel=self,
            news=self._news,
            conferences=self._conferences,
            on_line=self.on_line,
            name=f"caller {number}",
            region=region,
            parameters=asked,
        )
        self.calls[call.uuid] = call
        line = "dials"
        if phone:
            line = "dials on the phone"
            call.speaks = True
            phone(call)
        call.tell(line, "dials", uuid=call.uuid, number=asked.get("from"))
        call.event("started")
        call.event("ringing")
        return call

    def create_call(self, **given: Any) -> Call:
        """A call, which takes what Call does."""
        return Call(**given)

    def connect(self, call: Call, method: str, pick_up: bool) -> None:
        """Ask the app for the NCCO, and run it from the moment on when the leg is answered."""
        response = self.send(method, "/webhooks/answer", call.parameters)
        asked = f"{method} /webhooks/answer"
        try:
            call.ncco = read_ncco(response)
        except ValueError as error:
            self.on_line(call.name, f"{asked} → {describe_status(response)}")
            reason = " ".join(error.args)
            call.error(error.args[0])
            call.end(f"is cut off: {reason}", f"Cut off: {reason}")
            return
        names = [action["action"] for action in call.ncco]
        self.on_line(call.name, f"{asked} → {describe_status(response)} {', '.join(names)}")
        if pick_up:
            call.pick_up()

    def hang_up_all(self) -> None:
        """End every call that still lasts."""
        for call in list(self.calls.values()):
            call.hang_up(why="The sandbox has ended")


def say_nothing(name: str, line: str) -> None:
    """Take a line, and do nothing with it."""
