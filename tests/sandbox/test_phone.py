"""The phone, in a real browser: what it says, and who may use it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect
from werkzeug import Response

from sandbox.phone import PROXIES
from tests.helpers.browser import FindWithAxe, Visit
from tests.helpers.phone import (
    CONFERENCE,
    TALK,
    OpenPhone,
    Phones,
    enter,
    hints,
    hold,
    is_in,
    play,
    press,
    press_key,
    reads,
    shows,
    speak,
    wait_for,
)
from tests.helpers.stub import StubbedSandbox


def test_the_state_and_its_time(sandbox: StubbedSandbox, timed: Page) -> None:
    asked, answer = threading.Event(), threading.Event()

    def body() -> Iterator[str]:
        asked.set()
        answer.wait(5)
        yield '[{"action": "conversation", "name": "Test"}]'

    sandbox.answers = [Response(body(), mimetype="application/json"), [CONFERENCE]]
    shows(timed, "Ready to dial")
    expect(timed.get_by_role("link")).to_have_count(0)
    expect(timed).to_have_title("Phone")
    press(timed, "Dial")
    assert asked.wait(5)
    timed.clock.fast_forward(2000)
    shows(timed, "Ringing · 0:02")
    (call,) = sandbox.calls.values()
    expect(timed).to_have_title(f"…{call.parameters['from'][-4:]} ringing")
    answer.set()
    shows(timed, "In the conference alone · 0:00")
    expect(timed).to_have_title(f"…{call.parameters['from'][-4:]} in call")
    other = sandbox.dial()
    is_in(timed, "In the conference with 1 other")
    timed.clock.fast_forward(80_000)
    shows(timed, "In the conference with 1 other · 1:20")
    play(sandbox)
    hints(timed, "You hear music.mp3.")
    expect(timed.get_by_role("group", name="Keys")).not_to_be_visible()
    sandbox.dial()
    shows(timed, "In the conference with 2 others · 1:20")
    reads(timed, "Someone joined: you are in the conference with 2 others.")
    other.hang_up()
    reads(timed, "Someone left: you are in the conference with 1 other.")
    press(timed, "Hang up")
    shows(timed, "Call ended")
    expect(timed.locator("#hint")).to_have_text("You hung up. The call lasted 1:22.")
    expect(timed).to_have_title(f"…{call.parameters['from'][-4:]} call ended")


def test_a_screen_reader_hears_the_state_when_it_changes_and_not_every_second(
    sandbox: StubbedSandbox, timed: Page
) -> None:
    enter(timed)
    timed.evaluate(
        """() => {
          window.changes = { status: 0, log: 0 };
          const all = { childList: true, characterData: true, subtree: true };
          for (const role of ["status", "log"]) {
            const count = () => { changes[role] += 1; };
            new MutationObserver(count).observe(document.querySelector(`[role=${role}]`), all);
          }
        }"""
    )
    before = timed.get_by_role("timer").inner_text()
    timed.clock.fast_forward(3000)
    expect(timed.get_by_role("timer")).not_to_have_text(before)
    assert timed.evaluate("changes") == {"status": 0, "log": 0}
    press_key(timed, "5")
    wait_for(timed, "changes.log === 1")
    assert timed.evaluate("changes.status") == 0
    sandbox.dial()
    wait_for(timed, "changes.status === 1")


def test_a_browser_without_a_voice_shows_the_sentence_and_goes_on(
    sandbox: StubbedSandbox, timed: Page
) -> None:
    """As Firefox, whose speech synthesis without voices sends no event at all."""
    sandbox.answers = [[TALK, CONFERENCE]]
    timed.evaluate("() => { speechSynthesis.getVoices = () => []; }")
    press(timed, "Dial")
    hints(timed, "You hear “One moment”.")
    timed.clock.fast_forward(1000)
    hints(timed, "This browser has no voice. It would say “One moment”.")
    reads(timed, "This browser has no voice: please read the sentence.")
    is_in(timed, "Please read")
    timed.clock.fast_forward(1500)
    is_in(timed, "In the conference alone")


def test_a_voice_that_fails_is_read(sandbox: StubbedSandbox, open_phone: OpenPhone) -> None:
    sandbox.answers = [[TALK, CONFERENCE]]
    page = open_phone()
    speak(page)
    press(page, "Dial")
    wait_for(page, "window.speaking !== undefined")
    page.evaluate("speaking.onerror()")
    hints(page, "This browser has no voice. It would say “One moment”.")


def test_how_far_the_music_is(sandbox: StubbedSandbox, timed: Page) -> None:
    sandbox.answers = [[hold(sandbox)]]
    press(timed, "Dial")
    is_in(timed, "Hearing hold music")
    timed.clock.fast_forward(40_000)
    shows(timed, "Hearing hold music · 0:40")
    expect(timed.locator("#position")).to_contain_text("0:08 of 0:32")


def test_why_a_call_is_over_or_never_began(sandbox: StubbedSandbox, open_phone: OpenPhone) -> None:
    sandbox.answers = [[{"action": "sing"}], [CONFERENCE]]
    page = open_phone()
    press(page, "Dial")
    reads(page, "Cut off: Syntax error in NCCO")
    is_in(page, "Call ended")
    expect(page.get_by_role("button", name="Dial")).to_be_enabled()
    enter(page)
    sandbox.hang_up_all()
    hints(page, "The sandbox has ended.")
    is_in(page, "Call ended")
    page.route("**/dial", lambda route: route.abort())
    press(page, "Dial")
    is_in(page, "Not dialled")
    hints(page, "The sandbox has ended.")
    page.unroute("**/dial")
    page.route("**/dial", lambda route: None)
    press(page, "Dial")
    is_in(page, "Ringing")
    press(page, "Hang up")
    is_in(page, "Not dialled")
    hints(page, "You hung up.")
    page.unroute("**/dial")


def test_without_script_it_says_that_it_needs_it(visit: Visit, phones: Phones) -> None:
    page = visit(phones.address, script=False)
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("The phone needs JavaScript")
    expect(page.get_by_role("button")).to_have_count(0)


# Who may use it


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 200),
        ("/", {"Sec-Fetch-Site": "none"}, 200),
        ("/", {"Sec-Fetch-Site": "same-site"}, 403),
        ("/", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/", {"Host": "evil.example"}, 403),
        ("/", {"X-Forwarded-For": "203.0.113.9"}, 403),
        ("/phone.js", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("/phone.js", {}, 403),
        ("/dial", {}, 403),
        ("/dial", {"Sec-Fetch-Site": "same-site"}, 403),
        ("/dial", {"Sec-Fetch-Site": "same-origin", "Host": "evil.example"}, 403),
        ("/calls/x/audio", {"Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
def test_only_its_own_page_on_this_machine_reaches_it(
    phones: Phones, path: str, headers: dict[str, str], status: int
) -> None:
    response = requests.get(phones.address + path, headers=headers, timeout=5)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'; script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("header", PROXIES)
def test_no_proxy_reaches_it(phones: Phones, header: str) -> None:
    response = requests.get(phones.address, headers={header: "203.0.113.9"}, timeout=5)
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("method", "body", "status"), [("POST", "#", 204), ("POST", "55", 400), ("GET", "5", 404)]
)
def test_what_is_pressed_is_one_key(
    sandbox: StubbedSandbox, phones: Phones, method: str, body: str, status: int
) -> None:
    address = f"{phones.address}/calls/{sandbox.dial().uuid}/press"
    own = {"Sec-Fetch-Site": "same-origin"}
    response = requests.request(method, address, data=body, headers=own, timeout=5)
    assert response.status_code == status


# It is fit for people


def test_axe_finds_nothing_against_it(
    sandbox: StubbedSandbox, open_phone: OpenPhone, find_with_axe: FindWithAxe
) -> None:
    page = open_phone()
    assert find_with_axe(page) == []
    enter(page)
    page.get_by_text("Keypad").click()
    play(sandbox, f"{sandbox.public_url}/nothing.mp3")
    hints(page, "You hear nothing: nothing.mp3")
    assert find_with_axe(page) == []


def test_the_keyboard_is_enough(sandbox: StubbedSandbox, open_phone: OpenPhone) -> None:
    page = open_phone()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
    page.keyboard.press("Enter")
    reads(page, "You are in the conference")
    expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    page.keyboard.press("Enter")
    reads(page, "You hung up.")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
