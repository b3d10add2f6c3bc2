"""The page renews itself each second, and changes only what differs."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from calls import News
from tests.helpers.browser import Visit, press
from tests.helpers.page import (
    CALLER,
    FROM_ELSEWHERE,
    LOGIN,
    PASSWORD,
    answer,
    caller,
    fill,
    happened,
    pass_a_second,
    read,
    refresh,
    said,
    trouble,
)
from tests.helpers.sandboxes import InProcess, StartSandbox, replaced_by_a_folder
from tests.helpers.waiting import wait_until

ADDRESSES = """["href", "src", "action", "formaction"].flatMap(name =>
    [...document.querySelectorAll(`[${name}]`)].map(one => one.getAttribute(name)))"""


@pytest.fixture
def own(start: StartSandbox) -> InProcess:
    """Start an app whose store a test may break."""
    return start(fresh=True)


def test_a_call_that_arrives_shows_by_itself(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    page.evaluate("window.notReloaded = true")
    expect(page).to_have_title("No one is on the line")
    icon = page.locator("#icon")
    expect(icon).to_have_attribute("href", "/static/idle.svg")
    conference.dial(CALLER)
    expect(caller(page, "+442079460123")).to_be_visible(timeout=2000)
    expect(page).to_have_title("1 caller on the line")
    expect(icon).to_have_attribute("href", "/static/busy.svg")
    conference.dial()
    refresh(page)
    expect(page).to_have_title("2 callers on the line")
    assert page.evaluate("window.notReloaded")


def test_a_button_in_use_stays_in_its_place(conference: InProcess, visit: Visit) -> None:
    above = [conference.dial({"from": f"44207946013{number}"}) for number in range(2)]
    call = conference.dial(CALLER)
    fill(conference)
    page = visit(conference.app_url, width=360, height=500)
    page.evaluate("document.body.style.overflowAnchor = 'none'")  # as in WebKit
    page.evaluate("scrollTo(0, 150)")
    button = page.get_by_role("button", name="Stop for +442079460123")

    def stays_while_others_come_and_go() -> bool:
        before = button.bounding_box()
        joins, leaves = conference.dial(), above.pop()
        refresh(page)
        expect(caller(page, f"+{joins.parameters['from']}")).to_be_attached()
        leaves.hang_up()
        refresh(page)
        expect(caller(page, f"+{leaves.parameters['from']}")).not_to_be_attached()
        return button.bounding_box() == before

    button.focus()
    assert stays_while_others_come_and_go()
    expect(button).to_be_focused()
    button.blur()
    button.hover()
    assert stays_while_others_come_and_go()
    page.mouse.move(0, 0)
    button.focus()
    scrolled = page.evaluate("scrollY")
    call.hang_up()
    refresh(page)
    expect(button).not_to_be_attached()
    assert page.evaluate("scrollY") == scrolled > 0


def test_a_click_that_has_begun_counts(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url)
    page.get_by_role("button", name="Play to all 2").hover()
    page.mouse.down()
    conference.dial()
    refresh(page)
    expect(page.get_by_role("button", name="Play to all 3")).to_be_focused()
    page.mouse.up()
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 3 callers")
    page.mouse.move(0, 0)


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


def test_a_server_that_cannot_be_reached_is_reported(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url, width=360)
    row = caller(page, "+442079460123")
    before = row.bounding_box()
    page.route("**", lambda route: route.abort())
    pass_a_second(page)
    words = (
        "^The server cannot be reached. Trying again each second. If this lasts, reload. "
        "This list is of [0-9]{2}:[0-9]{2}:[0-9]{2}.$"
    )
    expect(trouble(page)).to_have_text(re.compile(words))
    expect(trouble(page)).to_be_in_viewport(ratio=1)
    shown = trouble(page).evaluate_handle("element => element.firstChild")
    with page.expect_event("requestfailed"):
        pass_a_second(page)
    unchanged = "(element, shown) => element.firstChild === shown"  # so it is read out once
    assert trouble(page).evaluate(unchanged, shown)
    button = page.get_by_role("button", name="Play to +442079460123")
    expect(button).to_be_disabled()
    button.click(force=True)
    expect(answer(page)).to_be_empty()
    expect(page.locator("#line")).to_have_css("opacity", "0.6")
    page.unroute_all()
    refresh(page)
    expect(trouble(page)).to_be_empty()
    expect(button).to_be_enabled()
    expect(page.locator("#line")).to_have_css("opacity", "1")
    assert row.bounding_box() == before


def test_a_page_in_its_place_is_not_taken_for_it(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    for body in ("Bad Gateway", "<title>Sign in</title><form></form>"):
        other = partial(Route.fulfill, body=body, content_type="text/html")
        page.route("**", other)
        pass_a_second(page)
        expect(trouble(page)).to_contain_text("Something else answered.")
        expect(trouble(page)).to_contain_text("If this lasts, reload.")
        expect(caller(page, "+442079460123")).to_be_visible()
        page.unroute_all()
        refresh(page)
        expect(trouble(page)).to_be_empty()


def test_a_press_that_is_not_answered_ends_by_itself(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(CALLER)
    page = visit(conference.app_url)
    page.evaluate("""() => {
        wait = AbortSignal.timeout;
        patience = new AbortController();
        AbortSignal.timeout = (time) => time === 20000 ? patience.signal : wait(time);
    }""")
    page.route("**/stream?*", lambda route: None)
    press(page, "Play to +442079460123")
    expect(answer(page)).to_have_text("Asking Vonage …")
    page.evaluate("patience.abort()")
    expect(said(page)).to_have_text("The server did not answer.")
    page.unroute_all()
    page.evaluate("AbortSignal.timeout = wait")
    press(page, "Play to +442079460123")
    call.hears("hears music")


def test_a_renewal_that_fails_is_followed_by_the_next(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    conference.dial(CALLER)
    page.route("**", lambda route: route.fulfill(body="<main id='main'>", content_type="text/html"))
    with page.expect_event("pageerror"):
        pass_a_second(page)
    page.unroute_all()
    pass_a_second(page)
    expect(caller(page, "+442079460123")).to_be_visible()


@pytest.mark.parametrize(
    ("password", "sentence"),
    [("", "Open http://localhost:"), (PASSWORD, "Wrong or missing STREAM_PASSWORD.")],
)
def test_a_tab_that_is_refused_stops_asking(
    start: StartSandbox, visit: Visit, password: str, sentence: str
) -> None:
    sandbox = start(STREAM_PASSWORD=password)
    sandbox.dial(CALLER)
    page = visit(sandbox.app_url, headers=LOGIN)
    page.set_extra_http_headers(FROM_ELSEWHERE)
    pass_a_second(page)
    expect(trouble(page)).to_contain_text(sentence)
    expect(trouble(page)).to_contain_text("Reload this page, with the password if asked.")
    expect(caller(page, "+442079460123")).to_be_visible()
    assert len(re.findall("GET /: 40[13]", sandbox.log.read_text())) == 1
    with page.expect_request("**") as first:
        page.clock.run_for(10_000)
        page.evaluate("fetch('/static/idle.svg')")
    assert first.value.url == f"{sandbox.app_url}/static/idle.svg"


def test_below_a_path_every_address_of_the_page_is_below_it(own: InProcess, visit: Visit) -> None:
    call, other = own.dial(CALLER), own.dial()
    root = own.flask.wsgi_app
    own.flask.wsgi_app = DispatcherMiddleware(root, {"/mount": root})  # type: ignore[method-assign]
    page = visit(own.app_url + "/mount/stream")
    call.hears("hears music")
    expect(page).to_have_url(own.app_url + "/mount/")
    expect(page.get_by_text("/webhooks/answer")).to_have_text(re.compile("address/mount/webhooks"))
    own.store.end(other.uuid)
    refresh(page)
    expect(page).to_have_title("1 caller on the line")
    found = page.evaluate(ADDRESSES)
    assert len(found) > 8
    for address in found:
        assert address.startswith(("/mount/", "https://dashboard.vonage.com/"))
    with page.expect_request("**/mount/stream/stop?*"):
        press(page, "Stop for +442079460123")
    call.hears("hears the music stop")


def test_a_page_without_a_list_comes_back_by_itself(own: InProcess, visit: Visit) -> None:
    own.dial(CALLER)
    with replaced_by_a_folder(own.folder / "calls.sqlite3") as report:
        assert read(own).status_code == 503
        page = visit(own.app_url + "/stream")
        expect(said(page)).to_contain_text(report)
        expect(page.get_by_role("listitem")).to_have_count(0)
    with page.expect_navigation():
        pass_a_second(page)
    expect(caller(page, "+442079460123")).to_be_visible()
    expect(answer(page)).to_be_empty()
    assert own.asked == []


class Held:
    """Holds back the first response from a path; later ones pass."""

    def __init__(self, page: Page, path: str) -> None:
        self.page = page
        self.responses: list[APIResponse] = []
        page.route(re.compile(path), self._take)

    def _take(self, route: Route) -> None:
        if self.responses:
            route.continue_()
            return
        self.route = route
        self.responses.append(route.fetch())

    def wait(self) -> None:
        """Wait until the server has responded."""
        # Asking for anything lets Playwright take what has come in.
        wait_until(lambda: self.page.title() and self.responses, "the response")

    def release(self) -> None:
        self.route.fulfill(response=self.responses[0])


@pytest.fixture
def paused(conference: InProcess, visit: Visit) -> Page:
    """Open the page with a caller, and let it renew itself only when a test says so."""
    conference.dial(CALLER)
    page = visit("about:blank")
    page.clock.pause_at(page.evaluate("Date.now()") / 1_000 + 1)
    page.goto(conference.app_url)
    return page


def replace_the_caller(sandbox: InProcess) -> None:
    [call] = sandbox.calls.values()
    sandbox.dial({"from": "14155550145"})
    call.hang_up()


def test_a_renewal_that_a_press_overtook_is_not_shown(conference: InProcess, paused: Page) -> None:
    renewal = Held(paused, "/$")
    pass_a_second(paused)
    renewal.wait()
    replace_the_caller(conference)
    press(paused, "Stop for +442079460123")
    expect(paused.locator("li .name")).to_have_text(["+14155550145"])
    renewal.release()
    paused.evaluate("fetch('/static/idle.svg')")  # by then it would have been shown
    expect(paused.locator("li .name")).to_have_text(["+14155550145"])
    expect(happened(paused).first).to_contain_text("…0123 left")


def test_a_late_answer_to_a_press_changes_no_row(conference: InProcess, paused: Page) -> None:
    late = Held(paused, "/stream")
    press(paused, "Play to +442079460123")
    late.wait()
    replace_the_caller(conference)
    refresh(paused)
    expect(paused.locator("li .name")).to_have_text(["+14155550145"])
    late.release()
    expect(answer(paused)).to_have_text("Sent hold-music.mp3 to the caller")
    expect(paused.locator("li .name")).to_have_text(["+14155550145"])
    expect(happened(paused).first).to_contain_text("…0123 left")


def test_a_clock_set_back_does_not_freeze_the_page(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    hour = "new Date(Date.parse(main.dataset.now) + 3600000).toISOString()"
    page.locator("#main").evaluate(f"main => main.dataset.now = {hour}")
    conference.dial(CALLER)
    refresh(page)
    expect(caller(page, "+442079460123")).to_be_visible()


def test_times_are_those_of_the_browsers_zone(conference: InProcess, visit: Visit) -> None:
    page = visit("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kathmandu"})
    conference.dial(CALLER)
    page.goto(conference.app_url)
    for times in (2, 4):
        shown = page.evaluate(
            """[...document.querySelectorAll('main time')].map(time =>
                [time.textContent, new Date(time.dateTime).toLocaleTimeString('en-GB')])"""
        )
        assert len(shown) == times
        assert all(text == local for text, local in shown)
        conference.dial()
        refresh(page)
    session.send("Emulation.setTimezoneOverride", {"timezoneId": ""})
    session.detach()


def test_what_the_browser_has_translated_stays(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    translate = "document.querySelectorAll('#history h2, #news span').forEach(one => {"
    page.evaluate(translate + " one.innerHTML = '<font>übersetzt</font>' })")
    refresh(page)
    expect(page.locator("#history font")).to_have_count(2)
    conference.store.tell(News(time.time(), "Something else", bad=False))
    refresh(page)
    expect(happened(page).first).to_contain_text("Something else")
    expect(page.locator("#history font")).to_have_count(2)
