"""The Voice API's room alone: its token, its connections, its clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from sandbox import Sandbox
from voice import Voice

MINUTE = 60.0


@dataclass
class Leg:
    uuid: str
    api_host: str | None
    audio_url: str


@dataclass
class Clock:
    """A clock that a test can set."""

    now: float

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
def voice(conference: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Voice:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", conference.environment["REQUESTS_CA_BUNDLE"])
    account, host = conference.account, conference.environment["VONAGE_API_HOST"]
    return Voice(account.application_id, account.private_key, host, clock)


def play(voice: Voice, sandbox: Sandbox, legs: int = 1) -> None:
    audio = f"{sandbox.public_url}/static/hold-music.mp3"
    called = [Leg(sandbox.dial().uuid, None, audio) for _ in range(legs)]
    assert voice.play(called, None, None, time.monotonic() + 10) == [None] * legs


def tokens(sandbox: Sandbox) -> list[str]:
    return [asked.authorization for asked in sandbox.asked]


def test_a_token_is_used_for_ten_minutes(conference: Sandbox, voice: Voice, clock: Clock) -> None:
    play(voice, conference)
    clock.now += 9.9 * MINUTE
    play(voice, conference)
    assert len(set(tokens(conference))) == 1


def test_a_token_is_renewed_well_before_its_15_minutes_are_over(
    conference: Sandbox, voice: Voice, clock: Clock
) -> None:
    play(voice, conference)
    clock.now += 10.1 * MINUTE
    play(voice, conference)
    assert len(set(tokens(conference))) == 2


def test_a_token_from_the_future_is_renewed(
    conference: Sandbox, voice: Voice, clock: Clock
) -> None:
    play(voice, conference)
    clock.now -= 1 * MINUTE  # the machine's clock was put right
    play(voice, conference)
    assert len(set(tokens(conference))) == 2


def test_threads_that_need_a_token_at_once_share_one(conference: Sandbox, voice: Voice) -> None:
    play(voice, conference, legs=6)
    assert len(set(tokens(conference))) == 1


def test_connections_are_as_many_as_requests_at_a_time(conference: Sandbox, voice: Voice) -> None:
    conference.latency = 0.1
    play(voice, conference, legs=12)
    assert len({asked.connection for asked in conference.asked}) <= 4


def test_the_connection_is_kept(conference: Sandbox, voice: Voice) -> None:
    for _ in range(3):
        play(voice, conference)
    assert len({asked.connection for asked in conference.asked}) == 1
