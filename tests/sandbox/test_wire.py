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


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (411, {"Content_Length": None, "Transfer_Encoding": "chunked"}, b"1\r\n{\r\n0\r\n\r\n"),
        (400, {"Content_Length": "-1"}, PLAYS),
        (400, {"Content_Length": "x"}, PLAYS),
        (400, {"Content_Length": "\u00b2"}, PLAYS),
        (413, {"Content_Length": "65537"}, b" " * 65537),
        (413, {"Content_Length": "9" * 5000}, PLAYS),
        (408, {"Content_Length": str(len(PLAYS) + 1)}, PLAYS),
    ],
    ids=["chunks", "negative", "a word", "a power", "too long", "very long", "longer than it is"],
)
def test_a_body_without_a_right_length_gets_an_answer_and_ends_the_connection(
    sandbox: StubbedSandbox,
    monkeypatch: pytest.MonkeyPatch,
    wire: Wire,
    path: str,
    status: int,
    headers: dict[str, str | None],
    body: bytes,
) -> None:
    monkeypatch.setattr("sandbox.voice_api.BODY_WITHIN", 0.2)
    assert wire.ask("PUT", path, body, **headers).status == status
    assert wire.is_closed()
    assert sandbox.asked == []


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
