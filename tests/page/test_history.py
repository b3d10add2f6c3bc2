"""What happened, on the page: who came and left, what was sent, stopped, heard, or went wrong."""

from __future__ import annotations

import re
import time
from dataclasses import replace

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.helpers.browser import Visit
from tests.helpers.faults import Fault
from tests.helpers.page import CALLER, caller, fill, happened, press, read, refresh, words
from tests.helpers.sandboxes import InProcess, StartSandbox, browse
from tests.helpers.waiting import wait_until

TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
# Vonage's answer to Play, after which no RTC event follows.
STARTED = Fault(
    status=200,
    body=b'{"message": "Stream started", "uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356"}',
)


def expect_lines(page: Page, *lines: str) -> None:
    """These are all lines, each with its time."""
    expect(happened(page)).to_have_text([re.compile(f"^{TIME} {line}$") for line in lines])


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


def test_it_is_a_live_region_from_the_start_without_height_or_border(
    conference: InProcess, visit: Visit
) -> None:
    page = visit(conference.app_url)
    region = page.locator("#history")
    expect(region.get_by_role("log")).to_have_attribute("aria-live", "polite")
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 720})
        assert region.evaluate("element => element.offsetHeight") == 0
        expect(region).to_have_css("border-top-width", "0px")
        expect(region).to_have_css("border-left-width", "0px")


def test_it_is_below_the_callers_and_beside_them_where_it_is_wide(
    conference: InProcess, visit: Visit
) -> None:
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


