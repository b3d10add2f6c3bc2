"""Who gets in: Vonage, by its signature; and the operator, by a password or on this machine."""

import hmac
import json
import re
import time
from contextlib import suppress
from hashlib import sha256
from threading import Lock
from typing import Any, Literal

import jwt
from flask import Request, abort, redirect
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, ServiceUnavailable, Unauthorized

from config import LOOPBACK, Config
from incoming import read_address, read_body, wants_page

CLOCKS_MAY_DIFFER = 5 * 60  # seconds, either way
# PyJWT has one leeway for iat and exp, so iat is checked here; the rest are not used.
LEFT_OUT = ("verify_iat", "verify_nbf", "verify_aud", "verify_sub", "verify_jti")
OPTIONS: Any = {"require": ["iat"], **dict.fromkeys(LEFT_OUT, False)}
BASIC = WWWAuthenticate("basic", {"realm": "Play audio into a call"})
FROM_SCRIPT = "X-Page-Script"  # the header of the page's own script
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?", re.IGNORECASE)
FOREIGN = ("cross-site", "same-site")  # in Sec-Fetch-Site, which only browsers send
PLAYERS = ("/stream", "/stream/stop")
PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
# Prefixes of headers that proxies and tunnels add.
PROXY_HEADERS = (
    "forwarded",
    "x-forwarded-",
    "x-real-ip",
    "via",
    "cf-connecting-ip",
    "true-client-ip",
    "ngrok-",
)

reading_unsigned = Lock()


def check_vonage(request: Request, config: Config) -> None:
    """Let in Vonage's webhooks; raise Unauthorized, Forbidden or ServiceUnavailable."""
    # Without a secret, any page in a browser could put callers on the line.
    if request.headers.get("Sec-Fetch-Site") in FOREIGN:
        raise Forbidden("Another site's page caused this request.")
    if config.VONAGE_SIGNATURE_SECRET is None:
        return
    if request.endpoint == "webhooks.rtc" and "Authorization" not in request.headers:
        # Vonage does not document whether it signs these events.
        read_unsigned_body(request)
    else:
        check_signature(request, config, config.VONAGE_SIGNATURE_SECRET)


def read_unsigned_body(request: Request) -> None:
    """Read a body from anyone, one at a time: slow ones must not take every thread."""
    # Bodies that have arrived are read within the wait, so that events at one moment all count.
    if not reading_unsigned.acquire(timeout=0.01):
        raise ServiceUnavailable("Another unsigned event is being received. Try again.")
    try:
        read_body(request)
    finally:
        reading_unsigned.release()


