"""What the log says, and what it never says."""

from __future__ import annotations

import base64
import logging
import socket
import uuid

import pytest
import requests

from calls import Leg
from tests.helpers.faults import Fault
from tests.helpers.sandboxes import InProcess, StartSandbox, browse

NUMBER = "447700900456"


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        (NUMBER, "…0456"),
        ("44 7700 900 456", "…0456"),
        ("tel:+44-7700-900456", "…0456"),
        (f"sip:{NUMBER}@example.com", "…0456"),
        ("sip:alice@203.0.113.9:5061", "sip:alice"),
        ("alice", "alice"),
        ("1234", "1234"),
        ("", "Unknown number"),
    ],
)
def test_a_caller_is_the_last_four_digits_of_a_number(caller: str, shown: str) -> None:
    assert Leg("a", caller, None, None, None, 0).short_caller == shown


def test_no_whole_number_is_in_the_log(conference: InProcess) -> None:
    conference.dial({"from": NUMBER, "to": "442079460999"}).hang_up()
    event = {"uuid": str(uuid.uuid4()), "status": "busy", "from": NUMBER, "to": NUMBER}
    conference.send("GET", "/webhooks/event", event)
    for name in (f"sip:{NUMBER}@example.com", "44 7700 900 456"):
        conference.dial({"from": name}, method="GET").hang_up()
    log = conference.log.read_text()
    assert "0456" in log
    for whole in (NUMBER, NUMBER[2:], "442079460999", "900 456", "900456"):
        assert whole not in log


def test_no_password_token_or_key_is_in_the_log(start: StartSandbox) -> None:
    password = "the-operators-password"
    sandbox = start(STREAM_PASSWORD=password)
    call = sandbox.dial({"from": NUMBER}, method="GET")
    for given in (password, password + "x"):
        requests.get(f"{sandbox.app_url}/stream", auth=("me", given), timeout=5)
    requests.get(f"{sandbox.app_url}/nowhere?password={password}", timeout=5)
    with socket.create_connection(("localhost", sandbox.port)) as wire:
        wire.sendall(f"GET /stream?password={password} x HTTP/1.1\r\n\r\n".encode())
        while wire.recv(1000):
            pass
    sandbox.faults = [Fault(401)]
    requests.get(f"{sandbox.app_url}/stream", auth=("me", password), timeout=5)
    wrong = sandbox.account.sign(iat=1)
    sandbox.send("GET", "/webhooks/event", {"uuid": call.uuid}, Authorization=wrong)
    log = sandbox.log.read_text()
    key = sandbox.account.private_key.splitlines()[3]
    encoded = base64.b64encode(f"me:{password}".encode()).decode()
    for secret in (password, encoded, sandbox.account.signature_secret, key):
        assert secret not in log
    assert wrong.split(".")[1] not in log
    assert sandbox.asked[0].authorization.split(".")[1] not in log


@pytest.mark.parametrize("breaks", ["\n", "\u2028", "\x1b[2J\n", "\u202e"])
def test_no_line_of_the_log_can_be_forged(conference: InProcess, breaks: str) -> None:
    forged = f"x{breaks}[2026-11-23 10:00:00,000] INFO: leg forged"
    for method in ("GET", "POST"):
        conference.dial({"from": forged}, method=method).hang_up()
    leg = str(uuid.uuid4())
    fields = ("status", "duration", "reason", "type")
    conference.send("POST", "/webhooks/event", {"uuid": leg, **dict.fromkeys(fields, forged)})
    conference.send("POST", "/webhooks/event", {"reason": forged})
    browse(conference, "/stream", uuid=forged)
    browse(conference, f"/{forged}")
    log = conference.log.read_text()
    assert "leg forged" in log  # as a part of a line
    assert [line for line in log.splitlines() if line.startswith("[2026-11-23 10:00:00,000]")] == []
    assert "\u202e" not in log


def test_what_a_caller_can_choose_is_cut_to_256_characters(conference: InProcess) -> None:
    conference.dial({"from": "x" * 1_000})
    assert conference.store.live()[0].caller == "x" * 256
    assert "x" * 257 not in conference.log.read_text()


def test_there_is_no_line_for_each_request(conference: InProcess) -> None:
    conference.dial()
    browse(conference, "/static/hold-music.mp3")
    browse(conference, "/")
    log = conference.log.read_text()
    assert "HTTP/1." not in log
    assert log.count("GET") == 1  # after silence, the first question is whether Vonage fetched it
    assert "INFO: GET /static/hold-music.mp3: 200" in log


