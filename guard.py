"""Who may come in: Vonage, by its signature; and whoever runs the server."""

import hmac
import json
import re
import time
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import jwt
from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from config import Config
from webhooks import may_be_ours, read_body

CLOCKS_MAY_DIFFER = 5 * 60  # seconds, either way
# PyJWT has one leeway for iat and exp, so iat is checked here; the rest mean nothing to us.
LEFT_OUT = ("verify_iat", "verify_nbf", "verify_aud", "verify_sub", "verify_jti")
OPTIONS: Any = {"require": ["iat"], **dict.fromkeys(LEFT_OUT, False)}
BASIC = WWWAuthenticate("basic", {"realm": "Play audio into a call"})
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?", re.IGNORECASE)
# What proxies and tunnels add.
PROXY_HEADERS = ("forwarded", "x-real-ip", "via", "cf-connecting-ip", "true-client-ip")
PROXY_PREFIXES = ("x-forwarded-", "ngrok-")
# For what only the operator may see: not cached, not framed, no foreign script.
PRIVATE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # under no-referrer, browsers send "Origin: null"
    "X-Content-Type-Options": "nosniff",
}


def check_signature(request: Request, config: Config) -> None:
    """Let in what Vonage signed; raise Unauthorized for the rest. Without a secret, all come in.

    The reason is the error's cause: for the log, not for the answer. [Vonage, Signed webhooks]
    """
    if config.VONAGE_SIGNATURE_SECRET is None:
        return
    try:
        claims = read_claims(read_bearer(request), config.VONAGE_SIGNATURE_SECRET)
        check_age(claims["iat"])
        check_application(claims, config)
        # Last: who has no token must not keep a thread waiting for a body.
        check_payload(claims, read_body(request))
    except (jwt.PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
        # Some versions of PyJWT raise other errors than their own for odd tokens.
        raise Unauthorized("Invalid or missing signature.") from error


def read_bearer(request: Request) -> str:
    """The one Bearer token of a request; raises InvalidTokenError."""
    authorization = request.headers.get("Authorization")
    if authorization is None:
        raise jwt.InvalidTokenError("no Authorization header")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise jwt.InvalidTokenError("the Authorization header is not one Bearer token")
    return token


def read_claims(token: str, secret: str) -> dict[str, Any]:
    """The claims of a token that is signed with this secret and has not expired."""
    try:
        return jwt.decode(token, secret, algorithms=["HS256"], options=OPTIONS)
    except jwt.InvalidSignatureError:
        wrong = "the signature is not made with VONAGE_SIGNATURE_SECRET"
        raise jwt.InvalidSignatureError(wrong) from None


def check_age(issued_at: Any) -> None:
    """Refuse a token that was not made just now. `issued_at` is in seconds since 1970."""
    age = int(time.time()) - int(issued_at)
    if age > CLOCKS_MAY_DIFFER:
        raise jwt.InvalidTokenError(f"iat is {age} s old: check this machine's clock")
    if age < -CLOCKS_MAY_DIFFER:
        raise jwt.InvalidTokenError(f"iat is {-age} s ahead: check this machine's clock")


def check_application(claims: dict[str, Any], config: Config) -> None:
    """Refuse another application's token."""
    if not may_be_ours(claims.get("application_id"), config):
        raise jwt.InvalidTokenError("application_id is not VONAGE_APPLICATION_ID")


def check_payload(claims: dict[str, Any], body: bytes) -> None:
    """Refuse a body that was changed after signing. [support article 19033783342876]"""
    if not body:
        return
    claimed = claims.get("payload_hash")
    if claimed == sha256(body).hexdigest():
        return
    # Vonage signs compact JSON, and may one day send it in another form.
    compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False)
    if claimed != sha256(compact.encode()).hexdigest():
        raise jwt.InvalidTokenError("payload_hash is not the body's: changed after signing")


