"""What Vonage tells us: the parameters of its webhooks, checked before anything is kept."""

from __future__ import annotations

import json
import re
from typing import Any

from werkzeug import Request

from errors import Trouble

# The words that end a leg. [Vonage, Webhook reference]
ENDS = {"completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"}
UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
LONGEST = 256  # characters kept of what a caller can choose

Parameters = dict[str, Any]


def parameters(request: Request) -> Parameters:
    """The query of a GET, or the JSON object in the body of a POST; raises Trouble (400)."""
    if request.method == "GET":
        return request.args.to_dict()
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise Trouble("The body of this webhook is not JSON.", status=400) from error
    if not isinstance(body, dict):
        raise Trouble("The body of this webhook is JSON, but not an object.", status=400)
    return body


def uuid(value: object) -> str:
    """A leg's uuid as it came, in either spelling; raises Trouble (400)."""
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise Trouble(
            "uuid must name a leg: 36 characters with hyphens or 32 without, 0-9 and a-f.",
            status=400,
        )
    return value


def text(value: object) -> str:
    """What a caller can choose, bounded and fit to be kept: never longer, never unencodable."""
    if not isinstance(value, (str, int)):
        return ""
    return str(value)[:LONGEST].encode("utf-8", "replace").decode()


def whole(request: Request) -> str:
    """All that came, for the log."""
    return request.get_data(as_text=True) or json.dumps(request.args)


def has_no_leg(event: Parameters) -> bool:
    """Whether the event is about no one leg: an error, machine detection, a recording."""
    if "uuid" in event:
        return False
    tells_of_a_leg = "status" in event or "conversation_uuid" not in event
    return "reason" in event or "call_uuid" in event or not tells_of_a_leg


def address(request: Request) -> str:
    """The address that the webhook came in on, where Vonage reaches us; raises Trouble (400).

    Behind a tunnel or a proxy, that is what it says was asked for. [ngrok, headers]
    """
    proto = _first(request, "X-Forwarded-Proto") or request.scheme
    host = _first(request, "X-Forwarded-Host") or request.headers.get("Host") or request.host
    if proto not in ("http", "https") or not HOST.fullmatch(host):
        raise Trouble("The Host header of this request names no host.", status=400)
    return f"{proto}://{host}"


def _first(request: Request, header: str) -> str:
    return request.headers.get(header, "").partition(",")[0].strip()
