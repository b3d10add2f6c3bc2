"""`python -m tests.bench` measures CPU time; `python -m tests.bench load` a steady load.

Two things that are compared take turns, and the median of their ratios counts, so that other work
on this machine slows down both.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, jsonify
from vonage import Auth, HttpClientOptions, Vonage
from vonage_voice.models import AudioStreamOptions
from werkzeug.test import create_environ

from app import create_app
from calls import open_calls
from config import Config
from sandbox import Account
from tests.bench.load import load
from tests.bench.vonage import serve_voice_api

ANSWER = "/webhooks/answer"
MUSIC = "https://music.example.com/a.mp3"
PASSWORD = "Basic Ong="  # ":x" in Base64
BATCH = 50  # answers or readings in a round, and so legs on the line: a full conference
ROUNDS = 40
ENDED = 200_000  # calls in a store that is no longer new
SPACING = 1 / 13  # seconds between two plays: what comes faster would be held back, or refused
COLUMNS = "{:28}{:13}{:>8}{:>6}{:>7}{:>11}{:>11}"
HEADINGS = ("what", "against", "at most", "aim", "ratio", "costs", "against")

Environ = dict[str, Any]
Measure = Callable[[], float]  # does the work of one round, and returns CPU seconds


def table(folder: str) -> None:
    """Print a row for each promise."""
    logging.basicConfig(filename=f"{folder}/app.log", format="[%(asctime)s] %(message)s")
    print(COLUMNS.format(*HEADINGS))
    with serve_voice_api(folder) as environment:
        os.environ["REQUESTS_CA_BUNDLE"] = environment["REQUESTS_CA_BUNDLE"]
        row("/stream into one leg", "the SDK", *play(folder, environment), (0.15, 0.10))
    for mode in ("conversation", "stream"):
        for method in ("GET", "POST"):
            answering = Answering(folder, mode, method)
            what = f"answer, {mode}, {method}"
            row(what, "a bare view", answering.answer, answering.bare, (7.5, 5.5))
    new = Answering(folder, "conversation", "POST")
    old = Answering(folder, "conversation", "POST")
    old.add_ended(ENDED)
    row(f"answer, {ENDED:,} ended", "none", old.answer, new.answer, (1.2, 1.1))
    row(f"live(), {ENDED:,} ended", "none", old.live, new.live, (1.2, 1.1))


def row(
    what: str, against: str, ours: Measure, theirs: Measure, bounds: tuple[float, float]
) -> None:
    """Let the two take turns, and print the median of their ratios and of their costs.

    The bounds are the highest ratio allowed, and the one aimed at.
    """
    ours()  # the first round makes what is made once
    theirs()
    costs = [(ours(), theirs()) for _ in range(ROUNDS)]
    ratio = statistics.median(our / their for our, their in costs)
    medians = [f"{statistics.median(each) * 1000:.3f} ms" for each in zip(*costs, strict=True)]
    ratios = [f"{it:.2f}" for it in (*bounds, ratio)]
    line = COLUMNS.format(what, against, *ratios, *medians)
    print(line, "yes" if ratio <= bounds[0] else "NO", flush=True)


def cpu_of(work: Callable[[], object]) -> float:
    """Return the CPU seconds that this process takes, with all its threads."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def respond(app: Any, environ: Environ) -> bytes:
    """Return the body of a WSGI application's answer, which must be a 200."""
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> None:
        statuses.append(status)

    body = b"".join(app(environ, start_response))
    assert statuses == ["200 OK"], (statuses, body)
    return body


def config(**values: str) -> Config:
    """Return settings with these values, whatever the environment says."""
    return Config.from_text({**dict.fromkeys(Config.model_fields, ""), **values})


