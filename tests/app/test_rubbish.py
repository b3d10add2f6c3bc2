"""Rubbish: the server responds with a sentence to any request, by any method.

Of six faults planted in turn, 100 examples a test found each in 4 runs of 4, where 50 found one of
them once. EXAMPLES=1000 looks longer.
"""

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

from calls import ENDS
from tests.helpers.sandboxes import InProcess, StartSandbox

EXAMPLES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# What the design allows; a 503 is for /stream, which has no credentials here.
ALLOWED = {200, 204, 400, 403, 404, 405, 413, 503}
A_UUID = re.compile("[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] (INFO|WARNING): ")

tokens = st.text("!#$%&'*+-.^_`|~abcxyzGETPOS0189", min_size=1, max_size=12)
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]) | tokens
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
HEADERS = [
    *["Content-Type", "Accept", "Authorization", "Origin", "Referer", "Cookie", "Range"],
    *["Purpose", "Sec-Purpose", "Sec-Fetch-Site", "X-Forwarded-Host", "X-Forwarded-Proto"],
]
NAMES = [
    *["uuid", "call_uuid", "from", "from_user", "to", "status", "type", "reason", "region_url"],
    *["duration", "conversation_uuid", "conversation_uuid_to", "url", "loop", "level"],
]
header_names = st.sampled_from(HEADERS) | tokens.map(lambda token: f"X-{token}")
headers = st.dictionaries(header_names, values.map(str.strip), max_size=5)
short = st.binary(max_size=50)
names = st.sampled_from(NAMES)
a_uuid = st.uuids().map(str) | st.uuids().map(lambda it: it.hex)
a_uuid |= st.text("0123456789abcdef-", min_size=31, max_size=37)
words = st.sampled_from(["completed", "answered", "busy", "https://api.nexmo.com"])
urls = st.sampled_from(["https://api.nexmo.com", "https://[", "https://a:b"])
urls |= st.text("htps:/[]@.")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | a_uuid | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
of_names = dict.fromkeys(NAMES, anything) | {"uuid": a_uuid, "region_url": urls}
objects = st.fixed_dictionaries({}, optional=of_names)
queries = st.dictionaries(names | st.text(max_size=8), st.text() | a_uuid, max_size=6)


@pytest.fixture
def open_app(start: StartSandbox) -> InProcess:
    """Start the app without secrets, so that it accepts everything."""
    return start(VONAGE_SIGNATURE_SECRET="", VONAGE_APPLICATION_ID="")


def send(
    sandbox: InProcess, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> int:
    """Return the status of the response; fail unless it, the log, and the list are valid."""
    connection = http.client.HTTPConnection("localhost", sandbox.port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status in ALLOWED
    assert b"Traceback" not in answer
    if response.status >= 400 and answer and "json" in response.headers["Content-Type"]:
        assert set(json.loads(answer)) == {"error"}
    for line in sandbox.log.read_text().splitlines():
        assert LINE.match(line), line
    sandbox.log.write_text("")
    for leg in sandbox.store.live():
        assert A_UUID.fullmatch(leg.uuid)
        assert all(len(value) <= 256 for value in vars(leg).values() if isinstance(value, str))
        sandbox.store.end(leg.uuid)
    return response.status


WEBHOOKS = ["/webhooks/answer", "/webhooks/event"]
webhooks = st.sampled_from(WEBHOOKS)
paths = st.sampled_from([*WEBHOOKS, "/stream", "/"])


@EXAMPLES
@given(path=paths, method=methods, query=short, body=st.binary(max_size=300), headers=headers)
def test_any_bytes(open_app: InProcess, path: str, method: str, query: bytes, **rest: Any) -> None:
    send(open_app, method, f"{path}?{quote(query, safe='=&%+')}", **rest)


@EXAMPLES
@given(path=webhooks, thing=anything)
def test_any_json(open_app: InProcess, path: str, thing: Any) -> None:
    send(open_app, "POST", path, json.dumps(thing).encode(), {"Content-Type": "application/json"})


@EXAMPLES
@given(path=webhooks, parameters=objects)
def test_any_parameters(open_app: InProcess, path: str, parameters: dict[str, Any]) -> None:
    send(open_app, "POST", path, json.dumps(parameters).encode(), {})


@EXAMPLES
@given(path=paths, query=queries)
def test_any_query(open_app: InProcess, path: str, query: dict[str, str]) -> None:
    encoded = urlencode(query, errors="surrogatepass")
    send(open_app, "GET", f"{path}?{encoded}", None, {})


A_LEG = "63f61863-4a51-4f6b-86e1-46edebcf9356"
MADE_TO_HURT = {
    "nested lists": b"[" * 60_000,
    "nested objects": b'{"a":' * 10_000,
    "a long number": b'{"uuid": ' + b"9" * 60_000 + b"}",
    "a long number in text": f'{{"uuid": "{A_LEG}", "duration": {"9" * 5_000}}}'.encode(),
    "half characters": f'{{"uuid": "{A_LEG}", "from": "\\ud800", "status": "\\udfff"}}'.encode(),
    "no number": f'{{"uuid": "{A_LEG}", "from": 1e400, "duration": NaN}}'.encode(),
    "no text": b"\xff\xfe{\x00}\x00",
    "full-width letters": b'{"uuid": "' + "\uff16\uff13\uff46\uff16".encode() * 8 + b'"}',
}


@pytest.mark.parametrize("body", MADE_TO_HURT)
def test_json_made_to_hurt(open_app: InProcess, body: str) -> None:
    for path in WEBHOOKS:
        assert send(open_app, "POST", path, MADE_TO_HURT[body], {}) in (200, 204, 400)


# A finished call


@st.composite
def replays(draw: st.DrawFn) -> list[tuple[str, dict[str, str]]]:
    """Draw the webhooks of a finished call, each once or more, in any order."""
    uuid = draw(st.uuids())
    spelling = st.sampled_from([str(uuid), uuid.hex, str(uuid).upper()])
    statuses = ["started", "ringing", "answered", draw(st.sampled_from(sorted(ENDS)))]
    events = [("event", {"uuid": draw(spelling), "status": status}) for status in statuses]
    once = [("answer", {"uuid": draw(spelling), "from": "447700900123"}), *events]
    again = draw(st.lists(st.sampled_from(once), max_size=5))
    return draw(st.permutations(once + again))


@EXAMPLES
@given(webhooks=replays())
def test_the_webhooks_of_a_finished_call_leave_no_one_on_the_line(
    open_app: InProcess, webhooks: list[tuple[str, dict[str, str]]]
) -> None:
    client = open_app.flask.test_client()
    for path, parameters in webhooks:
        assert client.post(f"/webhooks/{path}", json=parameters).status_code in (200, 204)
    assert open_app.live == []
