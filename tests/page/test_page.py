"""The page, in a real browser: what an operator sees and presses."""

from __future__ import annotations

import re
import time
import uuid

from playwright.sync_api import Page, expect

from calls import AudioNote, Leg
from tests.helpers.browser import Visit, press
from tests.helpers.faults import Fault
from tests.helpers.page import (
    CALLER,
    FROM_ELSEWHERE,
    LOGIN,
    PASSWORD,
    answer,
    caller,
    fill,
    read,
    refresh,
    said,
    top,
    words,
)
from tests.helpers.sandboxes import InProcess, StartSandbox

CLOCK = re.compile("^[0-9]{2}:[0-9]{2}:[0-9]{2}$")
BLUE = "rgb(29, 95, 168)"
RED = "rgb(163, 39, 28)"
# What the places and sizes of some elements are; one of each, if those in all rows are the same.
PLACES = """selector => [...new Set([...document.querySelectorAll(selector)].map(one => {
    const { left, right } = one.getBoundingClientRect();
    return `${left} ${right}`;
}))].length"""

POSITIONS = """[...new Set([...document.querySelectorAll('body, body *')].map(one =>
    getComputedStyle(one).position))]"""


def filled_buttons(page: Page) -> list[str]:
    """Return the names of the buttons that are filled with colour."""
    filled = []
    for button in page.get_by_role("button").all():
        colour = button.evaluate("button => getComputedStyle(button).backgroundColor")
        if colour == BLUE:
            filled.append(button.get_attribute("aria-label") or button.inner_text())
    return filled


# What it says


def test_callers_are_in_order_under_their_conference(conference: InProcess, visit: Visit) -> None:
    for number, name in (("14155550145", "Before the restart"), ("819012345678", None)):
        leg = Leg(str(uuid.uuid4()), number, None, None, name, time.time() - 60)
        conference.store.join(leg)
    for dialled in ("442079460125", "442079460123", None, "442079460124"):
        conference.dial({"from": dialled})
    page = visit(conference.app_url)
    joined = ["+442079460125", "+442079460123", "Unknown number", "+442079460124"]
    for numbers, name in (
        (joined, "Conference “Relaxing Conference”"),
        (["+14155550145"], "Conference “Before the restart”"),
        (["+819012345678"], "Not in a conference"),
    ):
        heading = page.get_by_role("heading", name=name)
        group = page.locator(".group").filter(has=heading)
        expect(group.locator("li .name")).to_have_text(numbers)
        assert top(heading) < top(group.get_by_role("listitem").first)
    expect(page.get_by_text("Relaxing Conference")).to_have_count(1)
    row = caller(page, "+442079460123")
    expect(row).to_contain_text("since ")
    expect(row.locator("time")).to_have_text(CLOCK)


def test_a_row_says_what_is_known_of_its_audio(conference: InProcess, visit: Visit) -> None:
    notes: dict[AudioNote | None, str] = {
        None: "",
        AudioNote("sent", "a.mp3"): "a.mp3 sent TIME",
        AudioNote("stopped"): "■ stopped TIME",
        AudioNote("playing", "a.mp3"): "▶ a.mp3 playing since TIME",
        AudioNote("playing"): "▶ music playing since TIME",
        AudioNote("over"): "■ music over TIME",
        AudioNote("failed", "nothing was sent"): "⚠ could not be played: nothing was sent TIME",
        AudioNote("unreached", "It is late"): "⚠ not reached: It is late TIME",
    }
    fill(conference, len(notes))
    page = visit(conference.app_url)
    for leg, audio in zip(reversed(conference.store.live()), notes, strict=True):
        if audio is not None:
            conference.store.note(leg.uuid, audio, time.time())
    refresh(page)
    shown = [note.replace("TIME", "[0-9]{2}:[0-9]{2}:[0-9]{2}") for note in notes.values()]
    expect(page.locator(".audio")).to_have_text([re.compile(rf"^\s*{note}\s*$") for note in shown])
    expect(page.locator("#callers").get_by_text("could not")).to_have_css("color", RED)
    expect(page.locator("#callers").get_by_text("over")).not_to_have_css("color", RED)


