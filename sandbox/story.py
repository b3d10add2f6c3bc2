"""What happens, on a terminal: what callers hear, beside what the app logs, in one order."""

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

COLUMNS = 80
LEFT = 19  # columns, for the time and the name
LOGGED = re.compile(r"\[[^]]*\] (\w+): (.*)")  # a line of the app's log: date, level, text
UUID = re.compile(r"(?:\bleg )?\b([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})\b")
URL = re.compile(r"https?://[^/ ]+/(?:[^/ ]*/)*([^/ ]+)")
WRONG = re.compile(
    r"→ (?:[45]|no answer)|^is cut off|^hears nothing|^app.py has ended|^warning|^error|^critical"
)
# What the app logs, and a reader of the story knows already or need not know.
NO_NEWS = re.compile(r"caller \d+: (started|ringing|transfer)|Running on .*")
RED = "\x1b[31m"
PLAIN = "\x1b[0m"


class Story:
    """Prints lines to a file, with one clock.

    `log` is the app's, in which `calls` are known by their uuid.

    Before each line comes what the app has logged until then. It logs before it answers, so that
    all is in order, and a webhook's line follows what became of it.
    """

    def __init__(self, log: Path, calls: dict[str, Call], file: TextIO) -> None:
        self._began = time.monotonic()
        self._log = log.open("rb")
        self._calls = calls
        self._lock = threading.Lock()
        self._over = False
        self._terminal = Terminal(file)

    def say(self, name: str, line: str) -> None:
        """Print a line about somebody."""
        with self._lock:
            self._read_log()
            self._print(name, URL.sub(r"…/\1", line))

    def read_log(self) -> None:
        """Print what the app has logged since the last line."""
        with self._lock:
            self._read_log()

    def close(self) -> None:
        """Print what is left of the app's log, and nothing more."""
        with self._lock:
            self._read_log()
            self._over = True
            self._log.close()

    def _read_log(self) -> None:
        while not self._over:
            line = self._log.readline()
            if not line.endswith(b"\n"):  # the app is about to write the rest
                self._log.seek(-len(line), os.SEEK_CUR)
                return
            text = self._in_words(line.decode(errors="replace").rstrip())
            if not NO_NEWS.fullmatch(text):
                self._print("app", text)

    def _in_words(self, line: str) -> str:
        """A line of the app's log without date and level, and with callers by their names."""
        logged = LOGGED.fullmatch(line)
        if logged:
            level, line = logged.groups()
            if level != "INFO":
                line = f"{level.lower()}: {line}"
        names = {}
        for call in list(self._calls.values()):
            names[call.uuid.replace("-", "")] = call.name
        for match in UUID.finditer(line):
            name = names.get(match[1].replace("-", ""))
            if name:
                line = line.replace(match[0], name)
        return line

    def _print(self, name: str, line: str) -> None:
        if self._over:
            return
        seconds = time.monotonic() - self._began
        start = f"{seconds:5.1f} s  {name:8}  "
        self._terminal.write(start, line, bool(WRONG.search(line)))


class Terminal:
    """Where the story is printed, which may be closed at any time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_terminal = file.isatty()
        reconfigure = getattr(file, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")  # for an encoding that lacks an arrow

    def write(self, start: str, text: str, wrong: bool) -> None:
        """Write a text after its start, folded where the terminal is narrow."""
        columns = shutil.get_terminal_size().columns
        if columns == 0:  # in Python 3.10, where a terminal does not know
            columns = COLUMNS
        width = max(columns - 1, 2 * LEFT)
        folded = textwrap.fill(
            text,
            width,
            initial_indent=" " * len(start),
            subsequent_indent=" " * LEFT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        line = start + folded[len(start) :]
        if wrong and self._is_terminal and sys.platform != "win32":
            line = f"{RED}{line}{PLAIN}"
        if self._is_terminal:
            line = f"\r{line}"  # over the ^C of whoever pressed it
        try:
            self._file.write(f"{line}\n")
            self._file.flush()
        except OSError:  # it is closed: what is left to print goes nowhere, also at the end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)
