"""What /stream says, and how soon, whatever Vonage or the network does."""

from __future__ import annotations

import inspect
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import pairwise

import pytest

from calls import Leg
from sandbox import FOLDER
from tests.helpers.faults import Fault
from tests.helpers.ports import free_port
from tests.helpers.sandboxes import InProcess, StartSandbox, browse
from tests.helpers.waiting import wait_until
from voice import Voice

MUSIC = "https://example.com/a.mp3"
FAULTS: dict[str, tuple[Fault, int, str]] = {
    "401": (Fault(401), 502, "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY"),
    "403": (Fault(403), 502, "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY"),
    "404": (Fault(404), 409, "has no such call (ended, not answered yet, or in another region)"),
    "429 with Retry-After": (
        Fault(429, headers={"Retry-After": "60"}),
        503,
        "rate limit is reached (429). Try again in 60 s",
    ),
    "400": (Fault(400, b'{"title": "Bad", "detail": "no such level"}'), 502, "no such level"),
    "500": (Fault(500), 502, "answered 500"),
    "503 with an HTML body": (
        Fault(503, b"<html><h1>Out\n to lunch</h1></html>"),
        502,
        "answered 503: Out to lunch",
    ),
    "a redirection to nowhere": (Fault(304, b""), 502, "answered 304: no reason"),
    "200 with an empty body": (Fault(200, b""), 502, "returned an unexpected body"),
    "200 with other JSON": (Fault(200, b"[]"), 502, "returned an unexpected body"),
    "200 that is not text": (Fault(200, b"\xff\xfe\x00"), 502, "returned an unexpected body"),
    "200 nested deep": (Fault(200, b"[" * 60_000), 502, "returned an unexpected body"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_stream_says_what_is_wrong(conference: InProcess, fault: str) -> None:
    conference.dial()
    answer, status, sentence = FAULTS[fault]
    conference.faults = [answer]
    response = browse(conference, "/stream")
    assert response.status_code == status
    assert sentence in response.json()["error"]
    assert response.elapsed.total_seconds() < 5


def test_stop_says_what_is_wrong_likewise(conference: InProcess) -> None:
    conference.dial()
    conference.faults = [Fault(401)]
    response = browse(conference, "/stream/stop")
    assert response.status_code == 502
    assert "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY" in response.json()["error"]


def test_a_port_where_no_one_listens(start: StartSandbox) -> None:
    sandbox = start(VONAGE_API_HOST=f"localhost:{free_port()}")
    sandbox.dial()
    response = browse(sandbox, "/stream")
    assert response.status_code == 504
    assert "cannot be reached: " in response.json()["error"]
    assert "refused" in response.json()["error"]


def test_a_certificate_of_somebody_else(
    start: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = start(fresh=True)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    sandbox.dial()
    response = browse(sandbox, "/stream")
    assert response.status_code == 504
    assert "certificate" in response.json()["error"]
    assert sandbox.asked == []


def test_certificates_that_are_not_there(
    start: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = start(fresh=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    sandbox.dial()
    response = browse(sandbox, "/stream")
    assert response.status_code == 504
    assert "/nowhere.pem" in response.json()["error"]


# Slow answers


def test_a_silent_vonage_is_given_up(start: StartSandbox) -> None:
    sandbox = start(fresh=True)
    sandbox.limit(silence=1)
    sandbox.dial()
    sandbox.faults = [Fault(hang_up="late")]
    response = browse(sandbox, "/stream")
    assert response.status_code == 504
    assert "timed out after 1 s" in response.json()["error"]
    assert response.elapsed.total_seconds() < 1.9


def test_an_answer_that_trickles_in_is_given_up(start: StartSandbox) -> None:
    sandbox = start(fresh=True)
    sandbox.limit(deadline=0.5)
    sandbox.dial()
    sandbox.faults = [Fault(200, b" " * 9, drip=True)]
    response = browse(sandbox, "/stream")
    assert response.status_code == 504
    assert "did not answer within 0.5 s" in response.json()["error"]
    assert response.elapsed.total_seconds() < 1


def test_the_limits_are_5_and_under_15_seconds() -> None:
    limits = inspect.signature(Voice).parameters
    assert (limits["silence"].default, limits["deadline"].default) == (5, 14)


# The rate limit


def test_a_429_is_waited_out_as_long_as_vonage_says(conference: InProcess) -> None:
    call = conference.dial()
    conference.faults = [Fault(429), Fault(429, headers={"Retry-After": "0"}), Fault()]
    browse(conference, "/stream").raise_for_status()
    call.hears("hears music")
    waits = [b.at - a.at for a, b in pairwise(conference.asked)]
    assert 1 <= waits[0] < 1.5
    assert waits[1] < 0.5


def test_a_third_429_is_passed_on_with_retry_after(conference: InProcess) -> None:
    conference.dial()
    conference.faults = [
        *[Fault(429, headers={"Retry-After": "0"})] * 2,
        Fault(429, headers={"Retry-After": "7"}),
    ]
    response = browse(conference, "/stream")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert len(conference.asked) == 3


def test_a_wait_longer_than_the_time_left_is_a_503_at_once(conference: InProcess) -> None:
    conference.dial()
    conference.faults = [Fault(429, headers={"Retry-After": "20"})]
    response = browse(conference, "/stream")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "20")
    assert response.elapsed.total_seconds() < 1


def test_retry_after_may_be_a_date(conference: InProcess) -> None:
    conference.dial()
    then = formatdate(time.time() + 100, usegmt=True)
    conference.faults = [Fault(429, headers={"Retry-After": then})]
    assert 90 < int(browse(conference, "/stream").headers["Retry-After"]) <= 100


@pytest.mark.parametrize(
    "value", ["soon", *(f"Fri, 31 Dec {year} 23:59:59 GMT" for year in (99999, 99999999999))]
)
def test_a_retry_after_that_is_rubbish_is_one_second(conference: InProcess, value: str) -> None:
    conference.dial()
    conference.faults = [Fault(429, headers={"Retry-After": value}), Fault()]
    browse(conference, "/stream").raise_for_status()
    assert 1 <= conference.asked[1].at - conference.asked[0].at < 1.5


# Callers come first


def test_a_caller_is_answered_while_stream_waits_for_vonage(conference: InProcess) -> None:
    conference.dial()
    conference.released.clear()
    with ThreadPoolExecutor(1) as operator:
        waiting = operator.submit(browse, conference, "/stream")
        wait_until(lambda: conference.asked)
        assert conference.dial().ncco
        assert not waiting.done()
        conference.released.set()
    assert waiting.result().ok


def test_a_third_request_at_a_time_is_refused(conference: InProcess) -> None:
    conference.dial()
    conference.released.clear()
    with ThreadPoolExecutor(3) as operators:
        pressed = [operators.submit(browse, conference, "/stream") for _ in range(3)]
        wait_until(lambda: len(conference.asked) == 2 and any(one.done() for one in pressed))
        conference.released.set()
        answers = [one.result() for one in pressed]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert int(refused.headers["Retry-After"]) > 0
    assert browse(conference, "/stream").ok  # the turns are free again


# The SDK in plain sight


def test_no_private_name_of_a_library_is_used() -> None:
    """But os._exit, whose underscore is no secret."""
    found = set()
    for file in (*FOLDER.glob("*.py"), *FOLDER.glob("calls/*.py")):
        text = file.read_text()
        found |= {
            *re.findall(r"\w+\._[a-z]\w*", text),
            *re.findall(r"[gs]etattr\(.*[\"']_.*", text),
        }
    assert {name for name in found if not name.startswith("self._")} == {"os._exit"}


# Calls that are over


def test_a_leg_that_vonage_does_not_know_is_asked_for_once(stream: InProcess) -> None:
    first, gone = stream.dial(), stream.dial()
    gone.over.set()  # its completed event is lost
    assert browse(stream, "/stream").status_code == 409
    assert len(stream.asked) == 1
    assert first.playing is None


def test_a_leg_not_answered_yet_stays(regions: InProcess) -> None:
    call = regions.dial(pick_up=False)
    response = browse(regions, "/stream")
    assert response.status_code == 409
    assert "Vonage at api.nexmo.com has no such call" in response.json()["error"]
    call.pick_up()
    browse(regions, "/stream").raise_for_status()
    call.hears("hears music")


def lost(sandbox: InProcess, api_host: str | None, seconds: float) -> None:
    """Put a leg on the line that Vonage has forgotten, as if it had joined so long ago."""
    leg = Leg(
        str(uuid.uuid4()), "447700900123", api_host, MUSIC, "Conference", time.time() - seconds
    )
    sandbox.store.join(leg)


def test_a_leg_over_a_minute_old_that_its_own_host_does_not_know_is_ended(
    regions: InProcess,
) -> None:
    lost(regions, "api-us-3.vonage.com", 61)
    assert browse(regions, "/stream").status_code == 409
    assert browse(regions, "/stream").json()["error"].startswith("No one is on the line")


def test_without_a_region_the_default_host_is_the_legs_own(regions: InProcess) -> None:
    lost(regions, None, 61)
    assert browse(regions, "/stream").status_code == 409
    assert regions.store.live() == []


def test_a_leg_under_a_minute_old_that_its_own_host_does_not_know_stays(
    regions: InProcess,
) -> None:
    lost(regions, None, 59)
    assert browse(regions, "/stream").status_code == 409
    assert len(regions.store.live()) == 1


def test_an_api_host_in_capitals_is_the_same_host(start: StartSandbox, connected: set[str]) -> None:
    sandbox = start(VONAGE_API_HOST="API-us-3.Vonage.com")
    lost(sandbox, "api-us-3.vonage.com", 61)
    assert browse(sandbox, "/stream").status_code == 409
    assert connected == {"api-us-3.vonage.com:443"}
    assert sandbox.store.live() == []


def test_a_wrong_api_host_ends_no_one(conference: InProcess) -> None:
    for _ in range(3):
        lost(conference, "api-us-3.vonage.com", 61)
    assert browse(conference, "/stream").status_code == 409
    assert len(conference.asked) == 3
    assert len(conference.store.live()) == 3
