"""How many connections to Vonage are opened, and what becomes of those that Vonage closes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.faults import Fault
from tests.helpers.sandboxes import InProcess, StartSandbox, browse, error_of
from tests.helpers.servers import run_forwarder
from tests.helpers.waiting import wait_until

STARTED = b'{"message": "Stream started", "uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}'
LEGS = 3


@pytest.fixture
def sandbox(start: StartSandbox) -> InProcess:
    """One whose app has not connected yet."""
    return start(fresh=True)


def play(sandbox: InProcess) -> int:
    """Play to everybody on the line; gives the status."""
    return browse(sandbox, "/stream").status_code


def play_side_by_side(sandbox: InProcess) -> int:
    """Play, while no answer comes until all legs have been asked about."""
    asked = len(sandbox.asked) + LEGS
    sandbox.released.clear()
    with ThreadPoolExecutor(1) as operator:
        playing = operator.submit(play, sandbox)
        wait_until(lambda: len(sandbox.asked) == asked)
        sandbox.released.set()
    return playing.result()


def test_playing_and_stopping_share_one_connection(sandbox: InProcess) -> None:
    sandbox.dial()
    for path in ("/stream", "/stream", "/stream/stop", "/stream"):
        browse(sandbox, path).raise_for_status()
    assert [asked.method for asked in sandbox.asked] == ["PUT", "PUT", "DELETE", "PUT"]
    assert sandbox.connections == 1


def test_legs_that_are_asked_about_at_once_keep_their_connections(sandbox: InProcess) -> None:
    for _ in range(LEGS):
        sandbox.dial()
    assert play_side_by_side(sandbox) == 200
    assert sandbox.connections == LEGS
    assert play_side_by_side(sandbox) == 200
    assert len(sandbox.asked) == 2 * LEGS
    assert sandbox.connections == LEGS


@pytest.mark.parametrize("fault", [Fault(close="announced"), Fault(close="silent")])
def test_a_connection_that_is_closed_after_each_answer(sandbox: InProcess, fault: Fault) -> None:
    sandbox.dial()
    sandbox.faults = [fault]
    assert [play(sandbox) for _ in range(3)] == [200] * 3
    assert [asked.status for asked in sandbox.asked] == [200] * 3
    assert sandbox.connections == 3


def test_a_connection_closed_before_an_answer_is_replaced(sandbox: InProcess) -> None:
    sandbox.dial()
    sandbox.faults = [Fault(), Fault(hang_up="at once"), Fault()]
    assert [play(sandbox), play(sandbox)] == [200, 200]
    assert len(sandbox.asked) == 3
    assert sandbox.connections == 2


@pytest.mark.parametrize(("hang_up", "times"), [("at once", 5), ("midway", 1)])
def test_a_connection_closed_each_time_fails(sandbox: InProcess, hang_up: str, times: int) -> None:
    """The SDK tries again, as often as its pool is large, where nothing of an answer came."""
    sandbox.dial()
    sandbox.faults = [Fault(200, STARTED, hang_up=hang_up)]
    assert "cannot be reached" in error_of(browse(sandbox, "/stream"), 504)
    assert len(sandbox.asked) == times


def test_idle_connections_that_died_without_a_word_cost_one_play(sandbox: InProcess) -> None:
    """As a laptop leaves them that was asleep, or a firewall."""
    for _ in range(LEGS):
        sandbox.dial()
    with run_forwarder(sandbox.api_port) as forwarder:
        sandbox.limit(f"localhost:{forwarder.server_port}", silence=1)
        assert play_side_by_side(sandbox) == 200
        forwarder.fall_silent()
        leg = {"uuid": sandbox.asked[0].path.split("/")[3]}
        assert browse(sandbox, "/stream", **leg).status_code == 504
        assert browse(sandbox, "/stream", **leg).status_code == 200