def test_one_sentence_says_what_a_play_did(conference: InProcess) -> None:
    """In the log, in JSON, and in what happened; a failure's sentence once, however many legs."""
    reached = [conference.dial() for _ in range(2)]
    lost = [conference.dial_at("localhost:9000"), conference.dial_at("localhost:9000")]
    answer = browse(conference, "/stream").json()
    for caller in reached:
        caller.hears("hears music")
    sentence = "Sent hold-music.mp3 to 2 of 4 callers"
    why = (
        "The audio's address https://localhost:9000/static/hold-music.mp3 is not on the public "
        "internet, where Vonage could fetch it. Set PUBLIC_URL"
    )
    assert answer["message"] == sentence
    [news] = [line for line in conference.told() if "Sent" in line.text]
    assert (news.text, news.bad) == (f"{sentence}; {why}", True)
    [line] = [line for line in conference.log.read_text().splitlines() if "Sent" in line]
    said, _, uuids = line.rpartition(" (")
    assert said.partition("WARNING: ")[2] == f"{sentence}; {why}"
    assert sorted(uuids.removesuffix(")").split(", ")) == sorted(lost)


def test_one_sentence_says_what_a_stop_did(conference: InProcess) -> None:
    callers = [conference.dial() for _ in range(2)]
    assert browse(conference, "/stream/stop").json()["message"] == "Stopped for all 2 callers"
    callers[0].over.set()  # its completed event is on the way
    browse(conference, "/stream/stop", uuid=callers[0].uuid)
    browse(conference, "/stream/stop", uuid=callers[1].uuid)
    why = f"Vonage at localhost:{conference.api_port} has no such call"
    told = [line for line in conference.told() if "Stopped" in line.text]
    assert [line.text.partition(" (")[0] for line in reversed(told)] == [
        "Stopped for all 2 callers",
        f"Stopped for no one; {why}",
        "Stopped for the caller",
    ]
    assert [line.bad for line in reversed(told)] == [False, True, False]
    log = conference.log.read_text()
    assert "INFO: Stopped for all 2 callers\n" in log
    assert "INFO: Stopped for the caller\n" in log
    assert f"WARNING: Stopped for no one; {why}" in log


def test_the_sdks_own_lines_are_off(
    conference: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    conference.dial()
    conference.faults = [Fault(500)]
    browse(conference, "/stream")
    assert {record.name for record in caplog.records} == {"app"}


def test_of_a_path_256_characters_are_in_the_log(conference: InProcess) -> None:
    browse(conference, f"/{'x' * 5_000}")
    assert f"GET /{'x' * 255}: 404 Not found." in conference.log.read_text()


# Faults of ours

PLANTED: dict[str, tuple[str, str, str]] = {
    "in SQLite": ("calls.sqlite.Leg.from_json", "/stream", "sqlite"),
    "in Redis": ("calls.redis.Leg.from_json", "/stream", "redis"),
    "in a transaction of SQLite": ("calls.sqlite.joined", "/webhooks/answer", "sqlite"),
    "in a transaction of Redis": ("calls.redis.joined", "/webhooks/answer", "redis"),
    "in SQLite's news": ("calls.sqlite.News", "/", "sqlite"),
    "in Redis' news": ("calls.redis.News", "/", "redis"),
    "on the way to Vonage": ("voice.find_audio", "/stream", "sqlite"),
    "in a request to Vonage": ("voice.AudioStreamOptions", "/stream", "sqlite"),
    "in a view": ("player.active_legs", "/stream", "sqlite"),
    "in what reads": ("player.file_name", "/stream", "sqlite"),
    "in the guard": ("app.check_operator", "/stream", "sqlite"),
}


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, RuntimeError])
@pytest.mark.parametrize("where", PLANTED)
def test_a_fault_of_ours_is_a_500_with_a_traceback_in_the_log(
    start: StartSandbox,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    error: type[Exception],
) -> None:
    """No one else is blamed for it: neither Vonage, nor CALLS_URL."""

    def break_down(*_: object, **__: object) -> None:
        raise error("planted")

    name, path, store = PLANTED[where]
    settings = {}
    if store == "redis":
        settings["CALLS_URL"] = request.getfixturevalue("redis_url")
    sandbox = start(**settings)
    sandbox.dial()
    with monkeypatch.context() as patched:
        patched.setattr(name, break_down)
        if path.startswith("/webhooks/"):
            response = sandbox.send("POST", path, {"uuid": str(uuid.uuid4())})
        else:
            response = browse(sandbox, path)
    assert response is not None
    assert response.status_code == 500
    assert set(response.json()) == {"error"}
    for blamed in ("Vonage", "CALLS_URL", "planted", error.__name__):
        assert blamed not in response.text
    log = sandbox.log.read_text()
    assert "Traceback" in log
    assert f"{error.__name__}: " in log
    assert "planted" in log
