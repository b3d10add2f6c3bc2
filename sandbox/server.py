"""The Voice API on a socket: HTTP/1.1 over TLS, on connections that stay open."""

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from werkzeug.exceptions import HTTPException

from sandbox.ncco import RefusedError
from sandbox.voice_api import Asked, VoiceApi, describe_request, refusal

LONGEST_LINE = 65536  # bytes of a chunk's first line, or of a trailer


@dataclass(frozen=True)
class Answer:
    """What is sent back: `headers` beside those that every answer has."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """Serves the API on a free port of this machine, until stop().

    `certificate` names the files with a certificate and its key; `connection` makes what serves a
    client's connection, and `asked` gets each request.
    """

    request_queue_size = 128  # clients that may wait to be accepted

    def __init__(
        self,
        api: VoiceApi,
        asked: list[Asked],
        certificate: tuple[str, str],
        connection: Callable[..., "Connection"],
    ) -> None:
        super().__init__(("127.0.0.1", 0), connection)
        self.api = api
        self.asked = asked
        self.open: set[socket.socket] = set()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        # Hands are shaken in each connection's thread: a slow client holds up no other.
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        self.shutdown()
        self.server_close()
        for connection in self.open.copy():
            with suppress(OSError):  # its client has ended it
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hangs up, or does not trust the certificate."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """A client's connection: reads a request, has it answered, and waits for the next."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a kept connection waits 40 ms for each answer's end
    wbufsize = -1  # an answer is sent as a whole
    server: Server

    def setup(self) -> None:
        """Begin."""
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        """End."""
        self.server.open.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        """Answer one request."""
        try:
            data = read_body(self.rfile, self.headers)
        except ValueError as error:  # where the next request begins is not known
            self.close_connection = True
            self.send(to_json(*refusal(RefusedError("body", str(error)))))
            return
        asked = describe_request(
            method=self.command,
            host=self.headers.get("Host", ""),
            path=self.requestline.split()[1],  # self.path has lost a second slash
            authorization=self.headers.get("Authorization", ""),
            content_type=self.headers.get("Content-Type", ""),
            data=data,
        )
        self.server.asked.append(asked)
        try:
            self.server.api.check(asked)
            answer = self.respond(asked)
        except (RefusedError, HTTPException) as error:
            answer = to_json(*refusal(error))
        asked.status = answer.status
        self.send(answer)

    do_PUT = do_DELETE = do_POST = do_PATCH = do_OPTIONS = do_HEAD = do_GET

    def respond(self, asked: Asked) -> Answer:
        """Do what a request asks for that comes neither too often nor with a wrong token."""
        return to_json(200, self.server.api.control(asked))

    def send(self, answer: Answer) -> None:
        """Send an answer."""
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def to_json(status: int, fields: dict[str, Any]) -> Answer:
    """An answer with these fields."""
    return Answer(status, json.dumps(fields).encode())


def read_body(file: BufferedIOBase, headers: Any) -> bytes:
    """A request's body; ValueError where it does not end as its headers say. [RFC 9112, 6 and 7]"""
    coding = headers.get("Transfer-Encoding")
    if coding is None:
        length = headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit():
            raise ValueError("its Content-Length is no number")
        return _read(file, int(length))
    if coding.lower() != "chunked":
        raise ValueError("its Transfer-Encoding must be chunked")
    data = b""
    while True:
        size = _read_line(file).partition(b";")[0].strip()  # extensions follow it
        if not all(byte in b"0123456789abcdefABCDEF" for byte in size):
            raise ValueError("a chunk's size is no hexadecimal number")
        chunk = _read(file, int(size, 16))
        if not chunk:
            break
        data += chunk
        if _read_line(file):
            raise ValueError("a chunk is longer than its size")
    while _read_line(file):  # a trailer
        pass
    return data


def _read(file: BufferedIOBase, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it ends too early")
    return data


def _read_line(file: BufferedIOBase) -> bytes:
    line = file.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("a line in it does not end")
    return line.rstrip(b"\r\n")
