"""Who is on the line, kept in an SQLite file that the processes of one machine share."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from werkzeug.exceptions import ServiceUnavailable

from calls.leg import DAY, MOST, Leg, key

WAIT = 0.8  # seconds to wait for a thread, and for a process: an answer takes 2 s at most
NO_FILE = (0, 0)
COLUMNS = ", ".join(field.name for field in fields(Leg))

# The names carry a version, so that another version's records are never read.
SCHEMA = f"""
    PRAGMA page_size = 1024;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS legs_2 (key TEXT PRIMARY KEY, ended REAL, {COLUMNS});
    CREATE INDEX IF NOT EXISTS live_2 ON legs_2 (conference) WHERE ended IS NULL;
"""
JOIN = f"INSERT OR IGNORE INTO legs_2 (key, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
LIVE = f"FROM legs_2 INDEXED BY live_2 WHERE ended IS NULL AND abs(joined - ?) < {DAY}"
COUNT = f"SELECT count(*) FROM (SELECT 1 {LIVE} AND conference = ? LIMIT {MOST})"
LIVE_LEGS = f"SELECT {COLUMNS} {LIVE} ORDER BY rowid DESC"
BEGIN: tuple[str, list[Any]] = ("BEGIN IMMEDIATE", [])
END = "REPLACE INTO legs_2 (key, ended) VALUES (?, ?)"
# Each end looks at the two oldest, so that no clean-up ever takes long. A day counts either way:
# a clock that was ahead for a while must keep nothing forever.
FORGET = f"""
    DELETE FROM legs_2 WHERE rowid IN (SELECT rowid FROM legs_2 ORDER BY rowid LIMIT 2)
    AND abs(coalesce(ended, joined) - ?) > {DAY}
"""


class SqliteCalls:
    """The promises of `Calls`, kept in the file at `path`; `clock` gives seconds since 1970."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()  # SQLite's own lets some threads starve
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = NO_FILE  # the one that is connected to

    def join(self, leg: Leg) -> int:
        join = (JOIN, [key(leg.uuid), *vars(leg).values()])
        if leg.conference is None:
            self._run(join)
            return 0
        count = (COUNT, [self._clock(), leg.conference])
        return int(self._run(BEGIN, join, count)[0][0])

    def end(self, uuid: str) -> None:
        now = self._clock()
        self._run(BEGIN, (END, [key(uuid), now]), (FORGET, [now]))

    def live(self) -> list[Leg]:
        return [Leg(*row) for row in self._run((LIVE_LEGS, [self._clock()]))]

    def _run(self, *statements: tuple[str, list[Any]]) -> list[Any]:
        """Run statements on the process's one connection, and commit; gives the last one's rows."""
        if not self._lock.acquire(timeout=WAIT):
            raise ServiceUnavailable(f"The list of calls in {self._path} is busy. Try again.")
        try:
            db = self._connection()
            for sql, values in statements:
                rows = db.execute(sql, values).fetchall()
            db.commit()
            return rows
        except (sqlite3.Error, OSError) as error:
            self._file = NO_FILE
            raise ServiceUnavailable(
                f"The list of calls in {self._path} is unavailable: {error}. Check CALLS_URL."
            ) from None
        finally:
            self._lock.release()

    def _connection(self) -> sqlite3.Connection:
        """The process's one, made anew if it failed, or the file was deleted or replaced."""
        if self._db:
            if self._file == self._identity():
                return self._db
            self._db.close()
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._path, WAIT, isolation_level=None, check_same_thread=False)
        until = time.monotonic() + WAIT
        while True:
            try:
                self._db.executescript(SCHEMA)
                break
            except sqlite3.OperationalError as error:
                # SQLite does not wait when two processes switch one new file to WAL.
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.005)
        self._file = self._identity()
        return self._db

    def _identity(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            file = os.stat(self._path)  # noqa: PTH116 - a quarter of the cost of Path.stat
            return file.st_dev, file.st_ino
        return None
