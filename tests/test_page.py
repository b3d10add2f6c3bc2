"""The page, in a real browser: what somebody with a phone at one ear sees and presses."""

from __future__ import annotations

import re
import time
import uuid

import pytest
from playwright.sync_api import expect

from calls import Leg
from tests.browser import Visit
from tests.faults import Fault
from tests.page import CALLER, caller, fill, press, refresh, said, top
from tests.sandboxes import InProcess, StartSandbox

CLOCK = re.compile("[0-9]{2}:[0-9]{2}")


@pytest.fixture
def bare(start: StartSandbox) -> InProcess:
    """The app with nothing set up."""
    return start(VONAGE_APPLICATION_ID="", VONAGE_PRIVATE_KEY="", VONAGE_SIGNATURE_SECRET="")


# What it says


def test_the_first_visit_says_what_to_do_and_what_is_not_set_up(
    bare: InProcess, visit: Visit
) -> None:
    page = visit(bare.app_url)
    expect(page.get_by_role("heading", name="No one is on the line")).to_be_visible()
    steps = page.get_by_role("list")
    expect(steps).to_contain_text(f"ngrok http {bare.port}")
    expect(steps).to_contain_text("https://your-public-address/webhooks/answer")
    expect(steps).to_contain_text("https://your-public-address/webhooks/event")
    expect(steps).to_contain_text("POST")
    expect(steps).to_contain_text("Dial the number")
    not_set_up = page.get_by_role("region", name="Not set up yet")
    expect(not_set_up).to_contain_text("VONAGE_APPLICATION_ID")
    expect(not_set_up).to_contain_text("VONAGE_SIGNATURE_SECRET")
    expect(not_set_up).to_contain_text("webhooks are accepted from anyone")


def test_when_all_is_set_up_there_is_nothing_to_read(start: StartSandbox, visit: Visit) -> None:
    page = visit(start(PUBLIC_URL="https://public.example/").app_url)
    expect(page.get_by_role("list")).to_contain_text("https://public.example/webhooks/answer")
    expect(page.get_by_role("list")).not_to_contain_text("ngrok")
    expect(page.get_by_role("region")).to_have_count(0)


def test_the_empty_page_says_how_to_try_it_without_an_account(
    conference: InProcess, visit: Visit
) -> None:
    expect(visit(conference.app_url).get_by_text("python -m sandbox")).to_be_visible()


