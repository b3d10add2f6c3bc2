"""The store fails: callers are served all the same, and everything works again afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from werkzeug.exceptions import ServiceUnavailable

from calls import open_calls
from calls.sqlite import SqliteCalls
from tests.helpers.faults import HeardCall
from tests.helpers.ports import free_port
from tests.helpers.sandboxes import InProcess, StartSandbox, browse, error_of, replaced_by_a_folder
from tests.helpers.servers import RedisServer, run_forwarder, run_redis
from tests.helpers.waiting import wait_until

Damage = Callable[[Path], AbstractContextManager[object]]


def mount(folder: Path, *options: str) -> bool:
    """Mount; return whether it succeeded, since not every root may mount."""
    return subprocess.run(["mount", *options, folder], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder, on a small disk of its own where the tests may mount one."""
    is_mounted = os.geteuid() == 0 and mount(tmp_path, "-t", "tmpfs", "-o", "size=400k", "tmpfs")
    yield tmp_path
    if is_mounted:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def on_a_full_disk(database: Path) -> Iterator[None]:
    if not database.parent.is_mount():
        pytest.skip("needs the right to mount a small disk")
    filler = database.with_suffix(".filler")
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    with closing(sqlite3.connect(database)) as db, suppress(sqlite3.OperationalError):
        for number in range(1_000):  # what is left within the last blocks
            with db:
                db.execute("REPLACE INTO ended_4 VALUES (?, 0)", [number])
        pytest.fail("the disk is never full")
    yield
    filler.unlink()


@contextmanager
def read_only(database: Path) -> Iterator[None]:
    folder = database.parent
    if folder.is_mount():
        assert mount(folder, "-o", "remount,ro")
        yield
        assert mount(folder, "-o", "remount,rw")
    elif os.geteuid() == 0:
        pytest.skip("needs the right to mount: root may write everywhere else")
    else:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)


def within_two_seconds(dial: Callable[[], HeardCall]) -> HeardCall:
    began = time.monotonic()
    call = dial()
    assert call.ncco
    assert time.monotonic() - began < 2
    return call


def end(sandbox: InProcess, call: HeardCall) -> int:
    """Send the end of a call, and return the status of the answer."""
    return sandbox.webhook("event", {"uuid": call.uuid, "status": "completed"}).status_code


def works_again(sandbox: InProcess) -> None:
    call = within_two_seconds(sandbox.dial)
    browse(sandbox, "/stream", uuid=call.uuid).raise_for_status()
    call.hears("hears music")


CAN_STILL_BE_READ = [locked, on_a_full_disk]


@pytest.mark.parametrize("damage", [*CAN_STILL_BE_READ, replaced_by_a_folder])
def test_damage_cuts_no_caller_off(start: StartSandbox, disk: Path, damage: Damage) -> None:
    database = disk / "calls.sqlite3"
    sandbox = start(CALLS_URL=f"sqlite:///{database}")
    before = sandbox.dial()
    with damage(database):
        call = within_two_seconds(lambda: sandbox.dial(pick_up=False))
        lost = f"leg {call.uuid} could not be saved, so /stream cannot reach it"
        assert lost in sandbox.log.read_text()
        if damage is not on_a_full_disk:  # where a failed statement may leave space for another
            assert end(sandbox, before) == 503
        if damage not in CAN_STILL_BE_READ:
            error = error_of(browse(sandbox, "/stream"), 503)
            assert f"The list of calls in {database} is unavailable" in error
            assert "CALLS_URL" in error
    works_again(sandbox)
    assert end(sandbox, before) == 204


def test_a_slow_store_makes_no_leg_late(conference: InProcess) -> None:
    for _ in range(4):
        conference.dial()
    conference.limit(deadline=1)
    with locked(conference.folder / "calls.sqlite3"):
        response = browse(conference, "/stream")
    assert response.json()["message"] == "Sent hold-music.mp3 to all 4 callers"
    assert response.elapsed.total_seconds() < 2.5
    assert "4 callers” could not be saved: The list of calls" in conference.log.read_text()


