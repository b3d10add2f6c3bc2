"""Do on the page what an operator does, and find its parts."""

from __future__ import annotations

import html
import re
import time
import uuid

import requests
from playwright.sync_api import Locator, Page

from calls import Leg
from tests.helpers.sandboxes import InProcess

CALLER = {"from": "442079460123"}
CONFERENCE = "Relaxing Conference"
AUDIO = "https://audio.example/hold-music.mp3"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FROM_ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
PASSWORD = "let me in"
LOGIN = {"Authorization": "Basic OmxldCBtZSBpbg=="}  # with that password


def read(sandbox: InProcess, path: str = "/", **headers: str) -> requests.Response:
    """Request a page with a browser's headers."""
    return requests.get(sandbox.app_url + path, headers={**HTML, **headers}, timeout=20)


def words(response: requests.Response) -> str:
    """Return the words of a page, with single spaces."""
    text = html.unescape(re.sub("<[^<>]*>", "", response.text))
    return " ".join(text.split())


def pass_a_second(page: Page) -> None:
    """Move the tab's clock ahead by a second, so that the page renews itself."""
    page.clock.run_for(1_000)


def refresh(page: Page) -> None:
    """Let a second pass, and wait until the page has renewed itself."""
    shown = page.locator("#main").get_attribute("data-now")
    pass_a_second(page)
    page.locator(f"#main:not([data-now='{shown}'])").wait_for(state="attached")


def fill(sandbox: InProcess, callers: int = 40) -> None:
    """Put callers on the line that Vonage does not know."""
    for number in range(callers):
        leg = Leg(str(uuid.uuid4()), f"14155550{number:03}", None, AUDIO, CONFERENCE, time.time())
        sandbox.store.join(leg)


def caller(page: Page, number: str) -> Locator:
    """Return the entry of one caller in the list."""
    return page.get_by_role("listitem").filter(has=page.get_by_text(number, exact=True))


def answer(page: Page) -> Locator:
    """Return the answer to a press, or to the request that opened the page."""
    return page.locator("#answer")


def said(page: Page) -> Locator:
    """Return what went wrong with a press, or with the request that opened the page."""
    return page.locator("#answer").get_by_role("alert")


def happened(page: Page) -> Locator:
    """Return the lines of what happened, the newest first."""
    return page.get_by_role("log").get_by_role("listitem")


def trouble(page: Page) -> Locator:
    """Return the banner of a page that cannot renew itself."""
    return page.get_by_role("status")


def top(element: Locator) -> float:
    """Return how far down an element begins, in pixels."""
    box = element.bounding_box()
    assert box is not None
    return box["y"]
