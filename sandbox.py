"""A stand-in for Vonage on loopback: dial the server, and hear what it plays, without an account.

`python sandbox.py` makes throw-away credentials, serves the Voice API over TLS, starts app.py
as a process of its own that is pointed at it, dials, and prints what the caller hears. The
tests dial with the class Sandbox. It meets the app over HTTP only, and refuses what Vonage
would refuse; whatever it knows of Vonage is in Vonage's documents, named where it matters.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import ipaddress
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

FOLDER = Path(__file__).resolve().parent
# Where calls are controlled. [Vonage, Regions]
REGIONS = [
    "api.nexmo.com",
    *(f"api-{region}.vonage.com" for region in ("us-3", "us-4", "eu-3", "eu-4", "ap-3", "ap-4")),
    *(f"api-{region}.nexmo.com" for region in ("us-1", "us-2", "eu-1", "eu-2", "sg-1")),
]
TRIES = 3  # Vonage asks a webhook three times, [Troubleshooting]
TRY_AGAIN = (429, 503, 504)  # on these, a time-out or a dropped connection
WEBHOOK_TIMEOUT = (3, 5)  # seconds to connect, and to wait for the NCCO
RATE = 15  # requests a second to the Voice API [Troubleshooting, Capacity]


class Account:
    """Throw-away credentials: an application's keys, a signature secret, a TLS certificate."""

    def __init__(self) -> None:
        self.application_id = str(uuid.uuid4())
        self.signature_secret = uuid.uuid4().hex + uuid.uuid4().hex
        self._key = rsa.generate_private_key(65537, 2048)
        self.private_key = _pem(self._key)
        self.public_key = (
            self._key.public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def sign(self, body: bytes = b"", **claims: Any) -> str:
        """The Authorization header of a webhook with this body. [Vonage, Signed webhooks]

        `claims` come in place of Vonage's own; one that is None is left out.
        """
        signed: dict[str, Any] = {
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
            "iss": "Vonage",
            "api_key": "abcd1234",
            "application_id": self.application_id,
        }
        if body:
            signed["payload_hash"] = hashlib.sha256(body).hexdigest()
        signed = {k: v for k, v in {**signed, **claims}.items() if v is not None}
        return "Bearer " + jwt.encode(signed, self.signature_secret, algorithm="HS256")

    def refuses(self, authorization: str) -> str | None:
        """Why Vonage would not take this Authorization header of a request, or None."""
        scheme, _, token = authorization.partition(" ")
        try:
            claims = jwt.decode(
                token,
                self.public_key,
                algorithms=["RS256"],
                options={"require": ["application_id", "iat", "jti", "exp"]},
            )
        except jwt.PyJWTError as error:
            return str(error)
        if scheme != "Bearer" or claims["application_id"] != self.application_id:
            return "another application"
        return None


@dataclass(frozen=True)
class Weather:
    """What the Voice API does instead of its work: answers, is slow, drips, or hangs up."""

    status: int | None = None
    body: bytes = b'{"title": "As told"}'
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds before the answer
    drip: bool = False  # one byte a second
    hang_up: str = ""  # "at once" or "midway"


@dataclass(frozen=True)
class Asked:
    """A request to the Voice API: when (time.monotonic), what, from which port, its status."""

    at: float
    method: str
    host: str
    path: str
    body: Any
    authorization: str
    connection: int
    status: int | None


class Conference:
    """A named conversation: nobody is in it until somebody may start it. [NCCO reference]"""

    def __init__(self) -> None:
        self.id = f"CON-{uuid.uuid4()}"
        self.waiting: list[Call] = []
        self.members: list[Call] = []
        self.started = False


class Call:
    """A caller's leg, from dialling to hanging up, and what is heard in it.

    `ncco` is what the answer webhook gave, `story` what happened, a line each.
    """

    def __init__(
        self, sandbox: Sandbox, number: int, region: str, parameters: dict[str, Any]
    ) -> None:
        self._sandbox = sandbox
        self.name = f"caller {number}"
        self.region = region
        self.parameters: dict[str, Any] = {
            "to": "442079460000",
            "from": f"4477009{number:05d}",
            "uuid": str(uuid.uuid4()),
            "conversation_uuid": f"CON-{uuid.uuid4()}",
            "endpoint_type": "phone",
            "region_url": f"https://{region}",
            **parameters,
        }
        self.uuid: str = self.parameters["uuid"]
        self.ncco: list[dict[str, Any]] = []
        self.story: list[str] = []
        self.answered = False
        self.over = threading.Event()
        self.ended = threading.Event()  # over, and the app has been told
        self.key_pressed = threading.Event()
        self.playing: str | None = None  # what the Voice API plays
        self._began = time.time()

    def tell(self, line: str) -> None:
        """Add a line to the story."""
        with self._sandbox.news:
            self.story.append(line)
            self._sandbox.news.notify_all()
            self._sandbox.on_line(self, line)

    def hears(self, text: str, timeout: float = 10) -> str:
        """Wait for a line of the story with this text in it, and give it; fail without one."""
        with self._sandbox.news:
            self._sandbox.news.wait_for(lambda: any(text in s for s in self.story), timeout)
        for line in self.story:
            if text in line:
                return line
        raise AssertionError(f"{self.name} never hears {text!r}, but: {self.story}")

    def event(self, status: str | None = None, **more: Any) -> requests.Response | None:
        """Send an event about this leg to the event webhook."""
        names = ("uuid", "conversation_uuid", "from", "to")
        parameters = {name: self.parameters.get(name) for name in names}
        parameters.update(timestamp=_now(), direction="inbound")
        if status:
            parameters["status"] = status
        return self._sandbox.send("POST", "/webhooks/event", {**parameters, **more})

    def press(self) -> None:
        """Press a key."""
        self.key_pressed.set()

    def hang_up(self, status: str = "completed") -> None:
        """End the call, as the caller; it is over for Vonage before the event is sent."""
        self._sandbox.leave(self)
        if self.over.is_set():
            return
        self.over.set()
        self.tell("hangs up")
        self.event(status, duration=str(int(time.time() - self._began)), price="0.00")
        self.ended.set()

    def pick_up(self) -> None:
        """The leg is answered, and the NCCO runs."""
        self.answered = True
        self.event("answered")
        threading.Thread(target=self._run, daemon=True).start()

    def start_stream(self, url: str, loop: int, level: float) -> None:
        """Play audio into the leg as the Voice API does, in place of what it played before."""
        self.playing = url
        self._listen("music", url, loop, level)

    def stop_stream(self) -> None:
        """Stop what the Voice API plays."""
        self.playing = None
        self.tell("hears the music stop")

    def hold(self, url: str) -> None:
        """Wait for a conference to start, with music."""
        self._listen("hold music", url, 0, 0)

    def _listen(self, what: str, url: str, loop: int, level: float) -> float | None:
        """Fetch the audio as Vonage would; gives how many seconds it lasts, None for ever."""
        try:
            kind, seconds = sound(self._sandbox.fetch(url))
            if what == "hold music" and kind != "MP3":
                raise ValueError(f"musicOnHoldUrl must be an MP3, not a {kind}")
        except (OSError, ValueError) as error:
            self.tell(f"hears nothing: {error}")
            return 0
        times = "for ever" if loop == 0 else f"{loop} time{'s' * (loop > 1)}"
        at = f" at level {level:g}" if level else ""
        self.tell(f"hears {what}: {url}, {kind} of {seconds:.0f} s, {times}{at}")
        return None if loop == 0 else seconds * loop

    def _run(self) -> None:
        for action in self.ncco:
            if self.over.is_set():
                return
            if action["action"] == "talk":
                self.tell(f'hears "{action["text"]}"')
            elif action["action"] == "stream":
                lasts = self._listen(
                    "music", action["streamUrl"][0], action.get("loop", 1), action.get("level", 0)
                )
                ends = self.key_pressed if action.get("bargeIn") else self.over
                ends.wait(lasts)
                self.tell("hears the music end")
            elif action["action"] == "input":
                self.event(dtmf={"digits": "1" * self.key_pressed.is_set(), "timed_out": False})
            elif action["action"] == "conversation":
                self._sandbox.enter(self, action)
                self.over.wait()
        if not self.over.is_set():
            self.tell("hears the end of the NCCO")
            self.hang_up()


class Sandbox:
    """Vonage, with one application whose webhooks lead to one running app.

    Used as a context manager: it starts app.py with the settings given (and those it needs
    itself), and ends both. `on_line` is told each line of each caller's story.
    """

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        port: int | None = None,
        command: list[str] | None = None,
        account: Account | None = None,
        on_line: Callable[[Call, str], None] = lambda call, line: None,
    ) -> None:
        self.account = account or Account()
        self.on_line = on_line
        self.news = threading.Condition()
        self.calls: dict[str, Call] = {}
        self.asked: list[Asked] = []
        self.weather: list[Weather] = []  # one for each request to come; the last one stays
        self.limited = False  # whether more than 15 requests a second get 429
        self.latency = 0.0  # seconds that each answer of the Voice API takes
        self.port = port or free_port()
        self.public_host = f"{uuid.uuid4().hex[:8]}.ngrok.example"
        self.web: dict[str, str] = {}  # other public hosts, and the local address of each
        self._conferences: dict[str, Conference] = {}
        self._numbers = count(1)
        self._command = command or [sys.executable, str(FOLDER / "app.py")]
        self._settings = settings or {}
        self._temporary = tempfile.TemporaryDirectory(prefix="sandbox-")
        self.folder = Path(self._temporary.name)
        self.app: subprocess.Popen[bytes] | None = None
        self._tls = _TlsServer(self)
        self.api_port: int = self._tls.server_address[1]

    # Beginning and end

    def __enter__(self) -> Sandbox:
        threading.Thread(target=self._tls.serve_forever, args=(0.05,), daemon=True).start()
        self.start_app()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_app()
        self._tls.shutdown()
        self._tls.server_close()
        self._temporary.cleanup()

    @property
    def app_url(self) -> str:
        """Where the app is, on this machine."""
        host = self.environment["HOST"]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def public_url(self) -> str:
        """Where the app is for Vonage, through a tunnel."""
        return f"https://{self.public_host}"

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the app is started with."""
        (self.folder / "private.key").write_text(self.account.private_key)
        return {
            **os.environ,
            "VONAGE_APPLICATION_ID": self.account.application_id,
            "VONAGE_PRIVATE_KEY": str(self.folder / "private.key"),
            "VONAGE_SIGNATURE_SECRET": self.account.signature_secret,
            "VONAGE_API_HOST": f"localhost:{self.api_port}",
            "REQUESTS_CA_BUNDLE": str(self._tls.authority),
            "NO_PROXY": f"localhost,{os.environ.get('NO_PROXY', '')}",
            "CALLS_URL": f"sqlite:///{self.folder}/calls.sqlite3",
            "PUBLIC_URL": "",
            "HOST": "localhost",
            "PORT": str(self.port),
            **self._settings,
        }

    def start_app(self) -> None:
        """Start the app and wait until it answers; RuntimeError with its output if it does not."""
        if self._listens():
            raise RuntimeError(f"Port {self.port} is in use; --port takes another.")
        with self.log.open("ab") as output:
            self.app = subprocess.Popen(
                self._command,
                env=self.environment,
                cwd=FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we hang up first
            )
        until = time.monotonic() + 30
        while time.monotonic() < until and self.app.poll() is None:
            if self._listens():
                return
            time.sleep(0.01)
        self.stop_app()
        raise RuntimeError(f"The app did not start: {self.log.read_text()}")

    def _listens(self) -> bool:
        with suppress(OSError):
            socket.create_connection((self.environment["HOST"], self.port)).close()
            return True
        return False

    def stop_app(self) -> int:
        """End the app with SIGTERM; gives its exit status."""
        assert self.app is not None
        self.app.terminate()
        return self.app.wait(10)

    @property
    def log(self) -> Path:
        """The file with what the app has printed."""
        return self.folder / "app.log"

    # Calls

    def dial(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        method: str = "GET",
        region: str = "api.nexmo.com",
        pick_up: bool = True,
    ) -> Call:
        """Call the number: gives the call when its NCCO has come, and runs unless Vonage refuses.

        With `pick_up` false the leg is not answered until call.pick_up(). `parameters` come in
        place of the answer webhook's own; one that is None is left out.
        """
        call = Call(self, next(self._numbers), region, parameters or {})
        self.calls[call.uuid] = call
        call.tell("dials")
        call.event("started")
        call.event("ringing")
        given = {k: v for k, v in call.parameters.items() if v is not None}
        response = self.send(method, "/webhooks/answer", given)
        try:
            call.ncco = read_ncco(response)
        except ValueError as error:
            call.over.set()
            call.tell(f"is cut off: {error}")
            # An error event is often the only sign of a broken NCCO. [Webhook reference]
            conversation = call.parameters["conversation_uuid"]
            said = {"reason": str(error), "conversation_uuid": conversation, "timestamp": _now()}
            self.send("POST", "/webhooks/event", said)
            call.event("completed", duration="0")
            call.ended.set()
            return call
        if pick_up:
            call.pick_up()
        return call

    def hang_up_all(self) -> None:
        """End every call that still lasts."""
        for call in list(self.calls.values()):
            call.hang_up()

    def send(
        self, method: str, path: str, parameters: dict[str, Any], **headers: str
    ) -> requests.Response | None:
        """A webhook, signed and through the tunnel; None if it failed three times."""
        body = b"" if method == "GET" else json.dumps(parameters).encode()
        tunnel = {
            "Host": self.public_host,
            "X-Forwarded-Host": self.public_host,
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "203.0.113.9",
            "Content-Type": "application/json",
            "Authorization": self.account.sign(body),
            **headers,
        }
        response = None
        for _ in range(TRIES):
            try:
                with requests.Session() as session:
                    session.trust_env = False  # whatever proxy there is, the app is here
                    response = session.request(
                        method,
                        self.app_url + path,
                        params=parameters if method == "GET" else None,
                        data=body or None,
                        headers=tunnel,
                        timeout=WEBHOOK_TIMEOUT,
                    )
            except requests.RequestException:
                continue
            if response.status_code not in TRY_AGAIN:
                break
        return response

    def fetch(self, url: str) -> bytes:
        """The bytes at a public address; ValueError where Vonage could not get them."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host == "localhost" or _is_private(host):
            raise ValueError(f"Vonage cannot reach {url} from the internet")
        local = {self.public_host: self.app_url, **self.web}.get(host)
        where = url if local is None else f"{local}{parts.path}"
        response = requests.get(where, headers={"Host": parts.netloc}, timeout=WEBHOOK_TIMEOUT)
        if response.status_code != 200:
            raise ValueError(f"{url} answers {response.status_code}")
        return response.content

    # Conferences

    def enter(self, call: Call, action: dict[str, Any]) -> None:
        """Let a call into a conference, or make it wait for somebody who may start it."""
        conference = self._conferences.setdefault(action["name"], Conference())
        joining: list[Call] = []
        with self.news:
            if action.get("startOnEnter", True):
                conference.started = True
                joining, conference.waiting = [*conference.waiting, call], []
            elif conference.started:
                joining = [call]
            else:
                conference.waiting.append(call)
            conference.members += joining
        if not joining:
            call.tell("waits for the conference to start")
            if "musicOnHoldUrl" in action:
                call.hold(action["musicOnHoldUrl"][0])
        for member in joining:
            left = member.parameters["conversation_uuid"]
            member.parameters["conversation_uuid"] = conference.id
            stops = "hears the music stop, " if member is not call else ""
            member.event(conversation_uuid_from=left, conversation_uuid_to=conference.id)
            member.tell(f"{stops}is in the conference, with {len(conference.members) - 1} more")

    def leave(self, call: Call) -> None:
        """Take a call out of its conference; the last one out ends it."""
        with self.news:
            for conference in self._conferences.values():
                for place in (conference.waiting, conference.members):
                    if call in place:
                        place.remove(call)
                conference.started = conference.started and bool(conference.members)

    # The Voice API

    def answer(self, method: str, host: str, path: str, token: str, raw: bytes) -> tuple[int, Any]:
        """What the Voice API answers: a status and a JSON body. [Voice API reference]"""
        now = time.monotonic()
        lately = [asked for asked in self.asked if now - asked.at < 1 and asked.status != 429]
        if self.limited and len(lately) >= RATE:
            return 429, {"title": "Too Many Requests"}
        if reason := self.account.refuses(token):
            return 401, {"title": "Unauthorized", "detail": reason}
        match = re.fullmatch(r"/v1/calls/([0-9a-f-]{32,36})/stream", path)
        call = self.calls.get(match[1]) if match else None
        known = call and call.answered and not call.over.is_set()
        if call is None or not known or (host in REGIONS and host != call.region):
            return 404, {"title": "Not Found", "detail": "no such call"}
        if method == "DELETE":
            call.stop_stream()
            return 200, {"message": "Stream stopped", "uuid": call.uuid}
        try:
            body = json.loads(raw)
            _check_audio(body, "stream_url", required=True)
        except ValueError as error:
            return 400, {"title": "Bad Request", "detail": str(error)}
        play = call.start_stream, (body["stream_url"][0], body.get("loop", 1), body.get("level", 0))
        threading.Thread(target=play[0], args=play[1], daemon=True).start()
        return 200, {"message": "Stream started", "uuid": call.uuid}


