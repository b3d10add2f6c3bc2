"""Who may come in: Vonage, by its signature; and whoever runs the server."""

import hmac
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256

from flask import Request
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

import webhooks
from config import Config

CLOCKS_MAY_DIFFER = 5 * 60  # seconds, either way
BEARER = re.compile(r"Bearer (([\w-]+)\.([\w-]+)\.[\w-]*)", re.ASCII | re.IGNORECASE)
BASIC = WWWAuthenticate("basic", {"realm": "Play audio into a call"})
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?", re.IGNORECASE)
# A request with such a header, or in HTTP/1.0, which nginx speaks with a bare proxy_pass, did not
# come straight from a browser on this machine.
PROXY_SIGNS = re.compile(
    r"http/1\.0|forwarded|x-forwarded|x-real-|via$|ngrok-|cf-|cdn-|true-client-|(x-)?client-|x-original-|"
    r"x-cluster-|x-envoy-|x-amzn-|x-arr-|x-azure-|x-appengine-|fastly-|fly-|tailscale-|x-proxy",
    re.IGNORECASE,
)
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
        wrong = _what_is_wrong(request, config, config.VONAGE_SIGNATURE_SECRET)
    except (BadData, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        wrong = f"the token is malformed: {error}"
    if wrong:
        raise Unauthorized("Invalid or missing signature.") from ValueError(wrong)


def _what_is_wrong(request: Request, config: Config, secret: str) -> str | None:
    authorization = request.headers.get("Authorization")
    if authorization is None:
        return "no Authorization header"
    bearer = BEARER.fullmatch(authorization)
    if bearer is None:
        return "the Authorization header is not one Bearer token"
    header, claims = (json.loads(base64_decode(part)) for part in bearer.group(2, 3))
    if header["alg"] != "HS256" or "crit" in header:
        return "the token is not signed with HS256"
    if not _signer(secret).validate(bearer[1]):
        return "the signature is not made with VONAGE_SIGNATURE_SECRET"
    off = claims["iat"] - time.time()
    if not abs(off) <= CLOCKS_MAY_DIFFER:
        when = "old" if off < 0 else "ahead"
        return f"iat is {abs(off):.0f} s {when}: check this machine's clock"
    if claims.get("exp") is not None and not claims["exp"] > time.time():
        return "the token has expired"
    theirs = claims.get("application_id")
    if theirs and config.VONAGE_APPLICATION_ID not in (None, theirs):
        return "application_id is not VONAGE_APPLICATION_ID"
    body = webhooks.body(request)  # last: who has no token must not keep a thread waiting
    if body and claims.get("payload_hash") not in _hashes(body):
        return "payload_hash is not the body's: changed after signing"
    return None


@lru_cache(maxsize=1)
def _signer(secret: str) -> Signer:
    """What JWT calls HS256. [RFC 7515, appendix A.1]"""
    return Signer(secret, sep=".", key_derivation="none", digest_method=sha256)


def _hashes(body: bytes) -> Iterator[str | None]:
    """Of the body, and of it as compact JSON, as Vonage has it. [support article 19033783342876]"""
    yield sha256(body).hexdigest()
    with suppress(ValueError, RecursionError):
        compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False)
        yield sha256(compact.encode()).hexdigest()


def check_operator(request: Request, config: Config) -> None:
    """Let in whoever runs the server: by the password or, without one, on this machine only.

    Raises Forbidden or Unauthorized, also for other sites' pages and prefetches. Reads no body.
    """
    headers, host = request.headers, request.headers.get("Host", "").lower()
    site, page = headers.get("Sec-Fetch-Site"), headers.get("Origin") or headers.get("Referer")
    if site is None and page is not None:  # a browser of before 2023
        site = "same-origin" if re.match(f"https?://{re.escape(host)}(/|$)", page.lower()) else page
    if site not in ("same-origin", "none", None):
        raise Forbidden("Another site's page caused this request. Open this address yourself.")
    if re.search("(?i)pre(fetch|render)", f"{headers.get('Sec-Purpose')}{headers.get('Purpose')}"):
        raise Forbidden("Prefetch refused. Open this address yourself.")
    if config.STREAM_PASSWORD is not None:
        given = (request.authorization and request.authorization.password) or ""
        if not hmac.compare_digest(given.encode(), config.STREAM_PASSWORD.encode()):
            raise Unauthorized("Wrong or missing STREAM_PASSWORD.", www_authenticate=BASIC)
    elif found := _elsewhere(request):
        only = "Without STREAM_PASSWORD, only a browser on this machine gets in"
        raise Forbidden(f"{only}, and {found}. Set it, and enter it when the browser asks.")


def _elsewhere(request: Request) -> str | None:
    """What shows that the request did not come straight from this machine, or None."""
    if "werkzeug.socket" not in request.environ:
        return "this server is neither `python app.py` nor `flask run`"
    peer = request.remote_addr or "nowhere"
    if not peer.startswith(("127.", "::ffff:127.")) and peer != "::1":
        return f"this request came from {peer}"
    if not THIS_MACHINE.fullmatch(request.headers.get("Host", "")):
        return f"this request is for {webhooks.text(request.headers.get('Host'))}"
    signs = [request.environ["SERVER_PROTOCOL"], *request.headers.keys()]
    sign = next((sign for sign in signs if PROXY_SIGNS.match(sign)), None)
    return sign and f"this request came through a proxy, with {webhooks.text(sign)}"
