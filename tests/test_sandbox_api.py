"""The sandbox's Voice API refuses what Vonage's does; test_sandbox.py has what no source says."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox import REGIONS, Account
from sandbox.voice_api import create_voice_api
from tests.sources import ISSUES, NO_SOURCE, NODE, OPENAPI, REFERENCE, SDK, TOKENS, rules
from tests.stub import StubbedSandbox

MUSIC = ["https://example.com/a.mp3"]
BODY: dict[str, Any] = {"stream_url": MUSIC}


def ask(
    sandbox: StubbedSandbox,
    path: str,
    body: Any = None,
    *,
    method: str = "PUT",
    token: str | None = None,
    kind: str | None = "application/json",
    host: str = "localhost",
) -> Any:
    """Ask a Voice API of its own, far from the rate limit; all is valid unless it is given."""
    api = create_voice_api(sandbox.account, sandbox.calls, sandbox.asked).test_client()
    headers = {"Authorization": token or bearer(sandbox.account)}
    return api.open(
        f"https://{host}/v1/calls/{path}",
        method=method,
        data=body if isinstance(body, bytes) or body is None else json.dumps(body),
        headers=headers,
        content_type=kind,
    )


def bearer(account: Account, key: str | None = None, **claims: Any) -> str:
    """The token of a request, in which claims may be replaced, or left out with None."""
    known = {"application_id": account.application_id, "iat": int(time.time()), "jti": "x"}
    signed = {name: value for name, value in {**known, **claims}.items() if value is not None}
    key = key or account.private_key
    return "Bearer " + jwt.encode(signed, _parsed(key), algorithm="RS256")


@lru_cache
def _parsed(key: str) -> Any:
    return load_pem_private_key(key.encode(), None)  # which takes a while


@rules(
    ("no JSON", b"stream_url", ISSUES),
    ("a part of a JSON text", b'{"stream_url": [', ISSUES),
    ("no body", b"", OPENAPI),
    ("NaN", b'{"stream_url": ["https://example.com/a"], "level": NaN}', OPENAPI),
    ("not UTF-8", b'{"stream_url": ["https://example.com/\xe9"]}', OPENAPI),
    ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(BODY).encode(), OPENAPI),
    ("an array", [BODY], OPENAPI),
    ("null", b"null", OPENAPI),
    ("no stream_url", {}, OPENAPI),
    ("stream_url is text", {"stream_url": MUSIC[0]}, OPENAPI),
    ("stream_url is null", {"stream_url": None}, OPENAPI),
    ("a URL that is null", {"stream_url": [None]}, OPENAPI),
    ("no URL", {"stream_url": []}, REFERENCE),
    ("two URLs", {"stream_url": MUSIC * 2}, REFERENCE),
    ("a path", {"stream_url": ["a.mp3"]}, REFERENCE),
    ("loop below 0", {**BODY, "loop": -1}, SDK),
    ("loop of a half", {**BODY, "loop": 0.5}, OPENAPI),
    ("loop is text", {**BODY, "loop": "1"}, OPENAPI),
    ("loop is true", {**BODY, "loop": True}, OPENAPI),
    ("level above 1", {**BODY, "level": 2}, OPENAPI),
    ("level above 1, as text", {**BODY, "level": "1.1"}, OPENAPI),
    ("level between steps", {**BODY, "level": 0.45}, OPENAPI),
    ("level between steps, as text", {**BODY, "level": "0.45"}, OPENAPI),
    ("level is a word", {**BODY, "level": "loud"}, OPENAPI),
    ("level is empty", {**BODY, "level": ""}, OPENAPI),
    ("level is true", {**BODY, "level": True}, OPENAPI),
    ("level is an array", {**BODY, "level": [0]}, OPENAPI),
)
def test_a_body_gets_400_and_the_names_of_what_is_wrong(
    sandbox: StubbedSandbox, example: Any
) -> None:
    call = sandbox.dial()
    response = ask(sandbox, f"{call.uuid}/stream", example)
    assert response.status_code == 400
    problem = response.json
    assert (problem["type"], problem["title"]) == (400, "Bad Request")
    assert [set(wrong) for wrong in problem["invalid_parameters"]] == [{"name", "reason"}]
    assert call.playing is None


@rules(
    ("nothing but the URL", BODY, OPENAPI),
    ("level as text", {**BODY, "level": "0.4"}, NODE),
    ("level as a number", {**BODY, "level": 0.4}, SDK),
    ("loop forever", {**BODY, "loop": 0}, OPENAPI),
    ("loop without end", {**BODY, "loop": 10**400}, OPENAPI),
    ("null", {**BODY, "loop": None, "level": None}, NO_SOURCE),
    ("an unknown field", {**BODY, "volume": 11}, OPENAPI),
)
def test_a_stream_is_started(sandbox: StubbedSandbox, example: Any) -> None:
    call = sandbox.dial()
    response = ask(sandbox, f"{call.uuid}/stream", example)
    assert response.json == {"message": "Stream started", "uuid": call.uuid}
    assert call.playing == MUSIC[0]
    response = ask(sandbox, f"{call.uuid}/stream", method="DELETE")
    assert response.json == {"message": "Stream stopped", "uuid": call.uuid}
    assert call.playing is None


@rules(
    ("text", {"kind": "text/plain"}, ISSUES),
    ("a form", {"kind": "application/x-www-form-urlencoded"}, ISSUES),
    ("other JSON", {"kind": "application/hal+json"}, OPENAPI),
    ("none", {"kind": None}, OPENAPI),
)
def test_another_content_type_gets_415(sandbox: StubbedSandbox, example: Any) -> None:
    assert ask(sandbox, f"{sandbox.dial().uuid}/stream", BODY, **example).status_code == 415


@rules(
    *(
        (f"{method} {path}", (method, path), OPENAPI)
        for path, methods in (("/stream", ["GET", "POST", "HEAD"]), ("", ["POST", "HEAD"]))
        for method in (*methods, "PATCH", "OPTIONS")
    )
)
def test_another_method_gets_405(sandbox: StubbedSandbox, example: tuple[str, str]) -> None:
    method, path = example
    assert ask(sandbox, sandbox.dial().uuid + path, BODY, method=method).status_code == 405


@rules(
    ("no token at all", lambda account: "Bearer ", OPENAPI),
    ("no JWT", lambda account: "Bearer x", OPENAPI),
    ("no Bearer", lambda account: bearer(account).removeprefix("Bearer "), OPENAPI),
    ("another key", lambda account: bearer(account, Account().private_key), OPENAPI),
    ("HS256", lambda account: account.sign(), TOKENS),
    ("another application", lambda account: bearer(account, application_id="x"), TOKENS),
    ("no application", lambda account: bearer(account, application_id=None), TOKENS),
    ("no iat", lambda account: bearer(account, iat=None), TOKENS),
    ("no jti", lambda account: bearer(account, jti=None), "documents list it; no refusal shown"),
    ("exp is past", lambda account: bearer(account, exp=1), TOKENS),
    ("15 minutes without exp", lambda account: bearer(account, iat=time.time() - 901), TOKENS),
    (
        "24 hours with exp",
        lambda account: bearer(account, iat=time.time() - 86401, exp=time.time() + 60),
        TOKENS,
    ),
)
def test_a_token_gets_401(sandbox: StubbedSandbox, example: Callable[[Account], str]) -> None:
    token = example(sandbox.account)
    response = ask(sandbox, f"{sandbox.dial().uuid}/stream", BODY, token=token)
    assert response.status_code == 401
    assert set(response.json) == {"type", "title", "detail"}


@rules(
    ("14 minutes without exp", {"iat": -890}, TOKENS),
    ("23 hours with exp", {"iat": -86000, "exp": 60}, TOKENS),
)
def test_a_token_is_taken(sandbox: StubbedSandbox, example: dict[str, int]) -> None:
    claims = {name: time.time() + seconds for name, seconds in example.items()}
    token = bearer(sandbox.account, None, **claims)
    assert ask(sandbox, sandbox.dial().uuid, method="GET", token=token).status_code == 200


def test_a_leg_that_is_over_or_not_answered_yet_or_unknown_gets_404(
    sandbox: StubbedSandbox,
) -> None:
    over, ringing = sandbox.dial(), sandbox.dial(pick_up=False)
    over.hang_up()
    for leg in (over.uuid, ringing.uuid, "63f61863-4a51-4f6b-86e1-46edebcf9356", "x"):
        assert ask(sandbox, f"{leg}/stream", BODY).status_code == 404
        assert ask(sandbox, f"{leg}/stream", method="DELETE").status_code == 404
    for path in (f"{ringing.uuid}/stream/", f"{ringing.uuid}//stream", f"{ringing.uuid}/talk"):
        assert ask(sandbox, path, BODY).status_code == 404


def test_a_call_has_a_status_also_after_its_end(sandbox: StubbedSandbox) -> None:
    call = sandbox.dial(pick_up=False)
    assert ask(sandbox, call.uuid, method="GET").json["status"] == "ringing"
    call.pick_up()
    known = ask(sandbox, call.uuid, method="GET").json
    assert known["status"] == "answered"
    assert known["from"] == {"type": "phone", "number": call.parameters["from"]}
    call.hang_up()
    known = ask(sandbox, call.uuid, method="GET").json
    assert (known["status"], known["uuid"]) == ("completed", call.uuid)
    assert ask(sandbox, "63f61863-4a51-4f6b-86e1-46edebcf9356", method="GET").status_code == 404


def test_a_call_lives_in_one_region(sandbox: StubbedSandbox) -> None:
    call = sandbox.dial(region=REGIONS[1])
    statuses = [ask(sandbox, call.uuid, method="GET", host=host).status_code for host in REGIONS]
    assert statuses == [404, 200, *[404] * 10]
    assert [asked.host for asked in sandbox.asked] == REGIONS


def test_the_sixteenth_request_in_a_second_gets_429(sandbox: StubbedSandbox) -> None:
    """However it would have been answered. [Troubleshooting, Capacity]"""
    api = create_voice_api(sandbox.account, sandbox.calls, sandbox.asked).test_client()
    statuses = [api.put("/v1/calls/x/stream").status_code for _ in range(17)]
    assert statuses == [401] * 15 + [429] * 2
    assert [asked.status for asked in sandbox.asked] == statuses


def test_what_is_refused_first(sandbox: StubbedSandbox) -> None:
    assert ask(sandbox, "x/y", token="Bearer x").status_code == 401
    assert ask(sandbox, "x/y", b"{", kind=None).status_code == 404
    assert ask(sandbox, "x/stream", b"{", kind=None, method="POST").status_code == 405
    assert ask(sandbox, "x/stream", b"{", kind=None).status_code == 415
    assert ask(sandbox, "x/stream", b"{").status_code == 400
    assert ask(sandbox, "x/stream", BODY).status_code == 404


def test_fifty_clients_at_once_and_a_silent_one(sandbox: StubbedSandbox) -> None:
    url = f"https://localhost:{sandbox.api_port}/v1/calls/x"
    verify = sandbox.environment["REQUESTS_CA_BUNDLE"]
    with (
        socket.create_connection(("127.0.0.1", sandbox.api_port)),
        ThreadPoolExecutor(50) as clients,
    ):
        answers = clients.map(lambda _: requests.get(url, verify=verify, timeout=10), range(50))
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses[:15] == [401] * 15
    assert len(sandbox.asked) == 50
