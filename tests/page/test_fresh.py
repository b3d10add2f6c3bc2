"""The page renews itself each second, and changes only what differs."""

from __future__ import annotations

import re
from functools import partial

import pytest
from playwright.sync_api import Route, expect
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tests.helpers.browser import Visit
from tests.helpers.page import (
    CALLER,
    FROM_ELSEWHERE,
    PASSWORD,
    answer,
    caller,
    fill,
    pass_a_second,
    press,
    read,
    refresh,
    said,
    trouble,
)
from tests.helpers.sandboxes import InProcess, StartSandbox, replaced_by_a_folder

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


def test_a_page_in_the_servers_place_is_not_taken_for_it(
    conference: InProcess, visit: Visit
) -> None:
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
    [("", "Open http://localhost:"), ("let me in", "Wrong or missing STREAM_PASSWORD.")],
)
def test_a_tab_that_is_refused_stops_asking(
    start: StartSandbox, visit: Visit, password: str, sentence: str
) -> None:
    sandbox = start(STREAM_PASSWORD=password)
    sandbox.dial(CALLER)
    page = visit(sandbox.app_url, headers={"Authorization": f"Basic {PASSWORD}"})
    page.set_extra_http_headers(FROM_ELSEWHERE)
    pass_a_second(page)
    expect(trouble(page)).to_contain_text(sentence)
    expect(trouble(page)).to_contain_text("Reload this page, with the password if asked.")
    expect(caller(page, "+442079460123")).to_be_visible()
    pass_a_second(page)
    page.wait_for_timeout(300)  # in which it would have asked
    assert len(re.findall("GET /: 40[13]", sandbox.log.read_text())) == 1


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
