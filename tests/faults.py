"""Faults of the Voice API on purpose, and a certificate for all of Vonage's regions."""

from __future__ import annotations

import datetime
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Response, request

from sandbox import REGIONS, Sandbox

DROPPED = 444  # what `asked` has for a connection that was dropped: nginx's number for it


@dataclass(frozen=True)
class Fault:
    """What the Voice API does instead of its work: answers, is slow, drips, or hangs up."""

    status: int | None = None
    body: bytes = b'{"title": "As told"}'
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds before the answer
    drip: bool = False  # byte by byte
    every: float = 1  # seconds between two of them
    hang_up: str = ""  # "at once" or "midway"


class FaultySandbox(Sandbox):
    """A sandbox whose Voice API has faults, for requests that pass its rate limit and its token.

    `faults` has one Fault for each request to come; the last one stays. `latency` is how many
    seconds each answer takes. With `certificate_files`, see make_certificate, it uses those.
    """

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        certificate_files: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._certificate_files = certificate_files
        super().__init__(settings, **options)
        self.faults: list[Fault] = []
        self.latency = 0.0
        self.voice_api.before_request(self._fault)

    def certificate(self) -> tuple[str, str]:
        """The files given, or else the sandbox's own."""
        return self._certificate_files or super().certificate()

    def _fault(self) -> Response | None:
        fault = self.faults[0] if self.faults else Fault()
        del self.faults[: len(self.faults) > 1]
        time.sleep(self.latency + fault.delay)
        if fault.hang_up == "at once":
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return Response(status=DROPPED)
        if fault.status is None and not fault.hang_up:
            return None
        length = len(fault.body) + 100 * bool(fault.hang_up)
        body = _drip(fault) if fault.drip else fault.body
        response = Response(body, fault.status or 200, fault.headers)
        response.headers.setdefault("Content-Type", "application/json")
        response.headers["Content-Length"] = str(length)
        return response


def _drip(fault: Fault) -> Iterator[bytes]:
    for byte in fault.body:
        yield bytes([byte])
        time.sleep(fault.every)


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
