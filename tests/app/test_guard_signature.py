"""Webhooks: each way to pretend to be Vonage is refused."""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Request
from werkzeug.exceptions import Unauthorized
from werkzeug.test import create_environ

from config import Config
from guard import check_signature
from sandbox import Account
from tests.helpers.sandboxes import InProcess, StartSandbox

Forge = Callable[[Account], str | None]
MINUTE = 60
BODY = b'{"uuid":"63f61863-4a51-4f6b-86e1-46edebcf9356","from":"447700900123"}'


def now() -> int:
    return int(time.time())


def check(account: Account, authorization: str | None, body: bytes = BODY, **more: str) -> None:
    """Let the guard check a POST with this body, or a GET if the body is empty."""
    headers = {} if authorization is None else {"Authorization": authorization}
    method = "POST" if body else "GET"
    environ = create_environ("/webhooks/answer", method=method, data=body, headers=headers)
    known = {"VONAGE_APPLICATION_ID": account.application_id}
    config = Config.from_text(known | more)
    check_signature(Request(environ), config, account.signature_secret)


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def by_hand(header: bytes, claims: bytes, secret: bytes) -> str:
    """Return a token that no library would make, signed by HS256 whatever the header says."""
    signed = encoded(header) + b"." + encoded(claims)
    signature = encoded(hmac.digest(secret, signed, "sha256"))
    return f"Bearer {signed.decode()}.{signature.decode()}"


def claims_of(account: Account) -> dict[str, Any]:
    """Return the claims of Vonage's token for the body."""
    return dict(jwt.decode(account.sign(BODY)[7:], options={"verify_signature": False}))


def made(header: bytes, claims: bytes = b"") -> Forge:
    """Make tokens by hand, signed with the right secret."""

    def forge(account: Account) -> str:
        signed = claims or json.dumps(claims_of(account)).encode()
        return by_hand(header, signed, account.signature_secret.encode())

    return forge


def vonages(**claims: Any) -> Forge:
    """Make tokens as Vonage does, with claims that replace its own."""
    return lambda account: account.sign(BODY, **claims)


def aged(seconds: int) -> Forge:
    """Make tokens that are this many seconds old, or ahead if negative."""
    return lambda account: account.sign(BODY, iat=now() - seconds)


def by_another_secret(account: Account) -> str:
    return encode(account, "x" * 32, "HS256")


def encode(account: Account, key: str, algorithm: str) -> str:
    return "Bearer " + jwt.encode(claims_of(account), key, algorithm)


