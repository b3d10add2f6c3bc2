"""Ports of this machine for what must be given one, so that no two tests take the same."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle

# Each process of pytest-xdist has its own thousand. They are below those that the system gives to
# connections and to servers that leave the choice to it: another might take such a one meanwhile.
EACH = 1_000
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST = 20_000 + EACH * WORKER
BEGIN = os.getpid() % EACH  # elsewhere in another run
PORTS: Iterator[int] = cycle([*range(FIRST + BEGIN, FIRST + EACH), *range(FIRST, FIRST + BEGIN)])


def free_port() -> int:
    """A port that no one listens on, and that no other test of this run gets."""
    while True:
        port = next(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
