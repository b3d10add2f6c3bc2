"""How fast the server is, and what load it bears.

    python -m tests.bench           a table of ratios, in under two minutes
    python -m tests.bench load      300 calls a second on two processes, for a minute

Everything happens on loopback and in temporary folders. In the table two things take turns, as
no machine is quiet, and the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import multiprocessing
import os
import platform
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import requests
from flask import Flask, Response, jsonify
from vonage import Auth, HttpClientOptions, Vonage
from vonage_voice.models import AudioStreamOptions
from werkzeug.test import create_environ

from app import create_app
from calls_sqlite import SqliteCalls
from config import Config
from sandbox import Account, Sandbox, free_port
from tests.conftest import SETTINGS
from voice import SPACING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

BATCH = 50  # calls a round, and so the most that are on the line at once
ENDED = 200_000  # calls of the past
BURST = 1000  # answers a round, of a server
LINES = 16  # kept connections of a client process

# Under load: calls a second, and when each of a call's webhooks is due, in seconds.
RATE = 300
WEBHOOKS = {"": 0.0, "answered": 1.0, "completed": 2.0}
SETTLED = 10  # seconds, after which memory should hardly grow

# The production servers, as the README starts them.
SERVERS = {
    "granian": "granian --interface wsgi --factory app:create_app --port PORT "
    "--workers PROCESSES --blocking-threads 4",
    "gunicorn": "gunicorn app:create_app() --bind 127.0.0.1:PORT --workers PROCESSES --threads 4",
}
RECOMMENDED = "granian"

# Like Vonage's sample of a conference: it takes whatever comes, and gives an NCCO.
FASTAPI = """
from fastapi import FastAPI
from vonage_voice.models import Conversation, Talk

app = FastAPI()


@app.post("/webhooks/answer")
async def answer():
    talk = Talk(text="Please wait while we connect you to the conference")
    actions = [talk, Conversation(name="Relaxing Conference")]
    return [action.model_dump(by_alias=True, exclude_none=True) for action in actions]
