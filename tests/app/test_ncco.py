"""The conference: everyone hears the music, and a quorum starts it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from calls import open_calls
from tests.helpers.faults import Fault
from tests.helpers.sandboxes import InProcess, StartSandbox, browse

CONVERSATION = {"action": "conversation", "name": "Relaxing Conference"}

# Everyone


def test_music_reaches_everyone_in_the_conference(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(3)]
    response = browse(conference, "/stream").json()
    for caller in callers:
        caller.hears("hears music")
    assert response["message"] == "Sent hold-music.mp3 to all 3 callers"
    assert {leg["uuid"] for leg in response["legs"]} == {caller.uuid for caller in callers}


def test_music_reaches_no_other_conference(conference: InProcess, start: StartSandbox) -> None:
    url = f"sqlite:///{conference.folder}/calls.sqlite3"
    other = start(VOICE_CONFERENCE_NAME="Another Conference", CALLS_URL=url)
    other.dial()
    caller = conference.dial()
    assert len(open_calls(url, conference.account.application_id).live()) == 2
    browse(conference, "/stream").raise_for_status()
    assert [asked.path for asked in conference.asked] == [f"/v1/calls/{caller.uuid}/stream"]


def test_stop_reaches_everyone_in_the_conference(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(3)]
    browse(conference, "/stream")
    for caller in callers:
        caller.hears("hears music")
    response = browse(conference, "/stream/stop").json()
    assert response["message"] == "Stopped for all 3 callers"
    for caller in callers:
        caller.hears("hears the music stop")


def test_a_leg_that_ends_meanwhile_spoils_nothing(conference: InProcess) -> None:
    first, gone, last = (conference.dial() for _ in range(3))
    gone.over.set()  # its completed event is on the way
    response = browse(conference, "/stream")
    assert response.status_code == 200
    assert response.json()["message"] == "Sent hold-music.mp3 to 2 of 3 callers"
    for caller in (first, last):
        caller.hears("hears music")
    errors = {leg["uuid"]: leg.get("error") for leg in response.json()["legs"]}
    assert "has no such call" in errors[gone.uuid]
    assert (errors[first.uuid], errors[last.uuid]) == (None, None)


def test_that_vonage_has_no_such_call_is_said_only_if_it_is_so_of_all(
    conference: InProcess,
) -> None:
    for _ in range(2):
        conference.dial()
    conference.faults = [Fault(404), Fault(500)]
    response = browse(conference, "/stream")
    assert response.status_code == 502
    assert "answered 500" in response.json()["error"]


def test_a_leg_that_no_one_has_answered_yet_stays(conference: InProcess) -> None:
    conference.dial()
    ringing = conference.dial(pick_up=False)
    assert browse(conference, "/stream").status_code == 200
    ringing.pick_up()
    browse(conference, "/stream")
    ringing.hears("hears music")


def test_legs_in_two_regions_are_each_reached_in_their_own(regions: InProcess) -> None:
    names = ["api-us-3.vonage.com", "api-eu-4.vonage.com"]
    callers = [regions.dial(region=name) for name in names]
    browse(regions, "/stream").raise_for_status()
    for caller in callers:
        caller.hears("hears music")
    assert sorted(asked.host for asked in regions.asked) == sorted(names)


def test_a_call_in_another_region_is_not_found(regions: InProcess) -> None:
    caller = regions.dial({"region_url": ""}, region="api-us-3.vonage.com")
    response = browse(regions, "/stream")
    assert response.status_code == 409
    assert "Vonage at api.nexmo.com has no such call" in response.json()["error"]
    assert caller.playing is None


# 15 a second: the 15th request begins a second after the first, however busy the machine is


def seconds_until_the_15th(sandbox: InProcess, began: float) -> float:
    """How long after the start the 15th request came in."""
    return sorted(asked.at for asked in sandbox.asked)[14] - began


def test_20_legs_hear_the_music_and_no_second_has_more_than_14(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(20)]
    conference.latency = 0.1  # one after the other would take longer
    began = time.monotonic()
    response = browse(conference, "/stream")
    assert seconds_until_the_15th(conference, began) >= 1
    assert response.elapsed.total_seconds() < 3
    assert response.json()["message"] == "Sent hold-music.mp3 to all 20 callers"
    for caller in callers:
        caller.hears("hears music")


def test_two_who_open_stream_at_once_share_the_14(conference: InProcess) -> None:
    for _ in range(10):
        conference.dial()
    began = time.monotonic()
    with ThreadPoolExecutor(2) as people:
        answers = [people.submit(browse, conference, "/stream") for _ in range(2)]
    assert [answer.result().status_code for answer in answers] == [200, 200]
    assert seconds_until_the_15th(conference, began) >= 1


def test_one_leg_waits_for_vonage_while_others_go_on(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(4)]
    conference.faults = [Fault(429, headers={"Retry-After": "1"}), Fault()]
    browse(conference, "/stream").raise_for_status()
    assert [asked.status for asked in conference.asked] == [429, 200, 200, 200, 200]
    assert conference.asked[0].path == conference.asked[4].path
    assert conference.asked[4].at - conference.asked[0].at >= 1
    for caller in callers:
        caller.hears("hears music")


# The quorum


@pytest.fixture
def of_three(start: StartSandbox) -> InProcess:
    """The app where three start the conference."""
    return start(VOICE_CONFERENCE_QUORUM="3")


def test_three_callers_and_a_quorum_of_three(of_three: InProcess) -> None:
    first, second = of_three.dial(), of_three.dial()
    for caller in (first, second):
        caller.hears("hears hold music: hold-music.mp3")
        assert caller.ncco[-1]["musicOnHoldUrl"] == [f"{of_three.public_url}/static/hold-music.mp3"]
        assert not any("in the conference" in line for line in caller.story)
    third = of_three.dial()
    for caller in (first, second, third):
        caller.hears("is in the conference")


def test_those_who_wait_and_the_one_who_starts_get_their_nccos(of_three: InProcess) -> None:
    music = f"{of_three.public_url}/static/hold-music.mp3"
    nccos = [of_three.dial().ncco[-1] for _ in range(3)]
    waits = {**CONVERSATION, "startOnEnter": False, "musicOnHoldUrl": [music]}
    assert nccos == [waits, waits, {**CONVERSATION, "startOnEnter": True}]


def test_the_log_says_how_many_are_on_the_line(of_three: InProcess) -> None:
    for _ in range(4):
        of_three.dial({"from": "447700900123"})
    lines = [line for line in of_three.log.read_text().splitlines() if "joined" in line]
    words = [line.partition(" from …0123 joined: ")[2] for line in lines]
    here = "conference, {} on the line"
    assert words == [here.format(count) for count in ("1 of 3", "2 of 3", "3 of 3", "4")]


def test_music_reaches_those_who_wait_too(of_three: InProcess) -> None:
    callers = [of_three.dial() for _ in range(2)]
    browse(of_three, "/stream").raise_for_status()
    for caller in callers:
        caller.hears("hears music")


def test_no_credentials_are_needed_for_a_quorum(start: StartSandbox) -> None:
    sandbox = start(VOICE_CONFERENCE_QUORUM="2", VONAGE_APPLICATION_ID="")
    waits = sandbox.dial()
    sandbox.dial().hears("is in the conference")
    waits.hears("is in the conference")
    assert sandbox.asked == []


def test_one_who_gives_up_while_waiting_no_longer_counts(of_three: InProcess) -> None:
    gives_up, waits = of_three.dial(), of_three.dial()
    gives_up.hang_up()
    assert of_three.dial().ncco[-1]["startOnEnter"] is False
    of_three.dial().hears("is in the conference")
    waits.hears("is in the conference")


def test_a_latecomer_joins_at_once(of_three: InProcess) -> None:
    for _ in range(3):
        of_three.dial()
    of_three.dial().hears("is in the conference, with 3 more")


def test_one_who_calls_after_two_of_three_have_left_is_told_what_is_true_either_way(
    of_three: InProcess,
) -> None:
    first, second, third = (of_three.dial() for _ in range(3))
    third.hears("is in the conference")
    first.hang_up()
    second.hang_up()
    fourth = of_three.dial()
    fourth.hears("is in the conference, with 1 more")
    page = requests.get(of_three.app_url, headers={"Accept": "text/html"}, timeout=5).text
    assert "wait" not in page.lower().replace("please wait", "")


def test_a_replayed_answer_webhook_counts_once_and_gets_the_same_answer(
    of_three: InProcess,
) -> None:
    first = of_three.dial()
    again = of_three.send("GET", "/webhooks/answer", first.parameters)
    assert again is not None
    assert again.json() == first.ncco
    assert of_three.dial().ncco[-1]["startOnEnter"] is False
    starter = of_three.dial()
    again = of_three.send("GET", "/webhooks/answer", starter.parameters)
    assert again is not None
    assert again.json() == starter.ncco
