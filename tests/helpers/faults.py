"""Inject faults into the Voice API, and make a certificate for all of Vonage's regions."""

from __future__ import annotations

import datetime
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from werkzeug import Response
from werkzeug.serving import make_server

from sandbox import REGIONS, Asked, Call, Sandbox
from sandbox.voice_api import Connection, VoiceApi
from tests.helpers.ports import free_port

DROPPED = 444  # what `asked` has for a connection that was dropped: nginx's number for it


@dataclass(frozen=True)
class Fault:
    """A response that replaces the Voice API's own, or the way in which its connection fails.

    Without a `status` the Voice API's own response is sent; `close` goes with either.
    """

    status: int | None = None
    body: bytes = b'{"title": "On purpose"}'
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0  # seconds between two bytes, or 0 to send all at once
    hang_up: str = ""  # "at once", "midway", or "late": when the client has timed out
    close: str = ""  # the connection after the response: "announced", or "silent"


@dataclass(eq=False, kw_only=True)
class HeardCall(Call):
    """A call whose story a test can wait for; `playing` is the URL that the Voice API plays."""

    playing: str | None = None

    @property
    def story(self) -> list[str]:
        """The lines of what happened."""
        return [event["line"] for event in self.happened if "line" in event]

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio, and keep its URL."""
        self.playing = url
        super().start_stream(url, loop, level)

    def stop_stream(self) -> None:
        """Stop the audio, and forget its URL."""
        self.playing = None
        super().stop_stream()

    def hears(self, text: str) -> str:
        """Return the first line of the story with this text in it; fail after 20 s without one."""
        with self.news:
            found = self.news.wait_for(lambda: [one for one in self.story if text in one], 20)
        assert found, f"{self.name} never hears {text!r}, but: {self.story}"
        return found[0]


class FaultySandbox(Sandbox):
    """A sandbox whose Voice API has faults, for requests within the rate limit and with a token.

    `faults` has one Fault for each request to come; the last one stays. `latency` is how many
    seconds each response takes; while `released` is cleared, none is sent. `connections` counts
    those accepted. `web` maps other public hosts to servers on this machine.
    """

    call_type = HeardCall

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        certificate_files: tuple[str, str],
        **options: Any,
    ) -> None:
        self._certificate_files = certificate_files
        self.counting = threading.Lock()
        self.connections = 0
        self.faults: list[Fault] = []
        self.latency = 0.0
        self.released = threading.Event()
        self.released.set()
        self.web: dict[str, str] = {}
        super().__init__(settings, port=free_port(), **options)

    def serve_voice_api(self) -> VoiceApi:
        """Return the Voice API, with faults."""
        connect = partial(FaultyConnection, self)
        return VoiceApi(self.account, self.calls, self._certificate_files, connect)

    def serve_here(self, app: Any, **options: Any) -> None:
        """Serve an app from a thread of this process."""
        self._server = make_server(self.host, self.port, app, threaded=True, **options)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop_here(self) -> int:
        """Stop the server; returns 0, as the exit status of an app that was a process."""
        self._server.shutdown()
        self._server.server_close()
        return 0

    def server_of(self, host: str) -> str | None:
        """Return the server on this machine for a public host, also for those in `web`."""
        return self.web.get(host) or super().server_of(host)

    def dial(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        method: str = "POST",
        region: str = REGIONS[0],
        pick_up: bool = True,
    ) -> HeardCall:
        """Call the number; returns the call when it has its NCCO, which runs unless refused.

        `parameters` replace Vonage's own, or leave one out (None). Without `pick_up` the leg waits
        for call.pick_up().
        """
        call = self.create_call(parameters, region)
        assert isinstance(call, HeardCall)
        call.ring()
        call.connect(method)
        if pick_up:
            call.pick_up()
        return call

    def webhook(
        self, path: str, given: Any, method: str = "POST", **headers: str | None
    ) -> requests.Response:
        """Send a webhook as Vonage does; returns the response."""
        response = self.send(method, f"/webhooks/{path}", given, **headers)
        assert response is not None
        return response

    def request(self, path: str = "/", method: str = "GET", **options: Any) -> requests.Response:
        """Send any other request, with the options of requests; returns the response."""
        return requests.request(method, self.app_url + path, **{"timeout": 20, **options})

    def next_fault(self) -> Fault:
        """Return the fault for the next request."""
        with self.counting:
            if not self.faults:
                return Fault()
            fault = self.faults[0]
            if len(self.faults) > 1:
                del self.faults[0]
            return fault


class FaultyConnection(Connection):
    """A connection on which each response has the sandbox's next fault."""

    def __init__(self, sandbox: FaultySandbox, *given: Any) -> None:
        with sandbox.counting:
            sandbox.connections += 1
        self.sandbox = sandbox
        self.fault = Fault()
        super().__init__(*given)

    def respond(self, asked: Asked) -> Response:
        """Return the Voice API's response, or the fault's."""
        self.fault = fault = self.sandbox.next_fault()
        time.sleep(self.sandbox.latency)
        self.sandbox.released.wait(10)
        if fault.hang_up == "late":
            with suppress(OSError):
                self.rfile.read(1)
        if fault.hang_up in ("at once", "late"):
            return Response(status=DROPPED)
        if fault.status is None and not fault.hang_up:
            return super().respond(asked)
        kind = "application/json"
        return Response(fault.body, fault.status or 200, fault.headers, content_type=kind)

    def send(self, answer: Response) -> None:
        """Send a response, or a part of it."""
        fault = self.fault
        self.fault = Fault()  # a request that is refused before respond() has none
        if fault.close == "announced":
            answer.headers["Connection"] = "close"
        if fault.close or fault.hang_up:
            self.close_connection = True
        if fault.hang_up in ("at once", "late"):
            return
        body = answer.get_data()
        if fault.hang_up == "midway":
            answer.headers["Content-Length"] = str(len(body) + 100)
        if not fault.drip:
            super().send(answer)
            return
        answer.set_data(b"")
        answer.headers["Content-Length"] = str(len(body))
        super().send(answer)
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(fault.drip)


def make_certificate(folder: Path) -> tuple[str, str]:
    """Write a certificate for localhost and all regions, and its key; returns both files' paths.

    Many sandboxes may share it: making a key is slow.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Sandbox")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName(host) for host in ("localhost", *REGIONS)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(certificate_file), str(key_file)
