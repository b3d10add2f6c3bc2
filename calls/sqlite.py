"""The list of calls in an SQLite file that the processes of one machine share."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os.path import samestat
from pathlib import Path
from threading import Lock
from typing import Any

from werkzeug.exceptions import ServiceUnavailable

from calls.base import DAY, MOST_LEGS, MOST_NEWS, AudioNote, Calls, Leg, News, joined, key, left

WAIT = 0.8  # seconds, for a thread and again for a process: an answer may take 2 s

# The names carry a version, so that another version's records are never read. Legs that have
# ended are in a table of their own, so that they cost nothing where live legs are read.
SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS legs_4
        (name TEXT PRIMARY KEY, application TEXT, conference TEXT, at REAL, leg TEXT);
    CREATE TABLE IF NOT EXISTS ended_4 (name TEXT PRIMARY KEY, at REAL);
    CREATE TABLE IF NOT EXISTS news_4 (application TEXT, at REAL, text TEXT, bad INTEGER);
"""
JOIN = """
    INSERT OR IGNORE INTO legs_4 SELECT ?, ?, ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM ended_4 WHERE name = ?)
"""
# A day counts either way: a clock that was ahead for a while must keep nothing forever.
LIVE = f"FROM legs_4 WHERE application = ? AND abs(at - ?) < {DAY}"
COUNT = f"SELECT count(*) FROM (SELECT 1 {LIVE} AND conference = ? LIMIT {MOST_LEGS})"
NEWS = f"""
    SELECT at, text, bad FROM news_4 WHERE application = ? AND abs(at - ?) < {DAY}
    ORDER BY rowid DESC LIMIT {MOST_NEWS}
"""


class SqliteCalls(Calls):
    """A `Calls` in the SQLite file at `path`. `clock` returns seconds since 1970."""

    def __init__(
        self, path: str, application: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._application = str(application)
        self._clock = clock
        self._lock = Lock()  # SQLite's own lets some threads starve
        self._db: Any = None  # the process's connection
        self._file: os.stat_result | None = None  # its file; None after a failure

    def join(self, leg: Leg) -> int:
        name = self._name(leg.uuid)
        row = (name, self._application, leg.conference, leg.joined, leg.to_json(), name)
        now = self._clock()
        with self._transaction() as db:
            if db.execute(JOIN, row).rowcount == 1:
                self._add(db, joined(leg))
                forget_oldest(db, "legs_4", now)  # events may never come
            if leg.conference is None:
                return 0
            count = db.execute(COUNT, (self._application, now, leg.conference))
            return int(count.fetchone()[0])

    def end(self, uuid: str) -> None:
        name = self._name(uuid)
        now = self._clock()
        with self._transaction() as db:
            leg = self._find(db, name)
            if leg is not None:
                db.execute("DELETE FROM legs_4 WHERE name = ?", (name,))
                self._add(db, left(leg, now))
            db.execute("REPLACE INTO ended_4 VALUES (?, ?)", (name, now))
            for table in ("legs_4", "ended_4", "news_4"):
                forget_oldest(db, table, now)

    def live(self) -> list[Leg]:
        with self._connection() as db:
            rows = db.execute(
                f"SELECT leg {LIVE} ORDER BY rowid DESC", (self._application, self._clock())
            ).fetchall()
        return [Leg.from_json(text) for (text,) in rows]

    def note(self, uuid: str, audio: AudioNote, at: float) -> Leg | None:
        name = self._name(uuid)
        with self._transaction() as db:
            leg = self._find(db, name)
            if leg is None:
                return None
            noted = leg.with_audio(audio, at)
            db.execute("UPDATE legs_4 SET leg = ? WHERE name = ?", (noted.to_json(), name))
        if noted.audio == leg.audio:
            return None
        return noted

    def tell(self, news: News) -> None:
        with self._transaction() as db:
            self._add(db, news)

    def news(self) -> list[News]:
        with self._connection() as db:
            rows = db.execute(NEWS, (self._application, self._clock())).fetchall()
        return [News(at, text, bool(bad)) for at, text, bad in rows]

    def check_writable(self) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM news_4 WHERE text IS NULL")

    def _name(self, uuid: str) -> str:
        return f"{self._application}:{key(uuid)}"

    def _find(self, db: sqlite3.Connection, name: str) -> Leg | None:
        row = db.execute("SELECT leg FROM legs_4 WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        return Leg.from_json(row[0])

    def _add(self, db: sqlite3.Connection, news: News) -> None:
        db.execute("INSERT INTO news_4 VALUES (?, ?, ?, ?)", (self._application, *news))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, and commit what is done with it, or nothing of it."""
        with self._connection() as db, db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield the process's connection to one thread; raise ServiceUnavailable if it fails."""
        if not self._lock.acquire(timeout=WAIT):
            raise ServiceUnavailable(f"The list of calls in {self._path} is busy. Try again.")
        try:
            if not self._is_current():
                self._connect()
            yield self._db
        except (sqlite3.Error, OSError) as error:
            self._file = None  # connect again at the next call
            reason = str(error).rstrip(".")
            raise ServiceUnavailable(
                f"The list of calls in {self._path} is unavailable: {reason}. Check CALLS_URL."
            ) from None
        finally:
            self._lock.release()

    def _is_current(self) -> bool:
        """Return whether the connection is to the file that is at the path now."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a quarter of the cost of Path.stat
        except FileNotFoundError:
            return False
        return self._file is not None and samestat(found, self._file)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()

    __del__ = _close

    def _connect(self) -> None:
        """Connect for the first time, after a failure, or after the file was replaced."""
        self._close()
        # The list has full phone numbers: only the owner may open the folder.
        path = Path(self._path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            path, timeout=WAIT, check_same_thread=False, isolation_level=None
        )
        create_tables(self._db)
        self._file = path.stat()


def create_tables(db: sqlite3.Connection) -> None:
    """Create the tables. SQLite does not wait for a process that does the same: try again."""
    until = time.monotonic() + WAIT
    while True:
        try:
            db.executescript(SCHEMA)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.005)


def forget_oldest(db: sqlite3.Connection, table: str, now: float) -> None:
    """Delete what is older than a day from a table, ten rows at most: so no call takes long."""
    oldest = f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 10"
    db.execute(f"DELETE FROM {table} WHERE rowid IN ({oldest}) AND abs(at - ?) > {DAY}", (now,))
