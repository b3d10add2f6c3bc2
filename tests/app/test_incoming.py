"""Reading requests: bodies, uuids, and the address that a webhook came in on."""

from __future__ import annotations

import socket
import uuid
from typing import Any

import pytest
import requests

from tests.helpers.sandboxes import InProcess, StartSandbox, browse, error_of

WEBHOOKS = ["answer", "event", "rtc"]


def post(sandbox: InProcess, path: str, body: bytes, *, chunked: bool = False) -> requests.Response:
    """Send a signed webhook with any body."""
    headers = {"Authorization": sandbox.account.sign(body), "Content-Type": "application/json"}
    data: Any = iter([body[:100], body[100:]]) if chunked else body
    return sandbox.request(f"/webhooks/{path}", "POST", data=data, headers=headers)


@pytest.mark.parametrize(("path", "chunked"), [("answer", False), ("event", True)])
def test_a_body_above_64_kib_is_a_413(conference: InProcess, path: str, chunked: bool) -> None:
    def of_size(size: int) -> int:
        body = b'{"uuid": 1' + b" " * (size - 11) + b"}"
        return post(conference, path, body, chunked=chunked).status_code

    assert of_size(64 * 1024) == 400  # read, and found to have a malformed uuid
    assert of_size(64 * 1024 + 1) == 413
    assert f"POST /webhooks/{path}: 413" in conference.log.read_text()


def test_a_body_in_chunks_is_not_read_to_its_end(conference: InProcess) -> None:
    head = "POST /webhooks/rtc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((conference.host, conference.port), timeout=5) as wire:
        wire.sendall(head.encode() + b"20000\r\n" + b" " * 100_000)
        assert wire.recv(100).split()[1] == b"413"


@pytest.mark.parametrize("body", ["", "[]", "null", "[" * 60_000])
def test_a_body_that_is_no_json_object_is_a_400(conference: InProcess, body: str) -> None:
    for path in WEBHOOKS:
        error = error_of(post(conference, path, body.encode()), 400)
        assert error.startswith("The body of a webhook must be")
    assert conference.live == []


A_UUID = "63f61863-4a51-4f6b-86e1-46edebcf9356"
WRONG = [7, A_UUID[:8], f"{A_UUID[:-1]}g", A_UUID.replace("-", "", 1), f"{A_UUID}/../.."]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_malformed_uuid_is_a_400_and_is_not_saved(conference: InProcess, wrong: object) -> None:
    for path, given in (("answer", {}), ("event", {"status": "completed"})):
        error = error_of(conference.webhook(path, {"uuid": wrong, **given}), 400)
        assert "uuid must be 36 characters" in error
    assert conference.live == []


def test_an_answer_webhook_without_a_uuid_is_a_400(conference: InProcess) -> None:
    assert conference.webhook("answer", {"from": "447700900123"}).status_code == 400
    assert conference.live == []


def test_a_null_is_a_missing_field(conference: InProcess) -> None:
    nulls = {"from": None, "status": None, "region_url": None}
    conference.webhook("answer", {"uuid": str(uuid.uuid4()), "from_user": "alice", **nulls})
    assert [leg.caller for leg in conference.store.live()] == ["alice"]
    assert "from alice joined" in conference.log.read_text()


def test_a_slash_at_the_end_of_the_path_is_ignored(conference: InProcess) -> None:
    given = {"uuid": str(uuid.uuid4())}
    assert conference.webhook("answer/", given).json()[-1]["action"] == "conversation"
    assert conference.webhook("rtc/", given).status_code == 204
    assert conference.webhook("event/", {**given, "status": "completed"}).status_code == 204
    assert conference.live == []


@pytest.mark.parametrize(
    "asked", ["PUT answer 405", "HEAD rtc 405", "GET rtc 405", "POST event 401", "GET events 404"]
)
def test_webhooks_always_answer_json(conference: InProcess, asked: str) -> None:
    method, path, status = asked.split()
    response = conference.request(f"/webhooks/{path}", method, headers={"Accept": "text/html"})
    assert response.status_code == int(status)
    assert response.headers["Content-Type"] == "application/json"


# The address that the webhook came in on

ADDRESSES: list[tuple[dict[str, Any], str]] = [
    ({"X-Forwarded-Host": "a.example, b.example"}, "https://a.example"),
    ({"X-Forwarded-Host": "[2001:db8::1]:9000"}, "https://[2001:db8::1]:9000"),
    ({"X-Forwarded-Proto": "HTTPS"}, "https://PUBLIC"),
    ({"X-Forwarded-Proto": "http, https"}, "http://PUBLIC"),
    ({"X-Forwarded-Host": None, "X-Forwarded-Proto": None}, "http://PUBLIC"),
]


@pytest.mark.parametrize(("sent", "address"), ADDRESSES, ids=str)
def test_the_music_is_there(stream: InProcess, sent: dict[str, Any], address: str) -> None:
    response = stream.webhook("answer", {"uuid": str(uuid.uuid4())}, "GET", **sent)
    url = f"{address}/static/hold-music.mp3".replace("PUBLIC", stream.public_host)
    assert response.json() == [{"action": "stream", "streamUrl": [url]}]


NO_HOSTS = ["evil.example/x", "[::1", "[::::]", "a.example:99999", "a@b", "ü".encode().decode("l1")]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_an_invalid_host_is_a_400_if_the_music_needs_it(stream: InProcess, host: str) -> None:
    given = {"uuid": str(uuid.uuid4())}
    error = error_of(stream.webhook("answer", given, "GET", **{"X-Forwarded-Host": host}), 400)
    assert "PUBLIC_URL" in error
    assert stream.live == []


NOT_PUBLIC = {
    "localhost:9000": "https://localhost:9000/static/hold-music.mp3",
    "flask_app:9000": "https://flask_app:9000/static/hold-music.mp3",
    "a b": "The audio's address is unknown.",
}


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_at_no_public_address_stream_says_why_not(start: StartSandbox, host: str) -> None:
    """A proxy may rewrite Host and send no X-Forwarded-Host."""
    sandbox = start(VOICE_CONFERENCE_QUORUM="3")
    given = {"uuid": str(uuid.uuid4())}
    response = sandbox.webhook("answer", given, **{"X-Forwarded-Host": host})
    waits = {"action": "conversation", "name": "Relaxing Conference", "startOnEnter": False}
    assert response.json()[-1] == waits  # without hold music
    assert [line for line in sandbox.lines if "WARNING" in line and "set PUBLIC_URL" in line]
    error = error_of(browse(sandbox, "/stream"), 503)
    assert NOT_PUBLIC[host] in error
    assert "Set PUBLIC_URL" in error
    assert sandbox.asked == []
    event = {**given, "status": "answered"}
    assert sandbox.webhook("event", event, **{"X-Forwarded-Host": host}).status_code == 204
