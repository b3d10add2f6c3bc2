"""Who is on the line, kept in a Redis that the processes of many machines share."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.exceptions import ServiceUnavailable

from calls.leg import DAY, MOST, Leg, key

WAIT = 0.5  # seconds to connect, and to wait: an answer takes 2 s at most


class RedisCalls:
    """The promises of `Calls`, kept in the Redis at `url`; `clock` gives seconds since 1970.

    Under a leg's name is its JSON, or nothing once it has ended. `line` lists the names in the
    order in which they joined, `line:<conference>` those of one conference.
    """

    def __init__(self, url: str, application: str, clock: Callable[[], float] = time.time) -> None:
        waits = {"socket_timeout": WAIT, "socket_connect_timeout": WAIT, "decode_responses": True}
        self._redis: Any = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **waits)
        self._clock = clock
        # The prefix carries a version, so that another version's records are never read.
        self._prefix = f"calls_2:{application}"
        self._line = f"{self._prefix}:line"

    def join(self, leg: Leg) -> int:
        name, line = self._name(leg.uuid), f"{self._line}:{leg.conference}"
        with self._transaction() as db:
            db.set(name, json.dumps(vars(leg)), nx=True, ex=DAY)
            db.rpush(self._line, name).expire(self._line, DAY)
            if leg.conference is None:
                db.execute()
                return 0
            db.rpush(line, name).expire(line, DAY).lrange(line, 0, -1)
            return min(MOST, len(self._read(line, db.execute()[-1])))

    def end(self, uuid: str) -> None:
        name = self._name(uuid)
        with self._transaction() as db:
            db.set(name, "", ex=DAY).lrem(self._line, 0, name).execute()

    def live(self) -> list[Leg]:
        with self._transaction():
            return self._read(self._line, self._redis.lrange(self._line, 0, -1))[::-1]

    def _read(self, line: str, names: list[str]) -> list[Leg]:
        """The legs of these names that are live; the other names leave the line."""
        names = list(dict.fromkeys(names))  # a call may have asked for its NCCO three times
        values = self._redis.mget(names) if names else []
        for name, value in zip(names, values, strict=True):
            if not value:
                self._redis.lrem(line, 0, name)
        legs = [Leg(**json.loads(value)) for value in values if value]
        return [leg for leg in legs if abs(self._clock() - leg.joined) < DAY]

    def _name(self, uuid: str) -> str:
        return f"{self._prefix}:{key(uuid)}"

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A transaction to fill and execute; ServiceUnavailable where Redis fails."""
        try:
            with self._redis.pipeline() as db:
                yield db
        except RedisError as error:
            raise ServiceUnavailable(
                f"The list of calls in Redis is unavailable, check CALLS_URL: {error}"
            ) from None
