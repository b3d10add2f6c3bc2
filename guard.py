"""Who may come in: Vonage's signature on webhooks; this machine, or the token, on the rest."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeGuard

from werkzeug import Request

from errors import Trouble

CLOCKS_MAY_DIFFER = 5 * 60  # seconds, either way
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?", re.IGNORECASE)
# A request with one of these did not come straight from a browser on this machine.
PROXY_HEADERS = re.compile(
    r"forwarded|x-forwarded|x-real-|via$|ngrok-|cf-|cdn-|true-client-|(x-)?client-|x-original-|"
    r"x-cluster-|x-envoy-|x-amzn-|x-arr-|x-azure-|x-appengine-|fastly-|fly-|tailscale-|x-proxy",
    re.IGNORECASE,
)
PURPOSE_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
AHEAD = re.compile("prefetch|prerender|preview", re.IGNORECASE)


class Unsigned(Trouble):
    """A webhook that Vonage did not sign: `reason` is for our log, not for the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__("This webhook takes only what Vonage has signed.", status=401)
        self.reason = reason


class Guard:
    """Checks the two doors; `clock` gives seconds since 1970."""

    def __init__(
        self,
        signature_secret: str | None,
        application_id: str | None,
        stream_token: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = signature_secret
        self._application_id = application_id
        self._token = stream_token
        self._clock = clock

    def webhook(self, request: Request) -> None:
        """Let in what Vonage signed; raise Unsigned for the rest. Without a secret, all come in.

        Checked are the one Bearer token, HS256, the signature, `iat` (at most five minutes
        either way), `exp`, `payload_hash` where there is a body, and `application_id`.
        [Vonage, Signed webhooks]

        The SDK's verify_signature does not serve: it refuses an `iat` that is ahead by a second,
        and looks neither at its age nor at the body.
        """
        if self._secret is None:
            return
        claims = self._claims(request.headers.get("Authorization"), self._secret)
        self._check_times(claims)
        body = request.get_data()
        if body and claims.get("payload_hash") != hashlib.sha256(body).hexdigest():
            raise Unsigned("payload_hash is not the hash of the body: changed after signing")
        ours, theirs = self._application_id, claims.get("application_id")
        if ours and theirs and ours != theirs:
            raise Unsigned("application_id is not VONAGE_APPLICATION_ID")

    def _claims(self, authorization: str | None, secret: str) -> dict[str, object]:
        if authorization is None:
            raise Unsigned("no Authorization header")
        if "," in authorization:
            raise Unsigned("more than one Authorization header")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unsigned("the Authorization header is not a Bearer token")
        try:
            signed, signature = token.encode().rsplit(b".", 1)
            header, claims = (_json(part) for part in signed.split(b"."))
        except (ValueError, RecursionError) as error:
            raise Unsigned("the token is malformed") from error
        if header.get("alg") != "HS256" or "crit" in header:
            raise Unsigned("the token is not signed with HS256")
        ours = urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).rstrip(b"=")
        if not hmac.compare_digest(signature, ours):
            raise Unsigned("the signature is not made with VONAGE_SIGNATURE_SECRET")
        return claims

    def _check_times(self, claims: dict[str, object]) -> None:
        now, iat, exp = self._clock(), claims.get("iat"), claims.get("exp")
        if not _is_number(iat):
            raise Unsigned("iat is missing or not a number")
        if not abs(now - iat) <= CLOCKS_MAY_DIFFER:
            raise Unsigned(
                f"iat is {abs(now - iat):.0f} s {'old' if iat < now else 'ahead'}: "
                "check this machine's clock"
            )
        if exp is not None and not (_is_number(exp) and exp > now):
            raise Unsigned("the token has expired")

    def operator(self, request: Request) -> None:
        """Let in whoever runs the server; raise Trouble (403) for everybody else.

        That is a request straight from this machine, or one with the token, but none that a
        browser made for another site's page or ahead of the user.
        """
        site = request.headers.get("Sec-Fetch-Site")
        if site in ("cross-site", "same-site"):
            raise _shut("A page of another site asked for this")
        if any(AHEAD.search(request.headers.get(name, "")) for name in PURPOSE_HEADERS):
            raise _shut("The browser asked for this ahead of you")
        if self._has_token(request):
            return
        if not _from_this_machine(request):
            raise _shut("This is only for whoever runs the server")
        if site is None and not _same_origin(request):  # a browser of before 2023
            raise _shut("A page of another site asked for this")

    def _has_token(self, request: Request) -> bool:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.values.get("token", "")
        return self._token is not None and hmac.compare_digest(
            given.encode("utf-8", "replace"), self._token.encode()
        )


def _shut(why: str) -> Trouble:
    return Trouble(
        f"{why}: open http://localhost on the machine where the server runs, with its port, or "
        "set STREAM_TOKEN there and send it as a Bearer token or as ?token=.",
        status=403,
    )


def _from_this_machine(request: Request) -> bool:
    try:
        peer = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    host = request.headers.get("Host", "")
    proxied = any(PROXY_HEADERS.match(name) for name, _ in request.headers)
    return peer.is_loopback and bool(THIS_MACHINE.fullmatch(host)) and not proxied


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("Host")


def _json(part: bytes) -> dict[str, object]:
    """The JSON object in a part of a token; ValueError if there is none."""
    value = json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
