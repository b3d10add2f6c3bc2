"""Sandboxes whose app has the settings that a test needs, in this process or in its own."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from app import create_app
from calls import AudioNote, Calls
from config import Config
from sandbox import FOLDER, Account
from tests.helpers.faults import FaultySandbox, make_certificate
from tests.helpers.settings import SETTINGS
from tests.helpers.stub import StubbedSandbox
from voice import Voice


@cache
def read_private_key(text: str) -> Any:
    """Parse a private key once for all tests: each time takes a twentieth of a second."""
    return Config.from_text({"VONAGE_PRIVATE_KEY": text}).VONAGE_PRIVATE_KEY


class InProcess(FaultySandbox):
    """A sandbox whose app runs in this process, behind a real socket, and so starts faster.

    `flask` is the app. Its log goes to `log` while a test uses the sandbox.
    """

    flask: Flask

    def start_app(self) -> None:
        values = {name: self.environment.get(name, "") for name in SETTINGS}
        key = {"VONAGE_PRIVATE_KEY": read_private_key(values.pop("VONAGE_PRIVATE_KEY"))}
        self.flask = create_app(Config.from_text(values).model_copy(update=key))
        self._voice = self.flask.extensions["voice"]
        self.serve_here(self.flask)

    def stop_app(self) -> int:
        self.handler.close()
        return self.stop_here()

    @cached_property
    def handler(self) -> logging.Handler:
        """Writes to `log`. Closed with the app; the next line opens the file again."""
        handler = logging.FileHandler(self.log)
        # Playwright's tasks run in this process, too; asyncio may say that one was not finished.
        handler.addFilter(lambda record: record.name != "asyncio")
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s: %(message)s"))
        return handler

    @property
    def store(self) -> Calls:
        """The app's list of calls."""
        store: Calls = self.flask.extensions["calls"]
        return store

    @property
    def lines(self) -> list[str]:
        """The lines of the log, without their times."""
        return [line.partition("] ")[2] for line in self.log.read_text().splitlines()]

    def limit(self, api_host: str | None = None, **limits: Any) -> None:
        """Replace the app's Voice by one with shorter time limits, or with another API host."""
        config: Config = self.flask.extensions["config"]
        if api_host is not None:
            config = config.model_copy(update={"VONAGE_API_HOST": api_host})
        self.flask.extensions["voice"] = Voice(config, **limits)

    def dial_at(self, host: str) -> str:
        """Put a leg on the line whose webhook came in at another host, and return its uuid."""
        leg = str(uuid.uuid4())
        given = {"uuid": leg, "from": "447700900123"}
        self.webhook("answer", given, **{"X-Forwarded-Host": host}).raise_for_status()
        return leg

    @property
    def live(self) -> list[str]:
        """The uuids of the legs on the line, the one that joined last first."""
        return [leg.uuid for leg in self.store.live()]

    @property
    def notes(self) -> dict[str, AudioNote | None]:
        """What is known of each leg's audio, by uuid."""
        return {leg.uuid: leg.audio for leg in self.store.live()}

    def clear(self) -> None:
        """Hang up every call, and forget faults, requests, the log and the list of calls."""
        self.faults, self.latency = [], 0.0
        self.released.set()
        self.hang_up_all()
        self.flask.extensions["voice"] = self._voice
        for file in self.folder.glob("calls.sqlite3*"):
            if file.is_file():  # a test may have broken it
                file.unlink()  # which the app notices
        self.calls.clear()
        self.asked.clear()
        self.voice_api.taken.clear()
        self.web.clear()
        self.log.write_text("")


StartSandbox = Callable[..., InProcess]
Process = Callable[..., FaultySandbox]


@pytest.fixture(scope="session")
def account() -> Account:
    """Create one set of throw-away credentials for all tests: making a key is slow."""
    return Account()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Create one certificate for every sandbox, and let this process trust it."""
    files = make_certificate(tmp_path_factory.mktemp("certificate"))
    os.environ["REQUESTS_CA_BUNDLE"] = files[0]
    return files


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the server and the sandbox, for processes to run.

    The copy has no `.env`, no key and no list of calls beside it.
    """
    folder = tmp_path_factory.mktemp("copy")
    for file in FOLDER.glob("*.py"):
        shutil.copy(file, folder)
    for name in ("calls", "sandbox", "static", "templates"):
        shutil.copytree(FOLDER / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, InProcess]]:
    """Keep the sandboxes of a test file, by their settings, and stop them at its end."""
    sandboxes: dict[str, InProcess] = {}
    yield sandboxes
    with ThreadPoolExecutor(16) as pool:  # each waits for its servers' next poll
        list(pool.map(InProcess.__exit__, sandboxes.values()))


@pytest.fixture
def start(
    account: Account, certificate: tuple[str, str], running: dict[str, InProcess]
) -> Iterator[StartSandbox]:
    """Return a function that starts a sandbox whose app has these settings.

    Tests with the same settings share it, one after the other, and it is cleared after each. A
    test may change or break a `fresh` one.
    """
    with ExitStack() as stack:

        def start(*, fresh: bool = False, **settings: str) -> InProcess:
            name = str(sorted(settings.items()))
            if fresh or name not in running:
                sandbox = InProcess(settings, account=account, certificate_files=certificate)
                sandbox.__enter__()
                if fresh:
                    stack.push(sandbox)
                else:
                    running[name] = sandbox
            else:
                sandbox = running[name]
            stack.callback(sandbox.clear)
            logging.getLogger().addHandler(sandbox.handler)
            stack.callback(logging.getLogger().removeHandler, sandbox.handler)
            return sandbox

        yield start


@pytest.fixture
def stream(start: StartSandbox) -> InProcess:
    return start(ANSWER_WITH="stream")


@pytest.fixture
def conference(start: StartSandbox) -> InProcess:
    """Start the app with nothing but credentials: callers meet in the conference."""
    return start()


@pytest.fixture
def process(copy: Path, account: Account, certificate: tuple[str, str]) -> Iterator[Process]:
    """Return a function that starts a sandbox whose app is a process, as its users run it."""
    with ExitStack() as stack:

        def process(command: list[str] | None = None, **settings: str) -> FaultySandbox:
            sandbox = FaultySandbox(
                settings,
                command=command or [sys.executable, str(copy / "app.py")],
                account=account,
                certificate_files=certificate,
            )
            stack.push(sandbox)  # first, since the app may fail to start
            return sandbox.__enter__()

        yield process


@pytest.fixture(scope="session")
def stub(account: Account, certificate: tuple[str, str]) -> Iterator[StubbedSandbox]:
    """Start one sandbox for all tests that look at it from the app's side."""
    with StubbedSandbox(account=account, certificate_files=certificate) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(stub: StubbedSandbox) -> Iterator[StubbedSandbox]:
    """Lend that sandbox to a test, which may replace the conference as its app's answer."""
    yield stub
    stub.reset()


@contextmanager
def replaced_by_a_folder(database: Path) -> Iterator[str]:
    """Break a list of calls, and yield the sentence that then reports it."""
    aside = database.rename(database.with_suffix(".aside"))
    database.mkdir()
    yield f"The list of calls in {database} is unavailable"
    database.rmdir()
    aside.rename(database)


def browse(sandbox: FaultySandbox, path: str, **parameters: str) -> requests.Response:
    """Open a page of the app at localhost, as the operator does."""
    return requests.get(sandbox.app_url + path, params=parameters, timeout=20)


def error_of(response: requests.Response, status: int) -> str:
    """Check the status of an error, and return its sentence."""
    assert response.status_code == status, response.text
    return str(response.json()["error"])
