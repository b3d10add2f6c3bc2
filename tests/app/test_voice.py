"""What /stream reports, and how soon, when Vonage or the network fails."""

from __future__ import annotations

import inspect
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from calls import Leg
from sandbox import FOLDER
from tests.helpers.faults import Fault
from tests.helpers.ports import free_port
from tests.helpers.sandboxes import InProcess, StartSandbox, browse, error_of
from tests.helpers.servers import run_forwarder
from tests.helpers.waiting import wait_until
from voice import Voice

MUSIC = "https://example.com/a.mp3"
FAULTS: dict[str, tuple[Fault, int, str]] = {
    "401": (Fault(401), 502, "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY"),
    "403": (Fault(403), 502, "Check VONAGE_APPLICATION_ID, VONAGE_PRIVATE_KEY"),
    "404": (Fault(404), 409, "has no such call (ended, not answered yet, or in another region)"),
    "400": (Fault(400, b'{"title": "Bad", "detail": "no such level"}'), 502, "no such level"),
    "HTML": (Fault(503, b"<h1>Out\n to lunch</h1>"), 502, "answered 503: Out to lunch"),
    "a redirection to nowhere": (Fault(304, b""), 502, "answered 304: no reason"),
    "nothing": (Fault(200, b""), 502, "returned an unexpected body"),
    "other JSON": (Fault(200, b"[]"), 502, "returned an unexpected body"),
    "no text": (Fault(200, b"\xff\xfe\0"), 502, "returned an unexpected body"),
    "JSON nested deep": (Fault(200, b"[" * 60_000), 502, "returned an unexpected body"),
}