class _TlsServer(ThreadingHTTPServer):
    """The Voice API's side of the wire: any host name, one certificate for all of them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(("127.0.0.1", 0), _VoiceApi)
        self.sandbox = sandbox
        self.authority, pair = _make_certificate(sandbox.folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up, or does not trust the certificate, is no news


class _VoiceApi(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _TlsServer

    def do_PUT(self) -> None:
        sandbox, at = self.server.sandbox, time.monotonic()
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = self.headers.get("Host", "").partition(":")[0]
        token = self.headers.get("Authorization", "")
        with sandbox.news:
            weather = sandbox.weather[0] if sandbox.weather else Weather()
            del sandbox.weather[: len(sandbox.weather) > 1]
            status, answer = weather.status, weather.body
            if status is None and not weather.hang_up:
                status, said = sandbox.answer(self.command, host, self.path, token, raw)
                answer = json.dumps(said).encode()
            body = json.loads(raw) if raw else None
            port = self.client_address[1]
            sandbox.asked.append(
                Asked(at, self.command, host, self.path, body, token, port, status)
            )
        time.sleep(sandbox.latency + weather.delay)
        if weather.hang_up == "at once":
            self.close_connection = True
            return
        self.send_response(status or 200)
        for name, value in weather.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer) + 100 * bool(weather.hang_up)))
        self.end_headers()
        for byte in answer if weather.drip else b"":
            self.wfile.write(bytes([byte]))
            time.sleep(1)
        self.wfile.write(b"" if weather.drip else answer)
        self.close_connection = bool(weather.hang_up)

    do_DELETE = do_PUT

    def log_message(self, format: str, *args: Any) -> None:
        pass


def read_ncco(response: requests.Response | None) -> list[dict[str, Any]]:
    """The NCCO in an answer; ValueError with Vonage's reason if it would refuse it."""
    if response is None:
        raise ValueError("The answer webhook cannot be reached.")
    if response.status_code != 200:
        raise ValueError(f"The answer webhook answered {response.status_code}.")
    if response.headers.get("Content-Type", "").partition(";")[0] != "application/json":
        raise ValueError("The answer webhook's content type is not application/json.")
    ncco = response.json()
    if not isinstance(ncco, list) or not all(isinstance(action, dict) for action in ncco):
        raise ValueError("Syntax error in NCCO. It is not an array of actions.")
    try:
        for action, following in zip(ncco, [*ncco[1:], {}], strict=True):
            _check_action(action, following)
    except ValueError as error:
        wrong = "Syntax error in NCCO. Invalid value type or action."
        raise ValueError(f"{wrong} {error}") from error
    return ncco