"""

CONVERSATION = {"ANSWER_WITH": "conversation"}
SPAWN = multiprocessing.get_context("spawn")

Measure = Callable[[], float]  # does one round, and gives the seconds that it cost


def row(what: str, ours: Measure, against: str, theirs: Measure, bound: float, rounds: int) -> bool:
    """Let the two take turns, after a round that does not count, and print how they compare."""
    ours(), theirs()
    costs = []
    for _ in range(rounds):
        gc.collect()  # so that neither cleans up after the other
        costs.append((ours(), theirs()))
    medians = [f"{statistics.median(side) * 1000:.3f} ms" for side in zip(*costs, strict=True)]
    ratio = statistics.median(one / other for one, other in costs)
    met = ratio <= bound
    line(what, medians[0], against, medians[1], f"{ratio:.2f}", f"{bound}", "yes" if met else "NO")
    return met


def line(*cells: str) -> None:
    """Print a line of the table."""
    print("{:41}{:>11}   {:34}{:>11}{:>7}{:>9}  {}".format(*cells), flush=True)


def seconds(do: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    do()
    return clock() - began


def signed(account: Account, leg: str, status: str = "") -> tuple[str, dict[str, str], bytes]:
    """The path, headers and body of a webhook through a tunnel: of an event, if with a status."""
    parameters = {
        "to": "442079460000",
        "from": "447700900123",
        "uuid": leg,
        "conversation_uuid": f"CON-{leg}",
        "region_url": "https://api-us-3.vonage.com",
        "status": status,
    }
    body = json.dumps(parameters).encode()
    headers = {
        "Host": "example.ngrok.app",
        "X-Forwarded-Host": "example.ngrok.app",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "203.0.113.9",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Authorization": account.sign(body),
    }
    return "/webhooks/event" if status else "/webhooks/answer", headers, body


def hang_up(calls: SqliteCalls) -> None:
    for leg in calls.live():
        calls.end(leg.uuid)


# Called as a WSGI application


def called(app: WSGIApplication, environ: WSGIEnvironment) -> bytes:
    """What the application answers, which must be a 200."""
    statuses: list[str] = []

    def start_response(status: str, headers: Any, error: Any = None) -> Any:
        statuses.append(status)

    answer = app(environ, start_response)
    body = b"".join(answer)
    answer.close()  # type: ignore[attr-defined]
    assert statuses == ["200 OK"], (statuses, body)
    return body


class Answering:
    """The app with a store of its own, and what it costs to answer a call."""

    def __init__(self, account: Account, folder: str, **settings: Any) -> None:
        self._account = account
        self._log = Path(os.devnull).open("w")  # noqa: SIM115
        self.path = f"{folder}/{uuid.uuid4()}.sqlite3"
        self.app = create_app(
            Config(
                application_id=account.application_id,
                signature_secret=account.signature_secret,
                calls_url=f"sqlite:///{self.path}",
                **settings,
            )
        )
        logging.getLogger("app").handlers[0].setStream(self._log)  # type: ignore[attr-defined]
        self.calls = SqliteCalls(self.path)

    def answer(self, app: WSGIApplication | None = None) -> float:
        """Answer a batch of calls, and hang up, untimed."""
        environs = [self.environ() for _ in range(BATCH)]
        took = seconds(lambda: [called(app or self.app, environ) for environ in environs])
        hang_up(self.calls)
        return took / BATCH

    def bare(self) -> Measure:
        """The same with a Flask view that does nothing but give the same NCCO."""
        ncco = json.loads(called(self.app, self.environ()))
        app = Flask("bare")

        @app.post("/webhooks/answer")
        def answer() -> Response:
            return jsonify(ncco)

        return lambda: self.answer(app)

    def find(self) -> float:
        """Look who is on the line, where one caller is."""
        called(self.app, self.environ())
        took = seconds(lambda: [self.calls.live() for _ in range(BATCH)])
        hang_up(self.calls)
        return took / BATCH

    def environ(self) -> WSGIEnvironment:
        """A webhook that was never seen before."""
        path, headers, body = signed(self._account, str(uuid.uuid4()))
        return create_environ(
            path, method="POST", headers=headers, data=body, errors_stream=self._log
        )


def answering(account: Account, folder: str) -> Iterator[bool]:
    """The rows of answering calls."""
    new = Answering(account, folder)
    bare, empty = "bare Flask view, same NCCO", "with an empty store"
    yield row("answer, signed and recorded", new.answer, bare, new.bare(), 4.0, 40)
    quorum = Answering(account, folder, answer_with="conversation", conference_quorum=3)
    yield row("answer, with a quorum of 3", quorum.answer, bare, quorum.bare(), 5.0, 40)
    old = Answering(account, folder)
    hang_up(old.calls)  # makes the file
    with closing(sqlite3.connect(old.path)) as db, db:
        ended = ((uuid.uuid4().hex, time.time()) for _ in range(ENDED))
        db.executemany("INSERT INTO ended VALUES (?, ?)", ended)
    past = f"after {ENDED:,} calls"
    yield row(f"answer, {past}", old.answer, empty, new.answer, 1.2, 40)
    yield row(f"who is on the line, {past}", old.find, empty, new.find, 1.2, 40)


# /stream


def stand_in(pipe: Any) -> None:
    """Be Vonage, in a process of its own, with one call on the line, until the pipe is closed."""
    # An address that the stand-in will not fetch, which would take time from what is timed.
    music = {"VOICE_STREAM_URL": "https://localhost/music.mp3"}
    with Sandbox(CONVERSATION | music) as sandbox:
        pipe.send((sandbox.environment, sandbox.dial().uuid))
        with suppress(EOFError):
            pipe.recv()


@contextmanager
def vonage() -> Iterator[tuple[dict[str, str], str]]:
    """The settings that lead to a stand-in for Vonage, and the uuid of the call there."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=stand_in, args=[theirs])
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


def streaming(env: dict[str, str], leg: str) -> Iterator[bool]:
    """The rows of playing music into a call."""
    os.environ["REQUESTS_CA_BUNDLE"] = env["REQUESTS_CA_BUNDLE"]
    host, application, music = (
        env[name] for name in ("VONAGE_API_HOST", "VONAGE_APPLICATION_ID", "VOICE_STREAM_URL")
    )
    key = Path(env["VONAGE_PRIVATE_KEY"]).read_text()
    app = create_app(Config(application, key, api_host=host, calls_url=env["CALLS_URL"]))
    local = {"REMOTE_ADDR": "127.0.0.1"}
    environ = create_environ("/stream", "http://localhost:9000", environ_base=local)
    auth = Auth(application_id=application, private_key=key)
    sdk = Vonage(auth, HttpClientOptions(api_host=host)).voice
    session = requests.Session()
    session.headers["Authorization"] = auth.create_jwt_auth_string().decode()  # type: ignore[no-untyped-call]
    url = f"https://{host}/v1/calls/{leg}/stream"

    def stream() -> None:
        called(app, dict(environ))

    def play() -> None:
        sdk.play_audio_into_call(leg, AudioStreamOptions(stream_url=[music]))

    def put() -> None:
        session.put(url, json={"stream_url": [music]}).raise_for_status()

    def spaced(do: Callable[[], None], clock: Callable[[], float]) -> Measure:
        def measure() -> float:
            time.sleep(SPACING)  # what comes faster than Vonage allows would be held back
            return seconds(do, clock)

        return measure

    cpu, wall = time.process_time, time.perf_counter
    what, against = "/stream into one leg", "the SDK as in its README"
    yield row(f"{what}, CPU time", spaced(stream, cpu), against, spaced(play, cpu), 0.15, 20)
    against = "requests.Session().put"
    yield row(f"{what}, wall time", spaced(stream, wall), against, spaced(put, wall), 1.5, 40)


