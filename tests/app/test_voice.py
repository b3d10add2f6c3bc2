"""What /stream says, and how soon, whatever Vonage or the network does."""

from __future__ import annotations

import inspect
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest
from pytest import MonkeyPatch

from calls import Leg
from sandbox import FOLDER
from tests.helpers.faults import Fault
from tests.helpers.ports import free_port
from tests.helpers.sandboxes import InProcess, StartSandbox, browse, error_of
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


def test_a_port_where_no_one_listens(conference: InProcess) -> None:
    conference.limit(f"localhost:{free_port()}")
    conference.dial()
    assert "cannot be reached: Connection refused" in error_of(browse(conference, "/stream"), 504)


@pytest.mark.parametrize(("bundle", "said"), [("", "certificate"), ("/nowhere.pem",) * 2])
def test_a_certificate_that_cannot_be_checked(
    conference: InProcess, monkeypatch: MonkeyPatch, bundle: str, said: str
) -> None:
    conference.limit()  # or there may be a connection already
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    conference.dial()
    assert said in error_of(browse(conference, "/stream"), 504)
    assert conference.asked == []


def test_netrc_is_not_sent_to_vonage(
    conference: InProcess, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    """Neither the home folder's, nor one that the environment names."""
    (tmp_path / ".netrc").write_text("default login someone password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    conference.limit()  # which looks at the environment
    conference.dial()
    browse(conference, "/stream").raise_for_status()
    assert conference.asked[0].authorization.startswith("Bearer ")


# Slow answers


def test_a_silent_vonage_is_given_up(conference: InProcess) -> None:
    conference.limit(silence=1)
    conference.dial()
    conference.faults = [Fault(hang_up="late")]
    response = browse(conference, "/stream")
    assert response.status_code == 504
    assert "timed out after 1 s" in response.json()["error"]
    assert response.elapsed.total_seconds() < 1.9


def test_an_answer_that_trickles_in_is_given_up(conference: InProcess) -> None:
    conference.limit(deadline=0.5)
    conference.dial()
    conference.faults = [Fault(200, b" " * 9, drip=True)]
    response = browse(conference, "/stream")
    assert response.status_code == 504
    assert "did not answer within 0.5 s" in response.json()["error"]
    assert response.elapsed.total_seconds() < 1


def test_the_limits_are_5_and_under_15_seconds() -> None:
    limits = inspect.signature(Voice).parameters
    assert (limits["silence"].default, limits["deadline"].default) == (5, 14)


# The rate limit


def test_two_who_play_at_once_share_14_requests_a_second(conference: InProcess) -> None:
    """The 15th begins a second after the first, however busy the machine is."""
    callers = [conference.dial() for _ in range(8)]
    began = time.monotonic()
    with ThreadPoolExecutor(2) as people:
        answers = [people.submit(browse, conference, "/stream") for _ in range(2)]
    for answer in answers:
        assert answer.result().json()["message"] == "Sent hold-music.mp3 to all 8 callers"
        assert answer.result().elapsed.total_seconds() < 3
    assert sorted(asked.at for asked in conference.asked)[14] - began >= 1
    for caller in callers:
        caller.hears("hears music")


def test_one_leg_waits_a_second_for_vonage_while_others_go_on(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(4)]
    conference.faults = [Fault(429), Fault()]
    browse(conference, "/stream").raise_for_status()
    assert [asked.status for asked in conference.asked] == [429, 200, 200, 200, 200]
    assert conference.asked[0].path == conference.asked[4].path
    assert 1 <= conference.asked[4].at - conference.asked[0].at < 1.5
    for caller in callers:
        caller.hears("hears music")


def test_a_third_429_is_passed_on_with_retry_after(conference: InProcess) -> None:
    conference.dial()
    headers = [{"Retry-After": "0"}, {"Retry-After": "0"}, {"Retry-After": "7"}]
    conference.faults = [Fault(429, headers=header) for header in headers]
    response = browse(conference, "/stream")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert response.elapsed.total_seconds() < 1
    assert len(conference.asked) == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20),
        ("a date", 1_000),
        *((f"Fri, 31 Dec {year} 23:59:59 GMT", 1) for year in (99999, 99999999999)),
        ("soon", 1),
    ],
)
def test_too_long_a_wait_is_a_503_at_once(conference: InProcess, value: str, seconds: int) -> None:
    """Of a Retry-After that cannot be read, it is a second."""
    if value == "a date":
        value = formatdate(time.time() + seconds, usegmt=True)
    conference.limit(deadline=0.9)
    conference.dial()
    conference.faults = [Fault(429, headers={"Retry-After": value})]
    response = browse(conference, "/stream")
    assert response.status_code == 503
    assert 0.9 * seconds < int(response.headers["Retry-After"]) <= seconds
    assert response.elapsed.total_seconds() < 0.9
    assert len(conference.asked) == 1


# Callers come first


def test_two_play_at_a_time_and_callers_are_answered_meanwhile(conference: InProcess) -> None:
    conference.dial()
    conference.released.clear()
    with ThreadPoolExecutor(3) as operators:
        pressed = [operators.submit(browse, conference, "/stream") for _ in range(3)]
        wait_until(lambda: len(conference.asked) == 2 and any(one.done() for one in pressed))
        assert conference.dial().ncco
        assert sum(one.done() for one in pressed) == 1
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
        found |= {*re.findall(r"\w+\._[a-z]\w*|[gs]etattr\(.*[\"']_.*", file.read_text())}
    assert {name for name in found if not name.startswith("self._")} == {"os._exit"}


# Regions


def test_legs_are_reached_in_their_regions(regions: InProcess, connected: set[str]) -> None:
    names = ["api-us-3.vonage.com", "api-eu-4.vonage.com"]
    callers = [regions.dial(region=name) for name in names]
    browse(regions, "/stream").raise_for_status()
    for caller in callers:
        caller.hears("hears music")
    assert sorted(asked.host for asked in regions.asked) == sorted(names)
    assert connected == {f"{name}:443" for name in names}


# Calls that are over


def test_a_leg_that_vonage_does_not_know_is_asked_for_once(stream: InProcess) -> None:
    first, gone = stream.dial(), stream.dial()
    gone.over.set()  # its completed event is lost
    assert browse(stream, "/stream").status_code == 409
    assert len(stream.asked) == 1
    assert first.playing is None


@pytest.mark.parametrize(
    ("setting", "own_host", "age", "stays"),
    [
        ("", "api-us-3.vonage.com", 61, False),
        ("", None, 61, False),  # its own is the default host
        ("", None, 59, True),
        ("API-us-3.Vonage.com", "api-us-3.vonage.com", 61, False),
        ("api-eu-4.vonage.com", "api-us-3.vonage.com", 61, True),
        ("api-us-3.vonage.com", None, 61, True),
    ],
)
def test_a_leg_over_a_minute_old_that_its_own_host_does_not_know_is_ended(
    start: StartSandbox, connected: set[str], setting: str, own_host: str, age: int, stays: bool
) -> None:
    """A wrong VONAGE_API_HOST ends no one."""
    sandbox = start(VONAGE_API_HOST=setting)
    for _ in range(2):
        leg = str(uuid.uuid4())
        joined = time.time() - age
        sandbox.store.join(Leg(leg, "447700900123", own_host, MUSIC, "Conference", joined))
    assert browse(sandbox, "/stream").status_code == 409
    assert len(sandbox.store.live()) == 2 * stays
    assert connected == {f"{setting.lower() or own_host or 'api.nexmo.com'}:443"}
