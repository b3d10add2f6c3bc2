"""Who is on the line, kept in a Redis that the processes of many machines share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from calls import DAY, Leg, Note, key
from errors import Trouble

TIMEOUT = 0.5  # seconds to connect or to wait: a caller gets the NCCO within 2 s all the same

# A leg is a hash whose values are JSON. `line` orders the legs' keys by when they joined, so
# that the calls of the past cost nothing. Every key expires by itself after a day.
JOIN = """
    local leg, ended, line, joins = unpack(KEYS)
    local day, quorum, conference, since = unpack(ARGV)
    if redis.call('EXISTS', leg) == 1 then return redis.call('HGETALL', leg) end
    local fields = {unpack(ARGV, 5)}
    local starts = false
    local others = {}
    if quorum ~= '' then
        for _, other in ipairs(redis.call('ZRANGE', line, 0, -1)) do
            local of = redis.call('HMGET', other, 'conference', 'joined')
            if of[1] == conference and tonumber(of[2]) > tonumber(since) then
                table.insert(others, other)
            end
        end
        starts = #others + 1 >= tonumber(quorum)
        for _, more in ipairs({'starts', tostring(starts), 'waiting', tostring(not starts)}) do
            table.insert(fields, more)
        end
    end
    if redis.call('EXISTS', ended) == 1 then return fields end
    redis.call('HSET', leg, unpack(fields))
    redis.call('ZADD', line, redis.call('INCR', joins), leg)
    for _, k in ipairs({leg, line, joins}) do redis.call('EXPIRE', k, day) end
    if starts then
        for _, other in ipairs(others) do redis.call('HSET', other, 'waiting', 'false') end
    end
    return redis.call('HGETALL', leg)
"""
CHANGE = """
    if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
"""
# Each end clears away up to two expired legs, so no clean-up ever takes long.
END = """
    local leg, ended, line = unpack(KEYS)
    redis.call('DEL', leg)
    redis.call('ZREM', line, leg)
    redis.call('SET', ended, '', 'EX', ARGV[1])
    for _, old in ipairs(redis.call('ZRANGE', line, 0, 1)) do
        if redis.call('EXISTS', old) == 0 then redis.call('ZREM', line, old) end
    end
"""
LIVE = """
    local legs = {}
    for _, leg in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
        table.insert(legs, redis.call('HGETALL', leg))
    end
    return legs
"""


class RedisCalls:
    """The promises of `calls.Calls`, kept in Redis; `clock` gives seconds since 1970."""

    def __init__(self, url: str, application: str, clock: Callable[[], float] = time.time) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._prefix = f"calls:{application}"
        self._clock = clock
        self._join = self._redis.register_script(JOIN)
        self._change = self._redis.register_script(CHANGE)
        self._end = self._redis.register_script(END)
        self._live = self._redis.register_script(LIVE)

    def join(self, leg: Leg, quorum: int | None) -> Leg:
        keys = [*self._keys(leg.uuid), self._name("line"), self._name("joins")]
        of_the_quorum = [quorum or "", json.dumps(leg.conference), self._clock() - DAY]
        with self._connection():
            kept = self._join(keys, [int(DAY), *of_the_quorum, *_flat(vars(leg))])
        return cast(Leg, _leg(kept))

    def change(self, uuid: str, **fields: str | float | bool | None) -> None:
        with self._connection():
            self._change(self._keys(uuid)[:1], _flat(fields))

    def end(self, uuid: str) -> None:
        with self._connection():
            self._end([*self._keys(uuid), self._name("line")], [int(DAY)])

    def live(self) -> list[Leg]:
        with self._connection():
            legs = [_leg(kept) for kept in self._live([self._name("line")])]
        return [leg for leg in legs if leg and leg.joined > self._clock() - DAY]

    def note(self, name: str, text: str) -> None:
        with self._connection(), self._redis.pipeline() as pipeline:
            pipeline.hset(self._name("notes"), name, json.dumps([text, self._clock()]))
            pipeline.expire(self._name("notes"), int(DAY))
            pipeline.execute()

    def notes(self) -> dict[str, Note]:
        with self._connection():
            kept = cast(dict[str, str], self._redis.hgetall(self._name("notes")))
        notes = {name: Note(*json.loads(note)) for name, note in kept.items()}
        return {name: note for name, note in notes.items() if note.at > self._clock() - DAY}

    @contextmanager
    def _connection(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise Trouble(
                f"The list of calls in Redis cannot be used: {error}. CALLS_URL says where it is "
                "kept.",
                status=503,
            ) from error

    def _keys(self, uuid: str) -> list[str]:
        return [self._name("leg", key(uuid)), self._name("ended", key(uuid))]

    def _name(self, *parts: str) -> str:
        return ":".join([self._prefix, *parts])


def _flat(fields: dict[str, Any]) -> list[str]:
    return [text for name, value in fields.items() for text in (name, json.dumps(value))]


def _leg(flat: list[str]) -> Leg | None:
    """The leg in a hash as Redis gives it, names and values in turn; None if it has expired."""
    fields = zip(flat[::2], flat[1::2], strict=True)
    return Leg(**{name: json.loads(value) for name, value in fields}) if flat else None
