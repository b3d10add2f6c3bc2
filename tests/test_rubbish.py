"""Rubbish: whatever is sent to the server, by whatever method, it answers with a sentence."""

from __future__ import annotations

import http.client
import json
import os
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calls_sqlite import SqliteCalls
from sandbox import Sandbox
from tests.conftest import StartSandbox
from webhooks import UUID

EXAMPLES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# What design and README allow; a 503 is for /stream, which has no credentials here.
ALLOWED = {200, 204, 400, 403, 404, 405, 413, 503}
LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] (INFO|WARNING) in app: ")

tokens = st.text("!#$%&'*+-.^_`|~abcxyzGETPOS0189", min_size=1, max_size=12)
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]) | tokens
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
headers = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "Accept",
            "Authorization",
            "Origin",
            "Cookie",
            "Range",
            "Purpose",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "Sec-Fetch-Site",
            "If-None-Match",
        ]
    )
    | tokens.map(lambda token: f"X-{token}"),
    values.map(str.strip),
    max_size=5,
)
names = st.sampled_from(
    [
        "uuid",
        "call_uuid",
        "from",
        "from_user",
        "to",
        "status",
        "reason",
        "region_url",
        "duration",
        "conversation_uuid",
        "conversation_uuid_to",
        "loop",
        "level",
        "token",
    ]
)
a_uuid = (
    st.uuids().map(str)
    | st.uuids().map(lambda it: it.hex)
    | st.text("0123456789abcdef-", max_size=40)
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | a_uuid
    | st.sampled_from(["completed", "answered", "busy", "https://api.nexmo.com"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
objects = st.dictionaries(names | st.text(max_size=8), anything, max_size=6)
queries = st.dictionaries(names | st.text(max_size=8), st.text() | a_uuid, max_size=6)


@pytest.fixture
def open_app(start: StartSandbox) -> Sandbox:
    """The app without secrets: everything gets past the doors."""
    return start(VONAGE_SIGNATURE_SECRET="", VONAGE_APPLICATION_ID="", ANSWER_WITH="conversation")


def send(
    sandbox: Sandbox, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("localhost", sandbox.port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    check_answer(response, response.read())
    check_what_is_kept(sandbox)
    return response


def check_answer(response: http.client.HTTPResponse, body: bytes) -> None:
    assert response.status in ALLOWED
    assert b"Traceback" not in body
    if response.status >= 400 and body and "json" in response.headers["Content-Type"]:
        assert set(json.loads(body)) == {"error"}


def check_what_is_kept(sandbox: Sandbox) -> None:
    with sandbox.log.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 100_000))
        log.readline()
        for line in log.read().decode().splitlines()[20:]:
            assert LINE.match(line), line
    for leg in SqliteCalls(f"{sandbox.folder}/calls.sqlite3").live():
        assert UUID.fullmatch(leg.uuid)


WEBHOOKS = pytest.mark.parametrize("path", ["/webhooks/answer", "/webhooks/event"])
PATHS = pytest.mark.parametrize("path", ["/webhooks/answer", "/webhooks/event", "/stream", "/"])


@PATHS
@EXAMPLES
@given(method=methods, query=st.binary(max_size=50), body=st.binary(max_size=300), headers=headers)
def test_any_bytes(
    open_app: Sandbox,
    path: str,
    method: str,
    query: bytes,
    body: bytes,
    headers: dict[str, str],
) -> None:
    send(open_app, method, f"{path}?{quote(query, safe='=&%+')}", body, headers)


@WEBHOOKS
@EXAMPLES
@given(thing=objects | anything)
def test_any_json(open_app: Sandbox, path: str, thing: Any) -> None:
    send(open_app, "POST", path, json.dumps(thing).encode(), {"Content-Type": "application/json"})


@PATHS
@EXAMPLES
@given(query=queries)
def test_any_query(open_app: Sandbox, path: str, query: dict[str, str]) -> None:
    encoded = urlencode(query, errors="surrogatepass")
    send(open_app, "GET", f"{path}?{encoded}", None, {})


@WEBHOOKS
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"uuid": ' + b"9" * 60_000 + b"}",
        b'{"uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356", "from": "\\ud800", "status": "\\udfff"}',
        b'{"uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356", "from": 1e400, "duration": NaN}',
        b"\xff\xfe{\x00}\x00",
        b'{"uuid": "' + "\uff16\uff13\uff46\uff16".encode() * 8 + b'"}',  # in full-width letters
    ],
)
def test_json_made_to_hurt(open_app: Sandbox, path: str, body: bytes) -> None:
    assert send(open_app, "POST", path, body, {}).status in (200, 204, 400)


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
@pytest.mark.parametrize("host", ["a b", "evil.example/x", "[::1", "a@b", "\u00fc", '"x"'])
def test_a_host_that_is_none_is_not_kept_as_the_address(
    open_app: Sandbox, header: str, host: str
) -> None:
    connection = http.client.HTTPConnection("localhost", open_app.port, timeout=10)
    leg = "63f61863-4a51-4f6b-86e1-46edebcf9356"
    connection.putrequest("GET", f"/webhooks/answer?uuid={leg}", skip_host=True)
    connection.putheader(header, host.encode())
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 400
    check_answer(response, response.read())
