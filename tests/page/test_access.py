"""The page is for the operator: no other site and no caller's name can act in it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from calls import AudioNote
from tests.helpers.browser import FindWithAxe, Visit, press
from tests.helpers.faults import Fault
from tests.helpers.page import CALLER, FROM_ELSEWHERE, HTML, PASSWORD, answer, read, refresh
from tests.helpers.sandboxes import InProcess, StartSandbox
from tests.helpers.servers import serve_folder

# A page that asks for /stream by an image, by script and in a frame, and then by a form.
ATTEMPTS = """<!doctype html><title>Elsewhere</title>
<form action="STREAM" method="post"></form>
<script>
let over = 0;
function next() {
  over += 1;
  if (over === 3) document.forms[0].submit();
}
fetch("STREAM", { mode: "no-cors" }).finally(next);
</script>
<img src="STREAM" onerror="next()" onload="next()">
<iframe src="STREAM" onload="next()"></iframe>"""


def test_what_a_caller_sends_is_shown_as_text(conference: InProcess, visit: Visit) -> None:
    page = visit("about:blank")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.goto(conference.app_url)
    name = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    call = conference.dial({"from": f"{name}\u202e321"})
    refresh(page)
    expect(page.locator("li bdi").first).to_have_text(f"{name}321")
    press(page, f"Play to {name}321")
    call.hears("hears music")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to the caller")
    page.reload()
    expect(page.locator("li bdi").first).to_have_text(f"{name}321")
    expect(page.locator("li :is(script, img)")).to_have_count(0)
    assert complaints == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_starts_nothing(
    conference: InProcess, visit: Visit, tmp_path: Path, host: str
) -> None:
    conference.dial()
    page = visit("about:blank")
    stream = f"{conference.app_url}/stream"
    (tmp_path / "index.html").write_text(ATTEMPTS.replace("STREAM", stream))
    with serve_folder(tmp_path) as site:
        page.goto(site.replace("127.0.0.1", host), wait_until="commit")
        expect(page).to_have_title("Error")  # the form leads to the refusal
    assert len(re.findall(r"GET /stream: 403 ", conference.log.read_text())) == 3
    assert len(re.findall(r"POST /stream: 403 ", conference.log.read_text())) == 1
    assert conference.asked == []


def test_user_and_password_in_the_address_work(start: StartSandbox, visit: Visit) -> None:
    sandbox = start(STREAM_PASSWORD=PASSWORD)
    host = sandbox.app_url.removeprefix("http://")
    page = visit(f"http://me:let%20me%20in@{host}/", headers=FROM_ELSEWHERE)
    call = sandbox.dial(CALLER)
    refresh(page)
    press(page, "Play to +442079460123")
    call.hears("hears music")
    expect(answer(page)).to_have_text("Sent hold-music.mp3 to the caller")


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/", 403, "Open http://localhost:"),
        ("/stream", 403, "or set STREAM_PASSWORD"),
        ("/stream/stop", 403, "or set STREAM_PASSWORD"),
        ("/nothing", 404, "The webhooks are /webhooks/answer and /webhooks/event."),
        ("/static/nothing", 404, "The requested URL was not found"),
    ],
)
def test_who_is_not_let_in_sees_one_sentence_a_link_and_no_caller(
    conference: InProcess, path: str, status: int, sentence: str
) -> None:
    conference.dial(CALLER)
    response = read(conference, path, **FROM_ELSEWHERE)
    assert response.status_code == status
    _, _, alert = response.text.partition('<p class="bad" role="alert">')
    assert sentence in alert
    assert '<a href="/">Open the page</a>' in alert
    assert "0123" not in response.text
    assert re.findall("<(script|form|section|details)", response.text) == []


@pytest.mark.parametrize("headers", [{}, FROM_ELSEWHERE], ids=["let in", "not let in"])
@pytest.mark.parametrize("path", ["/", "/stream", "/stream/stop", "/nothing"])
def test_what_only_the_operator_may_see_is_not_cached_framed_or_leaked(
    conference: InProcess, path: str, headers: dict[str, str]
) -> None:
    response = requests.get(conference.app_url + path, headers=headers, timeout=5)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'self'; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html, application/json"])
def test_other_clients_get_json(conference: InProcess, accept: str | None) -> None:
    call = conference.dial()
    headers = {"Accept": accept}
    response = requests.get(conference.app_url + "/stream", headers=headers, timeout=5)
    legs = [{"uuid": call.uuid}]
    assert response.json() == {"message": "Sent hold-music.mp3 to the caller", "legs": legs}


def test_head_of_the_page_is_as_its_get(conference: InProcess) -> None:
    response = requests.head(conference.app_url, headers=HTML, timeout=5)
    assert (response.status_code, response.text) == (200, "")


def test_axe_finds_nothing(start: StartSandbox, visit: Visit, find_with_axe: FindWithAxe) -> None:
    bare, conference = start(VONAGE_APPLICATION_ID=""), start()
    assert find_with_axe(visit(bare.app_url)) == []
    assert find_with_axe(visit(bare.app_url + "/nothing")) == []
    call = conference.dial({"from": "sip:" + "long" * 60})
    conference.store.note(call.uuid, AudioNote("failed", "404 Not Found"), time.time())
    conference.faults = [Fault(status=500)]
    page = visit(conference.app_url + "/stream")
    conference.dial()
    refresh(page)
    expect(page.get_by_text("joined")).to_have_count(2)
    assert find_with_axe(page) == []
