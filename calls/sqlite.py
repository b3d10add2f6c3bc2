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

# The names carry a version, so that another version's records are never read. A small page makes
# little to write of a small change, and so do two tables instead of one with an index.
SCHEMA = f"""
    PRAGMA page_size = 1024;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS legs_2 (key TEXT PRIMARY KEY, {COLUMNS});
    CREATE TABLE IF NOT EXISTS ended_2 (key TEXT PRIMARY KEY, at REAL);
"""
JOIN = """
    INSERT OR IGNORE INTO legs_2 SELECT ?, ?, ?, ?, ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM ended_2 WHERE key = ?)
"""
TODAY = f"FROM legs_2 WHERE abs(joined - ?) < {DAY}"
COUNT = f"SELECT count(*) FROM (SELECT 1 {TODAY} AND conference = ? LIMIT {MOST})"
LIVE = f"SELECT {COLUMNS} {TODAY} ORDER BY rowid DESC"
LEAVE = "DELETE FROM legs_2 WHERE key = ?"
END = "REPLACE INTO ended_2 VALUES (?, ?)"
# Each end looks at the two oldest, so that no clean-up ever takes long. A day counts either way:
# a clock that was ahead for a while must keep nothing forever.
OLDEST = "WHERE rowid IN (SELECT rowid FROM {0} ORDER BY rowid LIMIT 2)"
FORGET_LEGS = f"DELETE FROM legs_2 {OLDEST.format('legs_2')} AND abs(joined - ?) > {DAY}"
FORGET_ENDED = f"DELETE FROM ended_2 {OLDEST.format('ended_2')} AND abs(at - ?) > {DAY}"


class SqliteCalls:
    """The promises of `Calls`, kept in the file at `path`; `clock` gives seconds since 1970."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()  # SQLite's own lets some threads starve
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = NO_FILE  # the one that is connected to

    def join(self, leg: Leg) -> int:
        name = key(leg.uuid)
        join = (JOIN, [name, *vars(leg).values(), name])
        if leg.conference is None:
            self._run(join)
            return 0
        return int(self._run(join, (COUNT, [self._clock(), leg.conference]))[0][0])

    def end(self, uuid: str) -> None:
        name, now = key(uuid), self._clock()
        forget = ((FORGET_LEGS, [now]), (FORGET_ENDED, [now]))
        self._run((LEAVE, [name]), (END, [name, now]), *forget)

    def live(self) -> list[Leg]:
        return [Leg(*row) for row in self._run((LIVE, [self._clock()]))]

    def _run(self, *statements: tuple[str, list[Any]]) -> list[Any]:
        """Run statements in one transaction on the process's connection; the last one's rows."""
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
        options: Any = {"timeout": WAIT, "isolation_level": "IMMEDIATE"}
        self._db = sqlite3.connect(self._path, check_same_thread=False, **options)
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
