"""The phone, in a real browser: what it sounds like, also in a tab that no one sees."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.audio import wav
from tests.helpers.browser import HiddenTab
from tests.helpers.phone import (
    SOUNDS,
    OpenPhone,
    enter,
    hints,
    is_in,
    play,
    press,
    press_key,
    reads,
    serve,
    speak,
    speak_at_once,
    wait_for,
)
from tests.helpers.sandboxes import InProcess
from tests.helpers.stub import CONFERENCE, INPUT, TALK, StubbedSandbox
from tests.helpers.waiting import wait_until


def test_dial_play_stop_and_hang_up(conference: InProcess, open_phone: OpenPhone) -> None:
    """With the app itself, whose page is a link away from the phone that hears nothing."""
    with serve(conference) as address:
        page = open_phone(address)
        speak_at_once(page)
        enter(page)
        (call,) = conference.calls.values()
        number = f"+{call.parameters['from']}"
        expect(page.get_by_role("heading", level=1)).to_have_text(number)
        hints(page, "is in the conference, alone: silence until Play")
        hints(page, "Silence is right until somebody presses Play")
        assert page.evaluate("audio.src").startswith("data:audio/wav")  # nothing sounds yet
        with page.expect_popup() as popup:
            page.get_by_role("link", name="the app\u2019s page").click()
        app_page = popup.value
        expect(app_page).to_have_url(f"{conference.app_url}/")
        press(app_page, f"Play to {number}")
        wait_for(page, SOUNDS)
        hints(page, "hears music: hold-music.mp3, 32 s")
        expect(page.locator("#silence")).not_to_be_visible()
        press(app_page, f"Stop for {number}")
        app_page.close()
        wait_for(page, "audio.paused")
        reads(page, "hears the music stop")
        expect(page.locator("#silence")).to_be_visible()
        expect(page.locator("body")).not_to_contain_text("ngrok.example")
        press(page, "Hang up")
        reads(page, "hangs up")
        is_in(page, "Call ended")
        wait_until(lambda: conference.store.live() == [])


@pytest.fixture
def page(open_phone: OpenPhone) -> Page:
    """A phone whose `loudness` a test can read, and which counts the `rounds` that it plays."""
    page = open_phone()
    page.evaluate(
        """() => {
          const create = AudioContext.prototype.createGain;
          AudioContext.prototype.createGain = function () {
            return window.loudness = create.call(this);
          };
          window.rounds = 0;
          document.querySelector("audio").addEventListener("ended", () => { rounds += 1; });
        }"""
    )
    enter(page)
    return page


def test_a_stream_has_its_level_and_its_loop_and_replaces_another(
    sandbox: StubbedSandbox, page: Page
) -> None:
    url = sandbox.add_file("/silence.wav", wav(seconds=20))
    play(sandbox, url, level=0.5)
    wait_for(page, SOUNDS)
    reads(page, "hears music: silence.wav, 20 s at level 0.5")
    first = page.evaluate("audio.src")
    assert page.evaluate("[loudness.gain.value, audio.loop]") == [1.5, False]
    play(sandbox, url, loop=0, level=-1)
    wait_for(page, f"{SOUNDS} && audio.src !== {first!r}")
    assert page.evaluate("[loudness.gain.value, audio.loop]") == [0, True]
    reads(page, "hears music: silence.wav, 20 s, forever at level -1")


def test_a_stream_plays_so_many_times(sandbox: StubbedSandbox, page: Page) -> None:
    play(sandbox, sandbox.add_file("/silence.wav", wav(seconds=20)), loop=2)
    wait_for(page, SOUNDS)
    page.evaluate("rounds = 0; audio.currentTime = audio.duration - 0.1")
    wait_for(page, f"rounds === 1 && audio.currentTime < 1 && {SOUNDS}")
    page.evaluate("audio.currentTime = audio.duration - 0.1")
    wait_for(page, "rounds === 2 && audio.ended")


def test_music_sounds_after_the_browser_has_interrupted_it(
    sandbox: StubbedSandbox, page: Page
) -> None:
    page.evaluate("loudness.context.suspend()")
    wait_for(page, "loudness.context.state === 'suspended'")
    play(sandbox)
    wait_for(page, f"loudness.context.state === 'running' && {SOUNDS}")


@pytest.mark.parametrize("ends", ["onend", "onerror"])
def test_voices_that_come_late_are_waited_for_and_what_follows_waits_for_them(
    sandbox: StubbedSandbox, open_phone: OpenPhone, ends: str
) -> None:
    sandbox.answers = [[TALK, CONFERENCE]]
    page = open_phone()
    speak(page)
    page.evaluate("() => { speechSynthesis.getVoices = () => []; }")
    press(page, "Dial")
    wait_for(page, "speechSynthesis.onvoiceschanged !== null")
    speak(page)
    page.evaluate("speechSynthesis.dispatchEvent(new Event('voiceschanged'))")
    wait_for(page, "window.speaking !== undefined")
    assert page.evaluate("speaking.text") == "One moment"
    hints(page, 'hears "One moment"')
    is_in(page, "Connected")
    page.evaluate(f"speaking.{ends}()")
    if ends == "onerror":
        hints(page, "This browser has no voice: please read the sentence.")
    is_in(page, "In the conference, alone")


def test_the_keypad_is_open_while_a_key_does_something(
    sandbox: StubbedSandbox, open_phone: OpenPhone
) -> None:
    sandbox.answers = [[{**TALK, "bargeIn": True}, INPUT, CONFERENCE]]
    page = open_phone()
    speak(page)
    keys = page.get_by_role("group", name="Keys")
    expect(keys).not_to_be_visible()
    press(page, "Dial")
    expect(keys).to_be_visible()
    page.get_by_role("button", name="hash", exact=True).focus()
    page.keyboard.press("Enter")
    is_in(page, "In the conference, alone")
    (call,) = sandbox.calls.values()
    pressed = [event["dtmf"]["digits"] for event in sandbox.events(call) if "dtmf" in event]
    assert pressed == ["#"]
    expect(keys).not_to_be_visible()
    expect(page.locator("summary")).to_be_focused()
    page.evaluate("speaking.onerror()")  # as a browser may say of what it was told to cancel
    expect(page.locator("#voiceless")).not_to_be_visible()
    page.keyboard.press("Enter")
    press(page, "5")
    reads(page, "presses 5: nothing listens for keys")
    expect(keys).to_be_visible()


def test_five_calls_sound_at_once_and_a_sixth_is_refused(
    sandbox: StubbedSandbox, open_phone: OpenPhone
) -> None:
    """A browser keeps six connections to a server, and each call takes one, in whatever tab."""
    sandbox.answers = [[sandbox.stream()]]
    page, other = open_phone(), open_phone()
    page.evaluate("others = [1, 2, 3, 4].map(() => new EventSource('/dial'))")
    wait_for(page, "others.every((one) => one.readyState === EventSource.OPEN)")
    press(page, "Dial")
    wait_for(page, SOUNDS)
    press(other, "Dial")
    reads(other, "Only 5 calls at a time: hang up in another tab")
    is_in(other, "Not dialled")
    expect(other.get_by_role("button", name="Dial")).to_be_enabled()
    page.bring_to_front()
    press_key(page, "1")
    reads(page, "presses 1: nothing listens for keys")
    assert page.evaluate(SOUNDS)
    press(page, "Hang up")
    reads(page, "hangs up")
    other.bring_to_front()
    press(other, "Dial")
    wait_for(other, SOUNDS)
    page.evaluate("others.forEach((one) => one.close())")


def test_why_nothing_is_heard(sandbox: StubbedSandbox, page: Page) -> None:
    play(sandbox, sandbox.add_file("/silence.wav", wav(bits=24)))
    reads(page, "hears nothing: silence.wav could not be played: it is a WAV of 24 bits")
    expect(page.locator(".trouble")).to_contain_text("hears nothing: silence.wav")
    assert page.evaluate("audio.src").startswith("data:")
    page.route("**/audio", lambda route: route.fulfill(body="no music"))
    play(sandbox)
    reads(page, "hears nothing: this browser could not play it")
    page.unroute("**/audio")
    play(sandbox, sandbox.short)
    reads(page, "hears the music end")
    hints(page, "hears the music end")
    expect(page.locator(".trouble")).to_have_count(0)


def test_music_that_is_replaced_is_not_played_on_or_later(
    sandbox: StubbedSandbox, page: Page
) -> None:
    play(sandbox)
    wait_for(page, SOUNDS)
    first = page.evaluate("audio.src")
    late: list[Any] = []
    page.route("**/audio", lambda route: late.append(route))
    with page.expect_request("**/audio"):
        play(sandbox)
    wait_for(page, "audio.paused")
    next(iter(sandbox.calls.values())).stop_stream()
    reads(page, "hears the music stop")
    with page.expect_response("**/audio"):
        late[0].continue_()
    page.unroute("**/audio")
    assert page.evaluate("fetch('/phone.js').then(() => audio.paused)")
    assert page.evaluate("audio.src") == first


# In a tab that nobody sees


def test_a_tab_in_the_background_sounds(
    sandbox: StubbedSandbox, chromium: Browser, phone: str
) -> None:
    tab = HiddenTab(chromium, phone)
    wait_until(lambda: tab.evaluate("document.readyState === 'complete' && !main.hidden"))
    tab.evaluate("document.querySelector('button').click()")
    wait_until(lambda: "is in the conference" in tab.evaluate("story.textContent"))
    wait_until(lambda: tab.evaluate("audio.ended"), "the silence that is played while dialling")
    front = HiddenTab(chromium, "about:blank")
    wait_until(lambda: tab.evaluate("document.visibilityState") == "hidden")
    play(sandbox)
    wait_until(lambda: tab.evaluate(SOUNDS), SOUNDS)
    (call,) = sandbox.calls.values()
    assert not call.over.is_set()
    tab.close()
    assert call.over.wait(20)
    front.close()
