"""The page, in a real browser: what somebody with a phone at one ear sees and presses."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import (
    Browser,
    Dialog,
    Locator,
    Page,
    expect,
    sync_playwright,
)

import page as room
from calls_sqlite import SqliteCalls
from config import Config
from sandbox import Account, Sandbox, Weather
from tests.conftest import StartSandbox, browse, clear, need, serve_folder

AXE = Path(".ci/node_modules/axe-core/axe.min.js")
SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
FROM_ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
CALLER = {"from": "447700900123"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tabs() -> dict[str, Page]:
    """The browser's tabs, by their options, each in a window of its own; opening one is slow."""
    return {}


@pytest.fixture
def visit(chromium: Browser, tabs: dict[str, Page]) -> Iterator[Visit]:
    """Open an address in a tab with these options; it is left when the test ends."""
    used: list[Page] = []

    def visit(address: str, **options: Any) -> Page:
        name = str(sorted(options.items()))
        if name not in tabs:
            tabs[name] = chromium.new_context(**options).new_page()
        used.append(tabs[name])
        tabs[name].goto(address)
        return tabs[name]

    yield visit
    for tab in used:
        tab.goto("about:blank")


@pytest.fixture(scope="module")
def apart(account: Account) -> Iterator[Sandbox]:
    with Sandbox({"ANSWER_WITH": "conversation"}, account=account) as sandbox:
        yield sandbox


@pytest.fixture
def own(apart: Sandbox) -> Iterator[Sandbox]:
    """An app apart from other tests, whose store is new and may be broken; see `database`."""
    for file in apart.folder.glob("calls.sqlite3*"):
        file.unlink()
    apart.public_host = f"{uuid.uuid4().hex[:8]}.ngrok.example"
    yield apart
    clear(apart)


@pytest.fixture
def bare(start: StartSandbox) -> Sandbox:
    """The app with nothing set up."""
    return start(VONAGE_APPLICATION_ID="", VONAGE_PRIVATE_KEY="", VONAGE_SIGNATURE_SECRET="")


@pytest.fixture
def with_token(start: StartSandbox) -> Sandbox:
    return start(ANSWER_WITH="conversation", STREAM_TOKEN="let-me-in")


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def database(sandbox: Sandbox) -> Path:
    return sandbox.folder / "calls.sqlite3"


def refresh(page: Page) -> None:
    """Let the page ask now for what is new, as it does each second, where that is not the point."""
    page.evaluate("load('/')")


