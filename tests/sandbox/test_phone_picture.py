"""The README's picture: the page, and beside it a phone that hears what it plays."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from playwright.sync_api import expect

from sandbox import FOLDER
from tests.helpers.browser import Visit
from tests.helpers.page import answer
from tests.helpers.phone import OpenPhone, enter, hints, is_in, press, serve, speak_at_once
from tests.helpers.sandboxes import InProcess

SIDE_BY_SIDE = """<style>
body { display: flex; align-items: center; margin: 0; padding-left: 24px; background: #ebe8e1 }
.page { border: 1px solid #d8d4cb; border-radius: 8px }
</style>"""


def image(picture: bytes, name: str) -> str:
    """A picture as HTML."""
    source = base64.b64encode(picture).decode()
    return f'<img class="{name}" src="data:image/png;base64,{source}">'


def test_the_picture_in_the_readme_is_small(
    conference: InProcess, visit: Visit, open_phone: OpenPhone, tmp_path: Path
) -> None:
    """Taken anew, for the README too if SCREENSHOT is set."""
    for number in ("442079460123", "14155550145"):
        conference.dial({"from": number})
    with serve(conference) as address:
        phone = open_phone(address)
        speak_at_once(phone)
        enter(phone)
        is_in(phone, "In the conference, with 2 more")
        page = visit(conference.app_url, width=776, height=640)
        press(page, "Play to all 3")
        hints(phone, "hears music: hold-music.mp3, 32 s")
        expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 3 callers")
        expect(page.get_by_text("playing since")).to_have_count(3)
        page.mouse.move(0, 0)
        phone.evaluate("happened.hidden = true")
        phone.set_viewport_size({"width": 400, "height": 590})
        pictures = image(page.screenshot(), "page") + image(phone.screenshot(), "phone")
    page.goto("about:blank")
    page.set_viewport_size({"width": 1202, "height": 690})
    page.set_content(SIDE_BY_SIDE + pictures)
    folder = FOLDER / "docs" if "SCREENSHOT" in os.environ else tmp_path
    assert len(page.screenshot(path=folder / "page.png")) < 150_000
    assert (FOLDER / "docs/page.png").stat().st_size < 150_000
