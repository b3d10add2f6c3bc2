"""A tab of a browser that may be hidden; Playwright's own pages are always visible."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from playwright.sync_api import Browser


def until(test: Callable[[], Any], what: str = "") -> None:
    """Wait until something is so."""
    end = time.monotonic() + 5
    while not test():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Tab:
    """A tab of a window in which the one that was opened last is in front."""

    numbers = count(1)

    def __init__(self, browser: Browser, address: str) -> None:
        self.session, self.answers = browser.new_browser_cdp_session(), dict[int, Any]()
        self.session.on("Target.receivedMessageFromTarget", self._take)
        self.target = self.session.send("Target.createTarget", {"url": address})["targetId"]
        attach = {"targetId": self.target, "flatten": False}
        self.id = self.session.send("Target.attachToTarget", attach)["sessionId"]

    def _take(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if event["sessionId"] == self.id and "id" in message:
            self.answers[message["id"]] = message["result"]["result"].get("value")

    def evaluate(self, script: str) -> Any:
        """What a script gives that runs as if somebody had clicked."""
        number = next(self.numbers)
        params = {"expression": script, "userGesture": True, "returnByValue": True}
        message = {"id": number, "method": "Runtime.evaluate", "params": params}
        sent = {"sessionId": self.id, "message": json.dumps(message)}
        self.session.send("Target.sendMessageToTarget", sent)
        until(lambda: self.session.send("Target.getTargets") and number in self.answers, script)
        return self.answers[number]

    def close(self) -> None:
        """Close the tab."""
        self.session.send("Target.closeTarget", {"targetId": self.target})