def test_the_page_says_how_many_callers_start_the_conference(start: StartSandbox) -> None:
    sandbox = start(VOICE_CONFERENCE_QUORUM="3")
    sandbox.dial(), sandbox.dial()
    assert "Conference “Relaxing Conference”: 2 of 3 on the line" in words(read(sandbox))
    sandbox.dial(), sandbox.dial()
    page = words(read(sandbox))
    assert "Conference “Relaxing Conference”: 4 on the line" in page
    assert "starts" not in page


def test_columns_line_up_from_one_caller_to_fifty(conference: InProcess, visit: Visit) -> None:
    call = conference.dial({"from": "sip:" + "long" * 20 + "@example.com"})
    note = AudioNote("failed", "a long reason " * 5)
    conference.store.note(call.uuid, note, time.time())
    page = visit(conference.app_url)
    for callers in (1, 3, 50):
        fill(conference, callers - page.locator("#callers li").count())
        refresh(page)
        expect(page.locator("#callers li")).to_have_count(callers)
        for width in (1440, 360, 345):  # 345 is what a scrollbar leaves of 360
            page.set_viewport_size({"width": width, "height": 640})
            for column in (".name", ".since", ".audio", "li .buttons", "li button:last-child"):
                assert page.evaluate(PLACES, column) == 1, f"{column} of {callers} at {width}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            field, button = page.locator("#url"), page.get_by_role("button", name="Play address")
            assert top(field) == top(button)
    heights = "[...document.querySelectorAll('#callers li + li')].map(li => li.clientHeight)"
    assert max(page.evaluate(heights)) < 60


# What it does


def test_the_filled_button_reaches_everyone(conference: InProcess, visit: Visit) -> None:
    calls = [conference.dial(CALLER)]
    page = visit(conference.app_url)
    assert filled_buttons(page) == ["Play to +442079460123"]
    expect(page.get_by_role("button", name="all")).to_have_count(0)
    calls += [conference.dial(), conference.dial()]
    refresh(page)
    expect(page.get_by_role("button", name="Play to all 3")).to_be_visible()
    assert filled_buttons(page) == ["Play to all 3"]
    for who, to_whom, reached in (
        ("+442079460123", "the caller", calls[:1]),
        ("all 3", "all 3 callers", calls),
    ):
        conference.asked.clear()
        press(page, f"Play to {who}")
        for call in reached:
            call.hears("hears music")
        expect(answer(page)).to_have_text(f"Sent hold-music.mp3 to {to_whom}")
        press(page, f"Stop for {who}")
        for call in reached:
            call.hears("hears the music stop")
        expect(answer(page)).to_have_text(f"Stopped for {to_whom}")
        paths = {f"/v1/calls/{call.uuid}/stream" for call in reached}
        assert {asked.path for asked in conference.asked} == paths


def test_where_play_reaches_only_the_last_who_joined_it_says_so(stream: InProcess) -> None:
    stream.dial(), stream.dial()
    response = read(stream)
    assert "Play another audio address to the caller who joined last " in words(response)
    assert response.text.count('"Play to +') == 2
    assert "to all" not in words(response)


def test_another_address_is_played_or_refused(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url)
    field = page.get_by_label("Play another audio address to all 2 callers")
    field.fill("http://localhost:8000/closing.mp3")
    field.press("Enter")
    wrong = page.get_by_text("Use a public http or https address.")
    expect(wrong).to_be_visible()
    refresh(page)
    expect(wrong).to_be_visible()
    expect(wrong).to_have_css("color", RED)
    assert top(wrong) > top(field)
    expect(field).to_have_value("http://localhost:8000/closing.mp3")
    assert conference.asked == []
    field.fill("https://audio.example/closing.mp3?take=2&loud")
    press(page, "Play address")
    expect(answer(page)).to_have_text("Sent closing.mp3 to all 2 callers")
    urls = [asked.body["stream_url"] for asked in conference.asked]
    assert urls == [["https://audio.example/closing.mp3?take=2&loud"]] * 2