def test_a_read_only_disk_cuts_no_caller_off(start: StartSandbox, disk: Path) -> None:
    database = disk / "calls.sqlite3"
    sandbox = start(CALLS_URL=f"sqlite:///{database}")
    with read_only(database):
        call = within_two_seconds(lambda: sandbox.dial(pick_up=False))
        assert end(sandbox, call) == 503
        assert browse(sandbox, "/stream").status_code == 503
    works_again(sandbox)


@pytest.mark.parametrize(
    "url", ["sqlite:///FOLDER/file/x.sqlite3", "redis://a..b:6379/0", "redis://127.0.0.1:1/0"]
)
def test_a_store_that_cannot_be_there_cuts_no_caller_off_and_the_page_says_so(
    start: StartSandbox, tmp_path: Path, url: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    url = url.replace("FOLDER", str(tmp_path))
    sandbox = start(CALLS_URL=url, VOICE_CONFERENCE_QUORUM="3")
    call = within_two_seconds(sandbox.dial)
    assert call.ncco[-1]["startOnEnter"] is True  # no one waits forever in an empty conference
    assert f"leg {call.uuid} could not be saved" in sandbox.log.read_text()
    page = sandbox.request(headers={"Accept": "text/html"})
    assert page.status_code == 503
    assert "is unavailable" in page.text
    assert "GET /: 503" in sandbox.log.read_text()


def test_a_statement_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite3"
    calls = SqliteCalls(str(path), None)
    calls.end("0" * 32)
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE ended_4")
        other.execute("CREATE VIEW ended_4 AS SELECT '' AS name, 0 AS at")
        with pytest.raises(ServiceUnavailable):
            calls.end("1" * 32)  # the first of its statements succeeds, the second does not
        other.execute("PRAGMA busy_timeout = 0")
        other.execute("INSERT INTO legs_4 (name) VALUES ('2')")
        other.commit()


def test_a_list_that_cannot_be_written_is_noticed(tmp_path: Path) -> None:
    calls = SqliteCalls(str(tmp_path / "calls.sqlite3"), None)
    calls.check_writable()
    with locked(tmp_path / "calls.sqlite3"), pytest.raises(ServiceUnavailable, match="locked"):
        calls.check_writable()


# Redis


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis that a test may kill."""
    with run_redis() as server:
        yield server


@pytest.fixture
def on_redis(redis_server: RedisServer, start: StartSandbox) -> InProcess:
    return start(CALLS_URL=redis_server.url, VOICE_CONFERENCE_QUORUM="2")


def test_redis_killed_in_mid_traffic(on_redis: InProcess, redis_server: RedisServer) -> None:
    on_redis.dial()
    redis_server.kill()
    call = within_two_seconds(on_redis.dial)
    assert call.ncco[-1]["startOnEnter"] is True
    assert end(on_redis, call) == 503
    assert "The list of calls in Redis is unavailable" in error_of(browse(on_redis, "/stream"), 503)
    redis_server.start()
    assert end(on_redis, call) == 204
    works_again(on_redis)


def test_redis_that_hangs(on_redis: InProcess, redis_server: RedisServer) -> None:
    on_redis.dial()
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        call = within_two_seconds(lambda: on_redis.dial(pick_up=False))
        assert end(on_redis, call) == 503
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    assert end(on_redis, call) == 204


def test_a_dead_idle_connection_loses_no_caller(
    redis_server: RedisServer, start: StartSandbox
) -> None:
    with run_forwarder(redis_server.port) as forwarder:
        sandbox = start(CALLS_URL=f"redis://{forwarder.address}/0")
        first = sandbox.dial()
        forwarder.fall_silent()
        second = within_two_seconds(sandbox.dial)
        live = {leg.uuid for leg in sandbox.store.live()}
        assert live == {first.uuid, second.uuid}


def test_a_redis_that_cannot_be_written_is_noticed(redis_server: RedisServer) -> None:
    calls = open_calls(redis_server.url, None)
    with redis.Redis.from_url(redis_server.url) as client:
        calls.check_writable()
        wait_until(lambda: client.keys() == [], "its end")
        client.replicaof("127.0.0.1", free_port())
        with pytest.raises(ServiceUnavailable, match="read only"):
            calls.check_writable()
