"""The phone, in a tab of a real browser: what a caller does there, and what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from sandbox import Sandbox
from sandbox.phone import create_phone
from tests.helpers import servers
from tests.helpers.browser import Visit, press
from tests.helpers.stub import StubbedSandbox
from tests.helpers.waiting import wait_until

# Scripts name elements by their ids.
SOUNDS = "!audio.paused && audio.currentTime > 0.05 && audio.src.startsWith('blob:')"


@contextmanager
def serve(vonage: Sandbox) -> Iterator[str]:
    """Serve the phone of a sandbox; yields its address."""
    server = make_server("127.0.0.1", 0, create_phone(vonage), threaded=True)
    with servers.serve(server):
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="session")
def phone(stub: StubbedSandbox) -> Iterator[str]:
    """Serve the stubbed sandbox's phone; yields its address."""
    with serve(stub) as address:
        yield address


@pytest.fixture
def page(visit: Visit, phone: str) -> Page:
    """Return the phone in a tab."""
    return visit(phone)


@pytest.fixture
def timed(page: Page) -> Page:
    """Return the phone, whose clock stands still unless a test moves it."""
    page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))
    return page


# What a caller does, and what is shown


def press_key(page: Page, name: str) -> None:
    """Press a key of the keypad, which is opened if it is closed."""
    if not page.get_by_role("group", name="Keys").is_visible():
        page.get_by_text("Keypad").click()
    press(page, name)


def expect_line(page: Page, text: str) -> None:
    """Wait until this text is in the story."""
    expect(page.get_by_role("log")).to_contain_text(text)


def expect_state(page: Page, state: str) -> None:
    """Wait until this is the state of the call."""
    expect(page.get_by_role("status")).to_have_text(state)


def expect_time(page: Page, time: str) -> None:
    """Wait until this is the time of the state."""
    expect(page.get_by_role("timer")).to_have_text(time)


def expect_shown(page: Page, text: str) -> None:
    """Wait until this is on the screen, where it can be seen."""
    expect(page.locator("#screen").get_by_text(text)).to_be_visible()


def enter(page: Page) -> None:
    """Dial, and wait until the caller is in the conference."""
    press(page, "Dial")
    expect_line(page, "is in the conference")


def wait_for(page: Page, script: str) -> None:
    """Wait until a script in the page is true."""
    wait_until(lambda: page.evaluate(script), script)


def play(sandbox: StubbedSandbox, url: str = "", loop: int = 1, level: float = 0) -> None:
    """Play the music, or the audio at another address, into every call, as the Voice API does."""
    for call in sandbox.calls.values():
        call.start_stream(url or sandbox.music, loop, level)


def speak(page: Page) -> None:
    """Fake a voice: it keeps the sentence in `speaking`, whose onend() ends it."""
    page.evaluate(
        """() => {
          speechSynthesis.getVoices = () => [{ name: "A voice" }];
          speechSynthesis.speak = (words) => { window.speaking = words; };
        }"""
    )


def speak_at_once(page: Page) -> None:
    """Fake a voice that needs no time."""
    speak(page)
    page.evaluate("() => { speechSynthesis.speak = (words) => words.onend(); }")
