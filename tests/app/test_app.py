"""The server as a process: how it starts and ends, and what outlives it."""

from __future__ import annotations

import logging
import mimetypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from pytest import MonkeyPatch

from app import create_app, end_calls_from_before, main, own_address
from calls import open_calls
from config import Config
from sandbox import Account
from tests.helpers.faults import Fault
from tests.helpers.ports import free_port, has_ipv6
from tests.helpers.sandboxes import InProcess, Process, browse
from tests.helpers.waiting import wait_until

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")

# The start


def test_wrong_settings_end_the_start_with_a_line_each(copy: Path) -> None:
    wrong = {"PORT": "http", "ANSWER_WITH": "both", "STREAM_PASSWORD": "gehe\u00edm"}
    command = [sys.executable, str(copy / "app.py")]
    done = subprocess.run(command, env=os.environ | wrong, cwd="/", capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert sorted(line.split(" must be ")[0] for line in lines) == sorted(wrong)


@pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "192.0.2.1", "a..b", "127.0.0.1"])
def test_a_host_that_is_not_this_machine_or_a_port_that_is_taken_ends_the_start(
    folder: Path, monkeypatch: MonkeyPatch, capfd: pytest.CaptureFixture[str], host: str
) -> None:
    """The hosts: conda's, one of another machine, one that is no name, and this one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HOST", host)
        monkeypatch.setenv("PORT", str(port))
        assert main() == 2
    assert f"Check HOST ({host}) and PORT ({port})." in capfd.readouterr().err


def test_the_start_says_what_would_fail_later(process: Process) -> None:
    """HOST is not this machine alone, and the list of calls cannot be written."""
    store = "sqlite:////proc/none/calls.sqlite3"
    sandbox = process(HOST=socket.gethostname(), CALLS_URL=store)
    wait_until(lambda: "Check CALLS_URL." in sandbox.log.read_text(), "its list")
    said = sandbox.log.read_text()
    assert "Running on" in said
    assert "Not set up: STREAM_PASSWORD, needed to open the page" in said
    assert "The list of calls in /proc/none/calls.sqlite3 is unavailable" in said
    assert sandbox.dial().ncco  # callers are answered all the same


def test_calls_are_kept_in_the_instance_folder(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("app.FOLDER", tmp_path)
    create_app(Config()).test_client().post("/webhooks/answer", json={"uuid": uuid.uuid4().hex})
    assert (tmp_path / "instance" / "calls.sqlite3").exists()
    assert (tmp_path / "instance").stat().st_mode & 0o777 == 0o700  # it has full phone numbers


def test_create_app_opens_nothing_and_adds_nothing_twice(tmp_path: Path, account: Account) -> None:
    values = {"CALLS_URL": f"sqlite:///{tmp_path}/calls.sqlite3"}
    values |= {"VONAGE_APPLICATION_ID": account.application_id}
    config = Config.from_text(values | {"VONAGE_PRIVATE_KEY": account.private_key})
    threads = threading.active_count()
    create_app(config)
    loggers = [logging.getLogger(name) for name in ("", "app", "werkzeug", "vonage", "urllib3")]
    before = [(logger.filters[:], logger.handlers[:]) for logger in loggers]
    create_app(config)
    assert [(logger.filters[:], logger.handlers[:]) for logger in loggers] == before
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


def test_files_have_their_types_whatever_the_machine_says() -> None:
    """Windows' registry may say that a script is plain text."""
    types = {"page.js": "text/javascript", "page.css": "text/css"}
    types |= {"hold-music.mp3": "audio/mpeg", "busy.svg": "image/svg+xml"}
    for name in types:
        mimetypes.add_type("text/plain", f".{name.rpartition('.')[2]}")
    client = create_app(Config()).test_client()
    for name, kind in types.items():
        with client.get(f"/static/{name}") as response:
            assert response.mimetype == kind


STAMP = r"\[[-0-9]{10} [:0-9]{8},[0-9]{3}\]"
MALFORMED = ["GET /stream?key=hunter2 x HTTP/1.1", "hunter2", "GET /?hunter2 HTTP/9"]


@pytest.mark.parametrize("server", ["python app.py", "flask run"])
def test_it_prints_its_start_but_no_requests_and_no_query(
    copy: Path, process: Process, server: str
) -> None:
    port = str(free_port())
    command = None
    if server == "flask run":
        command = [sys.executable, "-m", "flask", "--app", str(copy / "app.py")]
        command += ["run", "--port", port]
    sandbox = process(command, HOST="127.0.0.1", PORT=port, VONAGE_SIGNATURE_SECRET="")
    wait_until(lambda: "Running on" in sandbox.log.read_text(), "the start")
    browse(sandbox, "/stream", url="https://example.com/?key=hunter2")
    browse(sandbox, "/nowhere", key="hunter2")
    for request in MALFORMED:
        with socket.create_connection((sandbox.host, sandbox.port)) as wire:
            wire.sendall(f"{request}\r\n\r\n".encode())
            while wire.recv(1000):
                pass
    said = sandbox.log.read_text()
    assert f"Running on {sandbox.app_url}" in said
    assert "Webhooks: /webhooks/answer, /webhooks/event and, for RTC, /webhooks/rtc" in said
    assert "Not set up: VONAGE_SIGNATURE_SECRET" in said
    assert "GET /nowhere: 404" in said
    assert "hunter2" not in said
    assert "HTTP/" not in said
    if server == "python app.py":
        lines = said.splitlines()  # of one form, without colour
        assert [line for line in lines if not re.match(rf"{STAMP} (INFO|WARNING): \w", line)] == []
        where = rf"{STAMP} INFO: Running on {re.escape(sandbox.app_url)} \(Ctrl-C ends it\)"
        assert len([line for line in lines if re.fullmatch(where, line)]) == 1


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    assert own_address(Config(HOST="::1", PORT=80)) == "http://[::1]:80"


