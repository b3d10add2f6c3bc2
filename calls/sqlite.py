"""Who is on the line, kept in an SQLite file that the processes of one machine share."""

import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from threading import Lock
from typing import Any

from werkzeug.exceptions import ServiceUnavailable

from calls.base import DAY, MOST_LEGS, Calls, Leg, key

WAIT = 0.8  # seconds to wait for a thread, and for a process: an answer takes 2 s at most
COLUMNS = ", ".join(field.name for field in fields(Leg))
VALUES = ", ".join(f":{field.name}" for field in fields(Leg))

# The names carry a version, so that another version's records are never read. Legs that have
# ended are in a table of their own, so that they cost nothing where live legs are read.
SCHEMA = f"""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS legs_3 (key TEXT PRIMARY KEY, {COLUMNS});
    CREATE TABLE IF NOT EXISTS ended_3 (key TEXT PRIMARY KEY, at REAL);
"""
JOIN = f"""
    INSERT OR IGNORE INTO legs_3 (key, {COLUMNS}) SELECT :key, {VALUES}
    WHERE NOT EXISTS (SELECT 1 FROM ended_3 WHERE key = :key)
"""
# A day counts either way: a clock that was ahead for a while must keep nothing forever.
FROM_LIVE = f"FROM legs_3 WHERE abs(joined - :now) < {DAY}"
COUNTED = f"SELECT 1 {FROM_LIVE} AND conference = :conference LIMIT {MOST_LEGS}"
COUNT = f"SELECT count(*) FROM ({COUNTED})"
NOTE = "UPDATE legs_3 SET audio = :audio, audio_at = :now WHERE key = :key"
NOTE_AT = "UPDATE legs_3 SET audio = :audio, audio_at = :at WHERE key = :key AND audio_at <= :at"
LEAVE = "DELETE FROM legs_3 WHERE key = :key"
END = "REPLACE INTO ended_3 VALUES (:key, :now)"
LIVE = f"SELECT {COLUMNS} {FROM_LIVE} ORDER BY rowid DESC"
# Each end looks at the two oldest, so that no clean-up ever takes long.
OLDEST = "rowid IN (SELECT rowid FROM {0} ORDER BY rowid LIMIT 2)"
FORGET_LEGS = f"""
    DELETE FROM legs_3 WHERE {OLDEST.format("legs_3")} AND abs(joined - :now) > {DAY}
"""
FORGET_ENDED = f"""
    DELETE FROM ended_3 WHERE {OLDEST.format("ended_3")} AND abs(at - :now) > {DAY}
"""


class SqliteCalls(Calls):
    """The promises of `Calls`, kept in the file at `path`; `clock` gives seconds since 1970."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = Lock()  # SQLite's own lets some threads starve
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # device and inode of its file

    def join(self, leg: Leg) -> int:
        values = {"key": key(leg.uuid), "now": self._clock(), **vars(leg)}
        if leg.conference is None:
            self._run([JOIN], values)
            return 0
        counted: int = self._run([JOIN, COUNT], values)[0][0]
        return counted

    def note(self, uuid: str, audio: str, at: float | None = None) -> None:
        values = {"key": key(uuid), "audio": audio, "now": self._clock(), "at": at}
        if at is None:
            self._run([NOTE], values)
        else:
            self._run([NOTE_AT], values)

    def end(self, uuid: str) -> None:
        statements = [LEAVE, END, FORGET_LEGS, FORGET_ENDED]
        self._run(statements, {"key": key(uuid), "now": self._clock()})

    def live(self) -> list[Leg]:
        rows = self._run([LIVE], {"now": self._clock()})
        return [Leg(*row) for row in rows]

    def _run(self, statements: list[str], values: dict[str, Any]) -> list[Any]:
        """Run statements in one transaction on the process's connection; the last one's rows."""
        if not self._lock.acquire(timeout=WAIT):
            raise ServiceUnavailable(f"The list of calls in {self._path} is busy. Try again.")
        try:
            db = self._connection()
            with db:
                for statement in statements:
                    rows = db.execute(statement, values).fetchall()
            return rows
        except (sqlite3.Error, OSError) as error:
            self._file = None  # connect anew at the next call
            reason = str(error).rstrip(".")
            raise ServiceUnavailable(
                f"The list of calls in {self._path} is unavailable: {reason}. Check CALLS_URL."
            ) from None
        finally:
            self._lock.release()

    def _connection(self) -> sqlite3.Connection:
        """The process's one, made anew if it failed, or its file was deleted or replaced."""
        if self._db is not None:
            if self._is_current():
                return self._db
            self._db.close()
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._path, timeout=WAIT, check_same_thread=False)
        self._create_tables(self._db)
        self._file = self._identity()
        return self._db

    def _create_tables(self, db: sqlite3.Connection) -> None:
        """SQLite does not wait when two processes switch one new file to WAL: try again."""
        until = time.monotonic() + WAIT
        while True:
            try:
                db.executescript(SCHEMA)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.005)

    def _is_current(self) -> bool:
        """Whether the connection is to the file that is at the path now."""
        try:
            return self._identity() == self._file
        except FileNotFoundError:
            return False

    def _identity(self) -> tuple[int, int]:
        found = os.stat(self._path)  # noqa: PTH116 - a quarter of the cost of Path.stat
        return found.st_dev, found.st_ino
