"""The sandbox's Voice API; test_rules.py lists what no source documents."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse, HTTPSConnection
from typing import Any

import jwt
import pytest
import requests
from vonage import Auth, HttpClientOptions, Vonage

from sandbox import REGIONS, Account, Call
from tests.helpers.sandboxes import read_private_key
from tests.helpers.sources import ISSUES, NO_SOURCE, NODE, OPENAPI, REFERENCE, SDK, TOKENS, rules
from tests.helpers.stub import StubbedSandbox

MUSIC = ["https://192.0.2.1/a.mp3"]  # an address that no name server is asked for
BODY: dict[str, Any] = {"stream_url": MUSIC}
PLAYS = json.dumps(BODY).encode()


def bearer(account: Account, **claims: Any) -> str:
    """Return the Authorization of a request; `claims` replace some, or leave one out (None)."""
    known = {"application_id": account.application_id, "iat": int(time.time()), "jti": "x"}
    signed = {name: value for name, value in {**known, **claims}.items() if value is not None}
    return "Bearer " + jwt.encode(signed, read_private_key(account.private_key), algorithm="RS256")


def ask(
    sandbox: StubbedSandbox,
    path: str,
    body: Any = b"",
    *,
    method: str = "PUT",
    token: str | None = None,
    kind: str | None = "application/json",
    host: str = "localhost",
) -> requests.Response:
    """Send a request to the Voice API, within its rate limit, and valid by default."""
    sandbox.voice_api.taken.clear()
    headers = {"Authorization": token or bearer(sandbox.account), "Host": host}
    if kind:
        headers["Content-Type"] = kind
    return requests.request(
        method,
        f"https://localhost:{sandbox.api_port}/v1/calls/{path}",
        data=body if isinstance(body, bytes) else json.dumps(body),
        headers=headers,
        timeout=20,
    )


@rules(
    ("no JSON", b"stream_url", ISSUES),
    ("NaN", PLAYS.replace(b"}", b', "volume": NaN}'), OPENAPI),
    ("nested deep", b"[" * 1100, OPENAPI),
    ("an array", [BODY], OPENAPI),
    ("two URLs", {"stream_url": MUSIC * 2}, REFERENCE),
    ("a path", {"stream_url": ["a.mp3"]}, REFERENCE),
    ("loop is text", {**BODY, "loop": "1"}, OPENAPI),
    ("loop is null", {**BODY, "loop": None}, OPENAPI),
    ("level is null", {**BODY, "level": None}, OPENAPI),
    ("level above 1, as text", {**BODY, "level": "1.1"}, OPENAPI),
    ("level of nearly 0", {**BODY, "level": 1e-9}, OPENAPI),
    ("level with an underscore", {**BODY, "level": "0_1"}, OPENAPI),
    ("level in other digits", {**BODY, "level": "\u0660"}, OPENAPI),
)
def test_a_body_gets_400_and_the_names_of_what_is_wrong(
    sandbox: StubbedSandbox, example: Any
) -> None:
    call = sandbox.dial()
    response = ask(sandbox, f"{call.uuid}/stream", example)
    assert response.status_code == 400
    problem = response.json()
    assert (problem["type"], problem["title"]) == (400, "Bad Request")
    assert [set(wrong) for wrong in problem["invalid_parameters"]] == [{"name", "reason"}]
    assert call.playing is None


@rules(
    ("level as text", {**BODY, "level": "0.4"}, NODE),
    ("level as a number", {**BODY, "level": 0.4}, SDK),
    ("loop forever", {**BODY, "loop": 0}, OPENAPI),
    ("loop without end", {**BODY, "loop": 10**400}, OPENAPI),
    ("an unknown field", {**BODY, "volume": 11}, OPENAPI),
    ("64 KiB", PLAYS.ljust(65536), NO_SOURCE),
)
def test_a_stream_is_started(sandbox: StubbedSandbox, example: Any) -> None:
    call = sandbox.dial()
    response = ask(sandbox, f"{call.uuid}/stream", example)
    assert response.json() == {"message": "Stream started", "uuid": call.uuid}
    assert call.playing == MUSIC[0]
    response = ask(sandbox, f"{call.uuid}/stream", method="DELETE")
    assert response.json() == {"message": "Stream stopped", "uuid": call.uuid}
    assert call.playing is None


@rules(
    ("text", (415, "PUT", "{}/stream", "text/plain"), ISSUES),
    ("other JSON", (415, "PUT", "{}/stream", "application/hal+json"), OPENAPI),
    ("no content type", (415, "PUT", "{}/stream", None), OPENAPI),
    ("GET /stream", (405, "GET", "{}/stream"), OPENAPI),
    ("HEAD", (405, "HEAD", "{}"), OPENAPI),
    ("DELETE /dtmf", (405, "DELETE", "{}/dtmf"), OPENAPI),
    ("getCalls", (501, "GET", ""), OPENAPI),
    ("createCall", (501, "POST", ""), OPENAPI),
    ("updateCall", (501, "PUT", "{}"), OPENAPI),
    ("startTalk", (501, "PUT", "{}/talk"), OPENAPI),
    ("stopTalk", (501, "DELETE", "{}/talk"), OPENAPI),
    ("startDTMF", (501, "PUT", "{}/dtmf"), OPENAPI),
    ("a slash at the end", (404, "PUT", "{}/stream/"), OPENAPI),
    ("another path", (404, "PUT", "{}/sing"), OPENAPI),
)
def test_a_request_for_something_else_is_refused(sandbox: StubbedSandbox, example: Any) -> None:
    status, method, path, *kind = example
    given = dict(zip(["kind"], kind, strict=False))
    response = ask(sandbox, path.format(sandbox.dial().uuid), BODY, method=method, **given)
    assert response.status_code == status
    assert ("not run here: " in response.text) == (status == 501)


def of(**claims: Any) -> Callable[[Account], str]:
    """Return what signs a token with these claims; an int is a time, in seconds from now."""

    def sign(account: Account) -> str:
        now = time.time()
        times = {name: now + value for name, value in claims.items() if isinstance(value, int)}
        return bearer(account, **{**claims, **times})

    return sign


@rules(
    ("no JWT", (401, lambda account: "Bearer x"), OPENAPI),
    ("no Bearer", (401, lambda account: bearer(account).replace("Bearer", "Basic")), OPENAPI),
    (
        "another key",
        (401, lambda account: bearer(Account(), application_id=account.application_id)),
        OPENAPI,
    ),
    ("HS256", (401, lambda account: account.sign()), TOKENS),
    ("an iat of 400 digits", (401, lambda account: bearer(account, iat=-(10**400))), TOKENS),
    ("another application", (401, of(application_id="x")), TOKENS),
    ("no iat", (401, of(iat=None)), TOKENS),
    ("an iat without end", (401, of(iat=float("inf"))), TOKENS),
    ("an iat that is text", (401, of(iat=str(int(time.time())))), TOKENS),
    ("no jti", (401, of(jti=None)), "documents list it; no refusal shown"),
    ("exp is past", (401, of(exp=-60)), TOKENS),
    ("15 minutes without exp", (401, of(iat=-901)), TOKENS),
    ("24 hours with exp", (401, of(iat=-86401, exp=60)), TOKENS),
    ("14 minutes without exp", (200, of(iat=-890)), TOKENS),
    ("23 hours with exp", (200, of(iat=-86000, exp=60)), TOKENS),
)
def test_a_token_is_taken_or_refused(
    sandbox: StubbedSandbox, example: tuple[int, Callable[[Account], str]]
) -> None:
    status, sign = example
    token = sign(sandbox.account)
    response = ask(sandbox, f"{sandbox.dial().uuid}/stream", BODY, token=token)
    assert response.status_code == status
    if status == 401:
        assert set(response.json()) == {"type", "title", "detail"}


def test_a_leg_that_is_over_or_not_answered_yet_or_unknown_gets_404(
    sandbox: StubbedSandbox,
) -> None:
    over, ringing = sandbox.dial(), sandbox.dial(pick_up=False)
    over.hang_up()
    for leg in (over.uuid, ringing.uuid, "63f61863-4a51-4f6b-86e1-46edebcf9356", "x"):
        assert ask(sandbox, f"{leg}/stream", BODY).status_code == 404
        assert ask(sandbox, f"{leg}/stream", method="DELETE").status_code == 404


def test_a_call_is_described_from_ringing_to_its_end(sandbox: StubbedSandbox) -> None:
    call, never = sandbox.dial(pick_up=False), sandbox.dial(pick_up=False)
    assert described(sandbox, call)["status"] == "ringing"
    call.pick_up()
    known = described(sandbox, call)
    assert known["status"] == "answered"
    assert not LASTS & set(known)
    for ended in (call, never):
        ended.hang_up()
    known = described(sandbox, call)
    assert (known["status"], known["uuid"], known["duration"]) == ("completed", call.uuid, "0")
    assert set(known) >= LASTS
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", known["start_time"])
    assert LASTS - set(described(sandbox, never)) == {"start_time"}
    assert ask(sandbox, "x", method="GET").status_code == 404


LASTS = {"duration", "price", "rate", "start_time", "end_time", "network"}


def described(sandbox: StubbedSandbox, call: Call) -> Any:
    return ask(sandbox, call.uuid, method="GET").json()


@rules(
    ("a phone", ({"from": "447700900007"}, {"type": "phone", "number": "447700900007"}), OPENAPI),
    ("words", ({"from": "anonymous"}, {"type": "phone", "number": "anonymous"}), NO_SOURCE),
    ("no number", ({"from": None}, None), NO_SOURCE),
    ("SIP", ({"from": "sip:a@example.com"}, {"type": "sip", "uri": "sip:a@example.com"}), OPENAPI),
)
def test_a_caller_is_described_as_what_it_is(sandbox: StubbedSandbox, example: Any) -> None:
    parameters, caller = example
    assert described(sandbox, sandbox.dial(parameters))["from"] == caller


def test_the_sdk_takes_a_call(sandbox: StubbedSandbox) -> None:
    account = sandbox.account
    auth = Auth(application_id=account.application_id, private_key=account.private_key)
    sdk = Vonage(auth, HttpClientOptions(api_host=f"localhost:{sandbox.api_port}")).voice
    call = sandbox.dial({"from": "sip:a@example.com"})
    assert sdk.get_call(call.uuid).status == "answered"
    call.hang_up()
    assert sdk.get_call(call.uuid).status == "completed"


def test_a_call_lives_in_one_region(sandbox: StubbedSandbox) -> None:
    call = sandbox.dial(region=REGIONS[1])
    statuses = [ask(sandbox, call.uuid, method="GET", host=host).status_code for host in REGIONS]
    assert statuses == [404, 200, *[404] * 10]
    assert [asked.host for asked in sandbox.asked] == REGIONS


def test_the_sixteenth_request_in_a_second_gets_429(sandbox: StubbedSandbox) -> None:
    """Requests that are refused count, too. [Troubleshooting, Capacity]"""
    sandbox.voice_api.taken.clear()
    with requests.Session() as client:
        client.trust_env = False  # which reads the machine's certificates for each request
        client.verify = sandbox.environment["REQUESTS_CA_BUNDLE"]
        url = f"https://localhost:{sandbox.api_port}/v1/calls/x/stream"
        statuses = [client.put(url, timeout=20).status_code for _ in range(17)]
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
    sandbox.voice_api.taken.clear()
    with (
        socket.create_connection(("127.0.0.1", sandbox.api_port)),
        ThreadPoolExecutor(50) as clients,
    ):
        answers = clients.map(lambda _: requests.get(url, verify=verify, timeout=20), range(50))
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses[:15] == [401] * 15
    assert len(statuses) == 50


# On the wire, with requests that no library sends


class Wire(HTTPSConnection):
    """A connection to the Voice API, on which any header may be wrong."""

    token: str

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> HTTPResponse:
        """Send a request, read the response; `headers` replace some, or leave one out (None)."""
        given: dict[str, str | None] = {
            "Authorization": self.token,
            "Content_Type": "application/json",
            "Content_Length": str(len(body)),
            **headers,
        }
        self.putrequest(method, path)
        for name, value in given.items():
            if value is not None:
                self.putheader(name.replace("_", "-"), value)
        self.endheaders(body)
        response = self.getresponse()
        self.text = response.read()
        return response


@pytest.fixture
def wire(sandbox: StubbedSandbox) -> Iterator[Wire]:
    """Yield a connection, within the rate limit."""
    sandbox.voice_api.taken.clear()
    trusting = ssl.create_default_context(cafile=sandbox.environment["REQUESTS_CA_BUNDLE"])
    wire = Wire("localhost", sandbox.api_port, timeout=20, context=trusting)
    wire.token = bearer(sandbox.account)
    yield wire
    wire.close()


@pytest.fixture
def path(sandbox: StubbedSandbox) -> str:
    """Return the path that plays audio into a call."""
    return f"/v1/calls/{sandbox.dial().uuid}/stream"


def test_a_connection_stays_open_whatever_is_answered(wire: Wire, path: str) -> None:
    answers = [
        wire.ask("PUT", path, b"{"),
        wire.ask("PUT", path, PLAYS, Authorization=None),
        wire.ask("HEAD", path),
        wire.ask("DELETE", path),
    ]
    assert [answer.status for answer in answers] == [400, 401, 405, 200]
    assert not any(answer.will_close for answer in answers)
    assert json.loads(wire.text)["message"] == "Stream stopped"


@pytest.mark.parametrize(
    ("status", "size", "headers"),
    [
        (411, 0, {"Content_Length": None, "Transfer_Encoding": "chunked"}),
        (400, 0, {"Content_Length": "-1"}),
        (400, 0, {"Content_Length": "\u00b2"}),
        (413, 65537, {}),
        (413, 5_000_000, {}),
        (413, 0, {"Content_Length": "9" * 5000}),
        (408, 0, {"Content_Length": str(len(PLAYS) + 1)}),
    ],
)
def test_a_body_without_a_right_length_gets_an_answer_and_ends_the_connection(
    sandbox: StubbedSandbox,
    monkeypatch: pytest.MonkeyPatch,
    wire: Wire,
    path: str,
    status: int,
    size: int,
    headers: dict[str, str | None],
) -> None:
    monkeypatch.setattr("sandbox.voice_api.BODY_WITHIN", 0.2)
    assert wire.ask("PUT", path, PLAYS.ljust(size), **headers).status == status
    assert wire.sock.recv(1) == b""  # the end
    assert sandbox.asked == []


def test_a_path_is_taken_without_its_query_and_as_it_is_written(wire: Wire, path: str) -> None:
    assert wire.ask("PUT", path.replace("/stream", "%2Fstream"), PLAYS).status == 404
    assert wire.ask("PUT", f"{path}?x=1", PLAYS).status == 200
