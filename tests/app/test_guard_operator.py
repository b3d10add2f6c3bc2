"""The page, /stream and /stream/stop: who gets in, and each way that does not lead in."""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest
import requests
from flask import Request
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.test import create_environ

from app import create_app
from config import Config
from guard import check_operator
from tests.helpers.sandboxes import InProcess, StartSandbox, browse

PASSWORD = "open: sesame"  # a colon and a blank are printable, too
UNSET = Config.from_text({})
SET = Config.from_text({"STREAM_PASSWORD": PASSWORD})
HOME = "localhost:9000"


def request_of(path: str = "/stream", method: str = "GET", **sent: Any) -> Request:
    """A request as Werkzeug's server takes it on this machine, but for the headers given.

    `peer` is the address that it came from, `protocol` HTTP's version, and `server` the server.
    """
    peer = sent.pop("peer", "127.0.0.1")
    protocol = sent.pop("protocol", "HTTP/1.1")
    server = sent.pop("server", "Werkzeug")
    environ = create_environ(path, method=method, headers={"Host": HOME, **sent})
    environ |= {"REMOTE_ADDR": peer, "SERVER_PROTOCOL": protocol, "wsgi.input": Unreadable()}
    if server == "Werkzeug":
        environ["werkzeug.socket"] = object()
    return Request(environ)


class Unreadable:
    """A body that must not be read: its sender may never send it."""

    def read(self, *_: object) -> bytes:
        """Fail."""
        raise AssertionError("the body was read")

    readline = readinto = read


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# What another site's page caused

LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
CROSS = {"Sec-Fetch-Site": "cross-site"}
TYPED = {"Sec-Fetch-Site": "none"}
ELSEWHERE = "https://evil.example"
OTHER_SITES: dict[str, dict[str, str]] = {
    "another site": CROSS,
    "a sister site": {"Sec-Fetch-Site": "same-site"},
    "a link to /stream": {**CROSS, **LINK},
    "a form to the page": {**CROSS, **LINK, "path": "/", "method": "POST"},
    "the page in a frame": {**CROSS, **LINK, "path": "/", "Sec-Fetch-Dest": "iframe"},
    "the page by script": {**CROSS, "path": "/", "Sec-Fetch-Mode": "no-cors"},
    "a prefetch": {**TYPED, "Sec-Purpose": "prefetch"},
    "a prefetch of the page": {**CROSS, **LINK, "path": "/", "Sec-Purpose": "prefetch"},
    "a prerender": {"Sec-Purpose": "prefetch;prerender"},
    "an old prefetch": {"Purpose": "prefetch"},
    "a reload of what was refused, in WebKit": {**TYPED, **LINK, "Referer": f"{ELSEWHERE}/page"},
    "a form that claims to be typed": {**TYPED, "Origin": ELSEWHERE},
    "an old browser's form": {"Origin": ELSEWHERE},
    "an old browser's image": {"Referer": f"{ELSEWHERE}/page"},
    "a foreign Origin with our Referer": {"Origin": ELSEWHERE, "Referer": f"http://{HOME}/"},
    "an opaque origin": {"Origin": "null"},
    "another port": {"Referer": "http://localhost:1/"},
    "a host that begins like ours": {"Referer": f"http://{HOME}.evil.example/"},
    "our host as a user name": {"Origin": f"http://{HOME}@evil.example"},
    "an origin that is none": {"Origin": "http://["},
}
OUR_OWN: dict[str, dict[str, str]] = {
    "curl": {},
    "an address that was typed": {**TYPED, **LINK},
    "our own page": {"Sec-Fetch-Site": "same-origin"},
    "our own page, whose origin is hidden": {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    "a link to the page": {**CROSS, **LINK, "path": "/", "Referer": f"{ELSEWHERE}/page"},
    "a link to the page, in an old browser": {**LINK, "path": "/", "Referer": f"{ELSEWHERE}/"},
    "our own form, in an old browser": {"Origin": f"http://{HOME}", "method": "POST"},
    "our own link, in an old browser": {"Referer": f"http://{HOME}/"},
    "a reload": {**TYPED, **LINK, "Referer": f"http://{HOME}/"},
}


@pytest.mark.parametrize("sent", OTHER_SITES.values(), ids=OTHER_SITES)
def test_what_another_site_caused_does_not_get_in(sent: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        check_operator(request_of(**sent), UNSET)
    with pytest.raises(Forbidden):
        check_operator(request_of(**sent, Authorization=basic(PASSWORD)), SET)


@pytest.mark.parametrize("sent", OUR_OWN.values(), ids=OUR_OWN)
def test_what_the_operator_did_gets_in(sent: dict[str, str]) -> None:
    check_operator(request_of(**sent), UNSET)
    check_operator(request_of(**sent, Authorization=basic(PASSWORD)), SET)


# What does not come straight from this machine

FROM_ELSEWHERE: dict[str, dict[str, str]] = {
    "192.0.2.7": {"peer": "192.0.2.7"},
    "::ffff:192.0.2.7": {"peer": "::ffff:192.0.2.7"},
    "2001:db8::7": {"peer": "2001:db8::7"},
    "this request came from": {"peer": ""},
    "neither `python app.py` nor `flask run`": {"server": "waitress"},
    "HTTP/1.0": {"protocol": "HTTP/1.0"},  # as nginx sends it with a bare proxy_pass
    "a.ngrok.example": {"Host": "a.ngrok.example"},
    "rebind.example:9000": {"Host": "rebind.example:9000"},
    "localhost.example": {"Host": "localhost.example"},
    "forwarded": {"Forwarded": "for=203.0.113.9"},
    "x-forwarded-for": {"X-Forwarded-For": "203.0.113.9"},
    "x-forwarded-server": {"X-Forwarded-Server": "proxy"},
    "x-real-ip": {"X-Real-IP": "203.0.113.9"},
    "via": {"Via": "1.1 proxy"},
    "cf-connecting-ip": {"CF-Connecting-IP": "203.0.113.9"},
    "true-client-ip": {"True-Client-IP": "203.0.113.9"},
    "ngrok-auth-user-email": {"Ngrok-Auth-User-Email": "a@example.com"},
}
FROM_HERE: list[dict[str, str]] = [
    *[{"peer": peer} for peer in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")],
    *[{"Host": host} for host in ("localhost", "LOCALHOST:9000", "127.0.0.1:9000", "[::1]:9000")],
]


@pytest.mark.parametrize("sign", FROM_ELSEWHERE)
def test_only_the_password_opens_it_from_elsewhere(sign: str) -> None:
    sent = FROM_ELSEWHERE[sign]
    with pytest.raises(Forbidden) as refused:
        check_operator(request_of(**sent), UNSET)
    sentence = str(refused.value.description)
    assert sign.lower() in sentence.lower()
    assert "STREAM_PASSWORD" in sentence
    check_operator(request_of(**sent, Authorization=basic(PASSWORD)), SET)


@pytest.mark.parametrize("sent", FROM_HERE, ids=str)
def test_this_machine_gets_in_by_all_its_names(sent: dict[str, str]) -> None:
    check_operator(request_of(**sent), UNSET)


# The password


@pytest.mark.parametrize("user", ["", "\u00fc"])
def test_any_user_name_will_do(user: str) -> None:
    check_operator(request_of(Authorization=basic(PASSWORD, user)), SET)


WRONG_PASSWORDS = {
    "none": {},
    "an empty one": {"Authorization": basic("")},
    "a part": {"Authorization": basic("open")},
    "one letter more": {"Authorization": basic(PASSWORD + "x")},
    "not ASCII": {"Authorization": basic("\u00e9" * 12)},
    "not Base64": {"Authorization": "Basic ///"},
    "Bearer": {"Authorization": f"Bearer {PASSWORD}"},
    "Digest": {"Authorization": f'Digest username="anyone", password="{PASSWORD}"'},
}


@pytest.mark.parametrize("sent", WRONG_PASSWORDS.values(), ids=WRONG_PASSWORDS)
def test_another_password_does_not_let_in_from_this_machine_either(sent: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        check_operator(request_of(**sent), SET)


@pytest.mark.parametrize(
    ("mode", "asks"), [(None, True), ("navigate", True), ("cors", False), ("same-origin", False)]
)
def test_only_a_page_that_is_opened_opens_the_browsers_password_box(
    start: StartSandbox, mode: str | None, asks: bool
) -> None:
    sandbox = start(STREAM_PASSWORD=PASSWORD)
    headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": mode}
    response = requests.get(sandbox.app_url, headers=headers, timeout=5)
    assert response.status_code == 401
    assert response.headers.get("WWW-Authenticate", "").startswith("Basic realm=") is asks


# Each route asks


@pytest.mark.parametrize(("method", "path"), [("GET", "/stream"), ("POST", "/stream/stop")])
def test_each_route_is_closed_to_strangers(conference: InProcess, method: str, path: str) -> None:
    conference.dial()
    url = conference.app_url + path
    response = requests.request(method, url, headers={"Host": "a.ngrok.example"}, timeout=5)
    assert response.status_code == 403
    assert "STREAM_PASSWORD" in response.json()["error"]
    assert f"{method} {path}: 403" in conference.log.read_text()
    assert conference.asked == []


def test_a_route_that_no_one_thought_about_is_closed(conference: InProcess) -> None:
    app = create_app(conference.config)
    app.add_url_rule("/forgotten", view_func=lambda: "secret")
    assert app.test_client().get("/forgotten").status_code == 403


@pytest.mark.parametrize("host", ["localhost", "a.ngrok.example"])
@pytest.mark.parametrize("path", ["/stream", "/stream/stop", "/nowhere"])
def test_no_one_keeps_or_frames_what_is_for_the_operator_nor_a_refusal(
    conference: InProcess, path: str, host: str
) -> None:
    response = requests.get(conference.app_url + path, headers={"Host": host}, timeout=5)
    assert response.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_whoever_is_refused_does_not_see_who_is_on_the_line(conference: InProcess) -> None:
    conference.dial({"from": "447700900123"})
    headers = {"Host": "a.ngrok.example", "Accept": "text/html"}
    page = requests.get(conference.app_url, headers=headers, timeout=5)
    assert page.status_code == 403
    assert "447700900123" not in page.text


def test_static_files_are_open(conference: InProcess) -> None:
    url = f"{conference.app_url}/static/hold-music.mp3"
    assert requests.get(url, headers={"Host": "a.ngrok.example"}, timeout=5).ok


def test_the_password_lets_in_from_elsewhere(start: StartSandbox) -> None:
    sandbox = start(STREAM_PASSWORD=PASSWORD)
    call = sandbox.dial()  # webhooks ask for no password
    headers = {"Host": "a.ngrok.example", "Authorization": basic(PASSWORD)}
    requests.get(f"{sandbox.app_url}/stream", headers=headers, timeout=5).raise_for_status()
    call.hears("hears music")


def test_ipv6_loopback_is_this_machine(start: StartSandbox) -> None:
    sandbox = start(HOST="::1")
    sandbox.dial()
    assert browse(sandbox, "/stream").ok


def test_werkzeug_says_that_a_request_is_in_http_1_0(conference: InProcess) -> None:
    with socket.create_connection(("localhost", conference.port)) as wire:
        wire.sendall(f"GET /stream HTTP/1.0\r\nHost: localhost:{conference.port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(4096), b""))
    assert answer.split()[1] == b"403"
    assert b"with HTTP/1.0" in answer
