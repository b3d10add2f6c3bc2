"""The page, /stream and /stream/stop: which requests the guard lets in, and which it refuses."""

from __future__ import annotations

import base64
import socket

import pytest
from flask import Request
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
from werkzeug.test import create_environ

from app import create_app
from config import Config
from guard import check_operator
from tests.helpers.sandboxes import InProcess, StartSandbox

PASSWORD = "open: sesame"  # a colon and a blank are printable, too
UNSET = Config.from_text({})
SET = Config.from_text({"STREAM_PASSWORD": PASSWORD})
HOME = "localhost:9000"


def request_of(
    path: str = "/stream",
    method: str = "GET",
    peer: str = "127.0.0.1",
    protocol: str = "HTTP/1.1",
    server: str = "Werkzeug",
    **headers: str,
) -> Request:
    """Return a request as Werkzeug's server receives it on this machine, with these changes."""
    environ = create_environ(path, method=method, headers={"Host": HOME, **headers})
    environ |= {"REMOTE_ADDR": peer, "SERVER_PROTOCOL": protocol}
    del environ["wsgi.input"]  # a body must not be read: its sender may never send it
    if server == "Werkzeug":
        environ["werkzeug.socket"] = object()
    return Request(environ)


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
    "a link to a path that is none": {**CROSS, **LINK, "path": "/stream/"},
    "a form to /stream": {**CROSS, **LINK, "method": "POST"},
    "a form to the page": {**CROSS, **LINK, "path": "/", "method": "POST"},
    "the page in a frame": {**CROSS, **LINK, "path": "/", "Sec-Fetch-Dest": "iframe"},
    "the page by script": {**CROSS, "path": "/", "Sec-Fetch-Mode": "no-cors"},
    "a prefetch": {**TYPED, "Sec-Purpose": "prefetch"},
    "an old prefetch": {"Purpose": "prefetch"},
    "Firefox's old prefetch": {"X-Moz": "prefetch"},
    "Safari's preview": {"X-Purpose": "preview"},
    "a reload of what was refused, in WebKit": {**TYPED, **LINK, "Referer": f"{ELSEWHERE}/page"},
    "an old browser's form": {"Origin": ELSEWHERE},
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
    "our own page, whose origin is hidden": {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    "a link to the page": {**CROSS, **LINK, "path": "/", "Referer": f"{ELSEWHERE}/page"},
    "our own form, in an old browser": {"Origin": f"http://{HOME}", "method": "POST"},
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


# A link to /stream


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/stream", "/stream/stop"])
def test_a_foreign_link_leads_to_the_page(conference: InProcess, path: str, site: str) -> None:
    conference.dial()
    headers = {**LINK, "Sec-Fetch-Site": site, "Referer": f"{ELSEWHERE}/page"}
    response = conference.request(f"{path}?loop=0", headers=headers)
    assert [one.status_code for one in response.history] == [303]
    assert response.url == f"{conference.app_url}/"
    assert response.ok
    assert conference.asked == []


def leads_to(request: Request) -> str:
    """Return where the guard redirects a request, or "" if it lets it in."""
    try:
        check_operator(request, SET)
    except HTTPException as redirection:
        response = redirection.get_response()
        assert response.status_code == 303
        return response.headers["Location"]
    return ""


def test_below_a_path_a_link_leads_to_the_page_too() -> None:
    request = request_of(**CROSS, **LINK)
    request.environ["SCRIPT_NAME"] = "/calls"
    assert leads_to(Request(request.environ)) == "/calls/"


LAN = "192.168.1.7:9000"
BROWSER = {"Accept": "text/html,*/*;q=0.8", "User-Agent": "Mozilla/5.0"}
MAY_BE_A_LINK: dict[str, dict[str, str]] = {
    "a link without a Referer": BROWSER,
    "a link that names its page": {**BROWSER, "Referer": f"{ELSEWHERE}/page"},
    "an image": {"Accept": "image/avif,*/*", "User-Agent": "Mozilla/5.0"},
    "another browser": {"Accept": "text/html"},
}
IS_NO_LINK: dict[str, dict[str, str]] = {
    "curl": {"Accept": "*/*", "User-Agent": "curl/8.5.0"},
    "our own page": {**BROWSER, "Referer": f"http://{LAN}/"},
    "https": {**BROWSER, "X-Forwarded-Proto": "https"},
    "an address that was typed at https": {**BROWSER, **TYPED, **LINK},
    "this machine": {**BROWSER, "Host": "localhost:9000"},
}


@pytest.mark.parametrize("what", MAY_BE_A_LINK | IS_NO_LINK)
def test_over_plain_http_only_what_may_be_a_link_leads_to_the_page(what: str) -> None:
    """There, browsers send no Sec-Fetch headers, and a page can leave its Referer out."""
    sent = {"Host": LAN, "Authorization": basic(PASSWORD), **(MAY_BE_A_LINK | IS_NO_LINK)[what]}
    assert leads_to(request_of(**sent)) == ("/" if what in MAY_BE_A_LINK else "")


# What does not come straight from this machine

PROXY_HEADERS = [
    *["Forwarded", "X-Forwarded-For", "X-Forwarded-Server", "X-Real-IP", "Via"],
    *["CF-Connecting-IP", "True-Client-IP", "Ngrok-Auth-User-Email"],
]
FROM_ELSEWHERE: dict[str, dict[str, str]] = {
    **{peer: {"peer": peer} for peer in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7")},
    "this request came from": {"peer": ""},
    "neither `python app.py` nor `flask run`": {"server": "waitress"},
    "HTTP/1.0": {"protocol": "HTTP/1.0"},  # as nginx sends it with a bare proxy_pass
    **{host: {"Host": host} for host in ("a.ngrok.example", "a.example:9000", "localhost.example")},
    **{name: {name: "203.0.113.9"} for name in PROXY_HEADERS},
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


WRONG = [basic(password) for password in ("", "open", PASSWORD + "x", "\u00e9" * 12)]
WRONG += ["Basic ///", f"Bearer {PASSWORD}", f'Digest username="me", password="{PASSWORD}"']


@pytest.mark.parametrize("sent", [{}, *({"Authorization": wrong} for wrong in WRONG)], ids=str)
def test_another_password_does_not_let_in_from_this_machine_either(sent: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        check_operator(request_of(**sent), SET)


@pytest.mark.parametrize(("sent", "asks"), [({}, True), ({"X-Page-Script": "1"}, False)])
def test_the_pages_own_script_does_not_open_the_browsers_password_box(
    start: StartSandbox, sent: dict[str, str], asks: bool
) -> None:
    response = start(STREAM_PASSWORD=PASSWORD).request(headers=sent)
    assert response.status_code == 401
    assert response.headers.get("WWW-Authenticate", "").startswith("Basic realm=") is asks


ANY_BYTES = [b"Basic \xff\xff", b"Basic //8=", b"Basic", b"Bearer \xff.\xff.\xff", b"Digest \xfe="]


@pytest.mark.parametrize("sent", ANY_BYTES, ids=repr)
def test_an_authorization_of_any_bytes_is_a_401(start: StartSandbox, sent: bytes) -> None:
    sandbox = start(STREAM_PASSWORD=PASSWORD)
    routes = [("GET", "/"), ("GET", "/stream"), ("POST", "/stream/stop")]
    routes += [("POST", f"/webhooks/{name}") for name in ("answer", "event", "rtc")]
    for method, path in routes:
        response = sandbox.request(path, method, headers={"Authorization": sent})
        assert response.status_code == 401, path
    assert "Traceback" not in sandbox.log.read_text()


# Every route


def test_a_route_is_closed_unless_it_is_named_as_open() -> None:
    app = create_app(Config())
    app.add_url_rule("/webhooks/forgotten", "webhooks.forgotten", lambda: "secret")
    response = app.test_client().get("/webhooks/forgotten")
    assert response.status_code == 403
    assert "secret" not in response.text


def test_werkzeug_says_that_a_request_is_in_http_1_0(conference: InProcess) -> None:
    with socket.create_connection(("localhost", conference.port)) as wire:
        wire.sendall(f"GET /stream HTTP/1.0\r\nHost: localhost:{conference.port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(4096), b""))
    assert answer.split()[1] == b"403"
    assert b"with HTTP/1.0" in answer