def test_a_reload_after_stream_plays_nothing(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(CALLER)
    page = visit(conference.app_url + "/stream")
    call.hears("hears music")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to the caller")
    expect(page).to_have_url(conference.app_url + "/")
    page.reload()
    expect(caller(page, "+442079460123")).to_be_visible()
    assert [asked.method for asked in conference.asked] == ["PUT"]


def test_an_error_stands_above_until_the_next_press(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    conference.faults = [Fault(status=500)]
    for path, sentence in (("", "Vonage at localhost"), ("?uuid=1", "“1” is not on the line.")):
        page = visit(conference.app_url + "/stream" + path)
        expect(said(page)).to_contain_text(sentence)
        expect(said(page)).to_have_css("color", RED)
        assert top(said(page)) < top(page.get_by_role("heading", name="1 caller on the line"))
    refresh(page)
    expect(said(page)).to_be_visible()
    mark = caller(page, "+442079460123").get_by_text("not reached")
    expect(mark).to_be_visible()
    conference.faults = []
    press(page, "Play to +442079460123")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to the caller")
    expect(said(page)).to_have_count(0)
    expect(mark).to_have_count(0)


def test_nothing_moves_when_an_answer_appears(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url)
    button = page.get_by_role("button", name="Play to all 2")
    for width, fault, text in (
        (360, Fault(), "Sent hold-music.mp3"),
        (1440, Fault(status=502, body=b"A long reason. " * 20), "answered 502"),
    ):
        page.reload()
        page.set_viewport_size({"width": width, "height": 720})
        conference.faults = [fault]
        before = button.bounding_box()
        button.click()
        expect(answer(page)).to_contain_text(text)
        assert button.bounding_box() == before


def test_what_comes_of_a_button_far_down_is_in_view(conference: InProcess, visit: Visit) -> None:
    fill(conference, 12)
    conference.dial(CALLER)
    page = visit(conference.app_url)
    row = caller(page, "+442079460123")
    for width, height in ((360, 320), (1440, 400)):
        page.set_viewport_size({"width": width, "height": height})
        for fault, text in ((Fault(status=502), "not reached: "), (Fault(), "hold-music.mp3 ")):
            page.evaluate("scrollTo(0, 0)")
            conference.faults = [fault]
            press(page, "Play to +442079460123")
            expect(row.get_by_text(text)).to_be_in_viewport(ratio=1)
            assert page.evaluate("scrollY") > height
            assert {"static", "absolute"} >= {*page.evaluate(POSITIONS)}
    page.get_by_label("Play another audio address").fill("https://audio.example/closing.mp3")
    press(page, "Play address")
    expect(answer(page)).to_contain_text("Sent closing.mp3 to 1 of ")
    expect(answer(page)).to_be_in_viewport(ratio=1)


def test_without_script_the_page_works_by_reloading(start: StartSandbox, visit: Visit) -> None:
    """The operator is elsewhere, and has the password."""
    sandbox = start(STREAM_PASSWORD=PASSWORD)
    page = visit(sandbox.app_url, script=False, headers={**FROM_ELSEWHERE, **LOGIN})
    one, other = sandbox.dial(CALLER), sandbox.dial()
    page.get_by_role("link", name="Reload").click()
    press(page, "Play to all 2")
    one.hears("hears music")
    other.hears("hears music")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 2 callers")
    press(page, "Stop for +442079460123")
    one.hears("hears the music stop")
    expect(answer(page)).to_have_text("Stopped for the caller")
    assert "stop" not in "".join(other.story)
    page.get_by_label("Play another audio address").fill("https://audio.example/closing.mp3")
    press(page, "Play address")
    assert sandbox.asked[-1].body["stream_url"] == ["https://audio.example/closing.mp3"]


def test_the_keyboard_is_enough(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(), conference.dial()
    page = visit(conference.app_url)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Play to all 2")
    expect(button).to_be_focused()
    expect(button).to_have_css("outline-style", "solid")
    page.keyboard.press("Enter")
    call[0].hears("hears music")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 2 callers")
    expect(button).to_be_focused()
