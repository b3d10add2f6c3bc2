"""Ports of this machine, so that no two tests take the same, and whether it has IPv6."""

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
    """Return a port that is not in use, and that no other test of this run takes."""
    while True:
        port = next(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def has_ipv6() -> bool:
    """Return whether this machine can be reached by IPv6: a container may not."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
