"""What happened: the same lines in every tab, without script, and after a reload."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.helpers.browser import Visit, press
from tests.helpers.faults import Fault
from tests.helpers.page import (
    CALLER,
    answer,
    caller,
    fill,
    happened,
    pass_a_second,
    read,
    refresh,
    trouble,
    words,
)
from tests.helpers.sandboxes import InProcess, StartSandbox, browse, replaced_by_a_folder
from tests.helpers.waiting import wait_until

TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"


def expect_lines(page: Page, *lines: str) -> None:
    """Check that these are all lines, each with its time."""
    expect(happened(page)).to_have_text([re.compile(f"^{TIME} {line}$") for line in lines])


def test_three_callers_and_stream_ten_times(conference: InProcess, visit: Visit) -> None:
    for number in range(1, 4):
        conference.dial({"from": f"44207946000{number}"})
    joined = ["…0003 joined", "…0002 joined", "…0001 joined"]
    for times in range(1, 11):
        page = visit(conference.app_url + "/stream")
        pass_a_second(page)
        sent = ["Sent hold-music.mp3 to all 3 callers"] * times
        expect_lines(page, *sent, *joined)
        expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 3 callers")
        playing = re.compile(rf"^\s*▶ hold-music.mp3 playing since {TIME}\s*$")
        expect(page.locator(".audio")).to_have_text([playing] * 3)
        without_script = words(read(conference))
        assert without_script.count("Sent hold-music.mp3 to all 3 callers") == times
        assert without_script.count("hold-music.mp3 playing since ") == 3
    before = happened(page).all_inner_texts()
    page.reload()
    assert happened(page).all_inner_texts() == before


def test_who_joins_and_who_leaves_is_a_line_each(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    expect(page.get_by_role("heading", name="What happened")).not_to_be_visible()
    stays, call = conference.dial({"from": None}), conference.dial(CALLER)
    refresh(page)
    expect_lines(page, "…0123 joined", "Unknown number joined")
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    joined = caller(page, "+442079460123").locator("time").inner_text()
    expect(happened(page).first.locator("time")).to_have_text(joined)
    call.hang_up()
    refresh(page)
    expect_lines(page, "…0123 left", "…0123 joined", "Unknown number joined")
    expect(page.locator("li .name")).to_have_text(["Unknown number"])
    stays.hang_up()
    refresh(page)
    expect(happened(page).first).to_have_text(re.compile("Unknown number left"))


def test_only_what_is_new_is_read_out(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    region = page.locator("#history")
    expect(region.get_by_role("log")).to_have_attribute("aria-live", "polite")
    expect(region.get_by_role("log")).to_have_attribute("aria-relevant", "additions")
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 720})
        assert region.evaluate("element => element.getBoundingClientRect().height") == 0
    conference.dial(), conference.dial(CALLER)
    refresh(page)
    expect(happened(page)).to_have_count(2)
    page.evaluate("""() => {
        added = [];
        const note = (changes) => added.push(...changes.flatMap((one) => [...one.addedNodes]));
        const region = document.getElementById("history");
        new MutationObserver(note).observe(region, { childList: true, subtree: true });
    }""")
    conference.dial({"from": "14155550145"})
    refresh(page)
    expect(happened(page)).to_have_count(3)
    said = page.evaluate("added.map((one) => one.textContent.trim()).filter(Boolean)")
    assert [re.sub(TIME, "", line).strip() for line in said] == ["…0145 joined"]


def test_it_is_beside_the_callers_where_it_is_wide(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url + "/stream")
    for width, beside in ((360, False), (1440, True)):
        page.set_viewport_size({"width": width, "height": 1000})
        row = caller(page, "+442079460123").bounding_box()
        line = happened(page).first.bounding_box()
        assert row is not None
        assert line is not None
        assert (line["x"] > row["x"] + row["width"]) == beside
        assert (line["y"] > row["y"] + row["height"]) != beside


def test_the_answer_to_a_press_stays_until_the_next(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    conference.latency = 0.3
    page = visit(conference.app_url)
    expect(answer(page)).to_have_attribute("aria-live", "polite")
    press(page, "Play to all 2")
    expect(answer(page)).to_have_text("Asking Vonage …")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 2 callers")
    conference.latency = 0.0
    refresh(page)
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to all 2 callers")
    expect(happened(page).filter(has_text="hold-music.mp3")).to_have_count(1)
    press(page, "Stop for all 2")
    expect(answer(page)).to_have_text("Stopped for all 2 callers")
    refresh(page)
    expect(happened(page).filter(has_text="Stopped")).to_have_count(1)


def test_a_row_says_why_its_caller_was_not_reached(conference: InProcess, visit: Visit) -> None:
    for number in range(5):
        conference.dial({"from": f"44207946012{number}"})
    page = visit(conference.app_url)
    conference.faults = [*[Fault(status=500)] * 4, Fault()]
    press(page, "Play to all 5")
    line = "Sent hold-music.mp3 to 1 of 5 callers; Vonage at localhost:[0-9]+ answered 500: .*"
    expect(answer(page)).to_have_text(re.compile(f"^{line}$"))
    expect(happened(page).first).to_have_text(re.compile(f"^{TIME} {line}$"))
    expect(happened(page).first).to_have_class("bad")
    expect(page.locator(".unreached")).to_have_text(
        [re.compile(r"^\s*⚠ not reached: Vonage at .* answered 500: ")] * 4
    )


def test_lines_are_the_same_wherever_they_are_read(start: StartSandbox, visit: Visit) -> None:
    own = start(fresh=True)
    own.dial(CALLER), own.dial({"from": "14155550145"})
    page = visit(own.app_url)
    browse(own, "/stream")
    refresh(page)
    lines = ["Sent hold-music.mp3 to all 2 callers", "…0145 joined", "…0123 joined"]
    expect_lines(page, *lines)
    own.stop_app()
    own.start_app()
    expect_lines(visit(own.app_url), *lines)
    expect_lines(visit(own.app_url, script=False), *lines)


def test_the_last_twenty_are_shown(conference: InProcess, visit: Visit) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    expect_lines(page, "…0123 joined")
    fill(conference, 20)
    refresh(page)
    expect_lines(page, *[f"…{number:04} joined" for number in range(19, -1, -1)])


def test_an_answer_is_shown_though_the_list_fails(start: StartSandbox, visit: Visit) -> None:
    own = start(fresh=True)
    own.dial(CALLER)
    page = visit(own.app_url)
    own.latency = 0.3
    with page.expect_request("**/stream?*"):
        press(page, "Play to +442079460123")
    wait_until(lambda: own.asked)
    with replaced_by_a_folder(own.folder / "calls.sqlite3") as report:
        expect(answer(page)).to_have_text("Sent hold-music.mp3 to the caller")
        pass_a_second(page)
        expect(trouble(page)).to_contain_text(report)
        expect(trouble(page)).to_contain_text("This list is of ")
        expect(caller(page, "+442079460123")).to_be_visible()
