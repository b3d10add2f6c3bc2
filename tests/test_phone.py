"""The phone, in a real browser: what it says, what it sounds like, and who may use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug import Response

from sandbox import FOLDER, serve
from sandbox.phone import create_phone
from tests.browser import FindWithAxe, HiddenTab
from tests.sandboxes import InProcess
from tests.stub import StubbedSandbox
from tests.waiting import wait_until

MUSIC = (FOLDER / "static" / "hold-music.mp3").read_bytes()
ROOM = {"action": "conversation", "name": "Room"}
SOUNDS = "!audio.paused && audio.currentTime > 0.05 && audio.src.startsWith('blob:')"

Open = Callable[..., Page]


@pytest.fixture
def sandbox(sandbox: StubbedSandbox) -> StubbedSandbox:
    """A sandbox whose app answers with a conference, and has the bundled music."""
    sandbox.files["/music.mp3"] = Response(MUSIC, mimetype="audio/mpeg")
    return sandbox


@pytest.fixture(scope="module")
def phone(stub: StubbedSandbox) -> Iterator[str]:
    """The address of the phone."""
    server = serve(create_phone(stub), 0)
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def profile(chromium: Browser) -> Iterator[BrowserContext]:
    """One for all tabs, which share their connections to the phone."""
    profile = chromium.new_context()
    yield profile
    profile.close()


@pytest.fixture(scope="module")
def free_tabs() -> list[Page]:
    """The tabs that nobody uses; opening one is slow."""
    return []


@pytest.fixture
def open_phone(profile: BrowserContext, phone: str, free_tabs: list[Page]) -> Iterator[Open]:
    """Open the phone in a tab, which is left when the test ends."""
    used: list[Page] = []

    def open_phone(address: str = phone) -> Page:
        used.append(free_tabs.pop() if free_tabs else profile.new_page())
        used[-1].goto(address)
        return used[-1]

    yield open_phone
    used = [page for page in used if not page.is_closed()]
    for page in used:
        page.goto("about:blank")
    free_tabs += used


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def reads(page: Page, text: str) -> None:
    """Wait until the phone says this."""
    expect(page.get_by_role("log")).to_contain_text(text)


def wait_for(page: Page, script: str) -> None:
    """Wait until a script in the page is true."""
    wait_until(lambda: page.evaluate(script), script)


def stream(sandbox: StubbedSandbox, **more: Any) -> dict[str, Any]:
    """An action that plays the music."""
    return {"action": "stream", "streamUrl": [f"{sandbox.public_url}/music.mp3"], **more}


def play(
    sandbox: StubbedSandbox, path: str = "/music.mp3", loop: int = 1, level: float = 0
) -> None:
    """Play into every call, as the Voice API does."""
    for call in sandbox.calls.values():
        call.start_stream(sandbox.public_url + path, loop, level)


# What it sounds like


def test_dial_play_stop_and_hang_up(conference: InProcess, open_phone: Open) -> None:
    """With the app itself."""
    server = serve(create_phone(conference), 0)
    page = open_phone(f"http://localhost:{server.server_port}")
    press(page, "Dial")
    reads(page, "is in the conference, with 0 more")
    number = page.get_by_role("status").inner_text()
    assert number == next(iter(conference.calls.values())).parameters["from"]
    requests.get(f"{conference.app_url}/stream", timeout=5).raise_for_status()
    wait_for(page, SOUNDS)
    requests.get(f"{conference.app_url}/stream/stop", timeout=5).raise_for_status()
    wait_for(page, "audio.paused")
    reads(page, "hears the music stop")
    press(page, "Hang up")
    reads(page, "hangs up")
    wait_until(lambda: requests.get(f"{conference.app_url}/stream", timeout=5).status_code == 409)
    server.shutdown()
    server.server_close()


def test_nothing_sounds_before_the_call_is_answered(
    sandbox: StubbedSandbox, open_phone: Open
) -> None:
    page = open_phone()
    press(page, "Dial")
    reads(page, "is in the conference")
    assert page.evaluate("audio.src").startswith("data:audio/wav")
    press(page, "Hang up")
    reads(page, "hangs up")
    expect(page.get_by_role("button", name="Dial")).to_be_enabled()


def test_a_stream_has_its_level_and_its_loop_and_replaces_another(
    sandbox: StubbedSandbox, open_phone: Open
) -> None:
    page = open_phone()
    press(page, "Dial")
    reads(page, "is in the conference")
    play(sandbox, level=0.5)
    wait_for(page, SOUNDS)
    first = page.evaluate("audio.src")
    assert page.evaluate("[gain.gain.value, audio.loop, left]") == [1.5, False, 0]
    play(sandbox, loop=0, level=-1)
    wait_for(page, f"{SOUNDS} && audio.src !== {first!r}")
    assert page.evaluate("[gain.gain.value, audio.loop]") == [0, True]


def test_a_stream_plays_so_many_times(sandbox: StubbedSandbox, open_phone: Open) -> None:
    page = open_phone()
    press(page, "Dial")
    reads(page, "is in the conference")
    play(sandbox, loop=2)
    wait_for(page, SOUNDS)
    for _ in range(2):
        page.evaluate("audio.currentTime = audio.duration - 0.1")
        wait_for(page, "audio.currentTime < 1 || audio.ended")
    wait_for(page, "audio.ended && left === -1")


def test_what_follows_a_talk_waits_until_it_is_spoken(
    sandbox: StubbedSandbox, open_phone: Open
) -> None:
    sandbox.answers = [[{"action": "talk", "text": "<speak>One moment</speak>"}, ROOM]]
    page = open_phone()
    page.evaluate("speechSynthesis.speak = (words) => { window.speaking = words; }")
    press(page, "Dial")
    reads(page, "One moment")
    wait_for(page, "window.speaking !== undefined")
    assert page.evaluate("speaking.text") == "One moment"
    assert not any("is in" in line for line in next(iter(sandbox.calls.values())).story)
    page.evaluate("speaking.onend()")
    reads(page, "is in the conference")


def test_a_key_ends_the_music_with_barge_in(sandbox: StubbedSandbox, open_phone: Open) -> None:
    sandbox.answers = [[stream(sandbox, bargeIn=True), {"action": "input", "type": ["dtmf"]}]]
    page = open_phone()
    press(page, "Dial")
    wait_for(page, SOUNDS)
    press(page, "hash")
    reads(page, "hears the music end")
    reads(page, "hears the end of the NCCO")
    assert page.evaluate("audio.paused")
    (call,) = sandbox.calls.values()
    assert call.ended.wait(5)
    pressed = [event["dtmf"]["digits"] for event in sandbox.events(call) if "dtmf" in event]
    assert pressed == ["#"]


def test_hold_music_ends_when_the_second_phone_dials(
    sandbox: StubbedSandbox, open_phone: Open
) -> None:
    hold = {"startOnEnter": False, "musicOnHoldUrl": [f"{sandbox.public_url}/music.mp3"]}
    sandbox.answers = [[{**ROOM, **hold}], [ROOM]]
    first, second = open_phone(), open_phone()
    press(first, "Dial")
    wait_for(first, SOUNDS)
    press(second, "Dial")
    reads(first, "hears the music stop, is in the conference, with 1 more")
    wait_for(first, "audio.paused")


def test_five_tabs_sound_at_once_and_a_sixth_is_refused(
    sandbox: StubbedSandbox, open_phone: Open
) -> None:
    sandbox.answers = [[stream(sandbox)]]
    pages = [open_phone() for _ in range(6)]
    for page in pages[:5]:
        press(page, "Dial")
    for page in pages[:5]:
        wait_for(page, SOUNDS)
    press(pages[5], "Dial")
    reads(pages[5], "Only 5 calls at a time")
    expect(pages[5].get_by_role("button", name="Dial")).to_be_enabled()
    press(pages[0], "1")
    assert all(page.evaluate(SOUNDS) for page in pages[:5])
    press(pages[0], "Hang up")
    reads(pages[0], "hangs up")
    press(pages[5], "Dial")
    wait_for(pages[5], SOUNDS)


def test_what_vonage_cannot_play_is_not_played(sandbox: StubbedSandbox, open_phone: Open) -> None:
    header = b"\x10\0\0\0\1\0\1\0\x40\x1f\0\0\xc0\x5d\0\0\3\0\x18\0data\xc0\x5d\0\0"
    wav = b"RIFF\xe4\x5d\0\0WAVEfmt " + header + bytes(24000)
    sandbox.files["/24-bits.wav"] = Response(wav, mimetype="audio/wav")
    page = open_phone()
    press(page, "Dial")
    reads(page, "is in the conference")
    play(sandbox, "/24-bits.wav")
    reads(page, "hears nothing: a WAV of 24 bits")
    assert page.evaluate("audio.src").startswith("data:")


def test_a_refusal_shows_on_the_phone(sandbox: StubbedSandbox, open_phone: Open) -> None:
    sandbox.answers = [[{"action": "sing"}]]
    page = open_phone()
    press(page, "Dial")
    reads(page, "is cut off: Syntax error in NCCO")
    expect(page.get_by_role("button", name="Dial")).to_be_enabled()


# In a tab that nobody sees


def test_a_tab_in_the_background_sounds(
    sandbox: StubbedSandbox, chromium: Browser, phone: str
) -> None:
    tab = HiddenTab(chromium, phone)
    wait_until(
        lambda: tab.evaluate("document.readyState === 'complete' && typeof call === 'object'")
    )
    tab.evaluate("part('dial').click()")
    wait_until(lambda: "is in the conference" in tab.evaluate("part('story').textContent"))
    front = HiddenTab(chromium, "about:blank")
    wait_until(lambda: tab.evaluate("document.visibilityState") == "hidden")
    play(sandbox)
    wait_until(lambda: tab.evaluate(SOUNDS), SOUNDS)
    (call,) = sandbox.calls.values()
    assert not call.over.is_set()
    tab.close()
    assert call.over.wait(2)
    front.close()


@pytest.mark.parametrize("how", ["close", "reload"])
def test_a_tab_that_is_gone_hangs_up(sandbox: StubbedSandbox, open_phone: Open, how: str) -> None:
    page = open_phone()
    press(page, "Dial")
    reads(page, "is in the conference")
    (call,) = sandbox.calls.values()
    getattr(page, how)()
    assert call.over.wait(2)


def test_the_end_of_the_sandbox_shows_on_the_phone(
    sandbox: StubbedSandbox, open_phone: Open
) -> None:
    page = open_phone()
    press(page, "Dial")
    reads(page, "is in the conference")
    sandbox.hang_up_all("hangs up: the sandbox has ended")
    reads(page, "hangs up: the sandbox has ended")


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
    phone: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = requests.get(phone + path, headers=headers, timeout=5)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'; script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]


# It is fit for people


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a call"])
def test_axe_finds_nothing_against_it(
    sandbox: StubbedSandbox, open_phone: Open, find_with_axe: FindWithAxe, busy: bool
) -> None:
    page = open_phone()
    if busy:
        press(page, "Dial")
        reads(page, "is in the conference")
    assert find_with_axe(page) == []


def test_the_keyboard_is_enough(sandbox: StubbedSandbox, open_phone: Open) -> None:
    page = open_phone()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
    page.keyboard.press("Enter")
    reads(page, "is in the conference")
    expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    page.keyboard.press("Enter")
    reads(page, "hangs up")
    expect(page.get_by_role("button", name="Dial")).to_be_focused()