def check_operator(request: Request, config: Config) -> None:
    """Let in whoever runs the server: by the password or, without one, on this machine only.

    Raises Forbidden or Unauthorized, also for other sites' pages and prefetches. Reads no body.
    """
    check_site(request)
    check_prefetch(request)
    if config.STREAM_PASSWORD is not None:
        check_password(request, config.STREAM_PASSWORD)
    else:
        check_server(request)
        check_peer(request)
        check_host(request)
        check_proxy(request)


def check_site(request: Request) -> None:
    """Refuse what another site's page caused, except for a link to the page, which is harmless."""
    headers = request.headers
    if request.path == "/" and request.method == "GET" and is_navigation(request):
        return
    site = headers.get("Sec-Fetch-Site", "none")
    if site == "same-origin":
        return
    # WebKit reloads a page that was refused with "none", and with the other site's Referer.
    page = headers.get("Origin") or headers.get("Referer")
    if site == "none" and (page is None or is_own_page(page, headers.get("Host", ""))):
        return
    raise Forbidden("Another site's page caused this request. Open this address yourself.")


def is_navigation(request: Request) -> bool:
    """Whether a browser opens the address as a page of its own."""
    mode = request.headers.get("Sec-Fetch-Mode")
    destination = request.headers.get("Sec-Fetch-Dest")
    return mode == "navigate" and destination == "document"


def is_own_page(page: str, host: str) -> bool:
    """Whether the address of a page is at this host."""
    try:
        return urlsplit(page).netloc.lower() == host.lower()
    except ValueError:
        return False


def check_prefetch(request: Request) -> None:
    """Refuse what a browser asks for before anyone has opened it."""
    for name in ("Sec-Purpose", "Purpose"):
        purpose = request.headers.get(name, "").lower()
        if "prefetch" in purpose or "prerender" in purpose:
            raise Forbidden("Prefetch refused. Open this address yourself.")


def check_password(request: Request, password: str) -> None:
    """Ask for the password, with any user name."""
    given = ""
    authorization = request.authorization
    if authorization is not None and authorization.type == "basic":
        given = authorization.password or ""
    if hmac.compare_digest(given.encode(), password.encode()):
        return
    challenge = None
    if request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate":
        challenge = BASIC  # which opens the browser's password box
    wrong = "Wrong or missing STREAM_PASSWORD. Reload, and enter it when the browser asks."
    raise Unauthorized(wrong, www_authenticate=challenge)


def check_server(request: Request) -> None:
    """Without a password: only Werkzeug's own server gives the address of whoever connected."""
    if "werkzeug.socket" not in request.environ:
        raise not_from_here(request, "this server is neither `python app.py` nor `flask run`")


def check_peer(request: Request) -> None:
    """Without a password: only this machine may connect."""
    peer = request.remote_addr or "nowhere"
    if not is_loopback(peer):
        raise not_from_here(request, f"this request came from {peer}")


def is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        return bool(mapped.is_loopback)
    return found.is_loopback


def check_host(request: Request) -> None:
    """Without a password: the address that was opened must be this machine's own."""
    host = request.headers.get("Host", "")
    if not THIS_MACHINE.fullmatch(host):
        raise not_from_here(request, f"this request is for {host}")


def check_proxy(request: Request) -> None:
    """Without a password: no proxy or tunnel may have passed the request on."""
    if request.environ["SERVER_PROTOCOL"] == "HTTP/1.0":  # as nginx has it with a bare proxy_pass
        raise not_from_here(request, "this request came through a proxy, with HTTP/1.0")
    for name, _ in request.headers:
        if name.lower() in PROXY_HEADERS or name.lower().startswith(PROXY_PREFIXES):
            raise not_from_here(request, f"this request came through a proxy, with {name}")


def not_from_here(request: Request, found: str) -> Forbidden:
    """The error for what did not come straight from this machine."""
    port = request.environ.get("SERVER_PORT")
    return Forbidden(
        f"Without STREAM_PASSWORD, only a browser on this machine gets in, and {found}. "
        f"Open http://localhost:{port} on the server's machine, or set STREAM_PASSWORD "
        "and enter it when the browser asks."
    )