def check_signature(request: Request, config: Config, secret: str) -> None:
    """Let in what Vonage signed with the secret; raise Unauthorized for the rest.

    The reason is the error's cause: it goes to the log, not into the answer.
    [Vonage, Signed webhooks]
    """
    try:
        claims = read_claims(request, secret)
        check_age(claims["iat"])
        if not config.may_be_ours(claims.get("application_id")):
            raise jwt.InvalidTokenError("application_id is not VONAGE_APPLICATION_ID")
        # Last: a sender without a token must not keep a thread waiting for a body.
        check_payload(claims, read_body(request))
    except (jwt.PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
        # For odd claims and bodies, int(), json and some versions of PyJWT raise the others.
        raise Unauthorized("Invalid or missing signature.") from error


def read_claims(request: Request, secret: str) -> dict[str, Any]:
    """Return the claims of the Bearer token, which must be signed with the secret and unexpired."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        raise jwt.InvalidTokenError("no Authorization header")
    if scheme.lower() != "bearer":
        raise jwt.InvalidTokenError("the Authorization header is not one Bearer token")
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


def check_payload(claims: dict[str, Any], body: bytes) -> None:
    """Refuse a body that was changed after signing. [support article 19033783342876]"""
    if not body:
        return
    claimed = claims.get("payload_hash")
    if claimed == sha256(body).hexdigest():
        return
    # The hash is of compact JSON, which the body may not be.
    compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False)
    if claimed != sha256(compact.encode()).hexdigest():
        raise jwt.InvalidTokenError("payload_hash is not the body's: changed after signing")


def check_operator(request: Request, config: Config) -> None:
    """Let in only the operator, without reading a body; raise Forbidden or Unauthorized."""
    check_prefetch(request)
    check_source(request, config)
    if config.STREAM_PASSWORD is not None:
        check_password(request, config.STREAM_PASSWORD)
    else:
        check_is_here(request)


def check_source(request: Request, config: Config) -> None:
    """Raise Forbidden for what another site's page caused; redirect its links to the page."""
    source = find_source(request)
    is_link = is_navigation(request) and request.headers.get("Sec-Fetch-Site") in FOREIGN
    # At a plain http address of another machine, browsers may not say whose page caused it.
    may_be_link = source != "own" and config.STREAM_PASSWORD and is_untraceable(request)
    if request.method == "GET" and request.path in PLAYERS and (is_link or may_be_link):
        abort(redirect(f"{request.script_root}/", 303))
    opens_page = request.method == "GET" and request.path == "/" and is_navigation(request)
    if source == "foreign" and not opens_page:
        raise Forbidden("Another site's page caused this request. Open this address yourself.")


def find_source(request: Request) -> Literal["own", "foreign", "none"]:
    """Return whose page caused a request: "none" if it names none, as when it was typed."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site == "same-origin":
        return "own"
    if site != "none":
        return "foreign"
    # WebKit reloads a page that was refused with "none", and with the other site's Referer.
    page = request.headers.get("Origin") or request.headers.get("Referer")
    if page is None:
        return "none"
    host = page.lower().partition("://")[2].partition("/")[0]
    if host == request.headers.get("Host", "").lower():
        return "own"
    return "foreign"


def is_navigation(request: Request) -> bool:
    """Return whether a browser opens the address as a page of its own."""
    mode = request.headers.get("Sec-Fetch-Mode")
    destination = request.headers.get("Sec-Fetch-Dest")
    return mode == "navigate" and destination == "document"


def is_untraceable(request: Request) -> bool:
    """Return whether a browser sent this to a plain http address of another machine.

    There, browsers send no Sec-Fetch headers, and another site can leave the Referer out.
    """
    headers = request.headers
    if "Sec-Fetch-Site" in headers or THIS_MACHINE.fullmatch(headers.get("Host", "")):
        return False
    # An image is not requested as HTML, but every browser names Mozilla.
    is_from_browser = wants_page(request) or "Mozilla/" in headers.get("User-Agent", "")
    return is_from_browser and not (read_address(request) or "").startswith("https:")


def check_prefetch(request: Request) -> None:
    """Raise Forbidden for what a browser requests before anyone has opened it."""
    if any(name in request.headers for name in PREFETCH_HEADERS):
        raise Forbidden("Prefetch refused. Open this address yourself.")


def check_password(request: Request, password: str) -> None:
    """Raise Unauthorized unless the password is given, with any user name."""
    given = ""
    with suppress(ValueError):  # Werkzeug's, for characters that are not ASCII
        authorization = request.authorization
        if authorization is not None and authorization.type == "basic":
            given = authorization.password or ""
    if hmac.compare_digest(given.encode(), password.encode()):
        return
    challenge = None
    if FROM_SCRIPT not in request.headers:
        challenge = BASIC  # which opens the browser's password box
    wrong = "Wrong or missing STREAM_PASSWORD. Reload, and enter it when the browser asks."
    raise Unauthorized(wrong, www_authenticate=challenge)


def check_is_here(request: Request) -> None:
    """Raise Forbidden unless the request came straight from a browser on this machine."""
    peer = request.remote_addr or "nowhere"
    host = request.headers.get("Host", "")
    # Other servers may set REMOTE_ADDR from a header.
    if "werkzeug.socket" not in request.environ:
        raise not_local(request, "this server is neither `python app.py` nor `flask run`")
    if not LOOPBACK.fullmatch(peer):
        raise not_local(request, f"this request came from {peer}")
    if not THIS_MACHINE.fullmatch(host):
        raise not_local(request, f"this request is for {host}")
    if request.environ["SERVER_PROTOCOL"] == "HTTP/1.0":  # which nginx's bare proxy_pass speaks
        raise not_local(request, "this request came through a proxy, with HTTP/1.0")
    for name, _ in request.headers:
        if name.lower().startswith(PROXY_HEADERS):
            raise not_local(request, f"this request came through a proxy, with {name}")


def not_local(request: Request, found: str) -> Forbidden:
    """Return the error for what did not come straight from this machine."""
    port = request.environ.get("SERVER_PORT")
    return Forbidden(
        f"Without STREAM_PASSWORD, only a browser on this machine gets in, and {found}. "
        f"Open http://localhost:{port} on the server's machine, or set STREAM_PASSWORD "
        "and enter it when the browser asks."
    )
