"""The phone beside the app's page, which the README's picture shows."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from playwright.sync_api import expect

from sandbox import FOLDER
from tests.helpers.browser import Visit, press
from tests.helpers.page import answer
from tests.helpers.phone import (
    SOUNDS,
    enter,
    expect_line,
    expect_shown,
    expect_state,
    serve,
    speak_at_once,
    wait_for,
)
from tests.helpers.sandboxes import InProcess
from tests.helpers.waiting import wait_until

SIDE_BY_SIDE = """<style>
body { display: flex; align-items: center; margin: 0; padding-left: 24px; background: #ebe8e1 }
.page { border: 1px solid #d8d4cb; border-radius: 8px }
</style>"""


def image(picture: bytes, name: str) -> str:
    """Return a picture as HTML."""
    source = base64.b64encode(picture).decode()
    return f'<img class="{name}" src="data:image/png;base64,{source}">'


def test_dial_play_stop_and_hang_up_beside_the_page(
    conference: InProcess, visit: Visit, tmp_path: Path
) -> None:
    """The README's picture is taken on the way, and saved in docs/ if SCREENSHOT is set."""
    with serve(conference) as address:
        phone = visit(address, width=400, height=590)
        speak_at_once(phone)
        enter(phone)
        (call,) = conference.calls.values()
        expect(phone.get_by_role("heading", level=1)).to_have_text(f"+{call.number}")
        expect_shown(phone, "is in the conference, alone: silence until Play")
        expect_shown(phone, "Silence is right until somebody presses Play")
        assert phone.evaluate("audio.src").startswith("data:audio/wav")  # nothing sounds yet
        for number in ("442079460123", "14155550145"):
            conference.dial({"from": number})
        expect_state(phone, "In the conference, with 2 more")
        with phone.expect_popup() as popup:
            phone.get_by_role("link", name="the app\u2019s page").click()
        page = popup.value
        expect(page).to_have_url(f"{conference.app_url}/")
        page.set_viewport_size({"width": 776, "height": 640})
        press(page, "Play to all 3")
        wait_for(phone, SOUNDS)
        expect_shown(phone, "hears music: hold-music.mp3, 32 s")
        expect(phone.locator("#silence")).not_to_be_visible()
        expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 3 callers")
        expect(page.get_by_text("playing since")).to_have_count(3)
        page.mouse.move(0, 0)
        phone.evaluate("happened.hidden = true")
        pictures = image(page.screenshot(), "page") + image(phone.screenshot(), "phone")
        phone.evaluate("happened.hidden = false")
        press(page, f"Stop for +{call.number}")
        wait_for(phone, "audio.paused")
        expect_line(phone, "hears the music stop")
        expect(phone.locator("#silence")).to_be_visible()
        expect(phone.locator("body")).not_to_contain_text("ngrok.example")
        press(phone, "Hang up")
        expect_line(phone, "hangs up")
        expect_state(phone, "Call ended")
        wait_until(lambda: call.uuid not in conference.live)
    page.close()
    phone.goto("about:blank")
    phone.set_viewport_size({"width": 1202, "height": 690})
    phone.set_content(SIDE_BY_SIDE + pictures)
    folder = FOLDER / "docs" if "SCREENSHOT" in os.environ else tmp_path
    assert len(phone.screenshot(path=folder / "page.png")) < 150_000
    assert (FOLDER / "docs/page.png").stat().st_size < 150_000
