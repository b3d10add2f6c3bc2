"""Servers beside the app: Redis, a forwarder that may be a proxy, and another site."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer

import pytest
import redis

from tests.helpers.ports import free_port
from tests.helpers.sandboxes import InProcess, StartSandbox
from tests.helpers.waiting import wait_until


def need(program: str) -> str:
    """Return the path of a program. Without it, skip the test, or fail it in CI."""
    path = shutil.which(program)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{program} is missing: .ci/run installs it")
    if path is None:
        pytest.skip(f"needs {program}")
    return path


@contextmanager
def serve(server: BaseServer) -> Iterator[None]:
    """Run a server in a thread as long as the block lasts."""
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's files, as another site would, and yield its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serve(server):
        yield f"http://127.0.0.1:{server.server_port}"


# Redis


class RedisServer:
    """A real redis-server of its own on a free port, which a test may kill and start again."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.command = [need("redis-server"), "--port", str(self.port), "--save", "", *options]
        self.command += ["--bind", "127.0.0.1"]

    def start(self) -> None:
        """Start it and wait until it answers, 10 s at most."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        wait_until(self.answers, "redis-server")

    def answers(self) -> bool:
        with redis.Redis.from_url(self.url, protocol=2) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def run_redis(*options: str) -> Iterator[RedisServer]:
    """Run a Redis as long as the block lasts."""
    server = RedisServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run one Redis for the tests that do not break it, and yield its URL."""
    with run_redis() as server:
        yield server.url


# A forwarder


class Forwarder(ThreadingTCPServer):
    """Carries each connection to a port, until it falls silent.

    As a proxy it takes a CONNECT first, and keeps which hosts were asked for.
    """

    daemon_threads = True

    def __init__(self, port: int, *, is_proxy: bool = False) -> None:
        self.port = port
        self.is_proxy = is_proxy
        self.hosts: set[str] = set()
        self.silent = threading.Event()
        super().__init__(("127.0.0.1", 0), Carrier)
        self.address = f"localhost:{self.server_address[1]}"

    def fall_silent(self) -> None:
        """Drop what arrives on the connections that are open, as a firewall does."""
        self.silent.set()
        self.silent = threading.Event()


class Carrier(StreamRequestHandler):
    """A connection through the forwarder."""

    server: Forwarder

    def handle(self) -> None:
        """Connect, and carry what comes from either end to the other.

        Once it is silent, drop what arrives, and do not pass on that an end has closed.
        """
        silent = self.server.silent
        if self.server.is_proxy:
            self.server.hosts.add(self.rfile.readline().decode().split()[1])
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        here = self.connection
        with socket.create_connection(("127.0.0.1", self.server.port)) as there:
            others = {here: there, there: here}
            while here in others:
                for end in select.select(list(others), [], [])[0]:
                    data = end.recv(65536)
                    if silent.is_set():
                        if not data:
                            del others[end]
                    elif data:
                        others[end].sendall(data)
                    else:
                        return


@contextmanager
def run_forwarder(port: int, *, is_proxy: bool = False) -> Iterator[Forwarder]:
    """Run a forwarder to this port as long as the block lasts."""
    forwarder = Forwarder(port, is_proxy=is_proxy)
    with serve(forwarder):
        yield forwarder


@pytest.fixture
def connected(start: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Collect the hosts, with their ports, that the app of `regions` connects to."""
    with run_forwarder(start(VONAGE_API_HOST="").api_port, is_proxy=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("NO_PROXY", "localhost")
        yield proxy.hosts


@pytest.fixture
def regions(start: StartSandbox, connected: set[str]) -> InProcess:
    """Start an app that follows each call to its region, at the names of Vonage's own hosts."""
    return start(VONAGE_API_HOST="")
