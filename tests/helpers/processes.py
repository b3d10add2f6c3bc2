"""Ending a process, and with it what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any


def end(process: subprocess.Popen[Any]) -> None:
    """End a process by SIGTERM; one that has not ended after 10 s by SIGKILL, with its children."""
    children = children_of(process)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        for pid in [process.pid, *children]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def children_of(process: subprocess.Popen[Any]) -> list[int]:
    """The ids of the processes that it has started and that run, where the system says so."""
    file = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return [int(pid) for pid in file.read_text().split()]
    except OSError:
        return []
