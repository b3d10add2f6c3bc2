"""Our side's bad weather: the store fails, callers are served all the same, and all goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sandbox import Account, Call, Sandbox
from tests.conftest import RedisServer, browse

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
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"

    def mend() -> None:
        process.communicate()

    return mend


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
    return filler.unlink


def a_folder(database: Path) -> Mend:
    """A folder is in its place."""
    aside = database.rename(database.with_suffix(".aside"))
    database.mkdir()

    def mend() -> None:
        database.rmdir()
        aside.rename(database)

    return mend


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a disk of its own, where the tests may mount one."""
    folder = tmp_path_factory.mktemp("disk")
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], check=True)
    yield folder
    if os.geteuid() == 0:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def on_disk(small_disk: Path, account: Account) -> Iterator[Sandbox]:
    settings = {
        "ANSWER_WITH": "conversation",
        "CALLS_URL": f"sqlite:///{small_disk}/calls.sqlite3",
    }
    with Sandbox(settings, account=account) as sandbox:
        yield sandbox
    for file in small_disk.iterdir():
        file.unlink()


@contextmanager
def damaged(damage: Damage, database: Path) -> Iterator[None]:
    mend = damage(database)
    try:
        yield
    finally:
        mend()


def within_two_seconds(dial: Callable[[], Call]) -> Call:
    began = time.monotonic()
    call = dial()
    assert call.ncco
    assert time.monotonic() - began < 2
    return call


DAMAGES = [locked, on_a_full_disk, not_a_database, a_folder]
CAN_STILL_BE_READ = [locked, on_a_full_disk]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_does_not_cut_a_caller_off(on_disk: Sandbox, damage: Damage) -> None:
    database = Path(on_disk.environment["CALLS_URL"].removeprefix("sqlite:///"))
    before = on_disk.dial()
    with damaged(damage, database):
        call = within_two_seconds(lambda: on_disk.dial(pick_up=False))
        assert f"leg {call.uuid} is lost to /stream" in on_disk.log.read_text()
        ended = {"uuid": before.uuid, "status": "completed"}
        assert one_try(on_disk, ended).status_code == 503
        if damage not in CAN_STILL_BE_READ:
            response = browse(on_disk, "/stream")
            assert response.status_code == 503
            assert f"The list of calls in {database} cannot be used" in response.json()["error"]
    after = on_disk.dial()
    browse(on_disk, "/stream", uuid=after.uuid).raise_for_status()
    after.hears("hears music")
    assert one_try(on_disk, ended).status_code == 204


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written to the folder; for root, only a disk that is mounted so does that."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


def test_a_read_only_disk_does_not_cut_a_caller_off(small_disk: Path, on_disk: Sandbox) -> None:
    with read_only(small_disk):
        call = within_two_seconds(lambda: on_disk.dial(pick_up=False))
        assert one_try(on_disk, {"uuid": call.uuid, "status": "completed"}).status_code == 503
        assert browse(on_disk, "/stream").status_code == 503
    after = on_disk.dial()
    browse(on_disk, "/stream").raise_for_status()
    after.hears("hears music")


def one_try(sandbox: Sandbox, event: dict[str, str]) -> requests.Response:
    """Send an event once, and not again as Vonage would."""
    body = json.dumps(event).encode()
    headers = {"Authorization": sandbox.account.sign(body)}
    url = f"{sandbox.app_url}/webhooks/event"
    return requests.post(url, data=body, headers=headers, timeout=5)


def test_calls_are_kept_in_the_instance_folder_by_default(account: Account, an_app: Path) -> None:
    command = [sys.executable, str(an_app / "app.py")]
    with Sandbox({"CALLS_URL": ""}, command=command, account=account) as sandbox:
        sandbox.dial()
        assert browse(sandbox, "/stream").ok
    assert (an_app / "instance" / "calls.sqlite3").exists()


def test_a_deleted_database_is_made_anew(on_disk: Sandbox) -> None:
    database = Path(on_disk.environment["CALLS_URL"].removeprefix("sqlite:///"))
    on_disk.dial()
    for file in database.parent.iterdir():
        file.unlink()
    call = within_two_seconds(on_disk.dial)
    browse(on_disk, "/stream").raise_for_status()
    call.hears("hears music")
    assert database.exists()


def test_a_deleted_folder_is_made_anew(account: Account, tmp_path: Path) -> None:
    settings = {"CALLS_URL": f"sqlite:///{tmp_path}/folder/calls.sqlite3"}
    with Sandbox(settings, account=account) as sandbox:
        sandbox.dial()
        shutil.rmtree(tmp_path / "folder")
        call = within_two_seconds(sandbox.dial)
        browse(sandbox, "/stream").raise_for_status()
        call.hears("hears music")


@pytest.fixture
def on_redis(redis_server: RedisServer, account: Account) -> Iterator[Sandbox]:
    settings = {
        "ANSWER_WITH": "conversation",
        "CALLS_URL": redis_server.url,
        "VOICE_CONFERENCE_QUORUM": "2",
    }
    with Sandbox(settings, account=account) as sandbox:
        yield sandbox


def test_redis_killed_in_mid_traffic(on_redis: Sandbox, redis_server: RedisServer) -> None:
    on_redis.dial()
    redis_server.kill()
    call = within_two_seconds(on_redis.dial)
    assert call.ncco[-1]["startOnEnter"] is True  # nobody waits for ever in an empty room
    assert one_try(on_redis, {"uuid": call.uuid, "status": "completed"}).status_code == 503
    response = browse(on_redis, "/stream")
    assert response.status_code == 503
    assert "The list of calls in Redis cannot be used" in response.json()["error"]
    redis_server.start()
    assert one_try(on_redis, {"uuid": call.uuid, "status": "completed"}).status_code == 204
    after = on_redis.dial()
    browse(on_redis, "/stream").raise_for_status()
    after.hears("hears music")


def test_redis_that_hangs(on_redis: Sandbox, redis_server: RedisServer) -> None:
    on_redis.dial()
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        call = within_two_seconds(lambda: on_redis.dial(pick_up=False))
        ended = {"uuid": call.uuid, "status": "completed"}
        assert one_try(on_redis, ended).status_code == 503
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    assert one_try(on_redis, ended).status_code == 204


def test_a_call_answered_by_one_process_is_played_into_by_another(
    redis_server: RedisServer, account: Account
) -> None:
    settings = {"ANSWER_WITH": "conversation", "CALLS_URL": redis_server.url}
    with Sandbox(settings, account=account) as sandbox:
        call = sandbox.dial()
        third = Sandbox(settings, account=account)
        third.environment["VONAGE_API_HOST"] = sandbox.environment["VONAGE_API_HOST"]
        third.environment["REQUESTS_CA_BUNDLE"] = sandbox.environment["REQUESTS_CA_BUNDLE"]
        with third:
            browse(third, "/stream").raise_for_status()
        call.hears("hears music")


def test_applications_on_one_redis_do_not_see_each_others_calls(redis_server: RedisServer) -> None:
    settings = {"ANSWER_WITH": "conversation", "CALLS_URL": redis_server.url}
    with Sandbox(settings) as one, Sandbox(settings) as other:
        one.dial()
        assert browse(one, "/stream").status_code == 200
        assert "Nobody is on the line" in browse(other, "/stream").json()["error"]
