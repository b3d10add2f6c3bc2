"""The Voice API as far as the app uses it, over TLS. [Voice API; OpenAPI file of April 2021]"""

import json
import re
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from werkzeug import Response
from werkzeug.exceptions import HTTPException, abort

from sandbox.account import Account
from sandbox.call import Call
from sandbox.ncco import RefusedError, check_stream, is_json, read_json

REGIONS = [  # where calls are controlled [Troubleshooting, Regions]
    "api.nexmo.com",
    "api-us-3.vonage.com",
    "api-us-4.vonage.com",
    "api-eu-3.vonage.com",
    "api-eu-4.vonage.com",
    "api-ap-3.vonage.com",
    "api-ap-4.vonage.com",
    "api-us-1.nexmo.com",
    "api-us-2.nexmo.com",
    "api-eu-1.nexmo.com",
    "api-eu-2.nexmo.com",
    "api-sg-1.nexmo.com",
]
RATE = 15  # requests a second; above it, 429 [Troubleshooting, Capacity]
PATH = re.compile("/v1/calls/([0-9A-Za-z-]+)(/stream)?")  # of a call, or of the audio in it
CHUNK = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;.*)?")  # its size, and extensions [RFC 9112, 7.1]
LONGEST_LINE = 65536  # bytes of a chunk's first line, or of a trailer


@dataclass
class Asked:
    """A request to the Voice API: when it came (time.monotonic()), what, and its status."""

    at: float
    method: str
    host: str  # without its port
    path: str  # without its query
    content_type: str
    authorization: str
    body: Any  # None where it is not JSON
    status: int | None = None  # as long as it is not answered


class VoiceApi(ThreadingHTTPServer):
    """Serves the API for an account's calls on a free port of this machine, until stop().

    `certificate` names the files with a certificate and its key; `connection` makes what serves a
    client's connection. `asked` has each request, `taken` when those of the last second came.
    """

    request_queue_size = 128  # clients that may wait to be accepted

    def __init__(
        self,
        account: Account,
        calls: dict[str, Call],
        certificate: tuple[str, str],
        connection: Callable[..., "Connection"],
    ) -> None:
        super().__init__(("127.0.0.1", 0), connection)
        self.account = account
        self.calls = calls
        self.certificate = certificate
        self.asked: list[Asked] = []
        self.taken: deque[float] = deque()  # time.monotonic()
        self.open: set[socket.socket] = set()
        self._lock = threading.Lock()
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

    def check(self, asked: Asked) -> None:
        """Refuse what comes too often, or with a wrong token; raises HTTPException."""
        with self._lock:
            while self.taken and asked.at - self.taken[0] >= 1:
                self.taken.popleft()
            if len(self.taken) >= RATE:
                abort(429, f"more than {RATE} requests a second")
            self.taken.append(asked.at)
        try:
            self.account.check(asked.authorization)
        except ValueError as error:
            abort(401, str(error))

    def control(self, asked: Asked) -> dict[str, Any]:
        """Do what a request asks for, and give the answer's JSON; raises as `refusal` takes it."""
        match = PATH.fullmatch(asked.path)
        if match is None:
            abort(404, "no such path")
        uuid, stream = match.groups()
        allowed = ["GET"]
        if stream:
            allowed = ["PUT", "DELETE"]
        if asked.method not in allowed:
            abort(405)
        body = {}
        if asked.method == "PUT":
            if not is_json(asked.content_type):
                abort(415, "the content type must be application/json")
            body = check_stream(asked.body)
        call = self.calls.get(uuid)
        if call is None:
            abort(404, "no such call")
        if asked.host in REGIONS and asked.host != call.region:
            abort(404, "no such call in this region")
        if asked.method == "GET":
            return call.describe()
        if call.over.is_set() or not call.answered:
            abort(404, "the call is over, or not answered yet")
        if asked.method == "DELETE":
            call.stop_stream()
            return {"message": "Stream stopped", "uuid": uuid}
        call.start_stream(body["stream_url"][0], body.get("loop", 1), body.get("level", 0))
        return {"message": "Stream started", "uuid": uuid}


class Connection(BaseHTTPRequestHandler):
    """A client's connection: reads a request, has it answered, and waits for the next."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a kept connection waits 40 ms for each answer's end
    wbufsize = -1  # an answer is sent as a whole
    server: VoiceApi

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        try:
            data = read_body(self.rfile, self.headers)
        except ValueError as error:  # where the next request begins is not known
            self.close_connection = True
            self.send(refusal(RefusedError("body", str(error))))
            return
        path = self.requestline.split()[1]  # self.path has lost a second slash
        asked = Asked(
            at=time.monotonic(),
            method=self.command,
            host=self.headers.get("Host", "").partition(":")[0].lower(),
            path=path.partition("?")[0],
            content_type=self.headers.get("Content-Type", ""),
            authorization=self.headers.get("Authorization", ""),
            body=read_json(data),
        )
        self.server.asked.append(asked)
        try:
            self.server.check(asked)
            answer = self.respond(asked)
        except (RefusedError, HTTPException) as error:
            answer = refusal(error)
        asked.status = answer.status_code
        self.send(answer)

    do_PUT = do_DELETE = do_POST = do_PATCH = do_OPTIONS = do_HEAD = do_GET

    def respond(self, asked: Asked) -> Response:
        """Do what a request asks for that comes neither too often nor with a wrong token."""
        return to_json(200, self.server.control(asked))

    def send(self, answer: Response) -> None:
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.get_data())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def to_json(status: int, fields: dict[str, Any]) -> Response:
    """An answer with these fields."""
    return Response(json.dumps(fields), status, mimetype="application/json")


def refusal(error: RefusedError | HTTPException) -> Response:
    """What a client gets for what is refused."""
    if isinstance(error, RefusedError):
        name, reason = error.args
        wrong = [{"name": name, "reason": reason}]
        return to_json(400, {"type": 400, "title": "Bad Request", "invalid_parameters": wrong})
    code = error.code or 500
    return to_json(code, {"type": code, "title": error.name, "detail": error.description})


def read_body(file: BufferedIOBase, headers: Message) -> bytes:
    """A request's body; ValueError where it does not end as its headers say. [RFC 9112, 6 and 7]"""
    coding = headers.get("Transfer-Encoding")
    if coding is None:
        length = headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]+", length):
            raise ValueError("its Content-Length is no number")
        data = file.read(int(length))
        if len(data) < int(length):
            raise ValueError("it ends too early")
        return data
    if coding.lower() != "chunked":
        raise ValueError("its Transfer-Encoding must be chunked")
    data = b""
    while True:
        match = CHUNK.fullmatch(_read_line(file))
        if match is None:
            raise ValueError("a chunk's size is no hexadecimal number")
        size = int(match[1], 16)
        if not size:
            break
        data += file.read(size)
        if _read_line(file):  # where it ends too early, this line does not end
            raise ValueError("a chunk is longer than its size")
    while _read_line(file):  # a trailer
        pass
    return data


def _read_line(file: BufferedIOBase) -> bytes:
    line = file.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("a line in it does not end")
    return line.rstrip(b"\r\n")
