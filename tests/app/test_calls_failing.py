"""The store fails: callers are served all the same, and all goes on afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from werkzeug.exceptions import ServiceUnavailable

from calls import open_calls
from calls.sqlite import SqliteCalls
from tests.helpers.faults import HeardCall
from tests.helpers.ports import free_port
from tests.helpers.processes import run
from tests.helpers.sandboxes import InProcess, StartSandbox, browse
from tests.helpers.servers import RedisServer, run_forwarder
from tests.helpers.waiting import wait_until

LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""

Mend = Callable[[], None]
Damage = Callable[[Path], Mend]


def locked(database: Path) -> Mend:
    """Another process holds the file."""
    command = [sys.executable, "-c", LOCK, str(database)]
    stack = ExitStack()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = stack.enter_context(run(command, **pipes))
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return stack.close


def not_a_database(database: Path) -> Mend:
    """Somebody else's file is in its place."""
    aside = database.rename(database.with_suffix(".aside"))
    for beside in database.parent.glob("calls.sqlite3-*"):
        beside.unlink()
    database.write_text("This is no database.\n" * 1000)

    def mend() -> None:
        database.unlink()
        aside.rename(database)

    return mend


def on_a_full_disk(database: Path) -> Mend:
    """Nothing is left of the disk's space."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    filler = database.with_suffix(".filler")
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    with closing(sqlite3.connect(database)) as db, suppress(sqlite3.OperationalError):
        for number in range(1_000):  # what is left within the last blocks
            with db:
                db.execute("REPLACE INTO ended_4 VALUES (?, 0)", [number])
        pytest.fail("the disk is never full")
    return filler.unlink


def a_folder(database: Path) -> Mend:
    """A folder is in its place."""
    aside = database.rename(database.with_suffix(".aside"))
    database.mkdir()

    def mend() -> None:
        database.rmdir()
        aside.rename(database)

    return mend


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk of its own, where the tests may mount one."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path], check=True)
    yield tmp_path
    if os.geteuid() == 0:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.fixture
def on_disk(disk: Path, start: StartSandbox) -> InProcess:
    return start(CALLS_URL=f"sqlite:///{disk}/calls.sqlite3")


@contextmanager
def damaged(damage: Damage, database: Path) -> Iterator[None]:
    mend = damage(database)
    try:
        yield
    finally:
        mend()


def within_two_seconds(dial: Callable[[], HeardCall]) -> HeardCall:
    began = time.monotonic()
    call = dial()
    assert call.ncco
    assert time.monotonic() - began < 2
    return call


DAMAGES = [locked, on_a_full_disk, not_a_database, a_folder]
CAN_STILL_BE_READ = [locked, on_a_full_disk]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_cuts_no_caller_off(
    on_disk: InProcess, disk: Path, damage: Damage
) -> None:
    database = disk / "calls.sqlite3"
    before = on_disk.dial()
    with damaged(damage, database):
        call = within_two_seconds(lambda: on_disk.dial(pick_up=False))
        lost = f"leg {call.uuid} could not be saved, so /stream cannot reach it"
        assert lost in on_disk.log.read_text()
        ended = {"uuid": before.uuid, "status": "completed"}
        if damage is not on_a_full_disk:  # where a failed statement may leave space for another
            assert event(on_disk, ended).status_code == 503
        if damage not in CAN_STILL_BE_READ:
            response = browse(on_disk, "/stream")
            assert response.status_code == 503
            unavailable = f"The list of calls in {database} is unavailable"
            assert unavailable in response.json()["error"]
            assert "CALLS_URL" in response.json()["error"]
    after = on_disk.dial()
    browse(on_disk, "/stream", uuid=after.uuid).raise_for_status()
    after.hears("hears music")
    assert event(on_disk, ended).status_code == 204


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written to the folder; for root, only a disk that is mounted so does that."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


def test_a_read_only_disk_cuts_no_caller_off(disk: Path, on_disk: InProcess) -> None:
    with read_only(disk):
        call = within_two_seconds(lambda: on_disk.dial(pick_up=False))
        assert event(on_disk, {"uuid": call.uuid, "status": "completed"}).status_code == 503
        assert browse(on_disk, "/stream").status_code == 503
    after = on_disk.dial()
    browse(on_disk, "/stream").raise_for_status()
    after.hears("hears music")


def event(sandbox: InProcess, parameters: dict[str, str]) -> requests.Response:
    """Send an event."""
    response = sandbox.send("POST", "/webhooks/event", parameters)
    assert response is not None
    return response


@pytest.mark.parametrize("deleted", ["folder", "folder/calls.sqlite3"])
def test_a_deleted_database_is_made_anew(tmp_path: Path, start: StartSandbox, deleted: str) -> None:
    sandbox = start(CALLS_URL=f"sqlite:///{tmp_path}/folder/calls.sqlite3")
    sandbox.dial()
    if deleted == "folder":
        shutil.rmtree(tmp_path / deleted)
    for file in tmp_path.glob(f"{deleted}*"):
        file.unlink()
    call = within_two_seconds(sandbox.dial)
    browse(sandbox, "/stream").raise_for_status()
    call.hears("hears music")
    assert (tmp_path / "folder" / "calls.sqlite3").exists()


def test_a_replaced_database_is_noticed(tmp_path: Path, start: StartSandbox) -> None:
    sandbox = start(CALLS_URL=f"sqlite:///{tmp_path}/calls.sqlite3")
    sandbox.dial()
    with closing(sqlite3.connect(tmp_path / "other.sqlite3")) as other:
        other.execute("CREATE TABLE other (a)")
    for file in tmp_path.glob("calls.sqlite3*"):
        file.unlink()
    (tmp_path / "other.sqlite3").rename(tmp_path / "calls.sqlite3")
    assert browse(sandbox, "/stream").status_code == 409
    sandbox.dial()
    application = sandbox.config.VONAGE_APPLICATION_ID
    assert len(open_calls(f"sqlite:///{tmp_path}/calls.sqlite3", application).live()) == 1


def test_a_file_that_vanishes_while_it_is_made_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "calls.sqlite3"
    calls = SqliteCalls(str(path), None)
    found = os.stat

    def vanish(*given: Any, **options: Any) -> os.stat_result:
        path.unlink(missing_ok=True)
        return found(*given, **options)

    with monkeypatch.context() as patched:
        patched.setattr("calls.sqlite.os.stat", vanish)
        with pytest.raises(ServiceUnavailable):
            calls.end("0" * 32)
    calls.end("0" * 32)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM ended_4").fetchone() == (1,)


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


def test_a_list_that_cannot_be_written_is_noticed_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite3"
    calls = SqliteCalls(str(path), None)
    calls.check_writable()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT * FROM legs_4").fetchall() == []
        assert other.execute("SELECT * FROM ended_4").fetchall() == []
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceUnavailable, match="locked"):
            calls.check_writable()


def test_with_the_store_down_a_conference_starts(start: StartSandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    sandbox = start(CALLS_URL=f"sqlite:///{tmp_path}/file/x.sqlite3", VOICE_CONFERENCE_QUORUM="3")
    assert sandbox.dial().ncco[-1]["startOnEnter"] is True  # no one waits forever


def test_the_page_says_that_the_list_is_unavailable(start: StartSandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    sandbox = start(CALLS_URL=f"sqlite:///{tmp_path}/file/x.sqlite3")
    page = requests.get(sandbox.app_url, headers={"Accept": "text/html"}, timeout=5)
    assert page.status_code == 503
    assert "is unavailable" in page.text
    assert "GET /: 503" in sandbox.log.read_text()


# Redis


@pytest.fixture
def on_redis(redis_server: RedisServer, start: StartSandbox) -> InProcess:
    return start(CALLS_URL=redis_server.url, VOICE_CONFERENCE_QUORUM="2")


def test_redis_killed_in_mid_traffic(on_redis: InProcess, redis_server: RedisServer) -> None:
    on_redis.dial()
    redis_server.kill()
    call = within_two_seconds(on_redis.dial)
    assert call.ncco[-1]["startOnEnter"] is True  # no one waits forever in an empty conference
    assert event(on_redis, {"uuid": call.uuid, "status": "completed"}).status_code == 503
    response = browse(on_redis, "/stream")
    assert response.status_code == 503
    assert "The list of calls in Redis is unavailable" in response.json()["error"]
    redis_server.start()
    assert event(on_redis, {"uuid": call.uuid, "status": "completed"}).status_code == 204
    after = on_redis.dial()
    browse(on_redis, "/stream").raise_for_status()
    after.hears("hears music")


def test_redis_that_hangs(on_redis: InProcess, redis_server: RedisServer) -> None:
    on_redis.dial()
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        call = within_two_seconds(lambda: on_redis.dial(pick_up=False))
        ended = {"uuid": call.uuid, "status": "completed"}
        assert event(on_redis, ended).status_code == 503
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    assert event(on_redis, ended).status_code == 204


def test_a_call_answered_by_one_server_is_played_into_by_another(
    redis_server: RedisServer, start: StartSandbox
) -> None:
    sandbox = start(CALLS_URL=redis_server.url)
    call = sandbox.dial()
    host = f"localhost:{sandbox.api_port}"
    other = start(CALLS_URL=redis_server.url, VONAGE_API_HOST=host)
    browse(other, "/stream").raise_for_status()
    call.hears("hears music")


def test_an_idle_connection_that_died_without_a_word_loses_no_caller(
    redis_server: RedisServer, start: StartSandbox
) -> None:
    with run_forwarder(redis_server.port) as forwarder:
        sandbox = start(CALLS_URL=f"redis://127.0.0.1:{forwarder.server_port}/0")
        first = sandbox.dial()
        forwarder.fall_silent()
        second = within_two_seconds(sandbox.dial)
        live = {leg.uuid for leg in sandbox.store.live()}
        assert live == {first.uuid, second.uuid}


@pytest.mark.parametrize("host", ["a..b:6379/0", "127.0.0.1:1/0"])
def test_a_redis_that_cannot_be_there_cuts_no_caller_off(start: StartSandbox, host: str) -> None:
    sandbox = start(CALLS_URL=f"redis://{host}")
    call = within_two_seconds(sandbox.dial)
    assert call.ncco
    assert f"leg {call.uuid} could not be saved" in sandbox.log.read_text()


def test_a_redis_that_cannot_be_written_is_noticed_without_writing(
    redis_server: RedisServer,
) -> None:
    calls = open_calls(redis_server.url, None)
    with redis.Redis.from_url(redis_server.url) as client:
        calls.check_writable()
        wait_until(lambda: client.keys() == [], "its end")
        client.replicaof("127.0.0.1", free_port())
        with pytest.raises(ServiceUnavailable, match="read only"):
            calls.check_writable()
