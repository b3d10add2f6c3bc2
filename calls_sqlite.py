"""Who is on the line, kept in an SQLite file that the processes of one machine share."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

from calls import DAY, Leg, Note, key
from errors import Trouble

BUSY_TIMEOUT = 0.8  # seconds to wait for a lock: a caller gets the NCCO within 2 s all the same

FIELDS = [field.name for field in fields(Leg)]
COLUMNS = ", ".join(f'"{name}"' for name in FIELDS)
FLAGS = ["answered", "starts", "waiting"]

# `legs` stays as small as the line is, and `ended` keeps only what must not come back, so that
# the calls of the past cost nothing. Rows are numbered in the order they came in. A small page
# makes less to write of a small change.
SCHEMA = f"""
    PRAGMA page_size = 1024;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS legs (key TEXT PRIMARY KEY, {COLUMNS});
    CREATE TABLE IF NOT EXISTS ended (key TEXT PRIMARY KEY, at);
    CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text, at);
"""
FIND = f"SELECT {COLUMNS} FROM legs WHERE key = ?"
OTHERS = "SELECT count(*) FROM legs WHERE conference = ? AND joined > ? AND key <> ?"
JOIN = (
    f"INSERT OR IGNORE INTO legs SELECT ?{', ?' * len(FIELDS)} "
    "WHERE NOT EXISTS (SELECT 1 FROM ended WHERE key = ?)"
)
NOBODY_WAITS = "UPDATE legs SET waiting = 0 WHERE conference = ? AND waiting"
DELETE = "DELETE FROM legs WHERE key = ?"
END = "INSERT OR IGNORE INTO ended VALUES (?, ?)"
# Each end clears away up to two rows that are over a day old, so no clean-up ever takes long.
FORGET_LEGS = (
    "DELETE FROM legs WHERE rowid IN (SELECT rowid FROM legs ORDER BY rowid LIMIT 2) AND joined < ?"
)
FORGET_ENDED = (
    "DELETE FROM ended WHERE rowid IN (SELECT rowid FROM ended ORDER BY rowid LIMIT 2) AND at < ?"
)
LIVE = f"SELECT {COLUMNS} FROM legs WHERE joined > ? ORDER BY rowid DESC"
NOTE = "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)"
NOTES = "SELECT name, text, at FROM notes WHERE at > ?"


class SqliteCalls:
    """The promises of `calls.Calls`, kept in one file; `clock` gives seconds since 1970."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path, self._name = Path(path), path
        self._clock = clock
        self._idle: list[tuple[sqlite3.Connection, tuple[int, int] | None]] = []

    def join(self, leg: Leg, quorum: int | None) -> Leg:
        row_key = key(leg.uuid)
        with self._transaction() as db:
            if quorum:
                others = db.execute(OTHERS, [leg.conference, self._clock() - DAY, row_key])
                starts = others.fetchone()[0] + 1 >= quorum
                leg = replace(leg, starts=starts, waiting=not starts)
            if db.execute(JOIN, [row_key, *vars(leg).values(), row_key]).rowcount:
                if leg.starts:
                    db.execute(NOBODY_WAITS, [leg.conference])
                return leg
            row = db.execute(FIND, [row_key]).fetchone()
            return _leg(row) if row else leg

    def change(self, uuid: str, **fields: str | float | bool | None) -> None:
        names = ", ".join(f"{name} = ?" for name in fields)
        with self._transaction() as db:
            db.execute(f"UPDATE legs SET {names} WHERE key = ?", [*fields.values(), key(uuid)])

    def end(self, uuid: str) -> None:
        with self._transaction() as db:
            db.execute(DELETE, [key(uuid)])
            db.execute(END, [key(uuid), self._clock()])
            db.execute(FORGET_LEGS, [self._clock() - DAY])
            db.execute(FORGET_ENDED, [self._clock() - DAY])

    def live(self) -> list[Leg]:
        with self._connection() as db:
            return [_leg(row) for row in db.execute(LIVE, [self._clock() - DAY])]

    def note(self, name: str, text: str) -> None:
        with self._transaction() as db:
            db.execute(NOTE, [name, text, self._clock()])

    def notes(self) -> dict[str, Note]:
        with self._connection() as db:
            rows = db.execute(NOTES, [self._clock() - DAY])
            return {name: Note(text, at) for name, text, at in rows}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses meanwhile; one that failed is thrown away."""
        try:
            db, file = self._take()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            self._idle.append((db, file))
        except (sqlite3.Error, OSError) as error:
            raise Trouble(
                f"The list of calls in {self._path} cannot be used: {error}. CALLS_URL says "
                "where it is kept.",
                status=503,
            ) from error

    def _take(self) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
        with suppress(IndexError):
            while True:
                db, file = self._idle.pop()
                if file == self._file():
                    return db, file
                db.close()  # the file was deleted or replaced: what is written there is lost
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(db)
        except BaseException:
            db.close()
            raise
        return db, self._file()

    def _set_up(self, db: sqlite3.Connection) -> None:
        until = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                db.executescript(SCHEMA)
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself when two processes make a file one of WAL mode.
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.005)

    def _file(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            stat = os.stat(self._name)  # noqa: PTH116 - four times as fast as Path.stat
            return stat.st_dev, stat.st_ino
        return None


def _leg(row: tuple[object, ...]) -> Leg:
    values = dict(zip(FIELDS, row, strict=True))
    flags = {name: None if values[name] is None else bool(values[name]) for name in FLAGS}
    return Leg(**{**values, **flags})  # type: ignore[arg-type]
