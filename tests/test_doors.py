"""Who may come in: each way to get past a door that does not lead in, by its name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from werkzeug.test import EnvironBuilder

from app import create_app
from config import Config
from guard import Guard, Unsigned
from sandbox import REGIONS, Account, Sandbox
from tests.conftest import StartSandbox, browse

MINUTE = 60


def now() -> int:
    return int(time.time())


def compact(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A JWT made by hand, for those that no library makes."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts).decode()


def claims_of(account: Account, body: bytes) -> dict[str, Any]:
    claims = jwt.decode(account.sign(body)[7:], options={"verify_signature": False})
    return dict(claims)


def unsigned(account: Account, body: bytes) -> str:
    return "Bearer " + compact({"alg": "none", "typ": "JWT"}, claims_of(account, body))


def other_algorithm(account: Account, body: bytes) -> str:
    token = jwt.encode(claims_of(account, body), account.signature_secret, algorithm="HS512")
    return f"Bearer {token}"


def own_rsa_key(account: Account, body: bytes) -> str:
    return "Bearer " + jwt.encode(claims_of(account, body), account.private_key, algorithm="RS256")


def public_key_as_secret(account: Account, body: bytes) -> str:
    header, claims = {"alg": "HS256", "typ": "JWT"}, claims_of(account, body)
    signed = compact(header, claims).rstrip(".")
    secret = account.public_key.encode()
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return "Bearer " + compact(header, claims, signature)


def rs256_with_the_public_key_as_secret(account: Account, body: bytes) -> str:
    token = public_key_as_secret(account, body)
    header = compact({"alg": "RS256", "typ": "JWT"}, {}).split(".")[0]
    return f"Bearer {header}." + token.split(".", 1)[1]


def another_secret(account: Account, body: bytes) -> str:
    token = jwt.encode(claims_of(account, body), "x" * 32, algorithm="HS256")
    return f"Bearer {token}"


Forge = Callable[[Account, bytes], str | None]
ATTACKS: dict[str, tuple[Forge, str]] = {
    "no header": (lambda account, body: None, "no Authorization header"),
    "another scheme": (
        lambda account, body: account.sign(body).replace("Bearer", "Basic"),
        "not a Bearer token",
    ),
    "a malformed token": (lambda account, body: "Bearer abc.def", "malformed"),
    "a token without claims": (
        lambda account, body: "Bearer W10.W10.W10",  # which says []
        "malformed",
    ),
    "another secret": (another_secret, "not made with VONAGE_SIGNATURE_SECRET"),
    "alg none": (unsigned, "not signed with HS256"),
    "HS512": (other_algorithm, "not signed with HS256"),
    "RS256 with the private key": (own_rsa_key, "not signed with HS256"),
    "HS256 with the public key as secret": (
        public_key_as_secret,
        "not made with VONAGE_SIGNATURE_SECRET",
    ),
    "RS256 with the public key as secret": (
        rs256_with_the_public_key_as_secret,
        "not signed with HS256",
    ),
    "iat 6 minutes old": (
        lambda account, body: account.sign(body, iat=now() - 6 * MINUTE),
        "s old: check this machine's clock",
    ),
    "iat 6 minutes ahead": (
        lambda account, body: account.sign(body, iat=now() + 6 * MINUTE),
        "s ahead: check this machine's clock",
    ),
    "iat missing": (lambda account, body: account.sign(body, iat=None), "iat is missing"),
    "iat not a number": (lambda account, body: account.sign(body, iat="now"), "iat is missing or"),
    "expired": (lambda account, body: account.sign(body, exp=now() - 1), "has expired"),
    "another application": (
        lambda account, body: account.sign(body, application_id=str(uuid.uuid4())),
        "application_id is not",
    ),
}
ATTACKS_ON_A_BODY: dict[str, tuple[Forge, str]] = {
    "a body changed after signing": (
        lambda account, body: account.sign(body.replace(b"4477", b"4478")),
        "changed after signing",
    ),
    "payload_hash missing": (
        lambda account, body: account.sign(body, payload_hash=None),
        "changed after signing",
    ),
}


def knock(sandbox: Sandbox, method: str, path: str, forge: Forge) -> requests.Response:
    parameters = {"uuid": str(uuid.uuid4()), "from": "447700900123", "status": "completed"}
    body = json.dumps(parameters).encode() if method == "POST" else b""
    return requests.request(
        method,
        sandbox.app_url + path,
        params=parameters if method == "GET" else None,
        data=body,
        headers={"Authorization": forge(sandbox.account, body)},
        timeout=5,
    )


@pytest.mark.parametrize("path", ["/webhooks/answer", "/webhooks/event"])
@pytest.mark.parametrize(
    ("method", "attack"),
    [("GET", attack) for attack in ATTACKS]
    + [("POST", attack) for attack in ATTACKS | ATTACKS_ON_A_BODY],
)
def test_a_stranger_cannot_pretend_to_be_vonage(
    conference: Sandbox, method: str, path: str, attack: str
) -> None:
    forge, reason = (ATTACKS | ATTACKS_ON_A_BODY)[attack]
    before = len(conference.log.read_text())
    response = knock(conference, method, path, forge)
    assert response.status_code == 401
    assert reason in conference.log.read_text()[before:]
    assert reason not in response.text
    assert browse(conference, "/stream").status_code == 409  # nobody has joined


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_two_authorization_headers_are_refused(conference: Sandbox, method: str) -> None:
    connection = http.client.HTTPConnection("localhost", conference.port, timeout=5)
    connection.putrequest(method, f"/webhooks/answer?uuid={uuid.uuid4()}")
    for _ in range(2):
        connection.putheader("Authorization", conference.account.sign())
    connection.endheaders()
    assert connection.getresponse().status == 401
    assert "more than one Authorization header" in conference.log.read_text()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_good_token_passes_also_when_it_comes_twice(conference: Sandbox, method: str) -> None:
    tokens: list[str] = []

    def the_same(account: Account, body: bytes) -> str:
        return tokens[0] if tokens and method == "GET" else account.sign(body)

    tokens.append(conference.account.sign())
    for _ in range(2):
        assert knock(conference, method, "/webhooks/answer", the_same).status_code == 200


@pytest.mark.parametrize("off", [-4 * MINUTE, 4 * MINUTE])
def test_clocks_may_differ_by_less_than_five_minutes(conference: Sandbox, off: int) -> None:
    def signed(account: Account, body: bytes) -> str:
        return account.sign(body, iat=now() + off)

    assert knock(conference, "POST", "/webhooks/answer", signed).status_code == 200


def test_a_token_without_application_id_passes(conference: Sandbox) -> None:
    def signed(account: Account, body: bytes) -> str:
        return account.sign(body, application_id=None)

    assert knock(conference, "POST", "/webhooks/answer", signed).status_code == 200


def test_without_a_secret_webhooks_are_accepted_and_the_start_says_so(start: StartSandbox) -> None:
    sandbox = start(VONAGE_SIGNATURE_SECRET="", ANSWER_WITH="conversation")
    response = knock(sandbox, "POST", "/webhooks/answer", lambda account, body: None)
    assert response.status_code == 200
    assert "VONAGE_SIGNATURE_SECRET: without it" in sandbox.log.read_text()


# The operator's door

NOT_FROM_HERE: dict[str, dict[str, str]] = {
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
    "a prefetch": {"Sec-Purpose": "prefetch"},
    "a prerender": {"Sec-Purpose": "prefetch;prerender"},
    "an old prefetch": {"Purpose": "prefetch"},
}
PATHS = pytest.mark.parametrize("path", ["/", "/stream", "/stream/stop"])


@PATHS
@pytest.mark.parametrize("who", NOT_FROM_HERE | NOT_BY_THE_USER)
def test_nobody_else_gets_in(conference: Sandbox, path: str, who: str) -> None:
    conference.dial()
    headers = (NOT_FROM_HERE | NOT_BY_THE_USER)[who]
    response = requests.get(conference.app_url + path, headers=headers, timeout=5)
    assert response.status_code == 403
    assert "STREAM_TOKEN" in response.json()["error"]
    assert conference.asked == []


def test_a_form_of_another_site_does_not_get_in_from_an_old_browser(conference: Sandbox) -> None:
    conference.dial()
    headers = {"Origin": "https://evil.example"}
    response = requests.post(f"{conference.app_url}/stream", headers=headers, timeout=5)
    assert response.status_code == 403
    assert conference.asked == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machine_gets_in_by_its_names(conference: Sandbox, host: str) -> None:
    conference.dial()
    headers = {"Host": f"{host}:{conference.port}", "Sec-Fetch-Site": "none"}
    assert requests.get(f"{conference.app_url}/stream", headers=headers, timeout=5).ok


def test_ipv6_loopback_is_this_machine(start: StartSandbox) -> None:
    sandbox = start(HOST="::1", ANSWER_WITH="conversation")
    sandbox.dial()
    assert browse(sandbox, "/stream").ok


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 409),
        ("127.8.8.8", 409),
        ("::1", 409),
        ("::ffff:127.0.0.1", 409),
        ("192.0.2.7", 403),
        ("::ffff:192.0.2.7", 403),
        ("2001:db8::7", 403),
        ("", 403),
    ],
)
def test_another_address_does_not_get_in(
    account: Account, tmp_path: Any, peer: str, status: int
) -> None:
    config = Config(
        application_id=account.application_id,
        private_key=account.private_key,
        calls_url=f"sqlite:///{tmp_path}/calls.sqlite3",
    )
    browser = create_app(config).test_client()
    response = browser.get("/stream", environ_base={"REMOTE_ADDR": peer})
    assert response.status_code == status


TOKEN = "a-token-of-one-word"


@pytest.fixture
def with_token(start: StartSandbox) -> Sandbox:
    return start(STREAM_TOKEN=TOKEN, ANSWER_WITH="conversation")


@pytest.mark.parametrize("who", NOT_FROM_HERE)
@pytest.mark.parametrize("how", ["Bearer", "?token="])
def test_the_token_lets_in_from_elsewhere(with_token: Sandbox, who: str, how: str) -> None:
    call = with_token.dial()
    headers = dict(NOT_FROM_HERE[who])
    if how == "Bearer":
        headers["Authorization"] = f"Bearer {TOKEN}"
    url = f"{with_token.app_url}/stream" + (f"?token={TOKEN}" if how == "?token=" else "")
    assert requests.get(url, headers=headers, timeout=5).ok
    call.hears("hears music")


@pytest.mark.parametrize("wrong", ["", "a-token", TOKEN + "x", TOKEN.upper(), "\u00e9" * 19])
def test_another_token_does_not_let_in(with_token: Sandbox, wrong: str) -> None:
    with_token.dial()
    headers = {"Host": "a.ngrok.example"}
    url = f"{with_token.app_url}/stream"
    response = requests.get(url, params={"token": wrong}, headers=headers, timeout=5)
    assert response.status_code == 403
    assert with_token.asked == []


@pytest.mark.parametrize("who", NOT_BY_THE_USER)
def test_the_token_does_not_let_in_what_the_user_did_not_ask_for(
    with_token: Sandbox, who: str
) -> None:
    with_token.dial()
    headers = {**NOT_BY_THE_USER[who], "Authorization": f"Bearer {TOKEN}"}
    assert (
        requests.get(f"{with_token.app_url}/stream", headers=headers, timeout=5).status_code == 403
    )
    assert with_token.asked == []


def test_this_machine_needs_no_token(with_token: Sandbox) -> None:
    with_token.dial()
    assert browse(with_token, "/stream").ok


# What is in a parameter


@pytest.mark.parametrize(
    ("region_url", "host"),
    [
        ("https://api-us-3.vonage.com", "api-us-3.vonage.com"),
        ("https://api-sg-1.nexmo.com", "api-sg-1.nexmo.com"),
        ("https://api.nexmo.com", "api.nexmo.com"),
        ("https://API-US-3.vonage.com", "api-us-3.vonage.com"),
        ("https://api-us-3.vonage.com/v1/calls", "api-us-3.vonage.com"),
        ("https://api-us-3.vonage.com:443", "api-us-3.vonage.com"),
        ("https://api.nexmo.com.evil.example", None),
        ("https://evil.example/api.nexmo.com", None),
        ("http://api-us-3.vonage.com", None),
        ("https://user@api-us-3.vonage.com:8443", None),
        ("https://api-us-3.vonage.com:8443", None),
        ("https://api-us-3.vonage.com.", None),
        ("https://evil.example\\@api-us-3.vonage.com", None),
        ("https://evil.example#@api-us-3.vonage.com", None),
        ("https://api-.evil.example/.vonage.com", None),
        ("https://api-us-3.vonage.com:x", None),
        ("//api-us-3.vonage.com", None),
        ("", None),
    ],
)
def test_region_url_is_followed_to_vonages_hosts_only(
    through_proxy: Sandbox, connected: set[str], region_url: str, host: str | None
) -> None:
    through_proxy.dial({"region_url": region_url}, region=host or "api.nexmo.com")
    browse(through_proxy, "/stream")
    assert [asked.host for asked in through_proxy.asked] == [host or "api.nexmo.com"]
    assert connected <= {f"{region}:443" for region in REGIONS}


@pytest.mark.parametrize("value", ["../../v2/calls", "x/../y", "1?a=b", "%2e%2e%2f", "a" * 36])
def test_no_uuid_changes_the_path_of_a_request_to_vonage(conference: Sandbox, value: str) -> None:
    conference.dial()
    response = browse(conference, "/stream", uuid=value)
    assert response.status_code in (400, 404)
    assert conference.asked == []


def test_a_body_of_64_kib_and_one_byte_gets_413(conference: Sandbox) -> None:
    def of_size(size: int) -> int:
        body = b"{" + b" " * (size - 2) + b"}"
        headers = {"Authorization": conference.account.sign(body)}
        url = f"{conference.app_url}/webhooks/event"
        return requests.post(url, data=body, headers=headers, timeout=5).status_code

    assert of_size(64 * 1024) == 400  # read, and found without a uuid
    assert of_size(64 * 1024 + 1) == 413


def test_a_clock_that_is_wrong_is_told_by_how_much(account: Account) -> None:
    guard = Guard(account.signature_secret, None, None, clock=lambda: 1_800_003_600)
    token = account.sign(iat=1_800_000_000)
    request = EnvironBuilder(headers=[("Authorization", token)]).get_request()
    with pytest.raises(Unsigned) as refused:
        guard.webhook(request)
    assert refused.value.reason == "iat is 3600 s old: check this machine's clock"