# What outlives it, and how it ends


def test_a_restart_in_mid_call_loses_no_one_and_keeps_no_one_who_is_gone(process: Process) -> None:
    sandbox = process()
    stays, leaves = sandbox.dial(), sandbox.dial()
    assert sandbox.stop_app() == 0
    leaves.hang_up()  # its event does not arrive
    # As another process sees it
    calls = open_calls(sandbox.environment["CALLS_URL"], sandbox.account.application_id)
    assert [leg.uuid for leg in calls.live()] == [leaves.uuid, stays.uuid]
    before = calls.news()
    assert [line.text for line in before] == ["…0002 joined", "…0001 joined"]
    sandbox.start_app()
    wait_until(lambda: [leg.uuid for leg in calls.live()] == [stays.uuid])
    left, *rest = calls.news()
    assert (left.text, rest) == ("…0002 left", before)
    assert browse(sandbox, "/stream").json()["message"] == "Sent hold-music.mp3 to the caller"
    stays.hears("hears music")


# Calls from before the start


def test_a_call_that_its_own_region_does_not_know_is_ended(regions: InProcess) -> None:
    known, gone = regions.dial(region="api-us-3.vonage.com"), regions.dial()
    del regions.calls[gone.uuid]
    end_calls_from_before(regions.flask, time.time())
    assert regions.live == [known.uuid]
    assert len(regions.asked) == 2


def test_a_call_that_another_host_does_not_know_stays(conference: InProcess) -> None:
    call = conference.dial()
    del conference.calls[call.uuid]
    end_calls_from_before(conference.flask, time.time())
    assert conference.live == [call.uuid]
    assert len(conference.asked) == 1


def test_a_call_that_joined_after_the_start_is_not_asked_about(conference: InProcess) -> None:
    call = conference.dial()
    end_calls_from_before(conference.flask, time.time() - 60)
    assert conference.live == [call.uuid]
    assert conference.asked == []


@pytest.mark.parametrize("body", [b"{}", b'{"status": []}'])
def test_an_odd_answer_ends_no_call(conference: InProcess, body: bytes) -> None:
    call = conference.dial()
    conference.faults = [Fault(200, body)]
    end_calls_from_before(conference.flask, time.time())
    assert conference.live == [call.uuid]


@pytest.mark.parametrize(
    ("host", "how"),
    [("0.0.0.0", signal.SIGTERM), pytest.param("::", signal.SIGINT, marks=needs_ipv6)],
)
def test_the_address_that_is_shown_opens_and_though_stream_hangs_the_server_ends_at_once(
    process: Process, host: str, how: signal.Signals
) -> None:
    sandbox = process(HOST=host)
    line = re.compile(r"Running on (\S+) ")
    [url] = wait_until(lambda: line.findall(sandbox.log.read_text()), "the start")
    assert url == f"http://localhost:{sandbox.port}"
    assert requests.get(url, timeout=5).status_code == 200
    sandbox.dial()
    # Slow bytes keep a thread inside the SDK, where an ordinary exit could abort Python.
    sandbox.faults = [Fault(200, b" " * 60_000, drip=0.0001)]
    with ThreadPoolExecutor() as browser:
        hanging = browser.submit(requests.get, f"{url}/stream", timeout=20)
        wait_until(lambda: sandbox.asked and sandbox.asked[-1].method == "PUT")
        before, began = sandbox.log.read_text(), time.monotonic()
        sandbox.app.send_signal(how)
        assert sandbox.app.wait(5) == 0
        assert time.monotonic() - began < 1
        assert sandbox.log.read_text() == before
        assert isinstance(hanging.exception(), requests.ConnectionError)


def test_nothing_is_left_unclosed(process: Process, copy: Path) -> None:
    """Connections and files are closed, also where the list of calls is replaced or broken."""
    strict = ["-X", "dev", "-W", "error::ResourceWarning"]
    sandbox = process([sys.executable, *strict, str(copy / "app.py")])
    music = "/static/hold-music.mp3"
    database = sandbox.folder / "calls.sqlite3"
    for content in ("", "no database" * 1_000):
        call = sandbox.dial()
        browse(sandbox, "/stream")
        browse(sandbox, "/")
        for headers in ({}, {"Range": "bytes=1-9"}, {"If-None-Match": "*"}):
            sandbox.request(music, headers=headers)
        sandbox.request(music, "HEAD")
        call.hang_up()
        for file in sandbox.folder.glob("calls.sqlite3*"):
            file.unlink()
        database.write_text(content)
    assert sandbox.dial().ncco
    said = sandbox.log.read_text()
    assert "file is not a database" in said
    assert "ResourceWarning" not in said
