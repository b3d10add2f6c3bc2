"""The app as a process of its own, where no Ctrl-C in this terminal reaches it."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 10


def start(
    command: list[str], environment: dict[str, str], folder: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start a program in a folder; what it prints is added to `log`."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # which does nothing on Windows
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # only there
        )


def listens(process: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Wait until a port takes connections; False if the process ends, or takes too long."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection((host, port)):
            return True
        time.sleep(0.01)
    return False


def stop(process: subprocess.Popen[bytes]) -> int:
    """End a process, at last by force, with all that it has started; gives its exit status."""
    process.terminate()
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
    if hasattr(os, "killpg"):  # which Windows lacks
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
