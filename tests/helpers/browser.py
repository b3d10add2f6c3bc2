"""A real browser: tabs to visit the page in, one that may be hidden, and axe-core."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sandbox import FOLDER
from tests.helpers.servers import need
from tests.helpers.waiting import wait_until

AXE = FOLDER / ".ci/node_modules/axe-core/axe.min.js"
PHONE_AND_SCREEN: list[tuple[int, Literal["dark", "light"]]] = [(360, "dark"), (1440, "light")]

OpenTab = Callable[[bool], Page]
Visit = Callable[..., Page]
FindWithAxe = Callable[[Page], list[str]]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start one browser for all tests."""
    path = need("chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    # Without spare processes and a new frame for each address, the tests take an eighth less CPU.
    quiet.append("--disable-features=SpareRendererForSitePerProcess,RenderDocument")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_tab(chromium: Browser) -> OpenTab:
    """Return a function that returns the tab with script, or the one without.

    Both are kept, since opening one is slow. Tests may move their clocks ahead.
    """

    @cache
    def open_tab(script: bool) -> Page:
        page = chromium.new_context(java_script_enabled=script).new_page()
        page.set_default_timeout(10_000)
        page.clock.install()
        return page

    return open_tab


@pytest.fixture
def visit(open_tab: OpenTab) -> Iterator[Visit]:
    """Return a function that opens an address in a window of this size."""
    used: set[Page] = set()

    def visit(
        address: str,
        *,
        script: bool = True,
        width: int = 1280,
        height: int = 720,
        headers: dict[str, str] | None = None,
    ) -> Page:
        tab = open_tab(script)
        used.add(tab)
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme="light")
        tab.set_extra_http_headers(headers or {})
        tab.goto(address)
        return tab

    yield visit
    for tab in used:
        tab.unroute_all()
        tab.clock.resume()
        tab.goto("about:blank")


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


@pytest.fixture(scope="session")
def find_with_axe() -> FindWithAxe:
    """Return a function that lists axe-core's complaints, on a dark phone and a light screen.

    A page that is wider than the window is one, too.
    """
    if not AXE.exists() and os.environ.get("CI"):
        pytest.fail(f"{AXE} is missing: .ci/run installs it")
    if not AXE.exists():
        pytest.skip(f"needs {AXE}: npm install --prefix .ci --no-save axe-core")
    script = AXE.read_text()

    def find_with_axe(page: Page) -> list[str]:
        found: list[str] = []
        page.evaluate(script)
        for width, scheme in PHONE_AND_SCREEN:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            result = page.evaluate("axe.run()")
            found += [violation["help"] for violation in result["violations"]]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"wider than {width} pixels")
        return found

    return find_with_axe


class HiddenTab:
    """A tab that goes to the background when another opens, which Playwright's own never do."""

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
        """Run a script as if after a click, and return its value."""
        number = next(self.numbers)
        params = {"expression": script, "userGesture": True, "returnByValue": True}
        message = {"id": number, "method": "Runtime.evaluate", "params": params}
        sent = {"sessionId": self.id, "message": json.dumps(message)}
        self.session.send("Target.sendMessageToTarget", sent)
        # Asking for anything lets Playwright take what has come in.
        wait_until(
            lambda: self.session.send("Target.getTargets") and number in self.answers, script
        )
        return self.answers[number]

    def close(self) -> None:
        self.session.send("Target.closeTarget", {"targetId": self.target})
