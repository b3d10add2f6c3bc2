"""The verbs of the tests: a sandbox with the settings asked for, to dial and to look at."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
import redis
import requests

from sandbox import FOLDER, Account, Sandbox, free_port

SETTINGS = re.findall(r"^(?:# )?([A-Z_]+)=", (FOLDER / ".env.example").read_text(), re.MULTILINE)

# An empty setting is unset, and wins over .env: whoever runs the tests may have one.
os.environ.update(dict.fromkeys(SETTINGS, ""))

StartSandbox = Callable[..., Sandbox]


@pytest.fixture(scope="session")
def account() -> Account:
    """One set of throw-away credentials, since making a key takes a while."""
    return Account()


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Sandbox]]:
    """The sandboxes that run already, by their settings."""
    sandboxes: dict[str, Sandbox] = {}
    yield sandboxes
    for sandbox in sandboxes.values():
        sandbox.__exit__()


@pytest.fixture
def start(account: Account, running: dict[str, Sandbox]) -> Iterator[StartSandbox]:
    """Give a sandbox whose app has these settings; when the test ends, everybody hangs up."""
    used: list[Sandbox] = []

    def start(**settings: str) -> Sandbox:
        name = str(sorted(settings.items()))
        if name not in running:
            running[name] = Sandbox(settings, account=account).__enter__()
        used.append(running[name])
        return running[name]

    yield start
    for sandbox in used:
        clear(sandbox)


@pytest.fixture
def sandbox(start: StartSandbox) -> Sandbox:
    """The app as it is with nothing but credentials: callers get the stream NCCO."""
    return start()


@pytest.fixture
def conference(start: StartSandbox) -> Sandbox:
    """The app with ANSWER_WITH=conversation."""
    return start(ANSWER_WITH="conversation")


@pytest.fixture
def an_app(tmp_path: Path) -> Path:
    """A copy of the app, with room for a .env and an instance folder of its own."""
    for file in FOLDER.glob("*.py"):
        shutil.copy(file, tmp_path)
    for folder in ("static", "templates"):
        shutil.copytree(FOLDER / folder, tmp_path / folder)
    return tmp_path


def browse(sandbox: Sandbox, path: str, **parameters: str) -> requests.Response:
    """Open a page of the app at localhost, as whoever runs the server does."""
    return requests.get(sandbox.app_url + path, params=parameters, timeout=20)


class RedisServer:
    """A real redis-server of its own on a free port, which a test may kill and start again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(redis.ConnectionError), redis.Redis.from_url(self.url) as client:
                client.ping()
                return
            time.sleep(0.02)
        raise RuntimeError("redis-server does not start")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis for the tests that only use it."""
    need("redis-server")
    server = RedisServer()
    yield server.url
    server.kill()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    need("redis-server")
    server = RedisServer()
    yield server
    server.kill()


def need(program: str) -> str:
    """The path of a program; skips without it, but in CI that is a failure."""
    path = shutil.which(program)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{program} is missing: .ci/run installs it")
    if path is None:
        pytest.skip(f"needs {program}")
    return path


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's files on this machine, as a site elsewhere would; gives its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class ConnectProxy(ThreadingTCPServer):
    """An HTTP proxy that leads every CONNECT to the sandbox, and keeps which host was asked for."""

    daemon_threads = True

    def __init__(self, hosts: set[str], port: int) -> None:
        self.hosts, self.port = hosts, port
        super().__init__(("127.0.0.1", 0), _Tunnel)


class _Tunnel(StreamRequestHandler):
    server: ConnectProxy

    def handle(self) -> None:
        _, host, _ = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            pass
        self.server.hosts.add(host)
        with socket.create_connection(("127.0.0.1", self.server.port)) as vonage:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            ends = {self.connection: vonage, vonage: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)


@pytest.fixture(scope="session")
def proxied(account: Account) -> Iterator[tuple[Sandbox, set[str]]]:
    """A sandbox whose app follows each call to its region, and where the app has connected to."""
    hosts: set[str] = set()
    sandbox = Sandbox(
        {"ANSWER_WITH": "conversation", "VONAGE_API_HOST": "", "NO_PROXY": "localhost"},
        account=account,
    )
    proxy = ConnectProxy(hosts, sandbox.api_port)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    sandbox.environment["HTTPS_PROXY"] = f"http://127.0.0.1:{proxy.server_address[1]}"
    with sandbox:
        yield sandbox, hosts
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture
def through_proxy(proxied: tuple[Sandbox, set[str]]) -> Iterator[Sandbox]:
    """The sandbox, whose Voice API is at Vonage's own names."""
    yield proxied[0]
    clear(proxied[0])


@pytest.fixture
def connected(proxied: tuple[Sandbox, set[str]]) -> set[str]:
    """The hosts that this app has ever connected to, with their ports."""
    return proxied[1]


def clear(sandbox: Sandbox) -> None:
    """Take everybody off the line, and forget what was asked and told."""
    sandbox.weather, sandbox.limited, sandbox.latency = [], False, 0.0
    sandbox.hang_up_all()
    store = sandbox.folder / "calls.sqlite3"
    if store.exists():
        with closing(sqlite3.connect(store)) as db, db:
            db.execute("DELETE FROM legs")
            db.execute("DELETE FROM notes WHERE name = 'error'")
    sandbox.calls.clear()
    sandbox.asked.clear()
    sandbox.web.clear()
