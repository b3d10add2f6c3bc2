"""Bad weather: what /stream says, and how soon, whatever Vonage or the network does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formatdate
from itertools import pairwise

import pytest

from calls_sqlite import SqliteCalls
from sandbox import Account, Sandbox, Weather, free_port
from tests.conftest import StartSandbox, browse

WEATHER: dict[str, tuple[Weather, int, str]] = {
    "401": (Weather(401), 502, "check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY"),
    "403": (Weather(403), 502, "check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY"),
    "404": (Weather(404), 409, "knows no such leg"),
    "429 with Retry-After": (
        Weather(429, headers={"Retry-After": "60"}),
        503,
        "try again in 60 s",
    ),
    "400": (Weather(400, b'{"title": "Bad", "detail": "no such level"}'), 502, "no such level"),
    "422": (Weather(422, b'{"title": "Unprocessable"}'), 502, "Unprocessable"),
    "500": (Weather(500), 502, "answered 500"),
    "503 with an HTML body": (
        Weather(503, b"<html><h1>Out\n to lunch</h1></html>"),
        502,
        "answered 503: Out to lunch",
    ),
    "a redirection to nowhere": (Weather(304, b""), 502, "answered 304"),
    "200 with an empty body": (Weather(200, b""), 502, "not what its documents say"),
    "200 with broken JSON": (Weather(200, b'{"message": "Str'), 502, "not what its documents"),
    "200 with other JSON": (Weather(200, b"[]"), 502, "not what its documents say"),
    "200 that is not text": (Weather(200, b"\xff\xfe\x00"), 502, "not what its documents say"),
    "hangs up at once": (Weather(hang_up="at once"), 504, "cannot be reached"),
    "hangs up midway": (Weather(200, hang_up="midway"), 504, "cannot be reached"),
}
SLOW = {
    "an answer that takes 6 s": (Weather(delay=6), "was silent for 5 s"),
    "one byte a second": (Weather(200, b" " * 60, drip=True), "has not answered within 14 s"),
}


Answered = tuple[float, int, str]


@pytest.fixture(scope="module")
def slowly(account: Account) -> Iterator[dict[str, Future[Answered]]]:
    """Each slow answer, asked for by a server of its own while the other tests run."""

    def stream(weather: Weather) -> Answered:
        with Sandbox({"ANSWER_WITH": "conversation"}, account=account) as sandbox:
            sandbox.dial()
            sandbox.weather = [weather]
            began = time.monotonic()
            response = browse(sandbox, "/stream")
            return time.monotonic() - began, response.status_code, response.json()["error"]

    with ThreadPoolExecutor(len(SLOW)) as pool:
        yield {name: pool.submit(stream, weather) for name, (weather, _) in SLOW.items()}


def test_the_slow_ones_have_begun(slowly: dict[str, Future[Answered]]) -> None:
    assert set(slowly) == set(SLOW)


@pytest.mark.parametrize("weather", WEATHER)
def test_stream_says_what_is_wrong(conference: Sandbox, weather: str) -> None:
    conference.dial()
    answer, status, sentence = WEATHER[weather]
    conference.weather = [answer]
    began = time.monotonic()
    response = browse(conference, "/stream")
    assert response.status_code == status
    assert sentence in response.json()["error"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("weather", WEATHER)
def test_stop_says_what_is_wrong(conference: Sandbox, weather: str) -> None:
    conference.dial()
    answer, status, _ = WEATHER[weather]
    conference.weather = [answer]
    assert browse(conference, "/stream/stop").status_code == status


def test_a_port_where_nobody_listens(start: StartSandbox) -> None:
    sandbox = start(ANSWER_WITH="conversation", VONAGE_API_HOST=f"localhost:{free_port()}")
    sandbox.dial()
    response = browse(sandbox, "/stream")
    assert response.status_code == 504
    assert "cannot be reached: " in response.json()["error"]
    assert "refused" in response.json()["error"]


def test_a_certificate_of_somebody_else(account: Account) -> None:
    sandbox = Sandbox({"ANSWER_WITH": "conversation"}, account=account)
    sandbox.environment["VONAGE_API_HOST"] = f"127.0.0.1:{sandbox.api_port}"
    with sandbox:
        sandbox.dial()
        response = browse(sandbox, "/stream")
        assert response.status_code == 504
        assert "certificate" in response.json()["error"]
        assert sandbox.asked == []


def test_without_credentials_stream_names_the_missing_settings(start: StartSandbox) -> None:
    sandbox = start(VONAGE_APPLICATION_ID="", ANSWER_WITH="conversation")
    assert sandbox.dial().ncco
    response = browse(sandbox, "/stream")
    assert response.status_code == 503
    assert "VONAGE_APPLICATION_ID" in response.json()["error"]


def test_with_nobody_on_the_line(conference: Sandbox) -> None:
    response = browse(conference, "/stream")
    assert response.status_code == 409
    assert "dial the number first" in response.json()["error"]


def test_a_uuid_that_is_not_on_the_line(conference: Sandbox) -> None:
    conference.dial()
    assert browse(conference, "/stream", uuid=str(uuid.uuid4())).status_code == 404
    assert conference.asked == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("loop", value) for value in ("-1", "1.5", "x", "9" * 30)]
    + [("level", value) for value in ("1.1", "-2", "nan", "1e0", "loud")],
)
def test_loop_or_level_out_of_range(conference: Sandbox, name: str, value: str) -> None:
    conference.dial()
    response = browse(conference, "/stream", **{name: value})
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{name} holds")
    assert conference.asked == []


def test_an_answer_of_429_is_waited_out(conference: Sandbox) -> None:
    call = conference.dial()
    conference.weather = [Weather(429), Weather(429, headers={"Retry-After": "2"}), Weather()]
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")
    waits = [b.at - a.at for a, b in pairwise(conference.asked)]
    assert 1 <= waits[0] < 1.5
    assert 2 <= waits[1] < 2.5


def test_a_third_429_is_passed_on_with_retry_after(conference: Sandbox) -> None:
    conference.dial()
    conference.weather = [Weather(429)]
    response = browse(conference, "/stream")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert len(conference.asked) == 3


def test_retry_after_may_be_a_date(conference: Sandbox) -> None:
    conference.dial()
    then = formatdate(time.time() + 100, usegmt=True)
    conference.weather = [Weather(429, headers={"Retry-After": then})]
    assert 90 < int(browse(conference, "/stream").headers["Retry-After"]) <= 100


def test_a_connection_that_vonage_drops_is_made_again(conference: Sandbox) -> None:
    call = conference.dial()
    conference.weather = [Weather(hang_up="at once"), Weather()]
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")


def test_a_caller_is_answered_while_stream_waits_for_vonage(conference: Sandbox) -> None:
    conference.dial()
    conference.weather = [Weather(delay=3), Weather()]
    with ThreadPoolExecutor(1) as operator:
        waiting = operator.submit(browse, conference, "/stream")
        assert conference.dial().ncco
        assert not waiting.done()


def test_a_vonage_that_always_hangs_up_is_asked_twice(conference: Sandbox) -> None:
    conference.dial()
    conference.weather = [Weather(hang_up="at once")]
    browse(conference, "/stream")
    assert len(conference.asked) == 2


def test_an_answered_leg_that_vonage_does_not_know_is_over(conference: Sandbox) -> None:
    call = conference.dial()
    call.over.set()  # the completed event is lost
    assert browse(conference, "/stream").status_code == 409
    assert len(conference.asked) == 1
    response = browse(conference, "/stream")
    assert "Nobody is on the line" in response.json()["error"]


def test_a_leg_that_nobody_has_picked_up_stays(conference: Sandbox) -> None:
    call = conference.dial(pick_up=False)
    response = browse(conference, "/stream")
    assert response.status_code == 409
    assert f"asked at localhost:{conference.api_port}" in response.json()["error"]
    assert "VONAGE_API_HOST" in response.json()["error"]
    call.pick_up()
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")


def test_a_leg_over_a_minute_old_that_vonage_does_not_know_is_over(conference: Sandbox) -> None:
    old = conference.dial(pick_up=False)
    SqliteCalls(f"{conference.folder}/calls.sqlite3").change(old.uuid, joined=time.time() - 61)
    browse(conference, "/stream")
    assert "Nobody is on the line" in browse(conference, "/stream").json()["error"]


def test_in_stream_mode_the_next_leg_is_tried(sandbox: Sandbox) -> None:
    first, gone, also_gone = sandbox.dial(), sandbox.dial(), sandbox.dial()
    gone.over.set()
    also_gone.over.set()
    response = browse(sandbox, "/stream")
    assert response.json()["legs"] == [{"uuid": first.uuid}]
    assert len(sandbox.asked) == 3


def test_in_stream_mode_a_leg_not_picked_up_yet_is_waited_for(sandbox: Sandbox) -> None:
    first = sandbox.dial()
    sandbox.dial(pick_up=False)
    assert browse(sandbox, "/stream").status_code == 409
    assert first.playing is None


@pytest.mark.parametrize("weather", SLOW)
def test_a_slow_answer_is_given_up_in_time(
    slowly: dict[str, Future[Answered]], weather: str
) -> None:
    seconds, status, error = slowly[weather].result()
    assert (status, SLOW[weather][1] in error) == (504, True)
    assert seconds < 15