def _check_action(action: dict[str, Any], following: dict[str, Any]) -> None:
    """Raise ValueError for an action that Vonage would not run. [NCCO reference]"""
    kind = action.get("action")
    if kind == "stream":
        _check_audio(action, "streamUrl", required=True)
        _check(action, "bargeIn", bool)
        if action.get("bargeIn") and following.get("action") != "input":
            raise ValueError("bargeIn: the next action must be input")
    elif kind == "talk":
        _check(action, "text", str, lambda text: 0 < len(text) <= 1500, required=True)
    elif kind == "conversation":
        _check(action, "name", str, bool, required=True)
        _check(action, "startOnEnter", bool)
        _check(action, "endOnExit", bool)
        _check_audio(action, "musicOnHoldUrl")
    elif kind == "input":
        _check(action, "type", list, lambda types: set(types) <= {"dtmf", "speech"}, required=True)
    else:
        raise ValueError(f"action: {kind}")


def _check_audio(values: Any, url: str, required: bool = False) -> None:
    if not isinstance(values, dict):
        raise ValueError("not an object")
    _check(values, url, list, _is_one_address, required=required)
    _check(values, "loop", int, lambda loop: loop >= 0)
    _check(values, "level", (int, float), lambda level: -1 <= level <= 1)


def _check(
    values: dict[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    good: Callable[[Any], bool] = lambda value: True,
    required: bool = False,
) -> None:
    if name not in values and not required:
        return
    value = values.get(name)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{name}: {value!r}")
    if not good(value):
        raise ValueError(f"{name}: {value!r}")


def _is_one_address(urls: list[Any]) -> bool:
    return len(urls) == 1 and bool(re.match(r"https?://[^/]", str(urls[0])))


def sound(data: bytes) -> tuple[str, float]:
    """What audio this is, "MP3" or "WAV", and its seconds; ValueError if Vonage cannot play it."""
    if data[:4] == b"RIFF":
        try:
            with wave.open(io.BytesIO(data)) as file:
                if file.getsampwidth() == 2:
                    return "WAV", file.getnframes() / file.getframerate()
        except (wave.Error, EOFError) as error:
            raise ValueError(f"a broken WAV ({error})") from error
        raise ValueError("a WAV that is not of 16 bits")
    seconds = sum(_mp3_frames(data))
    if seconds == 0:
        raise ValueError("neither an MP3 nor a WAV")
    return "MP3", seconds


def _mp3_frames(data: bytes) -> Iterator[float]:
    """The seconds of each frame of an MP3 (MPEG 1, 2 or 2.5, layer III), after its ID3 tag."""
    at = 0
    if data[:3] == b"ID3":
        at = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True)
        )
    while len(header := data[at : at + 4]) == 4:
        version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
        rate, bits = header[2] >> 2 & 3, header[2] >> 4
        if header[0] != 0xFF or header[1] < 0xE0 or layer != 1 or version == 1:
            return
        if rate == 3 or bits in (0, 15):
            return
        hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
        first = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
        second = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
        kilobits = (first if version == 3 else second)[bits - 1]
        samples = 1152 if version == 3 else 576
        yield samples / hertz
        at += samples // 8 * kilobits * 1000 // hertz + (header[2] >> 1 & 1)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate authority, and a key with a certificate for the regions and localhost."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Sandbox")])

    def certificate(of: ec.EllipticCurvePrivateKey, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name if is_authority else x509.Name([]))
            .issuer_name(name)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
        )
        if is_authority:
            usage = [False] * 5 + [True, True, False, False]  # signs certificates and their lists
            builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
        else:
            names = [x509.DNSName(host) for host in ["localhost", *REGIONS]]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    authority, pair = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(certificate(authority_key, is_authority=True))
    pair.write_bytes(_pem(key).encode() + certificate(key, is_authority=False))
    return authority, pair


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def main() -> int:
    """Tell the story of a call, or of a conference, in the terminal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--callers", type=int, default=1, help="how many dial (1)")
    parser.add_argument("--conversation", action="store_true", help="answer with a conference")
    parser.add_argument("--quorum", type=int, help="how many it takes to start the conference")
    parser.add_argument("--port", type=int, default=9000, help="where the app listens (9000)")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell's & turned it off
    conference = options.conversation or options.quorum
    settings = {"ANSWER_WITH": "conversation" if conference else "stream"}
    if options.quorum:
        settings["VOICE_CONFERENCE_QUORUM"] = str(options.quorum)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{line}\n", end="", flush=True)  # whole, whichever caller's thread it comes from

    def on_line(call: Call, line: str) -> None:
        short = re.sub(r"https://[^/]*ngrok.example", "…", line)
        say(f"{time.monotonic() - began:6.1f} s  {call.name}  {short}")

    try:
        with Sandbox(settings, port=options.port, on_line=on_line) as sandbox:
            began = time.monotonic()
            say(f"app.py answers at {sandbox.app_url}, and to Vonage at {sandbox.public_url}")
            try:
                calls = [sandbox.dial() for _ in range(options.callers)]
                say(f"Open {sandbox.app_url}/stream, and see what they hear. Ctrl-C hangs up.")
                for call in calls:
                    call.ended.wait()
            except KeyboardInterrupt:
                say("")
                sandbox.hang_up_all()
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
