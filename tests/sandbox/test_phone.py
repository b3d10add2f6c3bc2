"""The phone, in a real browser: what it says, and who may use it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect
from werkzeug import Response

from tests.helpers.browser import FindWithAxe, Visit, press
from tests.helpers.phone import (
    enter,
    expect_line,
    expect_shown,
    expect_state,
    expect_time,
    play,
    press_key,
    speak,
    wait_for,
)
from tests.helpers.stub import CONFERENCE, INPUT, TALK, StubbedSandbox


def test_each_state_and_its_time(sandbox: StubbedSandbox, timed: Page) -> None:
    asked, answer = threading.Event(), threading.Event()

    def body() -> Iterator[str]:
        asked.set()
        answer.wait(20)
        yield json.dumps([CONFERENCE])

    slow = Response(body(), mimetype="application/json")
    sandbox.answers = [slow, [CONFERENCE], [sandbox.hold()]]
    expect_state(timed, "Ready to dial")
    expect(timed.get_by_role("link")).to_have_count(0)
    press(timed, "Dial")
    assert asked.wait(20)
    timed.clock.fast_forward(2000)
    expect_state(timed, "Ringing")
    expect_time(timed, "since 0:00, now 0:02")
    (call,) = sandbox.calls.values()
    expect(timed).to_have_title(f"{call.name} Ringing")
    expect_line(timed, "0:00 dials on the phone")
    answer.set()
    expect_state(timed, "In the conference, alone")
    other = sandbox.dial()
    expect_state(timed, "In the conference, with 1 more")
    timed.clock.fast_forward(80_000)
    expect_time(timed, "since 0:02, now 1:22")
    play(sandbox)
    expect_shown(timed, "hears music: music.mp3, 32 s")
    expect_line(timed, "1:22 hears music: music.mp3, 32 s")
    other.hang_up()
    expect_state(timed, "In the conference, alone")
    expect_time(timed, "since 0:02, now 1:22")
    press(timed, "Hang up")
    expect_state(timed, "Call ended")
    expect_time(timed, "after 1:22")
    expect_shown(timed, "hangs up")
    expect(timed).to_have_title(f"{call.name} Call ended")
    press(timed, "Dial")
    expect_state(timed, "Waiting for the conference to start")
    expect_shown(timed, "hears hold music: music.mp3, 32 s, forever")
    timed.clock.fast_forward(40_000)
    expect_time(timed, "since 0:00, now 0:40")
    expect(timed.locator("#position")).to_contain_text("0:08 of 0:32")
    expect_shown(timed, "It needs more callers:")
    expect(timed.get_by_role("link", name="open another phone")).to_have_attribute("href", "/")
    sandbox.hang_up_all()
    expect_end(timed)


def expect_end(page: Page) -> None:
    """Wait until the phone says that the sandbox has ended, and how to start it again."""
    expect_state(page, "The sandbox has ended")
    expect_shown(page, "To start it again, run python -m sandbox")
    expect(page.get_by_role("button", name="Dial")).to_be_disabled()


def test_a_call_that_never_begins_can_be_hung_up_or_shows_that_the_sandbox_has_ended(
    page: Page,
) -> None:
    page.route("**/dial", lambda route: None)
    press(page, "Dial")
    expect_state(page, "Ringing")
    press(page, "Hang up")
    expect_state(page, "Call ended")
    page.unroute("**/dial")
    page.route("**/dial", lambda route: route.abort())
    press(page, "Dial")
    expect_end(page)


def test_each_sentence_is_heard_or_can_be_read_before_what_follows(
    sandbox: StubbedSandbox, timed: Page
) -> None:
    """Voices may be late, fail, be missing, or never say that they have ended."""
    texts = ("Please wait", "Hello", "Goodbye")
    sandbox.answers = [[TALK, *({**TALK, "text": text} for text in texts), CONFERENCE]]
    voiceless = "This browser has no voice: please read the sentence."
    timed.evaluate("() => { speechSynthesis.getVoices = () => []; }")
    press(timed, "Dial")
    wait_for(timed, "speechSynthesis.onvoiceschanged !== null")
    speak(timed)
    timed.evaluate("speechSynthesis.dispatchEvent(new Event('voiceschanged'))")
    wait_for(timed, "window.speaking !== undefined")
    assert timed.evaluate("speaking.text") == "One moment"
    expect_shown(timed, 'hears "One moment"')
    expect_state(timed, "Connected")
    timed.evaluate("speaking.onend()")
    expect_shown(timed, 'hears "Please wait"')
    timed.evaluate("() => { speechSynthesis.getVoices = () => []; }")
    timed.evaluate("speaking.onerror()")
    expect_shown(timed, voiceless)
    timed.clock.fast_forward(2000)
    expect_shown(timed, 'hears "Hello"')
    expect(timed.get_by_text(voiceless)).not_to_be_visible()
    timed.clock.fast_forward(1000)
    expect_shown(timed, 'hears "Hello"')
    expect_shown(timed, voiceless)
    speak(timed)
    timed.clock.fast_forward(1000 + 50 * len("Hello"))  # the time to read it
    expect_shown(timed, 'hears "Goodbye"')
    wait_for(timed, "speaking.text === 'Goodbye'")
    expect_state(timed, "Connected")
    timed.clock.fast_forward(2000 + 100 * len("Goodbye"))
    expect_state(timed, "In the conference, alone")


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


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "Host"])
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


def test_axe_finds_nothing_and_a_screen_reader_hears_the_state_only_when_it_changes(
    sandbox: StubbedSandbox, page: Page, find_with_axe: FindWithAxe
) -> None:
    assert find_with_axe(page) == []
    enter(page)
    page.evaluate(
        """() => {
          window.changes = [];
          const all = { childList: true, characterData: true, subtree: true };
          for (const part of document.querySelectorAll("[role=status], [role=log]")) {
            new MutationObserver(() => changes.push(part.role)).observe(part, all);
          }
        }"""
    )
    before = page.get_by_role("timer").inner_text()
    page.clock.fast_forward(3000)
    expect(page.get_by_role("timer")).not_to_have_text(before)
    assert page.evaluate("changes") == []
    press_key(page, "5")
    wait_for(page, "changes.join() === 'log'")
    sandbox.dial()
    wait_for(page, "changes.join() === 'log,status'")
    play(sandbox, f"{sandbox.public_url}/nothing.mp3")
    expect_shown(page, "hears nothing: nothing.mp3")
    assert find_with_axe(page) == []


def test_the_keyboard_is_enough_and_the_keypad_is_open_while_a_key_does_something(
    sandbox: StubbedSandbox, page: Page
) -> None:
    sandbox.answers = [[{**TALK, "bargeIn": True}, INPUT, CONFERENCE]]
    speak(page)
    keys = page.get_by_role("group", name="Keys")
    expect(keys).not_to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
    page.keyboard.press("Enter")
    expect(keys).to_be_visible()
    expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    page.get_by_role("button", name="hash", exact=True).focus()
    page.keyboard.press("Enter")
    expect_state(page, "In the conference, alone")
    (call,) = sandbox.calls.values()
    pressed = [event["dtmf"]["digits"] for event in sandbox.events(call) if "dtmf" in event]
    assert pressed == ["#"]
    expect(keys).not_to_be_visible()
    expect(page.locator("summary")).to_be_focused()
    page.evaluate("speaking.onerror()")  # as a browser may do once the sentence is cancelled
    expect(page.locator("#voiceless")).not_to_be_visible()
    page.keyboard.press("Enter")
    press(page, "5")
    expect_line(page, "presses 5: nothing listens for keys")
    expect(keys).to_be_visible()
    page.get_by_role("button", name="Hang up").focus()
    page.keyboard.press("Enter")
    expect_line(page, "hangs up")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
