"""A minute of calls to `python app.py`: each is answered, and ends after a second or two."""

from __future__ import annotations

import statistics
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter

from calls import open_calls
from sandbox import Sandbox

RATE = 20  # calls a second
LASTS = 60  # seconds
CALLERS = 16  # requests that may be under way
FIRST = 1  # the second after the start in which the first call comes


Webhook = tuple[float, str, dict[str, str]]  # when it is due, its path and its parameters


def load() -> None:
    """Send the webhooks when they are due; print their statuses and how late the answers were."""
    statuses = []
    waits = []
    with Sandbox() as sandbox:
        began = time.monotonic()

        def send(webhook: Webhook) -> None:
            due, path, parameters = webhook
            time.sleep(max(0, began + due - time.monotonic()))
            response = sandbox.send("POST", path, parameters)
            waits.append(time.monotonic() - began - due)
            statuses.append("lost" if response is None else str(response.status_code))

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(send, plan()))  # raises what went wrong
        url = sandbox.environment["CALLS_URL"]
        left = open_calls(url, sandbox.account.application_id).live()
    print(f"answers by status: {dict(Counter(statuses))}; left on the line: {len(left)}")
    late = statistics.quantiles(waits, n=100)[-1] * 1000
    last = max(waits) * 1000
    print(f"99 % within {late:.0f} ms, at most 50; the last after {last:.0f} ms")


def plan() -> list[Webhook]:
    """Return the webhooks of all calls, in the order in which they are due."""
    webhooks: list[Webhook] = []
    for number in range(RATE * LASTS):
        leg = str(uuid.uuid4())
        comes = FIRST + number / RATE
        webhooks.append((comes, "/webhooks/answer", {"uuid": leg}))
        for later, status in ((1, "answered"), (2, "completed")):
            event = {"uuid": leg, "status": status}
            webhooks.append((comes + later, "/webhooks/event", event))
    return sorted(webhooks, key=itemgetter(0))
