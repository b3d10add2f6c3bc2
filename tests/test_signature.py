"""Webhooks: who can pretend to be Vonage, each way by its name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests

from app import create_app
from sandbox import REGIONS, Account
from tests.sandboxes import InProcess, StartSandbox, browse

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


def signed_by_hand(payload: bytes) -> Callable[[Account, bytes], str]:
    """Sign a payload that no library would sign, with the right secret."""

    def forge(account: Account, body: bytes) -> str:
        parts = [b'{"alg":"HS256"}', payload]
        signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        signature = hmac.digest(account.signature_secret.encode(), signed, "sha256")
        encoded = base64.urlsafe_b64encode(signature).rstrip(b"=")
        return f"Bearer {signed.decode()}.{encoded.decode()}"

    return forge


Forge = Callable[[Account, bytes], str | None]
ATTACKS: dict[str, tuple[Forge, str]] = {
    "no header": (lambda account, body: None, "no Authorization header"),
    "another scheme": (
        lambda account, body: account.sign(body).replace("Bearer", "Basic"),
        "not one Bearer token",
    ),
    "two parts": (lambda account, body: "Bearer abc.def", "not one Bearer token"),
    "parts that are no JSON": (lambda account, body: "Bearer abc.def.ghi", "malformed"),
    "parts that are no objects": (lambda account, body: "Bearer W10.W10.W10", "malformed"),
    "a signed payload that is no object": (signed_by_hand(b"[]"), "malformed"),
    "a signed payload that is nested deep": (signed_by_hand(b"[" * 9_999), "malformed"),
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
        " s old: check this machine's clock",
    ),
    "iat 6 minutes ahead": (
        lambda account, body: account.sign(body, iat=now() + 6 * MINUTE),
        " s ahead: check this machine's clock",
    ),
    "iat missing": (lambda account, body: account.sign(body, iat=None), "malformed: 'iat'"),
    "iat not a number": (signed_by_hand(b'{"iat": "now"}'), "malformed"),
    "iat NaN": (signed_by_hand(b'{"iat": NaN}'), "check this machine's clock"),
    "iat too large to count": (signed_by_hand(b'{"iat": 1' + b"0" * 400 + b"}"), "malformed"),
    "expired": (lambda account, body: account.sign(body, exp=now() - 1), "has expired"),
    "another application": (
        lambda account, body: account.sign(body, application_id=str(uuid.UUID(int=7))),
        "application_id is not VONAGE_APPLICATION_ID",
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


def knock(sandbox: InProcess, method: str, path: str, forge: Forge) -> requests.Response:
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
    conference: InProcess, method: str, path: str, attack: str
) -> None:
    forge, reason = (ATTACKS | ATTACKS_ON_A_BODY)[attack]
    response = knock(conference, method, path, forge)
    assert response.status_code == 401
    assert f"{method} {path}: 401 Invalid or missing signature. (" in conference.log.read_text()
    assert reason in conference.log.read_text()
    assert response.json() == {"error": "Invalid or missing signature."}
    assert conference.store.live() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_two_authorization_headers_are_refused(conference: InProcess, method: str) -> None:
    connection = http.client.HTTPConnection("localhost", conference.port, timeout=5)
    connection.putrequest(method, f"/webhooks/answer?uuid={uuid.uuid4()}")
    for _ in range(2):
        connection.putheader("Authorization", conference.account.sign())
    connection.endheaders()
    assert connection.getresponse().status == 401
    assert "the Authorization header is not one Bearer token" in conference.log.read_text()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_good_token_passes_also_when_it_comes_twice(conference: InProcess, method: str) -> None:
    tokens: list[str] = []

    def the_same(account: Account, body: bytes) -> str:
        return tokens[0] if tokens and method == "GET" else account.sign(body)

    tokens.append(conference.account.sign())
    for _ in range(2):
        assert knock(conference, method, "/webhooks/answer", the_same).status_code == 200


@pytest.mark.parametrize("off", [-4 * MINUTE, 4 * MINUTE])
def test_clocks_may_differ_by_less_than_five_minutes(conference: InProcess, off: int) -> None:
    def signed(account: Account, body: bytes) -> str:
        return account.sign(body, iat=now() + off)

    assert knock(conference, "POST", "/webhooks/answer", signed).status_code == 200


def test_a_token_without_application_id_passes(conference: InProcess) -> None:
    def signed(account: Account, body: bytes) -> str:
        return account.sign(body, application_id=None)

    assert knock(conference, "POST", "/webhooks/answer", signed).status_code == 200


def test_a_clock_that_is_wrong_is_told_by_how_much(conference: InProcess) -> None:
    def old(account: Account, body: bytes) -> str:
        return account.sign(body, iat=now() - 3600)

    knock(conference, "GET", "/webhooks/answer", old)
    assert re.search(r"iat is 360[01] s old", conference.log.read_text())


def test_a_body_with_white_space_passes_by_the_hash_of_its_compact_form(
    conference: InProcess,
) -> None:
    call = {"uuid": str(uuid.uuid4()), "from": "Zoë"}
    compact_body = json.dumps(call, separators=(",", ":"), ensure_ascii=False).encode()
    headers = {"Authorization": conference.account.sign(compact_body)}
    response = requests.post(
        f"{conference.app_url}/webhooks/answer",
        data=json.dumps(call, indent=2),
        headers=headers,
        timeout=5,
    )
    assert response.status_code == 200


def test_a_get_with_a_body_must_have_the_bodys_hash(conference: InProcess) -> None:
    headers = {"Authorization": conference.account.sign(b"")}
    url = f"{conference.app_url}/webhooks/answer?uuid={uuid.uuid4()}"
    assert requests.get(url, headers=headers, data=b"{}", timeout=5).status_code == 401


def test_without_a_secret_webhooks_are_accepted_and_the_start_says_so(
    start: StartSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sandbox = start(VONAGE_SIGNATURE_SECRET="")
    create_app(sandbox.config)
    response = knock(sandbox, "POST", "/webhooks/answer", lambda account, body: None)
    assert response.status_code == 200
    assert "VONAGE_SIGNATURE_SECRET, without it" in caplog.text


# What comes in


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
@pytest.mark.parametrize("path", ["/webhooks/answer", "/webhooks/event"])
def test_a_body_above_64_kib_gets_413(conference: InProcess, path: str, chunked: bool) -> None:
    def of_size(size: int) -> int:
        body = b'{"uuid": 1' + b" " * (size - 11) + b"}"
        headers = {"Authorization": conference.account.sign(body)}
        data: Any = iter([body[:100], body[100:]]) if chunked else body
        url = conference.app_url + path
        return requests.post(url, data=data, headers=headers, timeout=5).status_code

    assert of_size(64 * 1024 - chunked) == 400  # read, and found to have a malformed uuid
    assert of_size(64 * 1024 + 1) == 413
    assert of_size(100_000) == 413
    assert f"POST {path}: 413" in conference.log.read_text()


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
    regions: InProcess, connected: set[str], region_url: str, host: str | None
) -> None:
    regions.dial({"region_url": region_url}, region=host or "api.nexmo.com")
    browse(regions, "/stream")
    assert [asked.host for asked in regions.asked] == [host or "api.nexmo.com"]
    assert connected <= {f"{region}:443" for region in REGIONS}
