"""Who is on the line, kept in a Redis that the processes of many machines share."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.exceptions import ServiceUnavailable

from calls.base import DAY, MOST_LEGS, Calls, Leg, key

WAIT = 0.5  # seconds for a connection, and for a reply: with one more try, still within 2 s


class RedisCalls(Calls):
    """The promises of `Calls`, kept in the Redis at `url`; `clock` gives seconds since 1970.

    Under a leg's name is its JSON, or "" once it has ended. `line` lists the names in the order in
    which they joined: of those who join at once, each finds those before it.
    """

    def __init__(
        self, url: str, application: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis: Any = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 1),  # an idle connection may have died
            socket_timeout=WAIT,
            socket_connect_timeout=WAIT,
            decode_responses=True,
        )
        self._clock = clock
        # The prefix carries a version, so that another version's records are never read.
        self._prefix = f"calls_3:{application}"
        self._line = f"{self._prefix}:line"

    def join(self, leg: Leg) -> int:
        name = self._name(leg.uuid)
        with self._errors(), self._redis.pipeline() as transaction:
            transaction.set(name, json.dumps(vars(leg)), nx=True, ex=DAY)
            transaction.rpush(self._line, name)
            transaction.expire(self._line, DAY)
            transaction.lrange(self._line, 0, -1)
            names = transaction.execute()[-1]
            legs = self._read(names)
        if leg.conference is None:
            return 0
        conferences = [other.conference for other in legs]
        return min(MOST_LEGS, conferences.count(leg.conference))

    def note(self, uuid: str, audio: str, at: float | None = None) -> None:
        name = self._name(uuid)
        now = self._clock()

        def write(transaction: Any) -> None:
            value = transaction.get(name)
            if value:
                leg = Leg(**json.loads(value))
                if at is None:
                    leg = replace(leg, audio=audio, audio_at=now)
                elif leg.audio_at <= at:
                    leg = replace(leg, audio=audio, audio_at=at)
                value = json.dumps(vars(leg))
            transaction.multi()
            # Also for a leg that is not live, where it changes nothing: a Redis that cannot be
            # written is noticed.
            transaction.set(name, value or "", xx=True, keepttl=True)

        with self._errors():
            self._redis.transaction(write, name)

    def end(self, uuid: str) -> None:
        name = self._name(uuid)
        with self._errors(), self._redis.pipeline() as transaction:
            transaction.set(name, "", ex=DAY)
            transaction.lrem(self._line, 0, name)
            transaction.execute()

    def live(self) -> list[Leg]:
        with self._errors():
            names = self._redis.lrange(self._line, 0, -1)
            legs = self._read(names)
        legs.reverse()
        return legs

    def _read(self, names: list[str]) -> list[Leg]:
        """The live legs of these names, in their order; the other names leave the line."""
        if not names:
            return []
        names = list(dict.fromkeys(names))  # Vonage may ask for a call's NCCO three times
        legs = []
        gone = []
        for name, value in zip(names, self._redis.mget(names), strict=True):
            if value:
                legs.append(Leg(**json.loads(value)))
            else:
                gone.append(name)
        if gone:
            self._remove(gone)
        now = self._clock()
        return [leg for leg in legs if abs(now - leg.joined) < DAY]

    def _remove(self, names: list[str]) -> None:
        with self._redis.pipeline() as transaction:
            for name in names:
                transaction.lrem(self._line, 0, name)
            transaction.execute()

    def _name(self, uuid: str) -> str:
        return f"{self._prefix}:{key(uuid)}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise ServiceUnavailable whatever redis-py raises: not all of it is a RedisError."""
        try:
            yield
        except Exception as error:
            reason = str(error).rstrip(".")
            raise ServiceUnavailable(
                f"The list of calls in Redis is unavailable: {reason}. Check CALLS_URL."
            ) from None
