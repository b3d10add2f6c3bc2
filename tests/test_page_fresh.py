"""How the page keeps itself fresh: it asks each second, and changes only what differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests.browser import Visit
from tests.page import CALLER, HTML, caller, fill, press, refresh, said
from tests.sandboxes import InProcess, StartSandbox


@pytest.fixture
def own(start: StartSandbox) -> InProcess:
    """An app of one's own, whose store, at `database`, a test may break."""
    return start(fresh=True)


def database(sandbox: InProcess) -> Path:
    return sandbox.folder / "calls.sqlite3"


def test_a_call_that_arrives_shows_by_itself(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    page.evaluate("window.notReloaded = true")
    expect(page).to_have_title("No one is on the line")
    expect(page.locator("#icon")).to_have_attribute("href", "/static/idle.svg")
    conference.dial(CALLER)
    expect(caller(page, "442079460123")).to_be_visible(timeout=2000)
    expect(page).to_have_title("1 caller on the line")
    expect(page.locator("#icon")).to_have_attribute("href", "/static/busy.svg")
    conference.dial()
    expect(page).to_have_title("2 callers on the line", timeout=2000)
    assert page.evaluate("window.notReloaded")


def test_a_caller_who_hangs_up_leaves_the_page(conference: InProcess, visit: Visit) -> None:
    stays, goes = conference.dial(), conference.dial(CALLER)
    page = visit(conference.app_url)
    goes.hang_up()
    refresh(page)
    expect(caller(page, "442079460123")).not_to_be_attached()
    expect(caller(page, stays.parameters["from"])).to_be_visible()


def test_who_comes_and_who_leaves_is_read_out(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    news = page.locator("[aria-live=polite]")
    call = conference.dial(CALLER)
    refresh(page)
    expect(news).to_have_text("442079460123 is on the line.")
    call.hang_up()
    refresh(page)
    expect(news).to_have_text("442079460123 has left.")


@pytest.mark.parametrize("held", ["focus", "hover"])
def test_a_button_with_focus_or_pointer_stays_in_its_place(
    conference: InProcess, visit: Visit, held: str
) -> None:
    first = conference.dial({"from": "442079460122"})
    conference.dial(CALLER)
    fill(conference)
    page = visit(conference.app_url, width=360, height=500)
    button = page.get_by_role("button", name="Stop for 442079460123")
    page.evaluate("scrollTo(0, 150)")
    button.focus() if held == "focus" else button.hover()
    before = button.bounding_box()
    conference.dial({"from": "442079460126"})
    refresh(page)
    expect(caller(page, "442079460126")).to_be_attached()
    first.hang_up()
    refresh(page)
    expect(caller(page, "442079460122")).not_to_be_attached()
    assert button.bounding_box() == before
    if held == "focus":
        expect(button).to_be_focused()
    page.mouse.move(0, 0)


def test_focus_stays_on_a_button_whose_words_change(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url)
    page.get_by_role("button", name="Play to all 2").focus()
    conference.dial()
    refresh(page)
    expect(page.get_by_role("button", name="Play to all 3")).to_be_focused()


def test_what_is_typed_stays_while_callers_come(conference: InProcess, visit: Visit) -> None:
    conference.dial()
    page = visit(conference.app_url)
    page.get_by_label("to the caller").press_sequentially("https://audio.ex")
    conference.dial()
    refresh(page)
    field = page.get_by_label("to all 2 callers")
    expect(field).to_be_focused()
    page.keyboard.type("ample/a.mp3")
    expect(field).to_have_value("https://audio.example/a.mp3")


def test_what_came_of_play_stays_while_callers_come(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    press(page, "Play to 442079460123")
    expect(said(page)).to_contain_text("Playing to 1 of 1 caller")
    conference.dial()
    refresh(page)
    expect(page.get_by_role("heading", name="2 callers on the line")).to_be_visible()
    expect(said(page)).to_contain_text("Playing to 1 of 1 caller")


def test_a_server_that_cannot_be_reached_is_reported_beside_what_it_last_said(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    page.route("**", lambda route: route.abort())
    refresh(page)
    report = page.get_by_text("The server cannot be reached. This list is of ")
    expect(report).to_be_visible()
    expect(caller(page, "442079460123")).to_be_visible()
    page.unroute_all()
    refresh(page)
    expect(report).not_to_be_attached()


def test_play_while_the_server_cannot_be_reached_says_so(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    page.route("**", lambda route: route.abort())
    press(page, "Play to 442079460123")
    expect(page.locator("#said")).to_have_text("The server cannot be reached.")
    page.unroute_all()


def test_a_store_that_fails_is_reported_above_what_was_last_seen(
    own: InProcess, visit: Visit
) -> None:
    own.dial(CALLER)
    page = visit(own.app_url)
    aside = database(own).rename(own.folder / "aside")
    database(own).mkdir()
    refresh(page)
    report = page.get_by_text(f"The list of calls in {database(own)} is unavailable")
    expect(report).to_have_count(1)
    expect(report).to_contain_text("This list is of ")
    expect(caller(page, "442079460123")).to_be_visible()
    database(own).rmdir()
    aside.rename(database(own))
    refresh(page)
    expect(report).not_to_be_attached()


def test_a_store_that_fails_is_all_that_a_new_page_says_until_it_is_back(
    own: InProcess, visit: Visit
) -> None:
    own.dial(CALLER)
    aside = database(own).rename(own.folder / "aside")
    database(own).mkdir()
    assert requests.get(own.app_url, headers=HTML, timeout=5).status_code == 503
    page = visit(own.app_url + "/stream")
    report = page.get_by_text(f"The list of calls in {database(own)} is unavailable")
    expect(report).to_have_count(1)
    expect(page.get_by_role("listitem")).to_have_count(0)
    database(own).rmdir()
    aside.rename(database(own))
    expect(caller(page, "442079460123")).to_be_visible()
    expect(report).not_to_be_attached()
    assert own.asked == []
