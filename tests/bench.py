"""`python -m tests.bench` prints how fast the server is; with `load`, what load it bears."""

import gc
import json
import logging
import multiprocessing
import os
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from flask import Flask, jsonify
from vonage import Auth, HttpClientOptions, Vonage
from vonage_voice.models import AudioStreamOptions
from werkzeug.test import create_environ

from app import create_app
from calls import Leg, open_calls
from calls.sqlite import END
from config import Config
from sandbox import Account, Sandbox, free_port
from tests.stub import stand_in
from voice import SPACING

ANSWER, EVENT, MUSIC = "/webhooks/answer", "/webhooks/event", "https://music.invalid/a.mp3"
BATCH, BURST, LINES, ENDED = 50, 500, 8, 200_000
GRANIAN = "-m granian --interface wsgi --factory app:create_app --workers 1 --blocking-threads 1"
UVICORN = "-m uvicorn --loop uvloop --http httptools --no-access-log sample:app --app-dir"
FASTAPI = """  # like Vonage's sample of a conference: it takes whatever comes, and gives an NCCO
import fastapi, vonage_voice.models as ncco
app = fastapi.FastAPI()
@app.post("/webhooks/answer")
async def answer():
    actions = ncco.Talk(text="Please wait"), ncco.Conversation(name="Relaxing Conference")
    return [action.model_dump(by_alias=True, exclude_none=True) for action in actions]
"""
Measure = Callable[[], float]  # does one round, and gives its seconds


def row(what: str, ours: Measure, theirs: Measure, bound: float, aim: float, n: int = 40) -> None:
    """Let the two take turns, each after a clean-up; the median of the rounds' ratios counts."""
    sides, sign = (ours, theirs), 1 if aim < bound else -1  # -1: answers a second
    costs = [[side() for side in sides if gc.collect() >= 0] for _ in range(n + 1)]
    ratio = statistics.median((a / b) ** sign for a, b in costs[1:])
    limit = f"at {'most' if sign > 0 else 'least'} {bound}, aim {aim}"
    print(f"{what:48}{ratio:6.2f}   {limit}", "yes" if ratio * sign <= bound * sign else "NO")


def seconds(do: Callable[[], object], clock: Measure = time.perf_counter) -> float:
    began = clock()
    do()
    return clock() - began


def webhook(account: Account, method: str = "POST") -> dict[str, Any]:
    """A call's answer webhook as a tunnel hands it on."""
    leg, host = str(uuid.uuid4()), "example.ngrok.app"
    given = {"to": "442079460000", "from": "447700900123", "uuid": leg, "endpoint_type": "phone"}
    given |= {"conversation_uuid": f"CON-{leg}", "region_url": "https://api-us-3.vonage.com"}
    body = json.dumps(given, separators=(",", ":")).encode() if method == "POST" else b""
    headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
    headers |= {"Authorization": account.sign(body), "Content-Length": str(len(body))}
    more = {"data": body} if body else {"query_string": given}
    return {"method": method, "headers": headers, **more}


def called(app: Any, environ: Any) -> bytes:
    """What a WSGI application answers, which must be a 200."""
    statuses: list[str] = []
    body = b"".join(app(dict(environ), lambda status, *_: statuses.append(status)))
    assert statuses == ["200 OK"], (statuses, body)
    return body


def answering(folder: str, mode: str, method: str, ended: int = 0) -> Any:
    """Answer a batch of calls; the same by a bare Flask view; look who is on the line."""
    path, bare, account = f"{folder}/{uuid.uuid4()}.sqlite3", Flask("bare"), Account()
    settings = {"CALLS_URL": f"sqlite:///{path}", "ANSWER_WITH": mode}
    settings["VONAGE_SIGNATURE_SECRET"] = account.signature_secret
    app, calls = create_app(Config.from_text(settings)), open_calls(settings["CALLS_URL"], None)
    ncco = json.loads(called(app, create_environ(ANSWER, **webhook(account, method))))
    bare.add_url_rule(ANSWER, "answer", lambda: jsonify(ncco), methods=[method])
    with sqlite3.connect(path) as db:
        db.executemany(END, ((uuid.uuid4().hex, time.time()) for _ in range(ended)))

    def answer(app: Flask) -> float:
        environs = [create_environ(ANSWER, **webhook(account, method)) for _ in range(BATCH)]
        took = seconds(lambda: [called(app, environ) for environ in environs])
        for leg in calls.live()[1:]:
            calls.end(leg.uuid)
        return took

    live = partial(seconds, lambda: [calls.live() for _ in range(BATCH)])
    return partial(answer, app), partial(answer, bare), live


