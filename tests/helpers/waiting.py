"""Wait for what a test expects."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(look: Callable[[], Value], what: str = "it", seconds: float = 10) -> Value:
    """Look until something is there, and return it; fail after some seconds."""
    end = time.monotonic() + seconds
    seen = look()
    while not seen:
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.01)
        seen = look()
    return seen