def test_what_was_sent_elsewhere_is_one_line(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    conference.faults = [STARTED]
    page = visit(conference.app_url)
    browse(conference, "/stream")
    refresh(page)
    expect(happened(page).filter(has_text="hold-music.mp3 sent to 2 callers")).to_have_count(1)


def test_what_was_pressed_here_is_said_once_when_vonage_has_answered(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial(), conference.dial()
    conference.latency = 0.3
    page = visit(conference.app_url)
    press(page, "Play to all 2")
    expect(happened(page)).to_have_text([re.compile(f"^{TIME} Asking Vonage …$")])
    expect(page.get_by_text("Sent hold-music.mp3 to all 2 callers")).to_be_visible()
    expect(page.get_by_text("Asking Vonage")).to_have_count(0)
    conference.latency = 0.0
    refresh(page)
    expect(happened(page).filter(has_text="hold-music.mp3")).to_have_count(1)
    press(page, "Stop for all 2")
    expect(page.get_by_text("Stopped for all 2 callers")).to_be_visible()
    refresh(page)
    expect(happened(page).filter(has_text=re.compile("[Ss]topped"))).to_have_count(1)


def test_what_was_sent_is_below_what_became_of_it(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(CALLER)
    conference.faults = [STARTED]
    page = visit(conference.app_url)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/stream?*", lambda route: held.append((route, route.fetch())))
    press(page, "Play to +442079460123")
    wait_until(lambda: page.title() and held)
    conference.store.note(call.uuid, "playing")
    refresh(page)
    expect_lines(page, "…0123's music is playing", "Asking Vonage …")
    route, response = held[0]
    route.fulfill(response=response)
    expect(page.get_by_text("Asking Vonage")).to_have_count(0)
    expect_lines(page, "…0123's music is playing", "Sent hold-music.mp3 to the caller")


def test_music_that_begins_with_a_press_is_said_once_of_all(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial(), conference.dial()
    conference.faults = [STARTED, replace(STARTED, delay=0.3)]
    page = visit(conference.app_url)
    page.route(re.compile("/$"), lambda route: None)  # no renewal while the press waits
    press(page, "Play to all 2")
    wait_until(lambda: [leg for leg in conference.store.live() if leg.audio])
    at = time.time()  # both begin in one second, or they would be said apart
    for leg in conference.store.live():
        if leg.audio:
            conference.store.note(leg.uuid, "playing", at)
    expect(page.get_by_text("Sent hold-music.mp3 to all 2 callers")).to_be_visible()
    for leg in conference.store.live():
        conference.store.note(leg.uuid, "playing", at)
    page.unroute_all()
    refresh(page)
    expect_lines(page, "2 callers' music is playing", "Sent hold-music.mp3 to all 2 callers")


def test_what_becomes_of_the_audio_is_a_line_each(conference: InProcess, visit: Visit) -> None:
    one, other = conference.dial(CALLER), conference.dial()
    page = visit(conference.app_url)
    for audio in ("playing", "over", "could not be played: 404 Not Found", "stopped"):
        conference.store.note(one.uuid, audio)
        refresh(page)
    at = time.time()
    for call in (one, other):
        conference.store.note(call.uuid, "playing", at)
    refresh(page)
    lines = [
        "2 callers' music is playing",
        "…0123's music has stopped",
        "…0123's music could not be played: 404 Not Found",
        "…0123's music is over",
        "…0123's music is playing",
    ]
    expect_lines(page, *lines)
    second = int(time.time())
    wait_until(lambda: time.time() > second + 1)
    conference.store.note(one.uuid, "playing")  # Vonage may send an event twice
    refresh(page)
    expect_lines(page, *lines)
    expect(page.get_by_text("404 Not Found").last).to_have_css("color", "rgb(163, 39, 28)")


def test_who_was_not_reached_is_said_once_and_marked(conference: InProcess, visit: Visit) -> None:
    for number in range(5):
        conference.dial({"from": f"44207946012{number}"})
    page = visit(conference.app_url)
    conference.faults = [*[Fault(status=500)] * 4, Fault()]
    press(page, "Play to all 5")
    expect(page.get_by_text("Sent hold-music.mp3 to 1 of 5 callers")).to_be_visible()
    line = r"^[0-9:]+ 4 callers were not reached \((…012.(, )?){3} and 1 more\): Vonage at .* 500: "
    expect(happened(page).filter(has_text="answered 500")).to_have_text(re.compile(line))
    marks = page.locator("#callers").get_by_text("not reached")
    expect(marks).to_have_count(4)
    refresh(page)
    expect(marks).to_have_count(4)
    for leg in conference.store.live():
        if leg.audio == "":
            conference.store.note(leg.uuid, "playing")
            break
    refresh(page)
    expect(marks).to_have_count(3)
    press(page, "Play to all 5")
    expect(page.get_by_text("Sent hold-music.mp3 to all 5 callers")).to_be_visible()
    expect(marks).to_have_count(0)


def test_without_script_the_rows_that_were_not_reached_are_marked(conference: InProcess) -> None:
    conference.dial(CALLER)
    conference.faults = [Fault(status=500)]
    page = words(read(conference, "/stream"))
    assert "…0123 was not reached: Vonage at localhost" in page
    assert re.search(rf"[+]442079460123 since {TIME} not reached ", page)


def test_a_reload_misses_nothing_and_reads_nothing_out(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url + "/stream?loop=often")
    expect(happened(page)).to_have_count(0)
    page.reload()
    expect_lines(page, "loop must be a whole number.*")
    call = conference.dial(CALLER)
    refresh(page)
    before = happened(page).all_inner_texts()
    page.reload()
    expect_lines(page, "…0123 joined", "loop must be a whole number.*")
    assert happened(page).all_inner_texts() == before
    expect(page.get_by_role("log")).to_be_empty()
    page.evaluate("isRefused = true")  # from here on only the reload looks
    call.hang_up()
    conference.dial({"from": "14155550145"})
    page.reload()
    expect(happened(page).filter(has_text="…0145 joined")).to_have_count(1)
    expect(happened(page).filter(has_text="…0123 left")).to_have_count(1)


def test_the_last_twenty_are_kept(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url)
    conference.dial(CALLER)
    refresh(page)
    page.reload()
    fill(conference, 19)
    refresh(page)
    expect(happened(page)).to_have_count(20)
    expect(happened(page).last).to_contain_text("…0123 joined")
    conference.dial({"from": "14155550145"})
    refresh(page)
    expect(happened(page)).to_have_count(20)
    expect(happened(page).first).to_contain_text("…0145 joined")
    expect(page.get_by_text("…0123 joined")).to_have_count(0)


def test_times_are_those_of_the_browsers_zone(conference: InProcess, visit: Visit) -> None:
    session = None
    page = visit("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kathmandu"})
    conference.dial(CALLER)
    page.goto(conference.app_url + "/stream?loop=often")
    shown = page.locator("main time").all()
    assert len(shown) == 2
    for one in shown:
        at = one.get_attribute("datetime")
        local = page.evaluate("at => new Date(at).toLocaleTimeString('en-GB')", at)
        expect(one).to_have_text(local)
    session.send("Emulation.setTimezoneOverride", {"timezoneId": ""})
    session.detach()


def test_an_answer_that_a_newer_one_has_overtaken_changes_nothing(
    conference: InProcess, visit: Visit
) -> None:
    page = visit(conference.app_url)
    held: list[Route] = []
    answers: list[APIResponse] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)
            answers.append(route.fetch())

    page.route("**", hold_the_first)
    page.evaluate("void (overtaken = refresh())")
    wait_until(lambda: page.title() and answers)
    conference.dial(CALLER)
    refresh(page)
    expect_lines(page, "…0123 joined")
    held[0].fulfill(response=answers[0])
    page.evaluate("overtaken")
    expect_lines(page, "…0123 joined")


def test_what_was_sent_is_said_where_the_list_fails_right_after_it(
    start: StartSandbox, visit: Visit
) -> None:
    own = start(fresh=True)
    own.dial(CALLER)
    page = visit(own.app_url)
    own.latency = 0.3
    with page.expect_request("**/stream?*"):
        press(page, "Play to +442079460123")
    wait_until(lambda: own.asked)
    database = own.folder / "calls.sqlite3"
    database.rename(own.folder / "aside")
    database.mkdir()
    expect(page.get_by_text("Sent hold-music.mp3 to the caller")).to_be_visible()
    expect(caller(page, "+442079460123")).to_be_visible()