@pytest.mark.parametrize(("fault", "status", "sentence"), FAULTS.values(), ids=FAULTS)
def test_stream_says_what_is_wrong(
    conference: InProcess, fault: Fault, status: int, sentence: str
) -> None:
    conference.dial()
    conference.faults = [fault]
    response = browse(conference, "/stream")
    assert sentence in error_of(response, status)
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
    """Neither the one in the home folder, nor one that the environment names."""
    (tmp_path / ".netrc").write_text("default login someone password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    conference.limit()  # which looks at the environment
    conference.dial()
    browse(conference, "/stream").raise_for_status()
    assert conference.asked[0].authorization.startswith("Bearer ")


# Slow answers


@pytest.mark.parametrize(
    ("limits", "fault", "said"),
    [
        ({"silence": 1}, Fault(hang_up="late"), "timed out after 1 s"),
        ({"deadline": 0.5}, Fault(200, b" " * 9, drip=0.4), "did not answer within 0.5 s"),
    ],
)
def test_a_slow_vonage_is_a_504(
    conference: InProcess, limits: dict[str, Any], fault: Fault, said: str
) -> None:
    conference.limit(**limits)
    conference.dial()
    conference.faults = [fault]
    response = browse(conference, "/stream")
    assert said in error_of(response, 504)
    assert response.elapsed.total_seconds() < 1.9 * sum(limits.values())


def test_the_limits_are_5_and_under_15_seconds() -> None:
    limits = inspect.signature(Voice).parameters
    assert (limits["silence"].default, limits["deadline"].default) == (5, 14)


# The rate limit


def test_two_plays_at_once_share_14_requests_a_second(conference: InProcess) -> None:
    """The 15th begins a second after the first, however busy the machine is."""
    callers = [conference.dial() for _ in range(8)]
    began = time.monotonic()
    with ThreadPoolExecutor(2) as operators:
        answers = [operators.submit(browse, conference, "/stream") for _ in range(2)]
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


def test_a_third_play_at_a_time_is_refused(conference: InProcess) -> None:
    conference.dial()
    conference.released.clear()
    with ThreadPoolExecutor(2) as operators:
        playing = [operators.submit(browse, conference, "/stream") for _ in range(2)]
        wait_until(lambda: len(conference.asked) == 2, "two plays")
        refused = browse(conference, "/stream")
        conference.released.set()
    assert error_of(refused, 503) == "Two other requests play or stop. Try again."
    assert refused.headers["Retry-After"] == "2"
    assert [one.result().status_code for one in playing] == [200, 200]


FAR = [f"Fri, 31 Dec {year} 23:59:59 GMT" for year in (99999, 99999999999)]


@pytest.mark.parametrize("value", ["20", "a date", "soon", *FAR])
def test_too_long_a_wait_is_a_503_at_once(conference: InProcess, value: str) -> None:
    """A Retry-After that cannot be read counts as one second."""
    seconds = {"20": 20, "a date": 1_000}.get(value, 1)
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


# The SDK in plain sight


def test_no_private_name_of_a_library_is_used() -> None:
    """Except os._exit, which is documented."""
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


def test_for_a_leg_that_vonage_does_not_know_one_request_is_sent(stream: InProcess) -> None:
    first, gone = stream.dial(), stream.dial()
    gone.over.set()  # its completed event is lost
    assert browse(stream, "/stream").status_code == 409
    assert len(stream.asked) == 1
    assert first.playing is None


@pytest.mark.parametrize(
    ("setting", "own_host", "age", "stays"),
    [
        ("", None, 61, False),  # its own host is the default one
        ("", None, 59, True),
        ("API-us-3.Vonage.com", "api-us-3.vonage.com", 61, False),
        ("api-us-3.vonage.com", None, 61, True),
    ],
)
def test_a_leg_over_a_minute_old_that_its_own_host_does_not_know_is_ended(
    start: StartSandbox, connected: set[str], setting: str, own_host: str, age: int, stays: bool
) -> None:
    """A wrong VONAGE_API_HOST ends no call."""
    sandbox = start(VONAGE_API_HOST=setting)
    for _ in range(2):
        leg = str(uuid.uuid4())
        joined = time.time() - age
        sandbox.store.join(Leg(leg, "447700900123", own_host, MUSIC, "Conference", joined))
    assert browse(sandbox, "/stream").status_code == 409
    assert len(sandbox.store.live()) == 2 * stays
    assert connected == {f"{setting.lower() or own_host or 'api.nexmo.com'}:443"}


# Connections, and those that Vonage closes

LEGS = 3


@pytest.fixture
def fresh(start: StartSandbox) -> InProcess:
    """Start an app that has not connected yet."""
    return start(fresh=True)


def play_at_once(fresh: InProcess) -> None:
    """Play, with no answer from Vonage before the requests for all legs have come."""
    asked = len(fresh.asked) + LEGS
    fresh.released.clear()
    with ThreadPoolExecutor(1) as operator:
        playing = operator.submit(browse, fresh, "/stream")
        wait_until(lambda: len(fresh.asked) == asked)
        fresh.released.set()
    assert playing.result().ok


def test_playing_and_stopping_share_one_connection(fresh: InProcess) -> None:
    fresh.dial()
    for path in ("/stream", "/stream", "/stream/stop", "/stream"):
        browse(fresh, path).raise_for_status()
    assert [asked.method for asked in fresh.asked] == ["PUT", "PUT", "DELETE", "PUT"]
    assert fresh.connections == 1


def test_legs_that_are_asked_about_at_once_keep_their_connections(fresh: InProcess) -> None:
    for _ in range(LEGS):
        fresh.dial()
    for plays in (1, 2):
        play_at_once(fresh)
        assert len(fresh.asked) == plays * LEGS
        assert fresh.connections == LEGS


@pytest.mark.parametrize("fault", [Fault(close="announced"), Fault(close="silent")])
def test_a_connection_that_is_closed_after_each_answer(fresh: InProcess, fault: Fault) -> None:
    fresh.dial()
    fresh.faults = [fault]
    for _ in range(3):
        browse(fresh, "/stream").raise_for_status()
    assert [asked.status for asked in fresh.asked] == [200] * 3
    assert fresh.connections == 3


def test_a_connection_closed_before_an_answer_is_replaced(fresh: InProcess) -> None:
    fresh.dial()
    fresh.faults = [Fault(), Fault(hang_up="at once"), Fault()]
    for _ in range(2):
        browse(fresh, "/stream").raise_for_status()
    assert len(fresh.asked) == 3
    assert fresh.connections == 2


@pytest.mark.parametrize(("hang_up", "times"), [("at once", 5), ("midway", 1)])
def test_a_connection_closed_each_time_fails(fresh: InProcess, hang_up: str, times: int) -> None:
    """If no part of an answer came, the SDK tries again, as often as its pool is large."""
    fresh.dial()
    fresh.faults = [Fault(hang_up=hang_up)]
    assert "cannot be reached" in error_of(browse(fresh, "/stream"), 504)
    assert len(fresh.asked) == times


def test_idle_connections_that_died_cost_one_play(fresh: InProcess) -> None:
    """A laptop that was asleep leaves such connections, or a firewall."""
    for _ in range(LEGS):
        fresh.dial()
    with run_forwarder(fresh.api_port) as forwarder:
        fresh.limit(forwarder.address, silence=1)
        play_at_once(fresh)
        forwarder.fall_silent()
        leg = {"uuid": fresh.asked[0].path.split("/")[3]}
        assert browse(fresh, "/stream", **leg).status_code == 504
        assert browse(fresh, "/stream", **leg).status_code == 200
