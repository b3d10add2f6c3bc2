"""The sandbox's Voice API as it is on the wire, where clients write what no library writes."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from tests.helpers.api import BODY, bearer
from tests.helpers.stub import StubbedSandbox

PLAYS = json.dumps(BODY).encode()


class Wire:
    """A connection to the Voice API, and what is sent and read on it."""

    def __init__(self, sandbox: StubbedSandbox) -> None:
        self.token = bearer(sandbox.account)
        trusting = ssl.create_default_context(cafile=sandbox.environment["REQUESTS_CA_BUNDLE"])
        plain = socket.create_connection(("127.0.0.1", sandbox.api_port), 10)
        self.socket = trusting.wrap_socket(plain, server_hostname="localhost")

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> HTTPResponse:
        """Send a request, whose headers may be replaced, or left out; gives the answer, read."""
        given: dict[str, str | None] = {
            "Host": "localhost",
            "Authorization": self.token,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{name}: {value}\r\n" for name, value in given.items() if value is not None]
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body)
        response = HTTPResponse(self.socket, method=method)
        response.begin()
        self.text = response.read()
        return response

    def ask_in_chunks(self, path: str, chunks: bytes) -> int:
        """Send a PUT whose body is chunked; gives the status."""
        headers = {"Content_Length": None, "Transfer_Encoding": "chunked"}
        return self.ask("PUT", path, chunks, **headers).status

    def is_closed(self) -> bool:
        """Whether the other side has ended the connection."""
        return self.socket.recv(1) == b""


@pytest.fixture
def wire(sandbox: StubbedSandbox) -> Iterator[Wire]:
    """A connection, far from the rate limit."""
    sandbox.voice_api.taken.clear()
    wire = Wire(sandbox)
    yield wire
    wire.socket.close()


@pytest.fixture
def path(sandbox: StubbedSandbox) -> str:
    """Where audio is played into a call."""
    return f"/v1/calls/{sandbox.dial().uuid}/stream"


def test_a_connection_stays_open_whatever_is_answered(
    sandbox: StubbedSandbox, wire: Wire, path: str
) -> None:
    began = sandbox.connections
    answers = [
        wire.ask("PUT", path, PLAYS),
        wire.ask("PUT", path, b"{"),
        wire.ask("PUT", path, PLAYS, Content_Type="text/plain"),
        wire.ask("PUT", path, PLAYS, Authorization=None),
        wire.ask("POST", path, PLAYS),
        wire.ask("HEAD", path),
        wire.ask("GET", "/nothing"),
        wire.ask("DELETE", path),
    ]
    assert [answer.status for answer in answers] == [200, 400, 415, 401, 405, 405, 404, 200]
    assert not any(answer.will_close for answer in answers)
    assert json.loads(wire.text)["message"] == "Stream stopped"
    assert sandbox.connections - began <= 1


@pytest.mark.parametrize(("token", "status"), [(True, 400), (False, 401)])
def test_a_body_nested_deep(
    sandbox: StubbedSandbox, wire: Wire, path: str, token: bool, status: int
) -> None:
    headers = {} if token else {"Authorization": None}
    assert wire.ask("PUT", path, b"[" * 1100, **headers).status == status
    assert sandbox.asked[-1].status == status
    assert sandbox.asked[-1].body is None


def test_a_chunked_body_may_have_extensions_and_trailers(wire: Wire, path: str) -> None:
    size = f"{len(PLAYS):x}".encode()
    half, rest = PLAYS[:9], PLAYS[9:]
    for chunks in (
        size + b"\r\n" + PLAYS + b"\r\n0\r\n\r\n",
        b"9\r\n" + half + b"\r\n" + f"{len(rest):X}".encode() + b"\r\n" + rest + b"\r\n0\r\n\r\n",
        size + b";name=value\r\n" + PLAYS + b"\r\n0;last\r\n\r\n",
        size + b"\r\n" + PLAYS + b"\r\n0\r\nX-Trailer: a\r\nX-Other: b\r\n\r\n",
    ):
        assert wire.ask_in_chunks(path, chunks) == 200


@pytest.mark.parametrize("size", [b"x", b"-1", b"", b"9_9"])
def test_a_chunk_without_a_size_gets_400_and_ends_the_connection(
    wire: Wire, path: str, size: bytes
) -> None:
    assert wire.ask_in_chunks(path, size + b"\r\n" + PLAYS + b"\r\n0\r\n\r\n") == 400
    assert wire.is_closed()


@pytest.mark.parametrize("length", ["-1", "x"])
def test_a_length_that_is_no_number_gets_400(wire: Wire, path: str, length: str) -> None:
    assert wire.ask("PUT", path, PLAYS, Content_Length=length).status == 400
    assert wire.is_closed()


def test_a_path_is_taken_as_it_is_written(sandbox: StubbedSandbox, wire: Wire) -> None:
    call = sandbox.dial()
    for path in (f"/v1/calls/{call.uuid}%2Fstream", f"//v1/calls/{call.uuid}/stream"):
        assert wire.ask("PUT", path, PLAYS).status == 404
    assert call.playing is None
    assert wire.ask("PUT", f"/v1/calls/{call.uuid}/stream?x=1", PLAYS).status == 200


def test_a_connection_that_waits_ends_with_the_sandbox(sandbox: StubbedSandbox) -> None:
    account, files = sandbox.account, sandbox.voice_api.certificate
    with StubbedSandbox(account=account, certificate_files=files) as other:
        wire = Wire(other)
        wire.ask("GET", "/v1/calls/x")
    assert wire.is_closed()
    wire.socket.close()
