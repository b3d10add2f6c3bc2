"""The stand-in refuses what Vonage would refuse, so that what passes here passes there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from sandbox import FOLDER, Account, Sandbox, free_port, sound

MUSIC = ["https://example.com/a.mp3"]
STREAM: dict[str, Any] = {"action": "stream", "streamUrl": MUSIC}
ROOM: dict[str, Any] = {"action": "conversation", "name": "Room"}

# An app of nothing but one answer, told in ANSWER: status, content type, body, and seconds.
AN_APP = """
import http.server, json, os, time
status, kind, body, delay = json.loads(os.environ["ANSWER"])
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        time.sleep(delay)
        self.send_response(status if asked < 3 else 200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("EVENT", body.decode(), flush=True)
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def an_app(account: Account, ncco: Any, status: int = 200, kind: str = "application/json") -> Any:
    body = ncco if isinstance(ncco, str) else json.dumps(ncco)
    answer = json.dumps([status, kind, body, 0])
    return Sandbox(
        {"ANSWER": answer, "HOST": "127.0.0.1"},
        account=account,
        command=[sys.executable, "-c", AN_APP],
    )


REFUSED = {
    "an unknown action": [{"action": "sing"}],
    "no action": [{}],
    "an object, not an array": {"action": "talk", "text": "Hi"},
    "not JSON": "talk",
    "an array of strings": ["talk"],
    "stream without streamUrl": [{"action": "stream"}],
    "streamUrl that is no array": [{"action": "stream", "streamUrl": MUSIC[0]}],
    "two streamUrls": [{"action": "stream", "streamUrl": MUSIC * 2}],
    "streamUrl that is no address": [{"action": "stream", "streamUrl": ["music.mp3"]}],
    "level out of range": [{**STREAM, "level": 1.1}],
    "level that is text": [{**STREAM, "level": "0"}],
    "loop below 0": [{**STREAM, "loop": -1}],
    "loop of a half": [{**STREAM, "loop": 0.5}],
    "loop that is true": [{**STREAM, "loop": True}],
    "bargeIn that is text": [{**STREAM, "bargeIn": "true"}],
    "bargeIn without an input": [{**STREAM, "bargeIn": True}],
    "bargeIn before a talk": [{**STREAM, "bargeIn": True}, {"action": "talk", "text": "Hi"}],
    "talk without text": [{"action": "talk"}],
    "talk of 1,501 characters": [{"action": "talk", "text": "x" * 1501}],
    "conversation without a name": [{"action": "conversation"}],
    "two musicOnHoldUrls": [{**ROOM, "musicOnHoldUrl": MUSIC * 2}],
    "startOnEnter that is text": [{**ROOM, "startOnEnter": "false"}],
    "input without a type": [{"action": "input"}],
    "input of another type": [{"action": "input", "type": ["song"]}],
}


@pytest.mark.parametrize("ncco", REFUSED)
def test_an_ncco_that_vonage_would_refuse_cuts_the_caller_off(account: Account, ncco: str) -> None:
    with an_app(account, REFUSED[ncco]) as sandbox:
        call = sandbox.dial()
        call.hears("is cut off")
        assert call.over.is_set()
        assert '"reason": ' in sandbox.log.read_text()


@pytest.mark.parametrize("kind", ["text/html", "application/javascript"])
def test_another_content_type_cuts_the_caller_off(account: Account, kind: str) -> None:
    with an_app(account, [ROOM], kind=kind) as sandbox:
        sandbox.dial().hears("is cut off: The answer webhook's content type")


@pytest.mark.parametrize("status", [429, 503, 504])
def test_vonage_asks_three_times(account: Account, status: int) -> None:
    with an_app(account, [ROOM], status=status) as sandbox:
        sandbox.dial().hears("is in the conference")


@pytest.mark.parametrize("status", [201, 400, 401, 500, 502])
def test_vonage_does_not_ask_again(account: Account, status: int) -> None:
    with an_app(account, [ROOM], status=status) as sandbox:
        sandbox.dial().hears(f"is cut off: The answer webhook answered {status}")


# The Voice API


def ask(sandbox: Sandbox, path: str, body: Any, token: str | None = None) -> requests.Response:
    return requests.put(
        f"https://localhost:{sandbox.api_port}{path}",
        json=body,
        headers={"Authorization": token or bearer(sandbox.account)},
        verify=sandbox.environment["REQUESTS_CA_BUNDLE"],
        timeout=5,
    )


def bearer(account: Account, *, key: str | None = None, **claims: Any) -> str:
    now = int(time.time())
    known = {"application_id": account.application_id, "iat": now, "jti": "x", "exp": now + 60}
    signed = {name: value for name, value in {**known, **claims}.items() if value is not None}
    return "Bearer " + jwt.encode(signed, key or account.private_key, algorithm="RS256")


@pytest.mark.parametrize(
    "make",
    [
        lambda account: "Bearer x",
        lambda account: bearer(account).removeprefix("Bearer "),
        lambda account: bearer(account, key=Account().private_key),
        lambda account: bearer(account, application_id="another"),
        lambda account: bearer(account, exp=1),
        lambda account: bearer(account, exp=None),
        lambda account: bearer(account, jti=None),
        lambda account: account.sign(),
    ],
)
def test_a_token_that_is_not_the_applications_gets_401(
    conference: Sandbox, make: Callable[[Account], str]
) -> None:
    call = conference.dial()
    path = f"/v1/calls/{call.uuid}/stream"
    assert ask(conference, path, {"stream_url": MUSIC}, make(conference.account)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"stream_url": MUSIC[0]},
        {"stream_url": MUSIC * 2},
        {"stream_url": ["a.mp3"]},
        {"stream_url": MUSIC, "loop": -1},
        {"stream_url": MUSIC, "level": 2},
        {"stream_url": MUSIC, "level": "0"},
    ],
)
def test_a_body_that_is_wrong_gets_400(conference: Sandbox, body: Any) -> None:
    call = conference.dial()
    assert ask(conference, f"/v1/calls/{call.uuid}/stream", body).status_code == 400
    assert call.playing is None


