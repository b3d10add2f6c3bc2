"""The phone, in a real browser: what it says, and who may use it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect
from werkzeug import Response

from tests.helpers.browser import FindWithAxe, Visit
from tests.helpers.phone import (
    OpenPhone,
    enter,
    has_time,
    hints,
    is_in,
    play,
    press,
    press_key,
    reads,
    wait_for,
)
from tests.helpers.stub import CONFERENCE, TALK, StubbedSandbox


def test_the_state_and_its_time(sandbox: StubbedSandbox, timed: Page) -> None:
    asked, answer = threading.Event(), threading.Event()

    def body() -> Iterator[str]:
        asked.set()
        answer.wait(20)
        yield json.dumps([CONFERENCE])

    sandbox.answers = [Response(body(), mimetype="application/json"), [CONFERENCE]]
    is_in(timed, "Ready to dial")
    expect(timed.get_by_role("link")).to_have_count(0)
    press(timed, "Dial")
    assert asked.wait(20)
    timed.clock.fast_forward(2000)
    is_in(timed, "Ringing")
    has_time(timed, "since 0:00, now 0:02")
    (call,) = sandbox.calls.values()
    expect(timed).to_have_title(f"{call.name} Ringing")
    answer.set()
    is_in(timed, "In the conference, alone")
    other = sandbox.dial()
    is_in(timed, "In the conference, with 1 more")
    timed.clock.fast_forward(80_000)
    has_time(timed, "since 0:02, now 1:22")
    play(sandbox)
    hints(timed, "hears music: music.mp3, 32 s")
    reads(timed, "1:22 hears music: music.mp3, 32 s")
    other.hang_up()
    is_in(timed, "In the conference, alone")
    has_time(timed, "since 0:02, now 1:22")
    press(timed, "Hang up")
    is_in(timed, "Call ended")
    has_time(timed, "after 1:22")
    hints(timed, "hangs up")
    expect(timed).to_have_title(f"{call.name} Call ended")


def test_a_screen_reader_hears_the_state_when_it_changes_and_not_every_second(
    sandbox: StubbedSandbox, timed: Page
) -> None:
    enter(timed)
    timed.evaluate(
        """() => {
          window.changes = [];
          const all = { childList: true, characterData: true, subtree: true };
          for (const part of document.querySelectorAll("[role=status], [role=log]")) {
            new MutationObserver(() => changes.push(part.role)).observe(part, all);
          }
        }"""
    )
    before = timed.get_by_role("timer").inner_text()
    timed.clock.fast_forward(3000)
    expect(timed.get_by_role("timer")).not_to_have_text(before)
    assert timed.evaluate("changes") == []
    press_key(timed, "5")
    wait_for(timed, "changes.join() === 'log'")
    sandbox.dial()
    wait_for(timed, "changes.join() === 'log,status'")


def test_a_browser_without_a_voice_shows_the_sentence_and_goes_on(
    sandbox: StubbedSandbox, timed: Page
) -> None:
    """As Firefox, whose speech synthesis without voices sends no event at all."""
    sandbox.answers = [[TALK, CONFERENCE]]
    timed.evaluate("() => { speechSynthesis.getVoices = () => []; }")
    press(timed, "Dial")
    hints(timed, 'hears "One moment"')
    timed.clock.fast_forward(1000)
    hints(timed, 'hears "One moment"')
    hints(timed, "This browser has no voice: please read the sentence.")
    timed.clock.fast_forward(1500)
    is_in(timed, "In the conference, alone")


def test_how_far_the_music_is(sandbox: StubbedSandbox, timed: Page) -> None:
    sandbox.answers = [[sandbox.hold()]]
    press(timed, "Dial")
    is_in(timed, "Waiting for the conference to start")
    hints(timed, "hears hold music: music.mp3, 32 s, forever")
    timed.clock.fast_forward(40_000)
    has_time(timed, "since 0:00, now 0:40")
    expect(timed.locator("#position")).to_contain_text("0:08 of 0:32")
    hints(timed, "It needs more callers:")
    expect(timed.get_by_role("link", name="open another phone")).to_have_attribute("href", "/")


def test_a_call_of_which_nothing_is_known_yet_ends(open_phone: OpenPhone) -> None:
    page = open_phone()
    page.route("**/dial", lambda route: None)
    press(page, "Dial")
    is_in(page, "Ringing")
    press(page, "Hang up")
    is_in(page, "Call ended")


@pytest.mark.parametrize("killed", [True, False])
def test_the_end_of_the_sandbox_says_how_to_start_it_again(
    sandbox: StubbedSandbox, open_phone: OpenPhone, killed: bool
) -> None:
    page = open_phone()
    if killed:
        page.route("**/dial", lambda route: route.abort())
        press(page, "Dial")
    else:
        enter(page)
        sandbox.hang_up_all()
    is_in(page, "The sandbox has ended")
    hints(page, "To start it again, run python -m sandbox")
    expect(page.get_by_role("button", name="Dial")).to_be_disabled()


def test_without_script_it_says_that_it_needs_it(visit: Visit, phone: str) -> None:
    page = visit(phone, script=False)
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("The phone needs JavaScript")
    expect(page.get_by_role("button")).to_have_count(0)


# Who may use it


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 200),
        ("/", {"Sec-Fetch-Site": "none"}, 200),
        ("/", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/phone.js", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("/dial", {}, 403),
        ("/dial", {"Sec-Fetch-Site": "same-site"}, 403),
        ("/dial", {"Sec-Fetch-Site": "same-origin", "Host": "evil.example"}, 403),
        ("/calls/x/audio", {"Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
def test_only_its_own_page_on_this_machine_reaches_it(
    phone: str, path: str, headers: dict[str, str], status: int
) -> None:
    with requests.get(phone + path, headers=headers, timeout=20, stream=True) as response:
        assert response.status_code == status  # before its body: that of /dial has no end
        assert response.content
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'; script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Forwarded-For", "Host"])
def test_no_forwarded_port_reaches_it(phone: str, header: str) -> None:
    response = requests.get(phone, headers={header: "a.example"}, timeout=20)
    assert response.status_code == 403
    assert "The phone works only in a browser on the machine that runs the sandbox" in response.text
    assert "forwarded port" in response.text


def test_what_is_pressed_is_one_key(sandbox: StubbedSandbox, phone: str) -> None:
    address = f"{phone}/calls/{sandbox.dial().uuid}/press"
    own = {"Sec-Fetch-Site": "same-origin"}
    assert requests.post(address, data="55", headers=own, timeout=20).status_code == 400


# It is fit for people


def test_axe_finds_nothing_against_it(
    sandbox: StubbedSandbox, open_phone: OpenPhone, find_with_axe: FindWithAxe
) -> None:
    page = open_phone()
    assert find_with_axe(page) == []
    enter(page)
    page.get_by_text("Keypad").click()
    play(sandbox, f"{sandbox.public_url}/nothing.mp3")
    hints(page, "hears nothing: nothing.mp3")
    assert find_with_axe(page) == []


def test_the_keyboard_is_enough(sandbox: StubbedSandbox, open_phone: OpenPhone) -> None:
    page = open_phone()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
    page.keyboard.press("Enter")
    reads(page, "is in the conference")
    expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    page.keyboard.press("Enter")
    reads(page, "hangs up")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
