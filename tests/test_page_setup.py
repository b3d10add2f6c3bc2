"""What the page says of setting up: settings that are missing, and how to connect a number."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import Visit
from tests.page import CALLER, press, refresh
from tests.sandboxes import InProcess, StartSandbox


@pytest.fixture
def bare(start: StartSandbox) -> InProcess:
    """The app with nothing set up."""
    return start(VONAGE_APPLICATION_ID="", VONAGE_PRIVATE_KEY="", VONAGE_SIGNATURE_SECRET="")


def test_the_first_visit_says_what_to_do_and_what_is_not_set_up(
    bare: InProcess, visit: Visit
) -> None:
    page = visit(bare.app_url)
    expect(page.get_by_role("heading", name="No one is on the line")).to_be_visible()
    steps = page.get_by_role("list")
    expect(steps).to_contain_text(f"ngrok http {bare.port}")
    expect(steps).to_contain_text("https://your-public-address/webhooks/answer")
    expect(steps).to_contain_text("https://your-public-address/webhooks/event")
    expect(steps).to_contain_text("https://your-public-address/webhooks/rtc")
    expect(steps).to_contain_text("both with POST")
    expect(steps).to_contain_text("link a number, and dial it")
    missing = page.get_by_role("region", name="Not set up yet")
    for setting, place in (
        ("VONAGE_APPLICATION_ID", "https://dashboard.vonage.com/applications"),
        ("VONAGE_PRIVATE_KEY", "https://dashboard.vonage.com/applications"),
        ("VONAGE_SIGNATURE_SECRET", "https://dashboard.vonage.com/settings"),
    ):
        row = missing.locator("dl > div").filter(has_text=setting)
        expect(row.get_by_role("link")).to_have_attribute("href", place)
    expect(missing).to_contain_text("webhooks are accepted from anyone")
    expect(page.get_by_text("python -m sandbox")).to_be_visible()


def test_when_all_is_set_up_there_is_nothing_to_read(start: StartSandbox, visit: Visit) -> None:
    page = visit(start(PUBLIC_URL="https://public.example/").app_url)
    expect(page.get_by_role("list")).to_contain_text("https://public.example/webhooks/answer")
    expect(page.get_by_role("list")).not_to_contain_text("ngrok")
    expect(page.get_by_role("region", name="Not set up yet")).to_have_count(0)


def test_the_steps_are_open_while_no_one_is_on_the_line(
    conference: InProcess, visit: Visit
) -> None:
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


def test_what_is_not_set_up_is_said_when_somebody_is_on_the_line(
    bare: InProcess, visit: Visit
) -> None:
    bare.dial()
    missing = visit(bare.app_url).get_by_role("region", name="Not set up yet")
    expect(missing).to_contain_text("VONAGE_PRIVATE_KEY")


def test_without_credentials_play_says_which_settings_are_missing(
    bare: InProcess, visit: Visit
) -> None:
    bare.dial(CALLER)
    page = visit(bare.app_url)
    with page.expect_response("**/stream?*") as response:
        press(page, "Play to +442079460123")
    assert response.value.status == 503
    expect(page.get_by_text("Set VONAGE_APPLICATION_ID")).to_be_visible()