def answer_webhook(account: Account, method: str) -> Environ:
    """Return a signed answer webhook, as a WSGI application receives it through a tunnel."""
    leg = str(uuid.uuid4())
    parameters = {
        "to": "442079460000",
        "from": "447700900123",
        "uuid": leg,
        "conversation_uuid": f"CON-{leg}",
        "endpoint_type": "phone",
        "region_url": "https://api-us-3.vonage.com",
    }
    host = "example.ngrok.app"
    headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
    if method == "GET":
        headers["Authorization"] = account.sign()
        return create_environ(ANSWER, headers=headers, query_string=parameters)
    body = json.dumps(parameters, separators=(",", ":")).encode()
    headers["Authorization"] = account.sign(body)
    headers["Content-Type"] = "application/json"
    return create_environ(ANSWER, method="POST", headers=headers, data=body)


class Answering:
    """An app with an empty list of calls, and a bare Flask view that returns the same NCCO."""

    def __init__(self, folder: str, mode: str, method: str) -> None:
        self._account = Account()
        self._method = method
        url = f"sqlite:///{folder}/{uuid.uuid4()}.sqlite3"
        secret = self._account.signature_secret
        settings = config(ANSWER_WITH=mode, CALLS_URL=url, VONAGE_SIGNATURE_SECRET=secret)
        self._app = create_app(settings)
        self._calls = open_calls(url, None)
        ncco = json.loads(respond(self._app, answer_webhook(self._account, method)))

        def view() -> Response:
            return jsonify(ncco)

        self._bare = Flask("bare")
        self._bare.add_url_rule(ANSWER, view_func=view, methods=[method])

    def add_ended(self, count: int) -> None:
        """Add calls that have ended."""
        for _ in range(count):
            self._calls.end(str(uuid.uuid4()))

    def answer(self) -> float:
        """Return the app's CPU seconds for an answer, from the first caller to the 50th."""
        for leg in self._calls.live():
            self._calls.end(leg.uuid)
        return self._per_answer(self._app)

    def bare(self) -> float:
        """Return the bare view's CPU seconds for an answer."""
        return self._per_answer(self._bare)

    def live(self) -> float:
        """Return the CPU seconds for reading the list of calls, which answer() has filled."""
        return cpu_of(self._read) / BATCH

    def _read(self) -> None:
        for _ in range(BATCH):
            assert len(self._calls.live()) == BATCH

    def _per_answer(self, app: Flask) -> float:
        environs = [answer_webhook(self._account, self._method) for _ in range(BATCH)]

        def answer_all() -> None:
            for environ in environs:
                respond(app, environ)

        return cpu_of(answer_all) / BATCH


def play(folder: str, environment: dict[str, str]) -> tuple[Measure, Measure]:
    """Return two measures of a play: by the app, and by the SDK as in its README."""
    application = environment["VONAGE_APPLICATION_ID"]
    key = environment["VONAGE_PRIVATE_KEY"]
    host = environment["VONAGE_API_HOST"]
    app = create_app(
        config(
            VONAGE_APPLICATION_ID=application,
            VONAGE_PRIVATE_KEY=key,
            VONAGE_API_HOST=host,
            VOICE_STREAM_URL=MUSIC,
            STREAM_PASSWORD="x",
            CALLS_URL=f"sqlite:///{folder}/play.sqlite3",
        )
    )
    respond(app, answer_webhook(Account(), "GET"))
    auth = Auth(application_id=application, private_key=key)
    sdk = Vonage(auth, HttpClientOptions(api_host=host))
    leg = str(uuid.uuid4())

    def by_app() -> None:
        respond(app, create_environ("/stream", headers={"Authorization": PASSWORD}))

    def by_sdk() -> None:
        sdk.voice.play_audio_into_call(leg, AudioStreamOptions(stream_url=[MUSIC]))

    return partial(paced, by_app), partial(paced, by_sdk)


def paced(work: Callable[[], object]) -> float:
    time.sleep(SPACING)
    return cpu_of(work)


if __name__ == "__main__":
    # An empty setting is unset, and wins over a .env beside the app.
    os.environ.update(dict.fromkeys(Config.model_fields, ""))
    if sys.argv[1:] == ["load"]:
        load()
    else:
        with tempfile.TemporaryDirectory() as temporary:
            table(temporary)