def test_a_leg_that_is_over_or_not_answered_yet_or_unknown_gets_404(conference: Sandbox) -> None:
    over, ringing = conference.dial(), conference.dial(pick_up=False)
    over.hang_up()
    for leg in (over.uuid, ringing.uuid, "63f61863-4a51-4f6b-86e1-46edebcf9356"):
        body = {"stream_url": MUSIC}
        assert ask(conference, f"/v1/calls/{leg}/stream", body).status_code == 404


def test_the_sixteenth_request_in_a_second_gets_429(conference: Sandbox) -> None:
    call = conference.dial()
    conference.limited = True
    body, token = {"stream_url": MUSIC}, bearer(conference.account)
    with ThreadPoolExecutor(16) as people:
        path = f"/v1/calls/{call.uuid}/stream"
        answers = [people.submit(ask, conference, path, body, token) for _ in range(16)]
    statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * 15 + [429]


# The audio


@pytest.mark.parametrize(
    "data",
    [
        b"<html>No such file</html>",
        b"",
        b"ID3\x03\x00\x00\x00\x00\x00\x00",
        b"\xff\xff\xff\xff" * 50,
        b"RIFF\x00\x00\x00\x00WAVE",
    ],
)
def test_what_is_no_audio_is_not_heard(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"WAV"):
        sound(data)


def test_a_wav_of_8_bits_is_not_heard(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    with pytest.raises(ValueError, match="16 bits"):
        sound((tmp_path / "a.wav").read_bytes())


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "192.168.1.2", "[::1]:9000"])
def test_audio_at_an_address_that_vonage_cannot_reach_is_not_heard(
    conference: Sandbox, host: str
) -> None:
    call = conference.dial()
    body = {"stream_url": [f"http://{host}/static/hold-music.mp3"]}
    ask(conference, f"/v1/calls/{call.uuid}/stream", body).raise_for_status()
    call.hears("hears nothing: Vonage cannot reach")


def test_audio_that_is_missing_is_not_heard(conference: Sandbox) -> None:
    call = conference.dial()
    body = {"stream_url": [f"{conference.public_url}/static/no-such.mp3"]}
    ask(conference, f"/v1/calls/{call.uuid}/stream", body).raise_for_status()
    call.hears("hears nothing: ")
    assert "answers 404" in call.story[-1]


# In the terminal


def run(*options: str) -> tuple[subprocess.Popen[str], int]:
    port = free_port()
    command = [sys.executable, str(FOLDER / "sandbox.py"), "--port", str(port), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
    )
    return process, port


def read_until(process: subprocess.Popen[str], text: str, times: int = 1) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    while sum(text in line for line in lines) < times:
        line = process.stdout.readline()
        assert line, f"no {text!r} in {lines}"
        lines.append(line)
    return lines


def test_the_story_of_a_call_in_the_terminal() -> None:
    process, _ = run()
    read_until(process, "hears music: …/static/hold-music.mp3")
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=10)[0]
    assert process.returncode == 0
    assert "caller 1  hangs up" in rest


def test_the_story_of_a_conference_in_the_terminal_fits_on_a_screen() -> None:
    process, port = run("--conversation", "--callers", "3", "--quorum", "3")
    lines = read_until(process, "in the conference", times=3)
    requests.get(f"http://localhost:{port}/stream", timeout=10).raise_for_status()
    lines += read_until(process, "hears music", times=3)
    process.send_signal(signal.SIGINT)
    lines += process.communicate(timeout=10)[0].splitlines(keepends=True)
    assert process.returncode == 0
    assert sum(line.endswith("hangs up\n") for line in lines) == 3
    assert len(lines) <= 24
    assert [line for line in lines if len(line) > 100] == []


def test_a_port_in_use_is_a_sentence() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        process, _ = run("--port", str(server.server_address[1]))
        output = process.communicate(timeout=20)[0]
        server.shutdown()
    assert process.returncode == 1
    assert "in use" in output
    assert "Traceback" not in output
