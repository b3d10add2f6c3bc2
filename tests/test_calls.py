"""Who is on the line: what both stores promise, each kept in the real thing."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from calls import DAY, Calls, Leg
from calls_redis import RedisCalls
from calls_sqlite import SqliteCalls


@dataclass
class Clock:
    """A clock that a test can set."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[[], Calls]


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Open:
    """Open the store as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteCalls(str(tmp_path / "calls.sqlite3"), clock)
    url = request.getfixturevalue("redis_url")
    application = uuid.uuid4().hex
    return lambda: RedisCalls(url, application, clock)


@pytest.fixture
def calls(store: Open) -> Calls:
    return store()


def a_leg(clock: Callable[[], float], conference: str | None = None) -> Leg:
    return Leg(
        uuid=str(uuid.uuid4()),
        conversation_uuid=f"CON-{uuid.uuid4()}",
        from_="447700900123",
        to="442079460000",
        api_host="api-us-3.vonage.com",
        audio_url="https://example.ngrok.app/static/hold-music.mp3",
        conference=conference,
        joined=clock(),
    )


def test_a_leg_that_joined_is_on_the_line_as_it_came(calls: Calls, clock: Clock) -> None:
    leg = a_leg(clock)
    assert calls.join(leg, None) == leg
    assert calls.live() == [leg]


def test_the_leg_that_joined_last_comes_first(calls: Calls, clock: Clock) -> None:
    legs = [a_leg(clock) for _ in range(5)]
    for leg in legs:
        calls.join(leg, None)
    assert calls.live() == legs[::-1]


def test_another_process_sees_the_same_legs(store: Open, clock: Clock) -> None:
    leg = store().join(a_leg(clock), None)
    assert store().live() == [leg]


def test_a_leg_that_joins_twice_is_on_the_line_once(calls: Calls, clock: Clock) -> None:
    first = a_leg(clock)
    calls.join(first, None)
    clock.now += 1
    assert calls.join(Leg(**{**vars(first), "joined": clock()}), None) == first
    assert calls.live() == [first]


def test_an_ended_leg_is_off_the_line(calls: Calls, clock: Clock) -> None:
    stays, goes = calls.join(a_leg(clock), None), calls.join(a_leg(clock), None)
    calls.end(goes.uuid)
    assert calls.live() == [stays]


def test_an_ended_leg_never_comes_back(calls: Calls, clock: Clock) -> None:
    leg = calls.join(a_leg(clock), None)
    calls.end(leg.uuid)
    calls.change(leg.uuid, answered=True)
    calls.end(leg.uuid)
    calls.join(leg, None)
    assert calls.live() == []


def test_a_leg_that_ended_before_it_joined_stays_off_the_line(calls: Calls, clock: Clock) -> None:
    leg = a_leg(clock)
    calls.end(leg.uuid)
    assert calls.join(leg, None) == leg
    assert calls.live() == []


def test_a_leg_goes_by_either_spelling_of_its_uuid(calls: Calls, clock: Clock) -> None:
    leg = calls.join(a_leg(clock), None)
    calls.change(leg.uuid.replace("-", "").upper(), answered=True)
    assert calls.live()[0].answered
    calls.end(leg.uuid.replace("-", ""))
    assert calls.live() == []


def test_fields_are_changed_and_kept(calls: Calls, clock: Clock) -> None:
    leg = calls.join(a_leg(clock), None)
    calls.change(leg.uuid, answered=True, played=3.5, played_loop=0)
    assert calls.live() == [Leg(**{**vars(leg), "answered": True, "played": 3.5, "played_loop": 0})]
    calls.change(leg.uuid, played=None)
    assert calls.live()[0].played is None


def test_a_change_to_a_leg_that_is_not_on_the_line_does_nothing(calls: Calls, clock: Clock) -> None:
    leg = a_leg(clock)
    calls.change(leg.uuid, answered=True)
    assert calls.live() == []
    assert calls.join(leg, None) == leg


def test_a_leg_without_an_end_is_off_the_line_after_24_hours(calls: Calls, clock: Clock) -> None:
    calls.join(a_leg(clock), None)
    clock.now += DAY - 1
    assert len(calls.live()) == 1
    clock.now += 2
    assert calls.live() == []


def test_the_one_who_completes_the_quorum_starts(calls: Calls, clock: Clock) -> None:
    told = [calls.join(a_leg(clock, "Conference"), 3).starts for _ in range(4)]
    assert told == [False, False, True, True]


def test_nobody_waits_once_somebody_starts(calls: Calls, clock: Clock) -> None:
    calls.join(a_leg(clock, "Conference"), 2)
    assert [leg.waiting for leg in calls.live()] == [True]
    calls.join(a_leg(clock, "Conference"), 2)
    assert [leg.waiting for leg in calls.live()] == [False, False]


def test_the_same_call_asking_twice_counts_once_and_is_told_the_same(
    calls: Calls, clock: Clock
) -> None:
    first, second = a_leg(clock, "Conference"), a_leg(clock, "Conference")
    told = [calls.join(leg, 2).starts for leg in (first, first, second, first, second)]
    assert told == [False, False, True, False, True]


def test_whoever_hangs_up_while_waiting_no_longer_counts(calls: Calls, clock: Clock) -> None:
    gives_up = calls.join(a_leg(clock, "Conference"), 2)
    calls.end(gives_up.uuid)
    assert calls.join(a_leg(clock, "Conference"), 2).starts is False
    assert calls.join(a_leg(clock, "Conference"), 2).starts is True


def test_only_the_same_conference_and_the_last_24_hours_count(calls: Calls, clock: Clock) -> None:
    calls.join(a_leg(clock, "Conference"), 2)
    assert calls.join(a_leg(clock, "Another"), 2).starts is False
    clock.now += DAY + 1
    assert calls.join(a_leg(clock, "Conference"), 2).starts is False


def test_a_note_is_kept_until_the_next_or_for_a_day(calls: Calls, clock: Clock) -> None:
    calls.note("error", "first")
    calls.note("error", "second")
    assert calls.notes()["error"].text == "second"
    assert calls.notes()["error"].at == clock()
    clock.now += DAY + 1
    assert calls.notes() == {}


def test_calls_of_the_past_are_forgotten_after_a_day(tmp_path: Path, clock: Clock) -> None:
    calls = SqliteCalls(str(tmp_path / "calls.sqlite3"), clock)
    for _ in range(50):
        calls.join(a_leg(clock), None)
        calls.end(a_leg(clock).uuid)
    clock.now += DAY + 1
    for _ in range(30):
        calls.end(a_leg(clock).uuid)
    with closing(sqlite3.connect(tmp_path / "calls.sqlite3")) as db:
        tables = ["legs", "ended"]
        kept = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert kept == [0, 30]


def test_every_key_in_redis_expires_after_a_day(redis_url: str) -> None:
    calls = RedisCalls(redis_url, application := uuid.uuid4().hex)
    _, goes = (calls.join(a_leg(time.time, "Conference"), 2) for _ in range(2))
    calls.end(goes.uuid)
    calls.note("error", "reason")
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter(f"*{application}*"))
        lives = [client.ttl(key) for key in keys]
    assert len(keys) == 5  # a leg, an ended one, the line, its numbering, the notes
    assert all(DAY - 60 < life <= DAY for life in lives)


def test_legs_that_have_expired_in_redis_are_cleared_away(redis_url: str) -> None:
    calls = RedisCalls(redis_url, application := uuid.uuid4().hex)
    legs = [calls.join(a_leg(time.time), None) for _ in range(3)]
    with redis.Redis.from_url(redis_url) as client:
        for leg in legs:
            client.delete(f"calls:{application}:leg:{leg.uuid.replace('-', '')}")
        assert calls.live() == []
        for _ in range(2):
            calls.end(a_leg(time.time).uuid)
        assert client.zcard(f"calls:{application}:line") == 0
