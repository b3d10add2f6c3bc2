"""Processes that end with the test, and with them what they have started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def run(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process as long as the block lasts; the options are those of Popen."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            end(process)


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
