"""What the Voice API does, as far as the app uses it. [Voice API; OpenAPI file of April 2021]"""

import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)

from sandbox.account import Account
from sandbox.call import Call
from sandbox.ncco import RefusedError, check_stream, is_json, read_json

REGIONS = [  # where calls are controlled [Troubleshooting, Regions]
    "api.nexmo.com",
    "api-us-3.vonage.com",
    "api-us-4.vonage.com",
    "api-eu-3.vonage.com",
    "api-eu-4.vonage.com",
    "api-ap-3.vonage.com",
    "api-ap-4.vonage.com",
    "api-us-1.nexmo.com",
    "api-us-2.nexmo.com",
    "api-eu-1.nexmo.com",
    "api-eu-2.nexmo.com",
    "api-sg-1.nexmo.com",
]
RATE = 15  # requests a second; above it, 429 [Troubleshooting, Capacity]
PATH = re.compile("/v1/calls/([0-9A-Za-z-]+)(/stream)?")  # of a call, or of the audio in it


@dataclass
class Asked:
    """A request to the Voice API: when it came (time.monotonic()), what, and its status."""

    at: float
    method: str
    host: str
    path: str
    body: Any  # None where it is not JSON
    authorization: str
    content_type: str = ""
    data: bytes = b""
    status: int | None = None  # as long as it is not answered


class VoiceApi:
    """The API for the calls of an account. `taken` is when requests came in the last second."""

    def __init__(self, account: Account, calls: dict[str, Call]) -> None:
        self.taken: deque[float] = deque()  # time.monotonic()
        self._account = account
        self._calls = calls
        self._lock = threading.Lock()

    def check(self, asked: Asked) -> None:
        """Refuse what comes too often, or with a wrong token; raises HTTPException."""
        with self._lock:
            while self.taken and asked.at - self.taken[0] >= 1:
                self.taken.popleft()
            if len(self.taken) >= RATE:
                raise TooManyRequests(f"more than {RATE} requests a second")
            self.taken.append(asked.at)
        try:
            self._account.check(asked.authorization)
        except ValueError as error:
            raise Unauthorized(str(error)) from error

    def control(self, asked: Asked) -> dict[str, Any]:
        """Do what a request asks for, and give the answer's JSON; raises as `refusal` takes it."""
        match = PATH.fullmatch(asked.path)
        if match is None:
            raise NotFound("no such path")
        uuid, stream = match.groups()
        if not stream:
            _check_method(asked, ["GET"])
            return self._find(uuid, asked).describe()
        _check_method(asked, ["PUT", "DELETE"])
        if asked.method == "DELETE":
            self._find_answered(uuid, asked).stop_stream()
            return {"message": "Stream stopped", "uuid": uuid}
        if not is_json(asked.content_type):
            raise UnsupportedMediaType("the content type must be application/json")
        body = check_stream(read_json(asked.data))
        call = self._find_answered(uuid, asked)
        call.start_stream(body["stream_url"][0], body.get("loop", 1), body.get("level", 0))
        return {"message": "Stream started", "uuid": uuid}

    def _find(self, uuid: str, asked: Asked) -> Call:
        call = self._calls.get(uuid)
        if call is None:
            raise NotFound("no such call")
        if asked.host in REGIONS and asked.host != call.region:
            raise NotFound("no such call in this region")
        return call

    def _find_answered(self, uuid: str, asked: Asked) -> Call:
        call = self._find(uuid, asked)
        if call.over.is_set() or not call.answered:
            raise NotFound("the call is over, or not answered yet")
        return call


def _check_method(asked: Asked, allowed: list[str]) -> None:
    if asked.method not in allowed:
        raise MethodNotAllowed(allowed)


def refusal(error: RefusedError | HTTPException) -> tuple[int, dict[str, Any]]:
    """The status and the JSON that a client gets for what is refused."""
    if isinstance(error, RefusedError):
        name, reason = error.args
        wrong = {"name": name, "reason": reason}
        return 400, {"type": 400, "title": "Bad Request", "invalid_parameters": [wrong]}
    code = error.code or 500
    return code, {"type": code, "title": error.name, "detail": error.description}


def describe_request(
    method: str, host: str, path: str, authorization: str, content_type: str, data: bytes
) -> Asked:
    """A request as it came; `host` may have a port, and `path` a query."""
    try:
        body = read_json(data)
    except RefusedError:
        body = None
    return Asked(
        at=time.monotonic(),
        method=method,
        host=host.partition(":")[0].lower(),
        path=path.partition("?")[0],
        body=body,
        authorization=authorization,
        content_type=content_type,
        data=data,
    )