def stream(env: dict[str, str], leg: str) -> None:
    """The row of playing music into a call."""
    os.environ["REQUESTS_CA_BUNDLE"] = env["REQUESTS_CA_BUNDLE"]
    settings = {name: env.get(name, "") for name in Config.model_fields}
    settings |= {"STREAM_PASSWORD": "x", "VOICE_STREAM_URL": MUSIC}
    app = create_app(Config.from_text(settings))
    app.extensions["server"].calls.join(Leg(leg, "", None, None, None, time.time()))
    environ = create_environ("/stream", headers={"Authorization": "Basic Ong="})  # :x
    auth = Auth(application_id=env["VONAGE_APPLICATION_ID"], private_key=env["VONAGE_PRIVATE_KEY"])
    sdk = Vonage(auth, HttpClientOptions(api_host=env["VONAGE_API_HOST"])).voice
    play = partial(sdk.play_audio_into_call, leg, AudioStreamOptions(stream_url=[MUSIC]))

    def cpu(do: Callable[[], object]) -> float:
        time.sleep(SPACING)  # what comes faster than Vonage allows would be held back
        return seconds(do, time.process_time)

    ours, theirs = partial(cpu, partial(called, app, environ)), partial(cpu, play)
    row("/stream into one leg, CPU: the SDK", ours, theirs, 0.15, 0.10, 25)


def burst(server: Sandbox) -> float:
    """Have calls answered on a few lines, each of which asks again once it has its answer."""
    wires = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(LINES)]
    asked = []
    for one in (webhook(server.account) for _ in range(BURST)):
        fields = "".join(f"{name}: {value}\r\n" for name, value in one["headers"].items())
        asked.append(f"POST {ANSWER} HTTP/1.1\r\n{fields}\r\n".encode() + one["data"])
    began = time.perf_counter()
    for number in range(BURST + LINES):
        wire, answer = wires[number % LINES], b""
        while number >= LINES and not answer.endswith(b"]"):  # an NCCO's end
            answer += wire.recv(65536)
        assert number < LINES or b" 200 OK\r\n" in answer
        wire.sendall(b"".join(asked[number : number + 1]))
    took, calls = time.perf_counter() - began, open_calls(server.environment["CALLS_URL"], None)
    for leg in calls.live():
        calls.end(leg.uuid)
    return took


def table(folder: str) -> None:
    logging.basicConfig(filename=f"{folder}/app.log", format="[%(asctime)s] %(message)s")
    for mode, method in product(["conversation", "stream"], ["GET", "POST"]):
        answer, bare, live = answering(folder, mode, method)
        row(f"answer, {mode}, {method}: bare Flask view", answer, bare, 5.0, 4.0)
    answer_late, _, live_late = answering(folder, mode, method, ENDED)
    row(f"answer, {ENDED:,} ended: none", answer_late, answer, 1.2, 1.1)
    row(f"live(), {ENDED:,} ended: none", live_late, live, 1.2, 1.1)
    ours, theirs = multiprocessing.Pipe()
    vonage = multiprocessing.get_context("spawn").Process(target=stand_in, args=[theirs])
    vonage.start()
    stream(*ours.recv())
    ours.send("the end")
    if not all(map(find_spec, ["fastapi", "uvloop", "httptools"])):
        sys.exit("No row beside FastAPI: it needs pip install fastapi uvicorn[standard]")
    Path(folder, "sample.py").write_text(FASTAPI)
    servers = []
    for port, start in ((free_port(), f"{UVICORN} {folder}"), (free_port(), GRANIAN)):
        command = [sys.executable, *start.split(), f"--port={port}"]
        servers.append(Sandbox(port=port, command=command))
    with servers[0] as sample, servers[1] as app:
        a, b = partial(burst, app), partial(burst, sample)
        row("answers a second of granian: FastAPI", a, b, 0.4, 0.6, 7)


def load(rate: int = 20, lasts: int = 60) -> None:
    """Let calls come, be answered and end on `python app.py`; print what became of them."""
    with Sandbox() as sandbox, ThreadPoolExecutor(16) as callers:
        begin, steps = time.monotonic() + 1, []
        for due in (begin + number / rate for number in range(rate * lasts)):
            leg = str(uuid.uuid4())
            for after, status in enumerate(["", "answered", "completed"]):
                steps.append((due + after, EVENT if status else ANSWER, leg, status))

        def send(step: tuple[float, str, str, str]) -> tuple[float, int]:
            due, path, leg, status = step
            time.sleep(max(0, due - time.monotonic()))
            answer: Any = sandbox.send("POST", path, {"uuid": leg, "status": status})
            return time.monotonic() - due, answer.status_code

        waits, answers = zip(*callers.map(send, sorted(steps)), strict=True)
        left = len(open_calls(sandbox.environment["CALLS_URL"], None).live())
    print(f"answers by status: {dict(Counter(answers))}; left on the line: {left}")
    late, last = statistics.quantiles(waits, n=100)[-1], max(waits)
    print(f"99 % within {late:.3f} s, at most 0.050; the last after {last:.3f} s")


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(Config.model_fields, ""))  # whoever runs this may have a .env
    with tempfile.TemporaryDirectory() as temporary:
        load() if sys.argv[1:] == ["load"] else table(temporary)
