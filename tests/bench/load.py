"""Calls that come, are answered and end on `python app.py`, as many a second as it must bear."""

from __future__ import annotations

import statistics
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from calls import open_calls
from sandbox import Sandbox

RATE = 20  # calls a second
LASTS = 60  # seconds
CALLERS = 16  # requests that may be under way
FIRST = 1  # the second after the start in which the first call comes
ANSWER = "/webhooks/answer"
EVENT = "/webhooks/event"


@dataclass(frozen=True, order=True)
class Webhook:
    """A webhook that is due some seconds after the start."""

    due: float
    path: str
    uuid: str
    status: str = ""


def load() -> None:
    """Send them when they are due; print what became of them, and how late it was."""
    statuses = []
    waits = []
    with Sandbox() as sandbox:
        began = time.monotonic()

        def send(webhook: Webhook) -> None:
            due = began + webhook.due
            time.sleep(max(0, due - time.monotonic()))
            parameters = {"uuid": webhook.uuid, "status": webhook.status}
            response = sandbox.send("POST", webhook.path, parameters)
            waits.append(time.monotonic() - due)
            if response is None:
                statuses.append("lost")
            else:
                statuses.append(str(response.status_code))

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(send, plan()))  # raises what went wrong
        left = open_calls(sandbox.environment["CALLS_URL"], None).live()
    print(f"answers by status: {dict(Counter(statuses))}; left on the line: {len(left)}")
    late = statistics.quantiles(waits, n=100)[-1] * 1000
    last = max(waits) * 1000
    print(f"99 % within {late:.0f} ms, at most 50; the last after {last:.0f} ms")


def plan() -> list[Webhook]:
    """The webhooks of all calls, in the order in which they are due."""
    webhooks = []
    for number in range(RATE * LASTS):
        leg = str(uuid.uuid4())
        comes = FIRST + number / RATE
        webhooks.append(Webhook(comes, ANSWER, leg))
        webhooks.append(Webhook(comes + 1, EVENT, leg, "answered"))
        webhooks.append(Webhook(comes + 2, EVENT, leg, "completed"))
    return sorted(webhooks)
