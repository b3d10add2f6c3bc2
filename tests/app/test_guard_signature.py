"""Webhooks: who can pretend to be Vonage, each way by its name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from flask import Request
from werkzeug.exceptions import Unauthorized
from werkzeug.test import create_environ

from app import create_app
from config import Config
from guard import check_signature
from sandbox import Account
from tests.helpers.sandboxes import InProcess, StartSandbox

MINUTE = 60
BODY = b'{"uuid":"63f61863-4a51-4f6b-86e1-46edebcf9356","from":"447700900123"}'


def now() -> int:
    return int(time.time())


def check(account: Account, authorization: str | None, body: bytes = BODY, **more: str) -> None:
    """Ask the guard about a POST with this body, or a GET without one."""
    headers = {} if authorization is None else {"Authorization": authorization}
    method = "POST" if body else "GET"
    environ = create_environ("/webhooks/answer", method=method, data=body, headers=headers)
    known = {"VONAGE_APPLICATION_ID": account.application_id}
    config = Config.from_text(known | more)
    check_signature(Request(environ), config, account.signature_secret)


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def by_hand(header: bytes, claims: bytes, secret: bytes = b"") -> str:
    """A token that no library would make, signed as HS256 is, whatever the header says."""
    signed = encoded(header) + b"." + encoded(claims)
    signature = encoded(hmac.digest(secret, signed, "sha256"))
    return f"Bearer {signed.decode()}.{signature.decode()}"


def claims_of(account: Account) -> dict[str, Any]:
    """What Vonage says of the body."""
    claims = jwt.decode(account.sign(BODY)[7:], options={"verify_signature": False})
    return dict(claims)


def json_of(account: Account) -> bytes:
    return json.dumps(claims_of(account)).encode()


def signed(claims: bytes) -> Callable[[Account], str]:
    """A token with any claims, signed with the right secret."""
    return lambda account: by_hand(b'{"alg":"HS256"}', claims, account.signature_secret.encode())


def encode(account: Account, key: str, algorithm: str) -> str:
    return "Bearer " + jwt.encode(claims_of(account), key, algorithm)


Forge = Callable[[Account], str | None]
CLAIM = b'{"iat": %d, "payload_hash": "%s", ' % (now(), hashlib.sha256(BODY).hexdigest().encode())
ATTACKS: dict[str, Forge] = {
    "another scheme": lambda account: account.sign(BODY).replace("Bearer", "Basic"),
    "no scheme": lambda account: account.sign(BODY).removeprefix("Bearer "),
    "two tokens": lambda account: f"{account.sign(BODY)}, {account.sign(BODY)}",
    "an empty token": lambda account: "Bearer ",
    "parts that are no objects": lambda account: "Bearer W10.W10.W10",
    "letters that are not ASCII": lambda account: account.sign(BODY) + "\u00fc",
    "alg none": lambda account: (
        by_hand(b'{"alg":"none"}', json_of(account)).rpartition(".")[0] + "."
    ),
    "HS512": lambda account: encode(account, account.signature_secret, "HS512"),
    "HS256 with the public key as secret": lambda account: by_hand(
        b'{"alg":"HS256"}', json_of(account), account.public_key.encode()
    ),
    "RS256 with the public key as secret": lambda account: by_hand(
        b'{"alg":"RS256"}', json_of(account), account.public_key.encode()
    ),
    "an extension that must be understood": lambda account: by_hand(
        b'{"alg":"HS256","crit":["x"],"x":1}', json_of(account), account.signature_secret.encode()
    ),
    "a header nested deep": lambda account: by_hand(
        b'{"alg":"HS256","x":%s}' % (b"[" * 9_999 + b"]" * 9_999),
        json_of(account),
        account.signature_secret.encode(),
    ),
    "claims that are no object": signed(b"[]"),
    "claims nested deep": signed(b"[" * 9_999),
    "iat missing": lambda account: account.sign(BODY, iat=None),
    "iat not a number": signed(b'{"iat": "now"}'),
    "iat infinite": signed(b'{"iat": Infinity}'),
    "iat of 400 digits": signed(b'{"iat": 1' + b"0" * 400 + b"}"),
    "iat a list": signed(b'{"iat": []}'),
    "expired": lambda account: account.sign(BODY, exp=now() - 1),
    "payload_hash missing": lambda account: account.sign(BODY, payload_hash=None),
    "payload_hash not text": lambda account: account.sign(BODY, payload_hash=[1]),
}
EXPLAINED: dict[str, tuple[Forge, str]] = {  # what an operator may have to mend
    "no header": (lambda account: None, "no Authorization header"),
    "another secret": (
        lambda account: encode(account, "x" * 32, "HS256"),
        "not made with VONAGE_SIGNATURE_SECRET",
    ),
    "6 minutes old": (
        lambda account: account.sign(BODY, iat=now() - 6 * MINUTE),
        "iat is 36[01] s old: check this machine's clock",
    ),
    "6 minutes ahead": (
        lambda account: account.sign(BODY, iat=now() + 6 * MINUTE),
        "iat is 3(60|59) s ahead: check this machine's clock",
    ),
    "another application": (
        lambda account: account.sign(BODY, application_id=str(uuid.UUID(int=7))),
        "application_id is not VONAGE_APPLICATION_ID",
    ),
    "a body changed after signing": (
        lambda account: account.sign(BODY.replace(b"4477", b"4478")),
        "changed after signing",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_stranger_cannot_pretend_to_be_vonage(account: Account, attack: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        check(account, ATTACKS[attack](account))
    assert refused.value.description == "Invalid or missing signature."
    assert refused.value.__cause__ is not None  # for the log


@pytest.mark.parametrize("attack", EXPLAINED)
def test_what_is_wrong_is_in_the_log(account: Account, attack: str) -> None:
    forge, reason = EXPLAINED[attack]
    with pytest.raises(Unauthorized) as refused:
        check(account, forge(account))
    assert re.search(reason, str(refused.value.__cause__))


GOOD: dict[str, Forge] = {
    "Vonage's": lambda account: account.sign(BODY),
    "4 minutes old": lambda account: account.sign(BODY, iat=now() - 4 * MINUTE),
    "4 minutes ahead": lambda account: account.sign(BODY, iat=now() + 4 * MINUTE),
    "not expired": lambda account: account.sign(BODY, exp=now() + MINUTE),
    "for an audience": lambda account: account.sign(BODY, aud="somebody", sub="x"),
    "without application_id": lambda account: account.sign(BODY, application_id=None),
    "with a number for jti": lambda account: account.sign(BODY, jti=7),
    "in small letters": lambda account: account.sign(BODY).replace("Bearer", "bearer"),
}


@pytest.mark.parametrize("token", GOOD)
def test_what_vonage_signed_passes(account: Account, token: str) -> None:
    check(account, GOOD[token](account))


def test_the_same_token_passes_twice_and_covers_no_parameter_by_get(account: Account) -> None:
    token = account.sign()
    for _ in range(2):
        check(account, token, b"")


def test_without_our_application_id_any_passes(account: Account) -> None:
    check(account, account.sign(BODY, application_id="another"), VONAGE_APPLICATION_ID="")


def test_a_body_with_white_space_passes_by_the_hash_of_its_compact_form(account: Account) -> None:
    call = {"uuid": str(uuid.uuid4()), "from": "Zo\u00eb"}
    compact = json.dumps(call, separators=(",", ":"), ensure_ascii=False).encode()
    check(account, account.sign(compact), json.dumps(call, indent=2).encode())


def test_a_body_nested_deep_is_refused(account: Account) -> None:
    with pytest.raises(Unauthorized):
        check(account, account.sign(BODY), b"[" * 9_999)


def test_a_get_with_a_body_must_have_the_bodys_hash(conference: InProcess) -> None:
    headers = {"Authorization": conference.account.sign()}
    url = f"{conference.app_url}/webhooks/answer?uuid={uuid.uuid4()}"
    assert requests.get(url, headers=headers, timeout=5).status_code == 200
    assert requests.get(url, headers=headers, data=b"{}", timeout=5).status_code == 401


# Each route asks


@pytest.mark.parametrize("path", ["/webhooks/answer", "/webhooks/event", "/webhooks/rtc"])
def test_each_webhook_refuses_another_secret(conference: InProcess, path: str) -> None:
    headers = {"Authorization": encode(conference.account, "x" * 32, "HS256")}
    response = requests.post(conference.app_url + path, data=BODY, headers=headers, timeout=5)
    assert response.status_code == 401
    assert response.json() == {"error": "Invalid or missing signature."}
    log = conference.log.read_text()
    assert f"POST {path}: 401 Invalid or missing signature. (" in log
    assert "VONAGE_SIGNATURE_SECRET" in log
    assert conference.store.live() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [("/webhooks/answer", 401), ("/webhooks/event", 401), ("/webhooks/rtc", 204)],
)
def test_only_an_rtc_event_may_come_without_a_token(
    conference: InProcess, path: str, status: int
) -> None:
    response = requests.post(conference.app_url + path, data=BODY, timeout=5)
    assert response.status_code == status
    assert conference.store.live() == []


def test_without_a_secret_webhooks_are_accepted_and_the_start_says_so(
    start: StartSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sandbox = start(VONAGE_SIGNATURE_SECRET="")
    create_app(sandbox.config)
    url = f"{sandbox.app_url}/webhooks/answer"
    assert requests.post(url, data=BODY, timeout=5).status_code == 200
    assert "VONAGE_SIGNATURE_SECRET, without it" in caplog.text


# A page in somebody's browser is not Vonage

CAUSED: dict[str, tuple[dict[str, str], int]] = {
    "another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "a sister site": ({"Sec-Fetch-Site": "same-site"}, 403),
    "an address that was typed": ({"Sec-Fetch-Site": "none"}, 200),
}


@pytest.mark.parametrize("secret", ["", "x" * 32])
@pytest.mark.parametrize("cause", CAUSED)
def test_another_sites_page_cannot_put_callers_on_the_line(
    start: StartSandbox, cause: str, secret: str
) -> None:
    sandbox = start(VONAGE_SIGNATURE_SECRET=secret)
    headers, status = CAUSED[cause]
    if secret and status == 200:
        status = 401
    url = f"{sandbox.app_url}/webhooks/answer?uuid={uuid.uuid4()}"
    assert requests.get(url, headers=headers, timeout=5).status_code == status
    assert len(sandbox.store.live()) == (status == 200)
    for path in ("event", "rtc"):
        url = f"{sandbox.app_url}/webhooks/{path}"
        response = requests.post(url, data=b"{}", headers=headers, timeout=5)
        assert (response.status_code == 403) == (status == 403)


# What comes in


def test_the_token_is_checked_before_the_body_is_read(account: Account) -> None:
    """Or whoever has none could keep a thread waiting."""
    headers = {"Authorization": encode(account, "x" * 32, "HS256"), "Content-Length": "9"}
    environ = create_environ("/webhooks/answer", method="POST", headers=headers)
    del environ["wsgi.input"]
    with pytest.raises(Unauthorized):
        check_signature(Request(environ), Config(), "y" * 32)