# Processes


def starting(account: Account) -> Iterator[bool]:
    """The row of starting."""
    command = [sys.executable, "-c", "import flask, vonage"]
    with Sandbox(account=account) as sandbox:

        def answered() -> None:
            sandbox.start_app()
            path, headers, body = signed(account, str(uuid.uuid4()))
            requests.post(sandbox.app_url + path, body, headers=headers).raise_for_status()

        def start() -> float:
            sandbox.stop_app()
            return seconds(answered)

        def importing() -> float:
            return seconds(lambda: subprocess.run(command, cwd=sandbox.folder, check=True))

        importer = 'python -c "import flask, vonage"'
        yield row("python app.py, to its first answer", start, importer, importing, 1.3, 7)


@contextmanager
def serving(command: str, processes: int, settings: dict[str, str]) -> Iterator[Sandbox]:
    """The app, or something else, behind a server."""
    port = free_port()
    command = command.replace("PORT", str(port)).replace("PROCESSES", str(processes))
    sandbox = Sandbox(settings, port=port, command=[sys.executable, "-m", *command.split()])
    try:
        with sandbox:
            yield sandbox
    finally:
        if sandbox.app:
            with suppress(ProcessLookupError):
                os.killpg(sandbox.app.pid, signal.SIGKILL)  # whoever did not end when told


def store(sandbox: Sandbox) -> SqliteCalls:
    return SqliteCalls(sandbox.environment["CALLS_URL"].removeprefix("sqlite:///"))


class Line:
    """A kept connection to a server, with as little HTTP as it takes."""

    def __init__(self, port: int) -> None:
        self._address = "127.0.0.1", port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> int:
        """Send a webhook, and again if the server had hung up; gives the status, 0 for none."""
        for _ in range(2):
            try:
                self.send(request)
                return self.receive()
            except OSError as error:
                self._socket = None
                if isinstance(error, TimeoutError):
                    break
        return 0

    def send(self, request: bytes) -> None:
        self._socket = self._socket or socket.create_connection(self._address, timeout=5)
        self._socket.sendall(request)

    def receive(self) -> int:
        """The status of the answer that comes next."""
        assert self._socket
        answer, head, length = b"", -1, 0
        while head < 0 or len(answer) < head + 4 + length:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("the server hung up")
            answer += part
            head = answer.find(b"\r\n\r\n")
            if found := re.search(rb"content-length: *(\d+)", answer[:head], re.IGNORECASE):
                length = int(found[1])
        return int(answer[9:12])


