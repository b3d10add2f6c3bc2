"""The page, /stream and /stream/stop: who gets in, and each way that does not lead in."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests
from flask import Flask

from app import create_app
from config import Config
from tests.sandboxes import InProcess, StartSandbox, browse

ELSEWHERE: dict[str, dict[str, str]] = {
    "through ngrok": {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "a.ngrok.example"},
    "through ngrok, with its Host": {"Host": "a.ngrok.example"},
    "Forwarded": {"Forwarded": "for=203.0.113.9"},
    "X-Forwarded-Proto": {"X-Forwarded-Proto": "https"},
    "X-Real-IP": {"X-Real-IP": "203.0.113.9"},
    "Via": {"Via": "1.1 proxy"},
    "CF-Connecting-IP": {"CF-Connecting-IP": "203.0.113.9"},
    "Ngrok-Auth-User-Email": {"Ngrok-Auth-User-Email": "a@example.com"},
    "DNS rebinding": {"Host": "rebind.example:9000"},
    "a host that begins like this one": {"Host": "localhost.example"},
}
NOT_BY_THE_USER: dict[str, dict[str, str]] = {
    "a page of another site": {"Sec-Fetch-Site": "cross-site"},
    "a page of a sister site": {"Sec-Fetch-Site": "same-site"},
    "a prefetch": {"Sec-Purpose": "prefetch", "Sec-Fetch-Site": "none"},
    "a prerender": {"Sec-Purpose": "prefetch;prerender"},
    "an old prefetch": {"Purpose": "prefetch"},
    "an old browser's form elsewhere": {"Origin": "https://evil.example"},
    "an old browser's image elsewhere": {"Referer": "https://evil.example/page"},
    "an opaque origin": {"Origin": "null"},
    "a referrer of another port": {"Referer": "http://localhost:1/"},
    "a host in front of ours": {"Referer": "http://localhost:PORT.evil.example/"},
    "a host as a user name": {"Origin": "http://localhost:PORT@evil.example"},
}
PATHS = pytest.mark.parametrize("path", ["/", "/stream", "/stream/stop"])


def get(sandbox: InProcess, path: str, **headers: str) -> requests.Response:
    """Ask for a path of the app with these headers, where PORT is the app's."""
    sent = {name: value.replace("PORT", str(sandbox.port)) for name, value in headers.items()}
    return requests.get(sandbox.app_url + path, headers=sent, timeout=5)


@PATHS
@pytest.mark.parametrize("who", ELSEWHERE)
def test_no_one_gets_in_from_elsewhere(conference: InProcess, path: str, who: str) -> None:
    conference.dial({"from": "447700900123"})
    response = get(conference, path, **ELSEWHERE[who])
    assert response.status_code == 403
    assert "STREAM_PASSWORD" in response.json()["error"]
    assert f"GET {path}: 403" in conference.log.read_text()
    assert conference.asked == []


@PATHS
@pytest.mark.parametrize("who", NOT_BY_THE_USER)
def test_what_another_site_caused_does_not_get_in(
    conference: InProcess, path: str, who: str
) -> None:
    conference.dial()
    response = get(conference, path, **NOT_BY_THE_USER[who])
    assert response.status_code == 403
    assert conference.asked == []


def test_a_proxy_that_adds_no_header_does_not_get_in_by_its_http_1_0(
    conference: InProcess,
) -> None:
    """As nginx sends it with a bare proxy_pass."""
    with socket.create_connection(("localhost", conference.port)) as wire:
        host = f"127.0.0.1:{conference.port}"
        wire.sendall(f"GET /stream HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(4096), b""))
    assert answer.split()[1] == b"403"
    assert b"came through a proxy, with HTTP/1.0" in answer


@pytest.mark.parametrize("who", ELSEWHERE)
def test_the_sentence_says_what_is_wrong(conference: InProcess, who: str) -> None:
    name, value = next(iter(ELSEWHERE[who].items()))
    error = get(conference, "/stream", **ELSEWHERE[who]).json()["error"]
    assert (value if name == "Host" else name).lower() in error.lower()


def test_a_stranger_with_a_browser_sees_the_sentence_alone(conference: InProcess) -> None:
    conference.dial({"from": "447700900123"})
    response = get(conference, "/", Host="a.ngrok.example", Accept="text/html")
    assert response.status_code == 403
    assert "STREAM_PASSWORD" in response.text
    assert "0123" not in response.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machine_gets_in_by_its_names(conference: InProcess, host: str) -> None:
    conference.dial()
    headers = {"Host": f"{host}:{conference.port}", "Sec-Fetch-Site": "none"}
    assert get(conference, "/stream", **headers).ok


@pytest.mark.parametrize("name", ["Origin", "Referer"])
def test_an_old_browsers_own_page_gets_in(conference: InProcess, name: str) -> None:
    conference.dial()
    page = "http://localhost:PORT" + ("/" if name == "Referer" else "")
    assert get(conference, "/stream", **{name: page}).ok


def test_sec_fetch_site_decides_where_it_is_sent(conference: InProcess) -> None:
    conference.dial()
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
    assert get(conference, "/stream", **headers).ok


def test_ipv6_loopback_is_this_machine(start: StartSandbox) -> None:
    sandbox = start(HOST="::1")
    sandbox.dial()
    assert browse(sandbox, "/stream").ok


@pytest.fixture
def app(conference: InProcess) -> Flask:
    return conference.flask


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 409),
        ("127.8.8.8", 409),
        ("::1", 409),
        ("::ffff:127.0.0.1", 409),
        ("192.0.2.7", 403),
        ("172.17.0.1", 403),
        ("::ffff:192.0.2.7", 403),
        ("2001:db8::7", 403),
        ("", 403),
    ],
)
def test_another_address_does_not_get_in(app: Flask, peer: str, status: int) -> None:
    environ = {"REMOTE_ADDR": peer, "werkzeug.socket": socket.socket()}
    response = app.test_client().get("/stream", environ_base=environ)
    assert response.status_code == status
    if status == 403:
        assert f"this request came from {peer}" in response.get_json()["error"]


