"""The Voice API, as far as the app uses it. [Voice API; OpenAPI file of April 2021]"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, abort, g, jsonify, request
from werkzeug.exceptions import HTTPException

from sandbox.account import Account
from sandbox.call import Call
from sandbox.ncco import RefusedError, check_stream, read_json

REGIONS = ["api.nexmo.com"]  # where calls are controlled [Troubleshooting, Regions]
REGIONS += [f"api-{name}.vonage.com" for name in ("us-3", "us-4", "eu-3", "eu-4", "ap-3", "ap-4")]
REGIONS += [f"api-{name}.nexmo.com" for name in ("us-1", "us-2", "eu-1", "eu-2", "sg-1")]
RATE = 15  # requests a second; above it, 429 [Troubleshooting, Capacity]


@dataclass
class Asked:
    """A request to the Voice API: when it came (time.monotonic()), what, and its status."""

    at: float
    method: str
    host: str
    path: str
    body: Any  # None where it is not JSON
    authorization: str
    status: int | None = None  # as long as it is not answered


def create_voice_api(account: Account, calls: dict[str, Call], asked: list[Asked]) -> Flask:
    """The API for the calls of an account; it adds each request to `asked`."""
    api = Flask(__name__, static_folder=None)
    api.url_map.merge_slashes = False
    api.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    taken: deque[float] = deque(maxlen=RATE)
    lock = threading.Lock()

    @api.before_request
    def check() -> None:
        at, host = time.monotonic(), request.host.partition(":")[0]
        body = request.get_json(force=True, silent=True)
        token = request.headers.get("Authorization", "")
        g.asked = Asked(at, request.method, host, request.path, body, token)
        asked.append(g.asked)
        with lock:
            if len(taken) == RATE and at - taken[0] < 1:
                abort(429, f"more than {RATE} requests a second")
            taken.append(at)
        if reason := account.refuses(token):
            abort(401, reason)
        if request.method == "HEAD":  # which Flask would answer as GET
            abort(405)

    @api.get("/v1/calls/<uuid>")
    @api.route("/v1/calls/<uuid>/stream", methods=["PUT", "DELETE"])
    def control(uuid: str) -> Response:
        if request.method == "PUT":
            if request.mimetype != "application/json":
                abort(415, "the content type must be application/json")
            body = check_stream(read_json(request.get_data()))
        call = calls.get(uuid)
        if call is None or (g.asked.host in REGIONS and g.asked.host != call.region):
            abort(404, "no such call in this region")
        if request.method == "GET":
            return jsonify(call.describe())
        if call.over.is_set() or not call.answered:
            abort(404, "the call is over, or not answered yet")
        if request.method == "DELETE":
            call.stop_stream()
            return jsonify(message="Stream stopped", uuid=uuid)
        call.start_stream(body["stream_url"][0], body.get("loop", 1), body.get("level", 0))
        return jsonify(message="Stream started", uuid=uuid)

    @api.errorhandler(RefusedError)
    @api.errorhandler(HTTPException)
    def refuse(error: RefusedError | HTTPException) -> tuple[Response, int]:
        if isinstance(error, RefusedError):
            wrong = {"name": error.args[0], "reason": error.args[1]}
            return jsonify(type=400, title="Bad Request", invalid_parameters=[wrong]), 400
        code = error.code or 500
        return jsonify(type=code, title=error.name, detail=error.description), code

    @api.after_request
    def note(response: Response) -> Response:
        g.asked.status = response.status_code
        return response

    return api
