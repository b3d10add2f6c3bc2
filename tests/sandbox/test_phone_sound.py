"""The phone, in a real browser: what it sounds like, also in a tab that no one sees."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.audio import wav
from tests.helpers.browser import HiddenTab, press
from tests.helpers.phone import (
    SOUNDS,
    enter,
    expect_line,
    expect_shown,
    expect_state,
    play,
    press_key,
    wait_for,
)
from tests.helpers.stub import StubbedSandbox
from tests.helpers.waiting import wait_until


@pytest.fixture
def listening(page: Page) -> Page:
    """Return a phone in the conference: `loudness` is its level, `rounds` counts the ends."""
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


def test_a_stream_has_its_level_and_is_played_as_often_as_asked_in_place_of_another(
    sandbox: StubbedSandbox, listening: Page
) -> None:
    url = sandbox.add_file("/silence.wav", wav(seconds=20))
    listening.evaluate("loudness.context.suspend()")  # as a browser may do
    wait_for(listening, "loudness.context.state === 'suspended'")
    play(sandbox, url, level=0.5)
    wait_for(listening, f"loudness.context.state === 'running' && {SOUNDS}")
    expect_line(listening, "hears music: silence.wav, 20 s at level 0.5")
    first = listening.evaluate("audio.src")
    assert listening.evaluate("[loudness.gain.value, audio.loop]") == [1.5, False]
    play(sandbox, url, loop=0, level=-1)
    wait_for(listening, f"{SOUNDS} && audio.src !== {first!r}")
    assert listening.evaluate("[loudness.gain.value, audio.loop]") == [0, True]
    expect_line(listening, "hears music: silence.wav, 20 s, forever at level -1")
    second = listening.evaluate("audio.src")
    play(sandbox, url, loop=2)
    wait_for(listening, f"{SOUNDS} && audio.src !== {second!r}")
    listening.evaluate("rounds = 0; audio.currentTime = audio.duration - 0.1")
    wait_for(listening, f"rounds === 1 && audio.currentTime < 1 && {SOUNDS}")
    listening.evaluate("audio.currentTime = audio.duration - 0.1")
    wait_for(listening, "rounds === 2 && audio.ended")


def test_five_calls_sound_at_once_and_a_sixth_is_refused(
    sandbox: StubbedSandbox, page: Page
) -> None:
    """A browser keeps six connections to a server, and each call takes one."""
    sandbox.answers = [[sandbox.stream()]]
    page.evaluate("others = [1, 2, 3, 4, 5].map(() => new EventSource('/dial'))")
    wait_for(page, "others.every((one) => one.readyState === EventSource.OPEN)")
    press(page, "Dial")
    expect_line(page, "Only 5 calls at a time: hang up in another tab")
    expect_state(page, "Not dialled")
    page.evaluate("others.pop().close()")
    wait_until(lambda: any(call.over.is_set() for call in list(sandbox.calls.values())))
    press(page, "Dial")
    wait_for(page, SOUNDS)
    press_key(page, "1")
    expect_line(page, "presses 1: nothing listens for keys")
    assert page.evaluate(SOUNDS)
    press(page, "Hang up")
    expect_line(page, "hangs up")
    press(page, "Dial")
    wait_for(page, SOUNDS)


def test_audio_that_cannot_be_played_or_is_replaced_is_not_heard(
    sandbox: StubbedSandbox, listening: Page
) -> None:
    play(sandbox, sandbox.add_file("/silence.wav", wav(bits=24)))
    expect_line(listening, "hears nothing: silence.wav could not be played: it is a WAV of 24 bits")
    expect(listening.locator(".trouble")).to_contain_text("hears nothing: silence.wav")
    assert listening.evaluate("audio.src").startswith("data:")
    listening.route("**/audio", lambda route: route.fulfill(body="no music"))
    play(sandbox)
    expect_line(listening, "hears nothing: this browser could not play it")
    listening.unroute("**/audio")
    play(sandbox, sandbox.short)
    expect_line(listening, "hears the music end")
    expect_shown(listening, "hears the music end")
    expect(listening.locator(".trouble")).to_have_count(0)
    play(sandbox)
    wait_for(listening, SOUNDS)
    first = listening.evaluate("audio.src")
    late: list[Any] = []
    listening.route("**/audio", lambda route: late.append(route))
    with listening.expect_request("**/audio"):
        play(sandbox)
    wait_for(listening, "audio.paused")
    next(iter(sandbox.calls.values())).stop_stream()
    expect_line(listening, "hears the music stop")
    with listening.expect_response("**/audio"):
        late[0].continue_()
    listening.unroute("**/audio")
    assert listening.evaluate("fetch('/phone.js').then(() => audio.paused)")
    assert listening.evaluate("audio.src") == first


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
