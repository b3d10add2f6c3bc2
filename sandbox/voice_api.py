"""The Voice API as far as the app uses it, over TLS. [Voice API; OpenAPI file of April 2021]"""

import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from werkzeug import Response
from werkzeug.exceptions import HTTPException, abort

from sandbox.account import Account
from sandbox.call import Call
from sandbox.ncco import RefusedError, check_stream, is_json, read_json

# Where calls are controlled [Troubleshooting, Regions]
REGIONS = ["api.nexmo.com"]
REGIONS += [f"api-{name}.vonage.com" for name in ("us-3", "us-4", "eu-3", "eu-4", "ap-3", "ap-4")]
REGIONS += [f"api-{name}.nexmo.com" for name in ("us-1", "us-2", "eu-1", "eu-2", "sg-1")]
RATE = 15  # requests a second; above it, 429 [Troubleshooting, Capacity]
LONGEST = 64 * 1024  # bytes of a body
BODY_WITHIN = 5  # seconds for which a body may be silent
PATH = re.compile("/v1/calls(?:/|/([0-9A-Za-z-]+)(/stream|/talk|/dtmf)?)?")
# By what a path leads to: what the OpenAPI file has, and of that what the sandbox does.
METHODS = {"/": ["GET", "POST"], "": ["GET", "PUT"], "/stream": ["PUT", "DELETE"]}
METHODS |= {"/talk": ["PUT", "DELETE"], "/dtmf": ["PUT"]}
DONE = {"": ["GET"], "/stream": ["PUT", "DELETE"]}
API_TIME = "{:%Y-%m-%d %H:%M:%S}"  # [OpenAPI file]


@dataclass
class Asked:
    """A request to the Voice API: when it came (time.monotonic()), what, and its status."""

    at: float
    method: str
    host: str  # without its port
    path: str  # without its query
    content_type: str
    authorization: str
    body: Any = None  # where it is not JSON
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
        self.taken: list[float] = []  # time.monotonic()
        self._lock = threading.Lock()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        # Hands are shaken in each connection's thread: a slow client holds up no other.
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hangs up, or does not trust the certificate."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def check(self, asked: Asked) -> None:
        """Refuse what comes too often, or with a wrong token; raises HTTPException."""
        with self._lock:
            self.taken = [at for at in self.taken if asked.at - at < 1]
            if len(self.taken) >= RATE:
                abort(429, f"more than {RATE} requests a second")
            self.taken.append(asked.at)
        try:
            self.account.check(asked.authorization)
        except ValueError as error:
            abort(401, str(error))

    def control(self, asked: Asked) -> dict[str, Any]:
        """Do what a request asks for, and return the response's JSON; raises for `refusal`."""
        match = PATH.fullmatch(asked.path)
        if match is None:
            abort(404, "no such path")
        uuid, part = match.groups("")
        if not uuid:
            part = "/"
        if asked.method not in METHODS[part]:
            abort(405)
        if asked.method not in DONE.get(part, []):
            abort(501, f"not run here: {asked.method} {asked.path}")
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
            return describe(call)
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

    def do_GET(self) -> None:
        asked = Asked(
            at=time.monotonic(),
            method=self.command,
            host=self.headers.get("Host", "").partition(":")[0].lower(),
            path=self.path.partition("?")[0],
            content_type=self.headers.get("Content-Type", ""),
            authorization=self.headers.get("Authorization", ""),
        )
        try:
            asked.body = read_json(self.read_body())
            self.server.asked.append(asked)
            self.server.check(asked)
            answer = self.respond(asked)
        except (RefusedError, HTTPException) as error:
            answer = refusal(error)
        asked.status = answer.status_code
        self.send(answer)
        if self.close_connection:
            self.hang_up()

    do_PUT = do_DELETE = do_POST = do_PATCH = do_OPTIONS = do_HEAD = do_TRACE = do_GET

    def read_body(self) -> bytes:
        """Return the request's body; without it, raises an error and ends the connection."""
        closes = self.close_connection
        self.close_connection = True  # where the next request begins is not known
        if "Transfer-Encoding" in self.headers:
            abort(411, "send a Content-Length: the sandbox reads no body in chunks")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError("Content-Length", "must be a number")
        if len(length) > 9 or int(length) > LONGEST:
            abort(413, f"the body must be {LONGEST} bytes at most")
        self.connection.settimeout(BODY_WITHIN)
        try:
            data = self.rfile.read(int(length))
        except TimeoutError:
            abort(408, f"no more of the body came within {BODY_WITHIN} s")
        self.connection.settimeout(None)
        self.close_connection = closes
        return data

    def hang_up(self) -> None:
        """End the connection, and read what the client still sends, so that the answer arrives."""
        self.wfile.flush()
        self.connection.settimeout(1)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass

    def respond(self, asked: Asked) -> Response:
        """Do what a request asks for, once its rate and its token are checked."""
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
    """Return a response with these fields as JSON."""
    return Response(json.dumps(fields), status, mimetype="application/json")


def refusal(error: RefusedError | HTTPException) -> Response:
    """Return the response to a request that is refused."""
    if isinstance(error, RefusedError):
        name, reason = error.args
        wrong = [{"name": name, "reason": reason}]
        return to_json(400, {"type": 400, "title": "Bad Request", "invalid_parameters": wrong})
    code = error.code or 500
    return to_json(code, {"type": code, "title": error.name, "detail": error.description})


def describe(call: Call) -> dict[str, Any]:
    """Return a call as the API describes it."""
    described = {
        "_links": {"self": {"href": f"/calls/{call.uuid}"}},
        "uuid": call.uuid,
        "conversation_uuid": call.parameters.get("conversation_uuid"),
        "to": {"type": "phone", "number": call.parameters.get("to")},
        "from": describe_caller(call),
        "status": call.status,
        "direction": "inbound",
    }
    return described | call.lasted(API_TIME.format)


def describe_caller(call: Call) -> dict[str, Any] | None:
    """Return the caller, as the API describes one."""
    caller = call.parameters.get("from")
    if not caller:
        return None
    if str(caller).startswith(("sip:", "sips:")):
        return {"type": "sip", "uri": caller}
    return {"type": "phone", "number": caller}
