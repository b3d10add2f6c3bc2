"""Read what a request brings, and clean text for the log and the page."""

import json
import re
from typing import Any, TypeGuard
from urllib.parse import unquote, urlsplit

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from config import is_host

LONGEST_BODY = 64 * 1024  # bytes
KEPT = 256  # characters that are kept of a value that a caller can choose
UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def read_body(request: Request) -> bytes:
    """Return a request's body; raise RequestEntityTooLarge above LONGEST_BODY."""
    # Werkzeug silently cuts a chunked body at MAX_CONTENT_LENGTH, which is one byte more.
    body = request.get_data()
    if len(body) > LONGEST_BODY:
        raise RequestEntityTooLarge
    return body


def read_parameters(request: Request) -> dict[str, Any]:
    """Return a GET's query, or the JSON object in the body, without nulls; raise BadRequest."""
    if request.method == "GET":
        return request.args.to_dict()
    try:
        given = json.loads(read_body(request))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body of a webhook must be JSON.") from error
    if not isinstance(given, dict):
        raise BadRequest("The body of a webhook must be a JSON object.")
    return {name: value for name, value in given.items() if value is not None}


def read_address(request: Request) -> str | None:
    """Return the scheme and host that a request came in on, before any proxy; None if invalid."""
    schemes = request.headers.get("X-Forwarded-Proto") or request.scheme
    hosts = request.headers.get("X-Forwarded-Host") or request.headers.get("Host", "")
    scheme = schemes.partition(",")[0].strip().lower()
    host = hosts.partition(",")[0].strip()
    if scheme not in ("http", "https") or not is_host(host):
        return None
    return f"{scheme}://{host}"


def wants_page(request: Request) -> bool:
    """Return whether a client prefers HTML to JSON; webhooks always answer JSON."""
    types = request.accept_mimetypes
    prefers_html = types["text/html"] > types["application/json"]
    return prefers_html and not request.path.startswith("/webhooks/")


def read_uuid(value: object) -> str:
    """Return a leg's uuid as it came, with or without hyphens; raise BadRequest."""
    if not is_uuid(value):
        raise BadRequest("uuid must be 36 characters with hyphens, or 32 without, 0-9 and a-f.")
    return value


def is_uuid(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    if isinstance(value, dict):
        return value
    return {}


def file_name(url: object) -> str:
    """Return the last part of an address, else its host, cleaned; "" for anything else."""
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    name = unquote(parts.path).rpartition("/")[2]
    return clean(name or parts.hostname)


def clean(value: object) -> str:
    """Return a text or number from outside, cut and printable; "" for anything else."""
    if not isinstance(value, (str, int, float)):
        return ""
    return printable(str(value)[:KEPT])


def printable(value: str) -> str:
    """Return a text without unprintable characters, such as line ends and terminal commands."""
    if value.isprintable():
        return value
    return "".join(filter(str.isprintable, value))
