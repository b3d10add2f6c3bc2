"""The verbs of the tests: a sandbox with the settings asked for, to dial and to look at."""

from __future__ import annotations

import logging
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import redis
import requests
from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from app import Server, create_app
from config import Config
from sandbox import Account, free_port
from tests.faults import FaultySandbox, make_certificate
from tests.stub import StubbedSandbox
from voice import Voice

SETTINGS = list(Config.model_fields)

# An empty setting is unset, and wins over .env: whoever runs the tests may have one.
os.environ.update(dict.fromkeys(SETTINGS, ""))


class InProcess(FaultySandbox):
    """A sandbox whose app runs in this process, behind a real socket: it starts 50 times as fast.

    `flask` is the app. Its log goes to `log` while a test uses the sandbox.
    """

    flask: Flask

    def start_app(self) -> None:
        """Serve the app from a thread."""
        values = {name: self.environment[name] for name in SETTINGS if self.environment[name]}
        self.flask = create_app(Config.from_text(values))
        self._web = make_server(self.host, self.port, self.flask, threaded=True)
        threading.Thread(target=self._web.serve_forever, args=(0.02,), daemon=True).start()
        self.handler = logging.FileHandler(self.log)
        self.handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s: %(message)s"))

    def stop_app(self) -> int:
        """Serve no more."""
        self._web.shutdown()
        self._web.server_close()
        self.handler.close()
        return 0

    @property
    def server(self) -> Server:
        """What hangs on the app."""
        server: Server = self.flask.extensions["server"]
        return server

    def limit(self, **limits: Any) -> None:
        """Let the app wait for Vonage for less long than it would."""
        voice = Voice(self.server.config, **limits)
        self.flask.extensions["server"] = self.server._replace(voice=voice)

    def clear(self) -> None:
        """Take everybody off the line, and forget what was asked and logged."""
        self.faults, self.latency = [], 0.0
        self.hang_up_all()
        with suppress(Exception):
            for leg in self.server.calls.live():
                self.server.calls.end(leg.uuid)
        self.calls.clear()
        self.asked.clear()
        self.web.clear()
        self.log.write_text("")


StartSandbox = Callable[..., InProcess]


@pytest.fixture(scope="session")
def account() -> Account:
    """One set of throw-away credentials, since making a key takes a while."""
    return Account()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """One certificate for every sandbox, which this process trusts, as the app runs in it."""
    files = make_certificate(tmp_path_factory.mktemp("certificate"))
    os.environ["REQUESTS_CA_BUNDLE"] = files[0]
    return files


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, InProcess]]:
    """The sandboxes that run already, by their settings."""
    sandboxes: dict[str, InProcess] = {}
    yield sandboxes
    with ThreadPoolExecutor(16) as pool:  # each waits until its servers have looked up
        list(pool.map(InProcess.__exit__, sandboxes.values()))


@pytest.fixture
def start(
    account: Account, certificate: tuple[str, str], running: dict[str, InProcess]
) -> Iterator[StartSandbox]:
    """Give a sandbox whose app has these settings; when the test ends, everybody hangs up."""
    used: list[InProcess] = []

    def start(**settings: str) -> InProcess:
        name = str(sorted(settings.items()))
        if name not in running:
            sandbox = InProcess(settings, account=account, certificate_files=certificate)
            running[name] = sandbox.__enter__()
        sandbox = running[name]
        used.append(sandbox)
        for logger in ("app", "werkzeug"):
            logging.getLogger(logger).addHandler(sandbox.handler)
        return sandbox

    yield start
    for sandbox in used:
        for logger in ("app", "werkzeug"):
            logging.getLogger(logger).removeHandler(sandbox.handler)
        sandbox.clear()


@pytest.fixture
def stream(start: StartSandbox) -> InProcess:
    """The app with ANSWER_WITH=stream."""
    return start(ANSWER_WITH="stream")


@pytest.fixture
def conference(start: StartSandbox) -> InProcess:
    """The app as it is with nothing but credentials: callers meet in the conference."""
    return start()


@pytest.fixture
def process(
    account: Account, certificate: tuple[str, str]
) -> Iterator[Callable[..., FaultySandbox]]:
    """Give a sandbox whose app is a process of its own, as its users run it."""
    sandboxes: list[FaultySandbox] = []

    def process(command: list[str] | None = None, **settings: str) -> FaultySandbox:
        sandbox = FaultySandbox(
            settings, command=command, account=account, certificate_files=certificate
        )
        sandboxes.append(sandbox)
        return sandbox.__enter__()

    yield process
    for sandbox in sandboxes:
        sandbox.__exit__()


@pytest.fixture(scope="session")
def stub(account: Account, certificate: tuple[str, str]) -> Iterator[StubbedSandbox]:
    """One for all tests that look at the sandbox from the app's side."""
    with StubbedSandbox(account=account, certificate_files=certificate) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(stub: StubbedSandbox) -> Iterator[StubbedSandbox]:
    """A sandbox whose app answers with a conference, unless a test says otherwise."""
    yield stub
    stub.reset()


def browse(sandbox: FaultySandbox, path: str, **parameters: str) -> requests.Response:
    """Open a page of the app at localhost, as whoever runs the server does."""
    return requests.get(sandbox.app_url + path, params=parameters, timeout=20)


def need(program: str) -> str:
    """The path of a program; skips without it, but in CI that is a failure."""
    path = shutil.which(program)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{program} is missing: .ci/run installs it")
    if path is None:
        pytest.skip(f"needs {program}")
    return path


class RedisServer:
    """A real redis-server of its own on a free port, which a test may kill and start again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [need("redis-server"), "--port", str(self.port), "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(redis.ConnectionError), redis.Redis.from_url(self.url) as client:
                client.ping()
                return
            time.sleep(0.01)
        raise RuntimeError("redis-server does not start")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis for the tests that only use it."""
    server = RedisServer()
    yield server.url
    server.kill()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    server = RedisServer()
    yield server
    server.kill()


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's files on this machine, as a site elsewhere would; gives its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class ConnectProxy(ThreadingTCPServer):
    """An HTTP proxy that leads every CONNECT to the sandbox, and keeps which host was asked for."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.hosts: set[str] = set()
        self.port = port
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


@pytest.fixture
def connected(start: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The hosts that the app of `regions` has connected to, with their ports."""
    proxy = ConnectProxy(start(VONAGE_API_HOST="").api_port)
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.setenv("NO_PROXY", "localhost")
    yield proxy.hosts
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture
def regions(start: StartSandbox, connected: set[str]) -> InProcess:
    """The app that follows each call to its region: the Voice API has Vonage's own names."""
    return start(VONAGE_API_HOST="")


Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    path = need("chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tabs(chromium: Browser) -> dict[bool, Page]:
    """Two tabs, with script and without: opening one takes a second."""
    return {on: chromium.new_context(java_script_enabled=on).new_page() for on in (True, False)}


@pytest.fixture
def visit(tabs: dict[bool, Page]) -> Iterator[Visit]:
    """Open an address in a window of this size; the tab is left when the test ends."""
    used: set[bool] = set()

    def visit(
        address: str,
        *,
        script: bool = True,
        width: int = 1280,
        height: int = 720,
        dark: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Page:
        tab = tabs[script]
        used.add(script)
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme="dark" if dark else "light")
        tab.set_extra_http_headers(headers or {})
        tab.goto(address)
        return tab

    yield visit
    for script in used:
        tabs[script].goto("about:blank")