HS256 = b'{"alg":"HS256"}'
ATTACKS: dict[str, Forge] = {
    "another scheme": lambda account: account.sign(BODY).replace("Bearer", "Basic"),
    "two tokens": lambda account: f"{account.sign(BODY)}, {account.sign(BODY)}",
    "parts that are no objects": lambda account: "Bearer W10.W10.W10",
    "letters that are not ASCII": lambda account: account.sign(BODY) + "\u00fc",
    "alg none": lambda account: str(made(b'{"alg":"none"}')(account)).rpartition(".")[0] + ".",
    "HS512": lambda account: encode(account, account.signature_secret, "HS512"),
    "an extension that must be understood": made(b'{"alg":"HS256","crit":["x"],"x":1}'),
    "claims that are no object": made(HS256, b"[]"),
    "claims nested deep": made(HS256, b"[" * 9_999),
    "iat missing": vonages(iat=None),
    "iat not a number": made(HS256, b'{"iat": "now"}'),
    "iat infinite": made(HS256, b'{"iat": Infinity}'),
    "iat a list": made(HS256, b'{"iat": []}'),
    "expired": vonages(exp=1),
    "payload_hash missing": vonages(payload_hash=None),
}
EXPLAINED: dict[str, tuple[Forge, str]] = {  # what the operator may have to correct
    "no header": (lambda account: None, "no Authorization header"),
    "another secret": (by_another_secret, "not made with VONAGE_SIGNATURE_SECRET"),
    "6 minutes old": (aged(6 * MINUTE), "iat is 36[01] s old: check this machine's clock"),
    "6 minutes ahead": (aged(-6 * MINUTE), "iat is 3(60|59) s ahead: check this machine's clock"),
    "another application": (
        vonages(application_id=str(uuid.UUID(int=7))),
        "application_id is not VONAGE_APPLICATION_ID",
    ),
    "a body changed after signing": (
        lambda account: account.sign(BODY.replace(b"4477", b"4478")),
        "changed after signing",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_stranger_cannot_pretend_to_be_vonage(account: Account, attack: str) -> None:
    bodies = [BODY]
    if "payload_hash" not in attack:
        bodies.append(b"")  # or it might be refused for its missing payload_hash alone
    for body in bodies:
        with pytest.raises(Unauthorized) as refused:
            check(account, ATTACKS[attack](account), body)
        assert refused.value.description == "Invalid or missing signature."
        assert refused.value.__cause__ is not None  # for the log


@pytest.mark.parametrize("attack", EXPLAINED)
def test_what_is_wrong_is_in_the_log(account: Account, attack: str) -> None:
    forge, reason = EXPLAINED[attack]
    with pytest.raises(Unauthorized) as refused:
        check(account, forge(account))
    assert re.search(reason, str(refused.value.__cause__))


GOOD: dict[str, Forge] = {
    "Vonage's": vonages(),
    "4 minutes old": aged(4 * MINUTE),
    "4 minutes ahead": aged(-4 * MINUTE),
    "not expired": lambda account: account.sign(BODY, exp=now() + MINUTE),
    "for an audience": vonages(aud="somebody", sub="x"),
    "without application_id": vonages(application_id=None),
    "with a number for jti": vonages(jti=7),
    "in small letters": lambda account: account.sign(BODY).replace("Bearer", "bearer"),
}


@pytest.mark.parametrize("token", GOOD)
def test_what_vonage_signed_passes(account: Account, token: str) -> None:
    check(account, GOOD[token](account))


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
    path = f"/webhooks/answer?uuid={uuid.uuid4()}"
    assert conference.request(path, headers=headers).status_code == 200
    assert conference.request(path, headers=headers, data=b"{}").status_code == 401


# Every route


@pytest.mark.parametrize(
    ("path", "without"),
    [("/webhooks/answer", 401), ("/webhooks/event", 401), ("/webhooks/rtc", 204)],
)
def test_each_webhook_refuses_another_secret_and_all_but_rtcs_no_token(
    conference: InProcess, path: str, without: int
) -> None:
    headers = {"Authorization": by_another_secret(conference.account)}
    response = conference.request(path, "POST", data=BODY, headers=headers)
    assert response.status_code == 401
    assert response.json() == {"error": "Invalid or missing signature."}
    log = conference.log.read_text()
    assert f"POST {path}: 401 Invalid or missing signature. (" in log
    assert "VONAGE_SIGNATURE_SECRET" in log
    assert conference.request(path, "POST", data=BODY).status_code == without
    assert conference.live == []


# What another site's page caused


@pytest.mark.parametrize("secret", ["", "x" * 32])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_sites_page_makes_no_callers(start: StartSandbox, site: str, secret: str) -> None:
    """Without a secret, an address that is typed shows the NCCO."""
    sandbox = start(VONAGE_SIGNATURE_SECRET=secret)
    status = 403
    if site == "none":
        status = 401 if secret else 200
    headers = {"Sec-Fetch-Site": site}
    path = f"/webhooks/answer?uuid={uuid.uuid4()}"
    assert sandbox.request(path, headers=headers).status_code == status
    assert len(sandbox.store.live()) == (status == 200)
    for path in ("/webhooks/event", "/webhooks/rtc"):
        response = sandbox.request(path, "POST", data=b"{}", headers=headers)
        assert (response.status_code == 403) == (status == 403)