def on_the_wire(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of a webhook."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n".encode() + body


def burst(sandbox: Sandbox) -> float:
    """Ask for answers on all lines; each line asks again as soon as it has its answer."""
    legs = [str(uuid.uuid4()) for _ in range(BURST)]
    requests = [on_the_wire(*signed(sandbox.account, leg)) for leg in legs]
    lines = [Line(sandbox.port) for _ in range(LINES)]

    def ask() -> None:
        for number, request in enumerate(requests):
            line = lines[number % LINES]
            assert number < LINES or line.receive() == 200
            line.send(request)
        assert all(line.receive() == 200 for line in lines)

    took = seconds(ask)
    hang_up(store(sandbox))
    return took / BURST


def beside_fastapi(folder: str, name: str, options: str) -> None:
    """The row of a whole server beside another: not a bound but a goal."""
    Path(folder, "sample.py").write_text(FASTAPI)
    uvicorn = f"uvicorn sample:app --app-dir {folder} --port PORT --no-access-log {options}"
    with serving(uvicorn, 1, {}) as sample, serving(SERVERS[RECOMMENDED], 1, CONVERSATION) as app:
        what = f"answer, from one {RECOMMENDED} process"
        row(what, lambda: burst(app), name, lambda: burst(sample), 1.0, 5)


def table() -> bool:
    """Print all rows; whether each is within its bound."""
    account = Account()
    line("", "ours", "against", "theirs", "ratio", "at most", "met")
    with tempfile.TemporaryDirectory() as folder, vonage() as (env, leg):
        rows = [*answering(account, folder), *streaming(env, leg), *starting(account)]
        print("Beyond the table, a goal: beside answers that are not signed and not recorded")
        if all(map(find_spec, ["fastapi", "uvicorn", "uvloop", "httptools"])):
            beside_fastapi(folder, "FastAPI on uvicorn", "--loop asyncio --http h11")
            beside_fastapi(folder, "FastAPI on uvicorn[standard]", "--loop uvloop --http httptools")
        else:
            print("is left out, for want of: pip install fastapi uvicorn[standard]")
    return all(rows)


# Under load


class Heard(NamedTuple):
    """What came of a webhook: the status (0 for none), how long after it was due, and how late
    the client itself was, both in seconds."""

    status: int
    after: float
    behind: float


def talk(port: int, account: Account, begin: float, calls: range) -> list[Heard]:
    """Send the webhooks of these calls, each when it is due, however long those before took."""
    legs = {number: str(uuid.uuid4()) for number in calls}
    steps = [(begin + n / RATE + WEBHOOKS[status], n, status) for n in calls for status in WEBHOOKS]
    line, heard, free = Line(port), [], begin
    for due, number, status in sorted(steps):
        request = on_the_wire(*signed(account, legs[number], status))
        time.sleep(max(0, due - time.monotonic()))
        sent, answer = time.monotonic(), line.ask(request)
        behind, free = sent - max(due, free), time.monotonic()
        heard.append(Heard(answer, free - due, behind))
    return heard


def client(port: int, application: str, secret: str, begin: float, calls: range) -> list[Heard]:
    """Be one of the processes that call, with many lines; it signs what it sends as it sends it."""
    account = Account()
    account.application_id, account.signature_secret = application, secret
    with ThreadPoolExecutor(LINES) as pool:
        shares = [calls[first::LINES] for first in range(LINES)]
        return list(chain(*pool.map(lambda share: talk(port, account, begin, share), shares)))


def watch(process: int) -> dict[int, tuple[float, float]]:
    """The CPU time, in seconds, and the memory, in MB, of a process and of all it started."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    found = {process: (cpu, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)}
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            found |= watch(int(child))
    return found


def load(server: str, lasts: int) -> bool:
    """Let calls come and end, and print what became of them; whether all went well."""
    with (
        serving(SERVERS[server], 2, CONVERSATION) as sandbox,
        ProcessPoolExecutor(2, mp_context=SPAWN) as pool,
    ):
        assert sandbox.app
        account, calls = sandbox.account, range(RATE * lasts)
        who = sandbox.port, account.application_id, account.signature_secret
        begin = time.monotonic() + 2  # by then the clients are there
        clients = [pool.submit(client, *who, begin, calls[first::2]) for first in (0, 1)]
        time.sleep(begin + SETTLED - time.monotonic())
        before = watch(sandbox.app.pid)
        heard = [heard for one in clients for heard in one.result()]
        after = watch(sandbox.app.pid)
        left = len(store(sandbox).live())
    statuses = dict(Counter(one.status for one in heard))
    waits = sorted(one.after for one in heard)
    sizes = [(mb, after.get(process, (0, math.inf))[1]) for process, (_, mb) in before.items()]
    outcomes = {
        f"answers, by status: {statuses}": statuses.keys() <= {200, 204},
        f"half came within {waits[len(waits) // 2] * 1000:.0f} ms, 99 % within "
        f"{waits[len(waits) * 99 // 100] * 1000:.0f} ms, the last after "
        f"{waits[-1] * 1000:.0f} ms": waits[-1] <= 1,
        f"on the line afterwards: {left}": left == 0,
        f"memory of each process after {SETTLED} s and at the end, in MB: "
        + ", ".join(f"{mb:.1f} {then:.1f}" for mb, then in sizes): all(
            then <= mb * 1.1 for mb, then in sizes
        ),
    }
    cpu = sum(cpu for cpu, _ in after.values()) / len(heard)
    behind = max(one.behind for one in heard)
    print(f"{SERVERS[server]}\n{RATE} calls a second for {lasts} s, three webhooks each")
    for sentence, good in outcomes.items():
        print("yes " if good else "NO  ", sentence)
    print(f"     CPU time of the server, with its start: {cpu * 1000:.2f} ms a webhook")
    print(f"     the clients themselves were late by {behind * 1000:.0f} ms at most")
    return all(outcomes.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=["table", "load"], default="table")
    parser.add_argument("--server", choices=SERVERS, default=RECOMMENDED)
    parser.add_argument("--seconds", type=int, default=60, help="of load, more than 10 (60)")
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(SETTINGS, ""))  # whoever runs this may have a .env
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end what was started, as on Ctrl-C
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    good = table() if options.what == "table" else load(options.server, options.seconds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
