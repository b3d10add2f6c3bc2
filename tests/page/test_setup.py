"""What the page says about setup: settings that are missing, and how to connect a number."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.helpers.browser import Visit
from tests.helpers.page import CALLER, read, refresh, words
from tests.helpers.sandboxes import InProcess, StartSandbox


@pytest.fixture
def bare(start: StartSandbox) -> InProcess:
    """Start the app with nothing set up."""
    return start(VONAGE_APPLICATION_ID="", VONAGE_PRIVATE_KEY="", VONAGE_SIGNATURE_SECRET="")


def test_the_page_says_what_to_do_and_what_is_not_set_up(bare: InProcess) -> None:
    response = read(bare)
    page = words(response)
    assert "No one is on the line" in page
    for step in (
        f"ngrok http {bare.port}",
        "https://your-public-address/webhooks/answer",
        "https://your-public-address/webhooks/event",
        "https://your-public-address/webhooks/rtc",
        "both with POST",
        "link a number, and dial it",
        "python -m sandbox",
        "webhooks are accepted from anyone",
    ):
        assert step in page
    for setting in ("VONAGE_APPLICATION_ID", "VONAGE_PRIVATE_KEY", "VONAGE_SIGNATURE_SECRET"):
        assert re.search(f"<dt><code>{setting}</code></dt><dd>[^<]+</dd>", response.text)
    missing = response.text.partition('id="missing"')[2].partition("</section>")[0]
    for place in ("applications", "settings"):
        assert f'<a href="https://dashboard.vonage.com/{place}">' in missing
    bare.dial()
    assert "Not set up yet VONAGE_APPLICATION_ID" in words(read(bare))


def test_when_all_is_set_up_there_is_nothing_to_read(start: StartSandbox) -> None:
    page = words(read(start(PUBLIC_URL="https://public.example/")))
    assert "https://public.example/webhooks/answer" in page
    assert "ngrok" not in page
    assert "Not set up yet" not in page
    assert "No account?" not in page


def test_the_steps_are_open_while_no_one_calls(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    url = page.get_by_text("/webhooks/answer")
    expect(url).to_be_visible()
    conference.dial()
    refresh(page)
    expect(url).not_to_be_visible()
    page.get_by_text("How to connect a number").click()
    expect(url).to_be_visible()
    conference.dial()
    refresh(page)
    expect(url).to_be_visible()


def test_without_credentials_play_says_which_settings_are_missing(bare: InProcess) -> None:
    bare.dial(CALLER), bare.dial()
    response = read(bare, "/stream")
    assert response.status_code == 503
    assert "Set VONAGE_APPLICATION_ID" in words(response)
    off = "Play and Stop are off: set VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY. Play to all 2"
    assert off in words(read(bare))
    buttons = re.findall("<button[^>]*>", response.text)
    assert len(buttons) == 7
    assert all(" disabled" in button for button in buttons)