def caller(page: Page, number: str) -> Locator:
    """The entry of one caller in the list."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=number))


# What it says


def test_the_first_visit_says_what_to_do_and_what_is_not_set_up(
    bare: Sandbox, visit: Visit
) -> None:
    page = visit(bare.app_url)
    expect(page.get_by_role("heading", name="Nobody on the line")).to_be_visible()
    steps = page.get_by_role("list")
    expect(steps).to_contain_text(f"ngrok http {bare.port}")
    expect(steps).to_contain_text("https://your-public-address/webhooks/answer")
    expect(steps).to_contain_text("https://your-public-address/webhooks/event")
    expect(steps).to_contain_text("Dial the number")
    not_set_up = page.get_by_role("region", name="Not set up yet")
    expect(not_set_up).to_contain_text("VONAGE_APPLICATION_ID")
    expect(not_set_up).to_contain_text("VONAGE_SIGNATURE_SECRET")
    expect(not_set_up).to_contain_text("PUBLIC_URL:no public address seen yet")


def test_when_all_is_set_up_there_is_nothing_to_read(start: StartSandbox, visit: Visit) -> None:
    sandbox = start(PUBLIC_URL="https://public.example/")
    page = visit(sandbox.app_url)
    expect(page.get_by_role("list")).to_contain_text("https://public.example/webhooks/answer")
    expect(page.get_by_role("list")).not_to_contain_text("ngrok")
    expect(page.get_by_role("region")).to_have_count(1)


def test_the_public_address_is_shown_once_it_is_known(own: Sandbox, visit: Visit) -> None:
    page = visit(own.app_url)
    expect(page.get_by_role("region", name="Not set up yet")).to_contain_text("PUBLIC_URL")
    own.dial().hang_up()
    refresh(page)
    expect(page.get_by_role("list")).to_contain_text(f"{own.public_url}/webhooks/event")
    expect(page.get_by_text("PUBLIC_URL")).not_to_be_attached()


def test_the_last_error_from_vonage_is_shown(own: Sandbox, visit: Visit) -> None:
    page = visit(own.app_url)
    reason = "Syntax error in NCCO. Invalid value type or action."
    own.send("POST", "/webhooks/event", {"reason": reason, "conversation_uuid": "CON-1"})
    refresh(page)
    error = page.get_by_role("region", name="Vonage reports an error")
    expect(error).to_contain_text(re.compile(rf"[0-9]{{2}}:[0-9]{{2}} {reason}"))


def test_an_error_from_vonage_is_old_after_an_hour(tmp_path: Path) -> None:
    calls = SqliteCalls(str(tmp_path / "calls.sqlite3"), lambda: time.time() - 3601)
    calls.note("error", "Syntax error in NCCO.")
    assert room.view(calls, Config(), "9000").error is None


def test_a_caller_is_shown_with_the_number_since_when_and_where(
    conference: Sandbox, visit: Visit
) -> None:
    conference.dial(CALLER)
    page = visit(conference.app_url)
    entry = caller(page, "447700900123")
    since = re.compile("Since [0-9]{2}:[0-9]{2}, in the conference “Relaxing Conference”")
    expect(entry).to_contain_text(since)
    expect(entry.locator("time")).to_have_attribute(
        "datetime", re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$")
    )


def test_who_waits_for_the_conference_is_shown_to_wait(start: StartSandbox, visit: Visit) -> None:
    sandbox = start(ANSWER_WITH="conversation", VOICE_CONFERENCE_QUORUM="3")
    sandbox.dial(CALLER)
    page = visit(sandbox.app_url)
    entry = caller(page, "447700900123")
    expect(entry).to_contain_text("waiting for the conference")
    sandbox.dial(), sandbox.dial()
    refresh(page)
    expect(entry).to_contain_text("in the conference")


def test_a_caller_who_hides_the_number_is_shown(conference: Sandbox, visit: Visit) -> None:
    conference.dial({"from": None})
    expect(caller(visit(conference.app_url), "no number")).to_be_visible()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://example.ngrok.app", True),
        ("https://example.ngrok.app:8443", True),
        ("http://8.8.8.8:9000", True),
        ("http://localhost:9000", False),
        ("http://app.localhost", False),
        ("http://127.0.0.1:9000", False),
        ("http://[::1]:9000", False),
        ("http://[::1]", False),
        ("http://192.168.1.5", False),
        ("http://app:9000", False),
    ],
)
def test_an_address_is_public_if_vonage_could_reach_it(address: str, public: bool) -> None:
    assert room.is_public(address) is public


def test_the_public_address_is_written_only_when_it_changes(own: Sandbox) -> None:
    calls = SqliteCalls(str(database(own)))
    own.dial()
    first = calls.notes()["address"]
    own.dial()
    assert calls.notes()["address"] == first
    own.public_host = "another.ngrok.example"
    own.dial()
    assert calls.notes()["address"].text == "https://another.ngrok.example"


# What it does


def test_play_lets_the_caller_hear_music(conference: Sandbox, visit: Visit) -> None:
    call = conference.dial()
    page = visit(conference.app_url)
    press(page, "Play to all")
    call.hears("hears music")
    expect(page.get_by_role("status").first).to_contain_text("The music plays in 1 of 1 legs.")
    entry = caller(page, call.parameters["from"])
    expect(entry).to_contain_text(
        re.compile("Music started at [0-9]{2}:[0-9]{2}; it may have ended")
    )


def test_music_without_end_plays_until_stopped(conference: Sandbox, visit: Visit) -> None:
    conference.dial()
    page = visit(conference.app_url + "/stream?loop=0")
    expect(page.get_by_role("listitem")).to_contain_text("plays until stopped")


def test_stop_stops_it(conference: Sandbox, visit: Visit) -> None:
    call = conference.dial()
    page = visit(conference.app_url + "/stream")
    press(page, "Stop for all")
    call.hears("hears the music stop")
    expect(page.get_by_role("status").first).to_contain_text("The music is stopped")
    expect(page.get_by_text("Music started")).not_to_be_attached()


def test_music_is_played_to_one_and_stopped_for_one(conference: Sandbox, visit: Visit) -> None:
    one, _ = conference.dial(CALLER), conference.dial()
    page = visit(conference.app_url)
    press(page, "Play to 447700900123")
    one.hears("hears music")
    press(page, "Stop for 447700900123")
    one.hears("hears the music stop")
    assert {asked.path for asked in conference.asked} == {f"/v1/calls/{one.uuid}/stream"}


def test_where_play_reaches_only_the_last_who_joined_it_says_so(
    sandbox: Sandbox, visit: Visit
) -> None:
    sandbox.dial(), sandbox.dial()
    page = visit(sandbox.app_url)
    expect(page.get_by_role("button").first).to_have_text("Play to whoever joined last")


def test_stream_in_the_address_bar_plays_and_says_so(conference: Sandbox, visit: Visit) -> None:
    call = conference.dial()
    page = visit(conference.app_url + "/stream")
    call.hears("hears music")
    expect(page.get_by_role("status").first).to_contain_text("The music plays in 1 of 1 legs.")
    expect(caller(page, call.parameters["from"])).to_be_visible()


def test_reloading_stream_plays_again(conference: Sandbox, visit: Visit) -> None:
    conference.dial()
    page = visit(conference.app_url + "/stream")
    page.reload()
    assert [asked.method for asked in conference.asked] == ["PUT", "PUT"]


def test_a_caller_whom_the_music_does_not_reach_is_named(conference: Sandbox, visit: Visit) -> None:
    for number in ("447700900123", "447700900124"):
        conference.dial({"from": number})
    conference.weather = [Weather(status=500), Weather()]
    said = visit(conference.app_url + "/stream").get_by_role("status").first
    expect(said).to_contain_text("The music plays in 1 of 2 legs.")
    expect(said).to_contain_text(re.compile("44770090012[34]: Vonage at localhost.* answered 500"))


@pytest.mark.parametrize(
    ("path", "weather", "status", "sentence"),
    [
        ("/stream?loop=often", Weather(), 400, "loop holds 'often'"),
        (f"/stream?uuid={uuid.uuid4()}", Weather(), 404, "is not on the line"),
        ("/stream", Weather(status=404), 409, "knows no such leg"),
        ("/stream/stop", Weather(status=401), 502, "refused our credentials"),
        ("/stream", Weather(hang_up="at once"), 504, "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_told_above_the_callers(
    conference: Sandbox, path: str, weather: Weather, status: int, sentence: str, visit: Visit
) -> None:
    conference.dial(pick_up=False)
    conference.weather = [weather]
    page = visit("about:blank")
    response = page.goto(conference.app_url + path)
    assert response is not None
    assert response.status == status
    expect(page.get_by_role("status").first).to_contain_text(sentence)
    expect(page.get_by_role("heading", name="1 on the line")).to_be_visible()


def test_without_credentials_play_says_which_settings_are_missing(
    bare: Sandbox, visit: Visit
) -> None:
    bare.dial()
    page = visit(bare.app_url)
    with page.expect_response("**/stream") as response:
        press(page, "Play to all")
    assert response.value.status == 503
    expect(page.get_by_role("status").first).to_contain_text("Set VONAGE_APPLICATION_ID")


# It keeps itself fresh


def test_a_call_that_arrives_shows_by_itself(conference: Sandbox, visit: Visit) -> None:
    page = visit(conference.app_url)
    page.evaluate("window.notReloaded = true")
    expect(page.locator("#icon")).to_have_attribute("href", "/static/idle.svg")
    conference.dial(CALLER)
    expect(caller(page, "447700900123")).to_be_visible(timeout=2000)
    expect(page).to_have_title("1 on the line")
    expect(page.locator("#icon")).to_have_attribute("href", "/static/busy.svg")
    assert page.evaluate("window.notReloaded")


def test_a_caller_who_hangs_up_leaves_the_page(conference: Sandbox, visit: Visit) -> None:
    stays, goes = conference.dial(), conference.dial(CALLER)
    page = visit(conference.app_url)
    goes.hang_up()
    expect(caller(page, "447700900123")).not_to_be_attached(timeout=2000)
    expect(caller(page, stays.parameters["from"])).to_be_visible()


def test_who_comes_and_who_leaves_is_read_out(conference: Sandbox, visit: Visit) -> None:
    page = visit(conference.app_url)
    news = page.locator("[aria-live=polite]")
    call = conference.dial(CALLER)
    refresh(page)
    expect(news).to_have_text("447700900123 is on the line.")
    call.hang_up()
    refresh(page)
    expect(news).to_have_text("447700900123 has left.")


def test_focus_and_scroll_stay_where_they_are(conference: Sandbox, visit: Visit) -> None:
    for number in ("447700900123", "447700900124", "447700900125"):
        call = conference.dial({"from": number})
    page = visit(conference.app_url, viewport={"width": 360, "height": 300})
    button = page.get_by_role("button", name="Stop for 447700900123")
    button.focus()
    before = button.bounding_box()
    conference.dial({"from": "447700900126"})
    refresh(page)
    expect(caller(page, "447700900126")).to_be_attached()
    call.hang_up()
    refresh(page)
    expect(caller(page, "447700900125")).not_to_be_attached()
    expect(button).to_be_focused()
    assert button.bounding_box() == before


def test_focus_stays_on_a_button_whose_words_change(sandbox: Sandbox, visit: Visit) -> None:
    sandbox.dial()
    page = visit(sandbox.app_url)
    page.get_by_role("button", name="Play to all").focus()
    sandbox.dial()
    refresh(page)
    expect(page.get_by_role("button", name="Play to whoever joined last")).to_be_focused()


def test_a_server_that_cannot_be_reached_is_told_beside_what_it_last_said(
    own: Sandbox, visit: Visit
) -> None:
    own.dial(CALLER)
    page = visit(own.app_url)
    own.stop_app()
    told = page.get_by_text("The server cannot be reached: this is what was last seen.")
    expect(told).to_be_visible()
    expect(caller(page, "447700900123")).to_be_visible()
    own.start_app()
    expect(told).not_to_be_attached()


def test_a_store_that_fails_is_told_in_place_of_the_list(own: Sandbox, visit: Visit) -> None:
    own.dial(CALLER)
    page = visit(own.app_url)
    aside = database(own).rename(own.folder / "aside")
    database(own).mkdir()
    assert requests.get(own.app_url, headers=HTML, timeout=5).status_code == 503
    assert browse(own, "/").json()["error"].startswith("The list of calls in ")
    expect(page.get_by_role("heading", name="Who is on the line is not known")).to_be_visible()
    page.reload()
    expect(page.get_by_text(f"The list of calls in {database(own)} cannot be used")).to_have_count(
        1
    )
    expect(page.get_by_role("listitem")).to_have_count(0)
    database(own).rmdir()
    aside.rename(database(own))
    expect(caller(page, "447700900123")).to_be_visible()


def test_the_page_keeps_to_its_own_policy(conference: Sandbox, visit: Visit) -> None:
    page = visit("about:blank")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(conference.app_url)
    call = conference.dial()
    refresh(page)
    press(page, "Play to all")
    call.hears("hears music")
    expect(page.get_by_text("Music started")).to_be_visible()
    assert complaints == []


def test_without_script_the_page_works_by_reloading(conference: Sandbox, visit: Visit) -> None:
    page = visit(conference.app_url, java_script_enabled=False)
    one, other = conference.dial(CALLER), conference.dial()
    page.reload()
    press(page, "Play to 447700900123")
    one.hears("hears music")
    expect(page.get_by_role("status").first).to_contain_text("The music plays in 1 of 1 legs.")
    press(page, "Stop for all")
    one.hears("hears the music stop")
    other.hears("hears the music stop")


# It is safe


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "attempt",
    [
        "<img src='STREAM' onerror='over()' onload='over()'>",
        "<form action='STREAM' method=post></form><script>document.forms[0].submit()</script>",
        "<script>fetch('STREAM', {mode: 'no-cors'}).finally(over)</script>",
        "<iframe src='STREAM' onload='over()'></iframe>",
    ],
    ids=["image", "form", "fetch", "frame"],
)
def test_a_page_of_another_origin_starts_nothing(
    conference: Sandbox, visit: Visit, tmp_path: Path, attempt: str, host: str
) -> None:
    conference.dial()
    page = visit("about:blank")
    refused = conference.log.read_text().count("/stream answered 403")
    over = "<script>function over() { document.title = 'Over' }</script>"
    html = attempt.replace("STREAM", f"{conference.app_url}/stream")
    (tmp_path / "index.html").write_text(f"<!doctype html><title>Elsewhere</title>{over}{html}")
    with serve_folder(tmp_path) as site:
        page.goto(site.replace("127.0.0.1", host), wait_until="commit")
        expect(page).to_have_title(re.compile("Over|Error"))  # the form leads to the refusal
    assert conference.log.read_text().count("/stream answered 403") == refused + 1
    assert conference.asked == []


def test_what_a_caller_sends_is_shown_as_text(conference: Sandbox, visit: Visit) -> None:
    dialogs: list[str] = []
    page = visit(conference.app_url)

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    conference.dial({"from": "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e321"})
    refresh(page)
    name = "<script>alert(1)</script><img src=x onerror=alert(2)>[U+202E]321"
    expect(page.locator("li bdi").first).to_have_text(name)
    page.reload()
    expect(page.locator("li bdi").first).to_have_text(name)
    expect(page.locator("li :is(script, img)")).to_have_count(0)
    assert dialogs == []


def test_whole_numbers_are_on_the_page_only(conference: Sandbox) -> None:
    conference.dial(CALLER)
    error = {"reason": "447700900123 is busy", "conversation_uuid": "CON-1"}
    conference.send("POST", "/webhooks/event", error)
    assert "447700900123" in requests.get(conference.app_url, headers=HTML, timeout=5).text
    assert "447700900123" not in browse(conference, "/").text
    assert browse(conference, "/").json()["on_the_line"][0]["from"] == "…0123"


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_with_the_token_the_page_works_from_elsewhere(
    with_token: Sandbox, visit: Visit, java_script_enabled: bool
) -> None:
    call = with_token.dial()
    page = visit(
        f"{with_token.app_url}/?token=let-me-in",
        extra_http_headers=FROM_ELSEWHERE,
        java_script_enabled=java_script_enabled,
    )
    press(page, "Play to all")
    call.hears("hears music")
    expect(page.get_by_text("Music started")).to_be_visible()
    press(page, "Stop for all")
    call.hears("hears the music stop")


def test_with_the_token_the_page_keeps_itself_fresh(with_token: Sandbox, visit: Visit) -> None:
    page = visit(f"{with_token.app_url}/?token=let-me-in", extra_http_headers=FROM_ELSEWHERE)
    with_token.dial(CALLER)
    expect(caller(page, "447700900123")).to_be_visible(timeout=2000)


def test_the_token_leaves_the_page_in_no_address_and_no_referer(
    with_token: Sandbox, visit: Visit
) -> None:
    page = visit("about:blank", extra_http_headers=FROM_ELSEWHERE)
    page.route("https://dashboard.vonage.com/**", lambda route: route.fulfill(body=""))
    page.goto(f"{with_token.app_url}/?token=let-me-in")
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    call = with_token.dial()
    refresh(page)
    press(page, "Play to all")
    call.hang_up()
    refresh(page)
    with page.expect_request("https://dashboard.vonage.com/**") as left:
        page.get_by_role("link", name="Vonage").click()
    assert "referer" not in left.value.all_headers()
    assert {f"{with_token.app_url}/", f"{with_token.app_url}/stream"} < set(addresses)
    assert not [address for address in addresses if "let-me-in" in address]


@pytest.mark.parametrize("path", ["/", "/stream", "/stream/stop", "/nothing"])
def test_whoever_is_not_let_in_sees_no_caller(conference: Sandbox, visit: Visit, path: str) -> None:
    conference.dial(CALLER)
    page = visit("about:blank", extra_http_headers=FROM_ELSEWHERE)
    response = page.goto(conference.app_url + path)
    assert response is not None
    assert response.status == (404 if path == "/nothing" else 403)
    expect(page.get_by_role("status")).not_to_be_empty()
    assert "447700900123" not in page.content()
    expect(page.locator("script, form, section")).to_have_count(0)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("headers", [{}, FROM_ELSEWHERE], ids=["let in", "shut out"])
@pytest.mark.parametrize("path", ["/", "/stream", "/stream/stop", "/nothing"])
def test_nothing_behind_the_door_is_cached_framed_or_leaks(
    conference: Sandbox, path: str, headers: dict[str, str], accept: str
) -> None:
    headers = {"Accept": accept, **headers}
    response = requests.get(conference.app_url + path, headers=headers, timeout=5)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


# Whoever does not ask for HTML gets JSON


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html, application/json"])
def test_json_stays_json(conference: Sandbox, accept: str | None) -> None:
    call = conference.dial()
    headers = {"Accept": accept}
    response = requests.get(conference.app_url + "/stream", headers=headers, timeout=5)
    legs = [{"uuid": call.uuid}]
    assert response.json() == {"message": "The music plays in 1 of 1 legs.", "legs": legs}


def test_who_is_on_the_line_as_json(own: Sandbox) -> None:
    call = own.dial(CALLER)
    browse(own, "/stream", loop="0")
    said = browse(own, "/").json()
    when = said["on_the_line"][0]["played"], said["on_the_line"][0]["joined"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", at) for at in when)
    assert said == {
        "on_the_line": [
            {
                "uuid": call.uuid,
                "from": "…0123",
                "joined": when[1],
                "answered": True,
                "conference": "Relaxing Conference",
                "waiting": False,
                "played": when[0],
                "played_loop": 0,
            }
        ],
        "not_set_up": {},
        "last_error": None,
    }


def test_a_webhook_answers_json_also_to_a_browser(conference: Sandbox) -> None:
    response = requests.get(f"{conference.app_url}/webhooks/answer", headers=HTML, timeout=5)
    assert response.status_code == 401
    assert set(response.json()) == {"error"}


def test_head_of_the_page_is_as_its_get(conference: Sandbox) -> None:
    response = requests.head(conference.app_url, headers=HTML, timeout=5)
    assert (response.status_code, response.text) == (200, "")


# It is fit for people


@pytest.mark.parametrize("path", ["/", "/stream", "/stream?loop=often", "/nothing"])
def test_axe_finds_nothing_against_it(
    bare: Sandbox, conference: Sandbox, visit: Visit, path: str
) -> None:
    if not AXE.exists() and os.environ.get("CI"):
        pytest.fail(f"{AXE} is missing: .ci/run installs it")
    if not AXE.exists():
        pytest.skip(f"needs {AXE}: npm install --prefix .ci --no-save axe-core")
    sandbox = bare if path == "/" else conference
    if sandbox is conference:
        sandbox.dial(), sandbox.dial({"from": "sip:" + "long" * 60})
    error = {"reason": "Syntax error in NCCO.", "conversation_uuid": "CON-1"}
    sandbox.send("POST", "/webhooks/event", error)
    page = visit(sandbox.app_url + path)
    page.evaluate(AXE.read_text())
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            found = page.evaluate("axe.run()")
            assert [violation["help"] for violation in found["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_keyboard_is_enough(conference: Sandbox, visit: Visit) -> None:
    call = conference.dial()
    page = visit(conference.app_url)
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Play to all")
    expect(button).to_be_focused()
    expect(button).to_have_css("outline-style", "solid")
    page.keyboard.press("Enter")
    call.hears("hears music")
    expect(page.get_by_text("Music started")).to_be_visible()
    expect(button).to_be_focused()


def test_the_screenshot_in_the_readme_is_small(
    conference: Sandbox, visit: Visit, tmp_path: Path
) -> None:
    """Taken anew, for the README too if SCREENSHOT is set."""
    for number in ("447700900123", "14155550145", "819012345678"):
        conference.dial({"from": number})
    page = visit(conference.app_url, viewport={"width": 800, "height": 540})
    press(page, "Play to 14155550145")
    expect(page.get_by_text("Music started")).to_be_visible()
    folder = Path("static") if "SCREENSHOT" in os.environ else tmp_path
    assert len(page.screenshot(path=folder / "page.png")) < 150_000
    assert Path("static/page.png").stat().st_size < 150_000
