"""Tell on a terminal what callers do and hear, and what the app logs, in one order."""

import io
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TextIO

from sandbox.call import Call

LEFT = 18  # columns, for the time and the name
LOGGED = re.compile(r"\[[^]]*\] (\w+): (.*)")  # a line of the app's log: date, level, text
LEG = re.compile(r"(?:\bleg )?\b([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})\b(?: from …\d{4})?")
WRONG = re.compile(
    r"→ (?:[45]|no answer)|^is cut off|^hears nothing|^app.py has ended|^warning|^error|^critical"
)
# What the story has without it: of audio, what is heard is a line of its own.
NO_NEWS = re.compile(r"(warning: )?\S+: (started|ringing|transfer|audio .*)|Running on .*")
ONCE = re.compile(r"GET /static/.*")  # each caller's music is fetched
SUM = re.compile(r"(?:warning: )?Sent .*")  # of a play: its callers come first


class Story:
    """Prints lines to a file, which may be closed at any time, with one clock.

    `log` is the app's, in which `calls` are known by their uuid. Before each line comes what the
    app has logged until then: it logs before it answers, so that all is in order.
    """

    def __init__(self, log: Path, calls: dict[str, Call], file: TextIO) -> None:
        self._began = time.monotonic()
        self._log = log.open("rb")
        self._calls = calls
        self._lock = threading.RLock()
        self._file = file
        self._is_terminal = file.isatty()
        self._told: set[str] = set()
        self._sums: list[str] = []
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="replace")  # for an encoding that lacks an arrow

    def say(self, name: str, line: str) -> None:
        """Print a line about somebody."""
        with self._lock:
            self.read_log()
            self._print(name, line)

    def read_log(self) -> None:
        """Print what the app has logged since the last line."""
        with self._lock:
            while not self._log.closed:
                line = self._log.readline()
                if not line.endswith(b"\n"):  # the app is about to write the rest
                    self._log.seek(-len(line), os.SEEK_CUR)
                    break
                self._take(self._in_words(line.decode(errors="replace").rstrip()))
            if not any(call.is_fetching for call in list(self._calls.values())):
                for told in self._sums:
                    self._print("app", told)
                self._sums.clear()

    def close(self) -> None:
        """Print what is left, and nothing more."""
        with self._lock:
            self.read_log()
            self._log.close()

    def _in_words(self, line: str) -> str:
        """Return a line of the app's log without its date, and with callers by their names."""
        logged = LOGGED.fullmatch(line)
        if logged:
            level, line = logged.groups()
            if level != "INFO":
                line = f"{level.lower()}: {line}"
        names = {call.uuid.replace("-", ""): call.name for call in list(self._calls.values())}
        return LEG.sub(lambda leg: names.get(leg[1].replace("-", ""), leg[0]), line)

    def _take(self, line: str) -> None:
        """Print a line of the app's, unless it is no news, or its time has not come."""
        if NO_NEWS.fullmatch(line) or line in self._told:
            return
        if ONCE.fullmatch(line):
            self._told.add(line)
        if SUM.fullmatch(line):
            self._sums.append(line)
        else:
            self._print("app", line)

    def _print(self, name: str, line: str) -> None:
        """Print a line after time and name, folded where the terminal is narrow."""
        if self._log.closed:
            return
        seconds = time.monotonic() - self._began
        columns = shutil.get_terminal_size().columns or 80  # 0 in Python 3.10, if it is not known
        text = textwrap.fill(
            line,
            max(columns - 1, 2 * LEFT),
            initial_indent=f"{seconds:5.1f} s  {name:7}  ",
            subsequent_indent=" " * LEFT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if self._is_terminal:
            if WRONG.search(line) and sys.platform != "win32":
                text = f"\x1b[31m{text}\x1b[0m"  # red
            text = f"\r{text}"  # over the ^C of whoever pressed it
        try:
            self._file.write(f"{text}\n")
            self._file.flush()
        except OSError:  # it is closed: what is left to print goes nowhere, also at the end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)
