"""The conference: everyone hears the music, and a quorum starts it."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from app import create_app
from calls import open_calls
from calls_sqlite import SqliteCalls
from config import Config
from sandbox import Asked, Sandbox, Weather
from tests.conftest import StartSandbox, browse

# Everyone


def test_music_reaches_everyone_in_the_conference(conference: Sandbox) -> None:
    callers = [conference.dial() for _ in range(3)]
    response = browse(conference, "/stream").json()
    for caller in callers:
        caller.hears("hears music")
    assert response["message"] == "The music plays in 3 of 3 legs."
    assert {leg["uuid"] for leg in response["legs"]} == {caller.uuid for caller in callers}


def test_music_does_not_reach_another_conference(conference: Sandbox) -> None:
    elsewhere = conference.dial()
    store = SqliteCalls(f"{conference.folder}/calls.sqlite3")
    store.change(elsewhere.uuid, conference="Another Conference")
    caller = conference.dial()
    browse(conference, "/stream").raise_for_status()
    assert [asked.path for asked in conference.asked] == [f"/v1/calls/{caller.uuid}/stream"]


def test_stop_reaches_everyone_in_the_conference(conference: Sandbox) -> None:
    callers = [conference.dial() for _ in range(3)]
    browse(conference, "/stream")
    for caller in callers:
        caller.hears("hears music")
    browse(conference, "/stream/stop").raise_for_status()
    for caller in callers:
        caller.hears("hears the music stop")


def test_a_leg_that_ends_meanwhile_spoils_nothing(conference: Sandbox) -> None:
    first, gone, last = (conference.dial() for _ in range(3))
    gone.over.set()  # its completed event is on the way
    response = browse(conference, "/stream")
    assert response.status_code == 200
    for caller in (first, last):
        caller.hears("hears music")
    errors = {leg["uuid"]: leg.get("error") for leg in response.json()["legs"]}
    assert "knows no such leg" in errors[gone.uuid]
    assert (errors[first.uuid], errors[last.uuid]) == (None, None)
    legs = browse(conference, "/stream").json()["legs"]
    assert {leg["uuid"] for leg in legs} == {first.uuid, last.uuid}


def test_a_leg_that_nobody_has_picked_up_yet_stays(conference: Sandbox) -> None:
    conference.dial()
    ringing = conference.dial(pick_up=False)
    assert browse(conference, "/stream").status_code == 200
    ringing.pick_up()
    browse(conference, "/stream")
    ringing.hears("hears music")


def test_legs_in_two_regions_are_each_reached_in_their_own(through_proxy: Sandbox) -> None:
    regions = ["api-us-3.vonage.com", "api-eu-4.vonage.com"]
    callers = [through_proxy.dial(region=region) for region in regions]
    browse(through_proxy, "/stream").raise_for_status()
    for caller in callers:
        caller.hears("hears music")
    assert sorted(asked.host for asked in through_proxy.asked) == sorted(regions)
    assert len({asked.authorization for asked in through_proxy.asked}) == 1


def test_a_call_that_is_pinned_to_another_region_is_not_found(through_proxy: Sandbox) -> None:
    caller = through_proxy.dial({"region_url": ""}, region="api-us-3.vonage.com")
    response = browse(through_proxy, "/stream")
    assert response.status_code == 409
    assert "asked at api.nexmo.com" in response.json()["error"]
    assert caller.playing is None


# 15 a second


def most_in_a_second(asked: list[Asked]) -> int:
    times = sorted(one.at for one in asked)
    return max(sum(0 <= other - one < 1 for other in times) for one in times)


def test_50_legs_hear_the_music_in_time_and_no_second_has_more_than_15(
    conference: Sandbox,
) -> None:
    callers = [conference.dial() for _ in range(50)]
    conference.latency, conference.limited = 0.1, True
    began = time.monotonic()
    response = browse(conference, "/stream")
    seconds = time.monotonic() - began
    assert response.json()["message"] == "The music plays in 50 of 50 legs."
    for caller in callers:
        caller.hears("hears music")
    assert seconds < 50 / 15 + 0.5
    assert most_in_a_second(conference.asked) <= 15


def test_two_who_open_stream_at_once_share_the_15(conference: Sandbox) -> None:
    for _ in range(12):
        conference.dial()
    with ThreadPoolExecutor(2) as people:
        answers = [people.submit(browse, conference, "/stream") for _ in range(2)]
    assert [answer.result().status_code for answer in answers] == [200, 200]
    assert len(conference.asked) == 24
    assert most_in_a_second(conference.asked) <= 15


def test_a_burst_of_429_is_waited_out(conference: Sandbox) -> None:
    callers = [conference.dial() for _ in range(5)]
    conference.weather = [*[Weather(429)] * 5, Weather()]
    response = browse(conference, "/stream")
    assert response.json()["message"] == "The music plays in 5 of 5 legs."
    for caller in callers:
        caller.hears("hears music")


# The quorum


@pytest.fixture
def of_three(start: StartSandbox) -> Sandbox:
    """The app where three start the conference."""
    return start(ANSWER_WITH="conversation", VOICE_CONFERENCE_QUORUM="3")


def test_three_callers_and_a_quorum_of_three(of_three: Sandbox) -> None:
    first, second = of_three.dial(), of_three.dial()
    for caller in (first, second):
        caller.hears(f"hears hold music: {of_three.public_url}/static/hold-music.mp3, MP3")
        assert not any("in the conference" in line for line in caller.story)
    third = of_three.dial()
    for caller in (first, second, third):
        caller.hears("is in the conference")


def test_those_who_wait_and_the_one_who_starts_are_told_so(of_three: Sandbox) -> None:
    music = f"{of_three.public_url}/static/hold-music.mp3"
    told = [of_three.dial().ncco[-1] for _ in range(3)]
    room = {"action": "conversation", "name": "Relaxing Conference"}
    waits = {**room, "startOnEnter": False, "musicOnHoldUrl": [music]}
    assert told == [waits, waits, {**room, "startOnEnter": True}]


def test_no_credentials_are_needed_for_a_quorum(start: StartSandbox) -> None:
    sandbox = start(
        ANSWER_WITH="conversation", VOICE_CONFERENCE_QUORUM="2", VONAGE_APPLICATION_ID=""
    )
    waits = sandbox.dial()
    sandbox.dial().hears("is in the conference")
    waits.hears("is in the conference")
    assert sandbox.asked == []


def test_one_who_gives_up_while_waiting_no_longer_counts(of_three: Sandbox) -> None:
    gives_up, waits = of_three.dial(), of_three.dial()
    gives_up.hang_up()
    assert of_three.dial().ncco[-1]["startOnEnter"] is False
    of_three.dial().hears("is in the conference")
    waits.hears("is in the conference")


def test_a_latecomer_joins_at_once(of_three: Sandbox) -> None:
    for _ in range(3):
        of_three.dial()
    of_three.dial().hears("is in the conference, with 3 more")


def test_a_replayed_answer_webhook_counts_once_and_gets_the_same_answer(of_three: Sandbox) -> None:
    first = of_three.dial()
    again = of_three.send("GET", "/webhooks/answer", first.parameters)
    assert again is not None
    assert again.json() == first.ncco
    assert of_three.dial().ncco[-1]["startOnEnter"] is False
    starter = of_three.dial()
    again = of_three.send("GET", "/webhooks/answer", starter.parameters)
    assert again is not None
    assert again.json() == starter.ncco


# At the same instant: four processes, each with an app of its own, on one store


def answer_calls(orders: Connection, together: Barrier) -> None:
    """Answer calls at the same instant as the other processes; say what each NCCO tells."""
    apps = {}
    while order := orders.recv():
        url, quorum, leg = order
        if (url, quorum) not in apps:
            config = Config(calls_url=url, answer_with="conversation", conference_quorum=quorum)
            apps[url, quorum] = create_app(config).test_client()
        together.wait()
        told = None
        if leg:
            response = apps[url, quorum].post("/webhooks/answer", json={"uuid": leg})
            told = response.get_json()[-1]["startOnEnter"]
        orders.send(told)


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Connection]]:
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(4)
    pipes = [spawn.Pipe() for _ in range(4)]
    for _, theirs in pipes:
        spawn.Process(target=answer_calls, args=(theirs, together), daemon=True).start()
    yield [ours for ours, _ in pipes]
    for ours, _ in pipes:
        ours.send(None)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
@pytest.mark.parametrize("quorum", [2, 3, 4, 5])
def test_of_callers_at_the_same_instant_the_one_who_completes_the_quorum_starts(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    processes: list[Connection],
    store: str,
    quorum: int,
) -> None:
    url = f"sqlite:///{tmp_path}/calls.sqlite3"
    if store == "redis":
        url = request.getfixturevalue("redis_url")
    calls = open_calls(url, "")
    for _ in range(200):
        legs = [str(uuid.uuid4()) for _ in range(quorum)]
        told: dict[str, bool] = {}
        for at in range(0, quorum, 4):
            batch = [*legs[at : at + 4], "", "", ""][:4]
            for process, leg in zip(processes, batch, strict=True):
                process.send((url, quorum, leg))
            answers = [process.recv() for process in processes]
            told.update(zip(batch, answers, strict=True))
        assert [told[leg.uuid] for leg in calls.live()] == [True, *[False] * (quorum - 1)]
        for leg in legs:
            calls.end(leg)


def test_processes_that_make_the_database_at_the_same_instant_lose_nobody(
    tmp_path: Path, processes: list[Connection]
) -> None:
    for number in range(30):
        url = f"sqlite:///{tmp_path}/{number}.sqlite3"
        for process in processes:
            process.send((url, 4, str(uuid.uuid4())))
        assert sorted(process.recv() for process in processes) == [False, False, False, True]
        assert len(open_calls(url, "").live()) == 4
