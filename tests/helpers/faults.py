"""Faults of the Voice API on purpose, and a certificate for all of Vonage's regions."""

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
    """What the Voice API does instead of its work: answers, is slow, drips, or hangs up.

    Without a `status` it does its work; `close` goes with either.
    """

    status: int | None = None
    body: bytes = b'{"title": "As told"}'
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0  # seconds between two bytes, where it comes byte by byte
    hang_up: str = ""  # "at once", "midway", or "late": once the client has given up
    close: str = ""  # the connection after the answer: "announced", or "silent"


@dataclass(eq=False, kw_only=True)
class HeardCall(Call):
    """A call whose story a test can wait for; `playing` is what the Voice API was told to play."""

    story: list[str] = field(default_factory=list)
    playing: str | None = None

    def show(self, **shown: Any) -> None:
        """Keep what is told in words."""
        with self.news:
            if "line" in shown:
                self.story.append(shown["line"])
            super().show(**shown)

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio, as the Voice API."""
        self.playing = url
        super().start_stream(url, loop, level)

    def stop_stream(self) -> None:
        """Stop it, as the Voice API."""
        self.playing = None
        super().stop_stream()

    def hears(self, text: str) -> str:
        """Wait for a line of the story with this text in it, and give it; fail without one."""
        with self.news:
            self.news.wait_for(lambda: text in "\n".join(self.story), 20)
            for line in self.story:
                if text in line:
                    return line
        raise AssertionError(f"{self.name} never hears {text!r}, but: {self.story}")


class FaultySandbox(Sandbox):
    """A sandbox whose Voice API has faults, for requests that pass its rate limit and its token.

    `faults` has one Fault for each request to come; the last one stays. `latency` is how many
    seconds each answer takes; while `released` is cleared, none comes. `connections` is how many
    have been accepted. `web` has other public hosts, and the servers here in their place.
    `certificate_files` are those of make_certificate.
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
        """Serve the Voice API, with faults."""
        connect = partial(FaultyConnection, self)
        return VoiceApi(self.account, self.calls, self._certificate_files, connect)

    def serve_here(self, app: Any, **options: Any) -> None:
        """Serve an app from a thread of this process, in place of the app's own."""
        self._server = make_server(self.host, self.port, app, threaded=True, **options)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop_here(self) -> int:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        return 0

    def server_of(self, host: str) -> str | None:
        """The address of the server on this machine to which a public host leads, if one does."""
        if host in self.web:
            return self.web[host]
        return super().server_of(host)

    def dial(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        method: str = "POST",
        region: str = REGIONS[0],
        pick_up: bool = True,
        answered_first: bool = False,
    ) -> HeardCall:
        """Call the number; gives the call when its NCCO has come, and runs unless it is refused.

        `parameters` replace Vonage's own, or leave one out (None). Without `pick_up` the leg waits
        for call.pick_up(); with `answered_first` it is answered as a support article has it.
        """
        call = self.create_call(parameters, region)
        assert isinstance(call, HeardCall)
        call.ring()
        if answered_first:
            call.answer()
        call.connect(method)
        if pick_up:
            call.pick_up()
        return call

    def webhook(
        self, path: str, given: Any, method: str = "POST", **headers: str | None
    ) -> requests.Response:
        """Send what Vonage sends to /webhooks/ and this path; gives the response."""
        response = self.send(method, f"/webhooks/{path}", given, **headers)
        assert response is not None
        return response

    def request(self, path: str = "/", method: str = "GET", **options: Any) -> requests.Response:
        """Send any other request; the options are those of requests."""
        return requests.request(method, self.app_url + path, **{"timeout": 20, **options})

    def next_fault(self) -> Fault:
        """The fault of the request that has just come."""
        with self.counting:
            if not self.faults:
                return Fault()
            fault = self.faults[0]
            if len(self.faults) > 1:
                del self.faults[0]
            return fault


class FaultyConnection(Connection):
    """A connection on which each answer may be as the sandbox's next fault says."""

    def __init__(self, sandbox: FaultySandbox, *given: Any) -> None:
        with sandbox.counting:
            sandbox.connections += 1
        self.sandbox = sandbox
        self.fault = Fault()
        super().__init__(*given)

    def respond(self, asked: Asked) -> Response:
        """Do the work, or what the fault says."""
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
        """Send an answer, or a part of it."""
        fault = self.fault
        self.fault = Fault()  # what is refused has none
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
    """Files with a certificate for localhost and all regions, and with its key.

    It is signed by itself, so that it is also what a client has to trust. Many sandboxes may use
    the same: making a key takes a while.
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