@pytest.fixture
def other_server(app: Flask) -> Iterator[str]:
    """The app behind a server that is not Werkzeug's, as behind waitress or granian."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@PATHS
def test_behind_another_server_no_one_gets_in_without_a_password(
    conference: InProcess, other_server: str, path: str
) -> None:
    conference.dial()
    response = requests.get(other_server + path, timeout=5)
    assert response.status_code == 403
    assert "neither `python app.py` nor `flask run`" in response.json()["error"]
    assert conference.asked == []


def test_a_route_that_no_one_thought_about_is_closed(conference: InProcess) -> None:
    app = create_app(conference.config)
    app.add_url_rule("/forgotten", view_func=lambda: "secret")
    assert app.test_client().get("/forgotten").status_code == 403


def test_static_files_are_open(conference: InProcess) -> None:
    assert get(conference, "/static/hold-music.mp3", Host="a.ngrok.example").ok


@PATHS
def test_nothing_behind_the_door_is_cached_or_framed(conference: InProcess, path: str) -> None:
    for headers in ({}, {"Accept": "text/html"}, {"Host": "a.ngrok.example"}):
        response = get(conference, path, **headers)
        assert response.headers["Cache-Control"] == "no-store"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["Referrer-Policy"] == "same-origin"


# With a password

PASSWORD = "open: sesame"  # a colon and a blank are printable, too


@pytest.fixture
def with_password(start: StartSandbox) -> InProcess:
    return start(STREAM_PASSWORD=PASSWORD)


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("who", ELSEWHERE)
def test_the_password_lets_in_from_elsewhere(with_password: InProcess, who: str) -> None:
    call = with_password.dial()
    headers = {**ELSEWHERE[who], "Authorization": basic(PASSWORD)}
    assert get(with_password, "/stream", **headers).ok
    call.hears("hears music")


@pytest.mark.parametrize("user", ["", "anyone", "ü"])
def test_any_user_name_will_do(with_password: InProcess, user: str) -> None:
    assert get(with_password, "/", Authorization=basic(PASSWORD, user)).ok


def test_the_password_lets_in_behind_another_server(
    with_password: InProcess, start: StartSandbox
) -> None:
    client = with_password.flask.test_client()
    response = client.get("/", headers={"Authorization": basic(PASSWORD)})
    assert response.status_code == 200


@PATHS
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        basic(""),
        basic("open"),
        basic(PASSWORD + "x"),
        basic(PASSWORD.upper()),
        basic("é" * 12),
        "Basic ///",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        f"Bearer {PASSWORD}",
        basic(PASSWORD).replace("Basic", "Digest"),
    ],
)
def test_another_password_does_not_let_in_from_this_machine_either(
    with_password: InProcess, path: str, wrong: str | None
) -> None:
    with_password.dial()
    response = get(with_password, path, **({"Authorization": wrong} if wrong else {}))
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert with_password.asked == []


@pytest.mark.parametrize("who", NOT_BY_THE_USER)
def test_the_password_does_not_let_in_what_another_site_caused(
    with_password: InProcess, who: str
) -> None:
    with_password.dial()
    headers = {**NOT_BY_THE_USER[who], "Authorization": basic(PASSWORD)}
    assert get(with_password, "/stream", **headers).status_code == 403
    assert with_password.asked == []


def test_webhooks_ask_for_no_password(with_password: InProcess) -> None:
    assert with_password.dial().ncco


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "laptop.example"])
def test_where_others_reach_it_the_password_is_not_set_up(host: str) -> None:
    assert "STREAM_PASSWORD" in Config(HOST=host).not_set_up
    assert "STREAM_PASSWORD" not in Config(HOST=host, STREAM_PASSWORD="x").not_set_up


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_where_only_this_machine_reaches_it_no_password_is_needed(host: str) -> None:
    assert "STREAM_PASSWORD" not in Config(HOST=host).not_set_up