def test_the_steps_stay_within_reach_when_somebody_is_on_the_line(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial()
    page = visit(conference.app_url)
    url = page.get_by_text("/webhooks/answer")
    expect(url).not_to_be_visible()
    page.get_by_text("How to connect a number").click()
    expect(url).to_be_visible()
    conference.dial()
    refresh(page)
    expect(url).to_be_visible()


def test_what_is_not_set_up_is_said_when_somebody_is_on_the_line(
    bare: InProcess, visit: Visit
) -> None:
    bare.dial()
    missing = visit(bare.app_url).get_by_role("region", name="Not set up yet")
    expect(missing).to_contain_text("VONAGE_PRIVATE_KEY")


def test_a_caller_is_shown_with_the_number_and_since_when(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    expect(caller(page, "442079460123")).to_contain_text(re.compile("since [0-9]{2}:[0-9]{2}"))
    expect(caller(page, "442079460123").locator("time")).to_have_text(CLOCK)


def test_a_caller_who_hides_the_number_is_shown(conference: InProcess, visit: Visit) -> None:
    conference.dial({"from": None})
    expect(caller(visit(conference.app_url), "no number")).to_be_visible()


def test_a_conference_is_named_once_above_its_callers(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url)
    name = page.get_by_role("heading", name="Conference “Relaxing Conference”")
    expect(page.get_by_text("Relaxing Conference")).to_have_count(1)
    assert top(name) < top(page.get_by_role("listitem").first)


def test_each_caller_is_under_the_conference_that_answered(
    conference: InProcess, visit: Visit
) -> None:
    for number, name in (("14155550145", "Before the restart"), ("819012345678", None)):
        leg = Leg(str(uuid.uuid4()), number, None, None, name, time.time() - 60)
        conference.store.join(leg)
    conference.dial(CALLER)
    page = visit(conference.app_url)
    for number, name in (
        ("442079460123", "Conference “Relaxing Conference”"),
        ("14155550145", "Conference “Before the restart”"),
        ("819012345678", "Not in a conference"),
    ):
        heading = page.get_by_role("heading", name=name)
        section = page.locator("section").filter(has=heading)
        expect(section.locator("li .name")).to_have_text([number])
    expect(page.get_by_label("to whoever joined last")).to_be_visible()


def test_the_page_says_how_many_callers_start_the_conference(
    start: StartSandbox, visit: Visit
) -> None:
    sandbox = start(VOICE_CONFERENCE_QUORUM="3")
    sandbox.dial()
    page = visit(sandbox.app_url)
    expect(page.get_by_text("It starts when 3 callers are on the line.")).to_be_visible()


def test_who_joins_is_put_below_those_who_are_there(conference: InProcess, visit: Visit) -> None:
    numbers = ["442079460125", "442079460123", "442079460124"]
    for number in numbers:
        conference.dial({"from": number})
    page = visit(conference.app_url)
    expect(page.locator("li .name")).to_have_text(numbers)


# What it does


def test_play_lets_the_caller_hear_music(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(CALLER)
    page = visit(conference.app_url)
    press(page, "Play to 442079460123")
    call.hears("hears music")
    words = re.compile(r"^\s*[0-9]{2}:[0-9]{2} Playing to 1 of 1 callers?\.\s*$")
    expect(said(page)).to_have_text(words)


def test_play_and_stop_reach_everyone_in_the_conference(
    conference: InProcess, visit: Visit
) -> None:
    calls = [conference.dial() for _ in range(3)]
    page = visit(conference.app_url)
    press(page, "Play to all 3")
    for call in calls:
        call.hears("hears music")
    expect(said(page)).to_contain_text("Playing to 3 of 3 callers.")
    press(page, "Stop for all 3")
    for call in calls:
        call.hears("hears the music stop")
    expect(said(page)).to_contain_text("Stopped for 3 of 3 callers.")


def test_music_is_played_to_one_and_stopped_for_one(conference: InProcess, visit: Visit) -> None:
    one, _ = conference.dial(CALLER), conference.dial()
    page = visit(conference.app_url)
    press(page, "Play to 442079460123")
    one.hears("hears music")
    press(page, "Stop for 442079460123")
    one.hears("hears the music stop")
    assert {asked.path for asked in conference.asked} == {f"/v1/calls/{one.uuid}/stream"}


def test_one_caller_has_no_buttons_for_all(conference: InProcess, visit: Visit) -> None:
    conference.dial()
    page = visit(conference.app_url)
    expect(page.get_by_role("button", name="Play to")).to_have_count(1)
    expect(page.get_by_role("button", name="all")).to_have_count(0)


def test_where_play_reaches_only_the_last_who_joined_it_says_so(
    stream: InProcess, visit: Visit
) -> None:
    stream.dial(), stream.dial()
    page = visit(stream.app_url)
    expect(page.get_by_label("Play another audio address to whoever joined last")).to_be_visible()
    expect(page.get_by_role("button", name="all")).to_have_count(0)


def test_another_address_is_played_to_all(conference: InProcess, visit: Visit) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url)
    field = page.get_by_label("Play another audio address to all 2 callers")
    field.fill("https://audio.example/closing.mp3?take=2&loud")
    press(page, "Play address")
    expect(said(page)).to_contain_text("Playing to 2 of 2 callers.")
    urls = [asked.body["stream_url"] for asked in conference.asked]
    assert urls == [["https://audio.example/closing.mp3?take=2&loud"]] * 2


def test_an_address_that_vonage_cannot_reach_is_refused_and_stays_in_the_field(
    conference: InProcess, visit: Visit
) -> None:
    conference.dial()
    page = visit(conference.app_url)
    field = page.get_by_label("Play another audio address to the caller")
    field.fill("http://localhost:8000/closing.mp3")
    field.press("Enter")
    expect(said(page)).to_contain_text("url must be an http or https address on the public")
    refresh(page)
    expect(field).to_have_value("http://localhost:8000/closing.mp3")
    assert conference.asked == []


def test_stream_in_the_address_bar_plays_and_says_so(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(CALLER)
    page = visit(conference.app_url + "/stream")
    call.hears("hears music")
    expect(said(page)).to_contain_text(re.compile("Playing to 1 of 1 callers?."))
    expect(caller(page, "442079460123")).to_be_visible()


def test_reloading_stream_plays_again(conference: InProcess, visit: Visit) -> None:
    conference.dial()
    page = visit(conference.app_url + "/stream")
    page.reload()
    assert [asked.method for asked in conference.asked] == ["PUT", "PUT"]


def test_a_caller_whom_the_music_does_not_reach_is_named(
    conference: InProcess, visit: Visit
) -> None:
    for number in ("442079460123", "442079460124"):
        conference.dial({"from": number})
    conference.faults = [Fault(status=500), Fault()]
    page = visit(conference.app_url + "/stream")
    expect(said(page)).to_contain_text("Playing to 1 of 2 callers.")
    named = re.compile("44207946012[34]: Vonage at localhost.* answered 500")
    expect(page.locator("#said .error")).to_have_text(named)


def test_what_several_callers_share_is_said_once(conference: InProcess, visit: Visit) -> None:
    for _ in range(4):
        conference.dial()
    conference.faults = [*[Fault(status=500)] * 3, Fault()]
    page = visit(conference.app_url + "/stream")
    named = re.compile("^[0-9]+, [0-9]+, [0-9]+: Vonage at localhost.* answered 500")
    expect(page.locator("#said .error")).to_have_text(named)


@pytest.mark.parametrize(
    ("path", "fault", "status", "sentence"),
    [
        ("/stream?loop=often", Fault(), 400, "loop must be a whole number"),
        (f"/stream?uuid={uuid.UUID(int=0)}", Fault(), 404, "is not on the line"),
        ("/stream", Fault(status=404), 409, "has no such call"),
        ("/stream/stop", Fault(status=401), 502, "refused the credentials"),
        ("/stream", Fault(hang_up="at once"), 504, "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_said_above_the_callers(
    conference: InProcess, path: str, fault: Fault, status: int, sentence: str, visit: Visit
) -> None:
    conference.dial(pick_up=False)
    conference.faults = [fault]
    page = visit("about:blank")
    response = page.goto(conference.app_url + path)
    assert response is not None
    assert response.status == status
    expect(said(page)).to_contain_text(sentence)
    heading = page.get_by_role("heading", name="1 caller on the line")
    assert top(said(page)) < top(heading)


def test_each_wrong_parameter_has_a_line(conference: InProcess, visit: Visit) -> None:
    conference.dial()
    error = said(visit(conference.app_url + "/stream?loop=x&level=9")).locator("#said .error")
    expect(error).to_have_text(re.compile("loop must be .*\nlevel must be "), use_inner_text=True)


def test_an_error_has_the_colour_of_errors(conference: InProcess, visit: Visit) -> None:
    conference.dial()
    page = visit(conference.app_url + "/stream?loop=often")
    expect(page.get_by_text("loop must be")).to_have_css("color", "rgb(163, 39, 28)")
    expect(said(page)).to_have_css("border-left-color", "rgb(163, 39, 28)")


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_nothing_moves_under_the_pointer_when_a_message_appears(
    conference: InProcess, visit: Visit, width: int, script: bool
) -> None:
    conference.dial(), conference.dial()
    page = visit(conference.app_url, width=width, script=script)
    button = page.get_by_role("button", name="Play to all 2")
    before = button.bounding_box()
    conference.faults = [Fault(status=502, body=b"A long reason. " * 20)]
    button.click()
    expect(said(page)).to_contain_text("answered 502")
    assert button.bounding_box() == before


def test_what_comes_of_a_button_far_down_is_in_view(conference: InProcess, visit: Visit) -> None:
    fill(conference)
    call = conference.dial()
    page = visit(conference.app_url, width=360, height=640)
    press(page, f"Play to {call.parameters['from']}")
    assert page.evaluate("scrollY") > 640
    expect(page.get_by_text("Playing to 1 of 1 caller")).to_be_in_viewport(ratio=1)


def test_without_credentials_play_says_which_settings_are_missing(
    bare: InProcess, visit: Visit
) -> None:
    bare.dial(CALLER)
    page = visit(bare.app_url)
    with page.expect_response("**/stream?*") as response:
        press(page, "Play to 442079460123")
    assert response.value.status == 503
    expect(said(page)).to_contain_text("Set VONAGE_APPLICATION_ID")


def test_without_script_the_page_works_by_reloading(conference: InProcess, visit: Visit) -> None:
    page = visit(conference.app_url, script=False)
    one, other = conference.dial(CALLER), conference.dial()
    page.reload()
    press(page, "Play to 442079460123")
    one.hears("hears music")
    expect(said(page)).to_contain_text(re.compile("Playing to 1 of 1 callers?."))
    press(page, "Stop for all 2")
    one.hears("hears the music stop")
    other.hears("hears the music stop")
    page.get_by_label("Play another audio address").fill("https://audio.example/closing.mp3")
    press(page, "Play address")
    assert conference.asked[-1].body["stream_url"] == ["https://audio.example/closing.mp3"]


def test_the_keyboard_is_enough(conference: InProcess, visit: Visit) -> None:
    call = conference.dial(), conference.dial()
    page = visit(conference.app_url)
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Play to all 2")
    expect(button).to_be_focused()
    expect(button).to_have_css("outline-style", "solid")
    page.keyboard.press("Enter")
    call[0].hears("hears music")
    expect(said(page)).to_contain_text("Playing to 2 of 2 callers.")
    expect(button).to_be_focused()
