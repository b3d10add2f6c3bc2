"""The list of calls in a Redis that the processes of many machines share."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.exceptions import ServiceUnavailable

from calls.base import DAY, MOST_LEGS, MOST_NEWS, AudioNote, Calls, Leg, News, joined, key, left

WAIT = 0.5  # seconds, to connect and again for a reply; tried twice: an answer may take 2 s


class RedisCalls(Calls):
    """A `Calls` in the Redis at `url`. `clock` returns seconds since 1970.

    Under a leg's name is its JSON, or "" once it has ended. A list has the names in the order in
    which the legs joined: of those that join at once, each finds those before it.
    """

    def __init__(
        self, url: str, application: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis: Any = Redis.from_url(
            url,
            protocol=2,  # Redis 5 knows only this one
            retry=Retry(NoBackoff(), 1),  # an idle connection may have died
            socket_timeout=WAIT,
            socket_connect_timeout=WAIT,
            decode_responses=True,
        )
        self._clock = clock
        # The names carry a version, so that another version's records are never read.
        self._prefix = f"calls_4:{application}"
        self._names = f"{self._prefix}:line"
        self._news = f"{self._prefix}:news"

    def join(self, leg: Leg) -> int:
        name = self._name(leg.uuid)

        def write(transaction: Any) -> None:
            is_new = transaction.get(name) is None
            transaction.multi()
            if is_new:
                transaction.set(name, leg.to_json(), ex=DAY)
                transaction.rpush(self._names, name)
                transaction.expire(self._names, DAY)
                self._add(transaction, joined(leg))
            transaction.lrange(self._names, 0, -1)

        with self._errors():
            names = self._redis.transaction(write, name)[-1]
            if leg.conference is None:
                return 0
            conferences = [other.conference for other in self._read(names)]
        return min(MOST_LEGS, conferences.count(leg.conference))

    def end(self, uuid: str) -> None:
        name = self._name(uuid)

        def write(transaction: Any) -> None:
            value = transaction.get(name)
            transaction.multi()
            transaction.set(name, "", ex=DAY)
            transaction.lrem(self._names, 0, name)
            if value:
                self._add(transaction, left(Leg.from_json(value), self._clock()))

        with self._errors():
            self._redis.transaction(write, name)

    def live(self) -> list[Leg]:
        with self._errors():
            legs = self._read(self._redis.lrange(self._names, 0, -1))
        legs.reverse()
        return legs

    def note(self, uuid: str, audio: AudioNote, at: float) -> Leg | None:
        name = self._name(uuid)

        def write(transaction: Any) -> Leg | None:
            value = transaction.get(name)
            rest = transaction.pttl(name)  # KEEPTTL needs Redis 6
            transaction.multi()
            if not value:
                return None
            leg = Leg.from_json(value)
            noted = leg.with_audio(audio, at)
            transaction.set(name, noted.to_json(), px=max(rest, 1))
            if noted.audio == leg.audio:
                return None
            return noted

        with self._errors():
            noted: Leg | None = self._redis.transaction(write, name, value_from_callable=True)
        return noted

    def tell(self, news: News) -> None:
        with self._errors(), self._redis.pipeline() as transaction:
            self._add(transaction, news)
            transaction.execute()

    def news(self) -> list[News]:
        with self._errors():
            lines = self._redis.lrange(self._news, 0, -1)
        now = self._clock()
        news = [News(*json.loads(line)) for line in lines]
        return [line for line in news if abs(now - line.at) < DAY]

    def check_writable(self) -> None:
        with self._errors():
            self._redis.set(f"{self._prefix}:check", "", px=1)

    def _name(self, uuid: str) -> str:
        return f"{self._prefix}:{key(uuid)}"

    def _read(self, names: list[str]) -> list[Leg]:
        """Return the live legs of these names, in their order; take other names off the line."""
        if not names:
            return []
        legs = []
        with self._redis.pipeline() as removal:
            for name, value in zip(names, self._redis.mget(names), strict=True):
                if value:
                    legs.append(Leg.from_json(value))
                else:
                    removal.lrem(self._names, 0, name)
            removal.execute()  # sends nothing if it is empty
        now = self._clock()
        return [leg for leg in legs if abs(now - leg.joined) < DAY]

    def _add(self, transaction: Any, news: News) -> None:
        """Add a line to what happened, and forget the oldest."""
        transaction.lpush(self._news, json.dumps(news))
        transaction.ltrim(self._news, 0, MOST_NEWS - 1)
        transaction.expire(self._news, DAY)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise ServiceUnavailable for what redis-py raises; a bad host is a UnicodeError."""
        try:
            yield
        except (RedisError, OSError, UnicodeError) as error:
            reason = str(error).rstrip(".")
            raise ServiceUnavailable(
                f"The list of calls in Redis is unavailable: {reason}. Check CALLS_URL."
            ) from None
