"""What Vonage sends, checked before anything is kept."""

import json
import re
import time
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest

from calls import Leg
from config import Config

# The statuses that end a leg. [Vonage, Webhook reference]
ENDS = {"completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"}
UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
REGION_URL = re.compile(
    r"https://(api\.nexmo\.com|api-[a-z0-9-]+\.(?:nexmo|vonage)\.com)(?::443)?(?:/.*)?",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)


def body(request: Request) -> bytes:
    """The request's body; raises RequestEntityTooLarge above MAX_CONTENT_LENGTH, also in chunks."""
    data = request.get_data()
    if data and request.content_length is None:
        request.stream.read(1)  # Werkzeug cuts a chunked body at the limit, and raises only here
    return data


def parameters(request: Request) -> dict[str, Any]:
    """A GET's query, or the JSON object in the body, without nulls; raises BadRequest."""
    if request.method == "GET":
        return request.args.to_dict()
    try:
        given = json.loads(body(request))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body of a webhook must be JSON.") from error
    if not isinstance(given, dict):
        raise BadRequest("The body of a webhook must be a JSON object.")
    return {name: value for name, value in given.items() if value is not None}


def leg(request: Request, config: Config) -> Leg:
    """The leg that an answer webhook is about; raises BadRequest. [Vonage, Webhook reference]"""
    given = parameters(request)
    in_conference = config.ANSWER_WITH == "conversation"
    audio_url = config.VOICE_STREAM_URL or _music_url(request, config.PUBLIC_URL)
    if not audio_url and not in_conference:
        raise BadRequest("Set PUBLIC_URL: this request's Host is no address for the audio.")
    return Leg(
        uuid=uuid(given.get("uuid")),
        caller=text(given.get("from") or given.get("from_user")),
        api_host=_api_host(text(given.get("region_url"))),
        audio_url=audio_url,
        conference=config.VOICE_CONFERENCE_NAME if in_conference else None,
        joined=time.time(),
    )


def uuid(value: object) -> str:
    """A leg's uuid as it came, with or without hyphens; raises BadRequest."""
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise BadRequest("uuid must be 36 characters with hyphens, or 32 without, 0-9 and a-f.")
    return value


def text(value: object) -> str:
    """What a caller can choose, at most 256 characters, the unprintable ones left out."""
    if not isinstance(value, (str, int, float)):
        return ""
    kept = str(value)[:256]
    return kept if kept.isprintable() else "".join(filter(str.isprintable, kept))


def _music_url(request: Request, public_url: str | None) -> str | None:
    """The bundled music's address: where the webhook came in, as a tunnel or proxy says it."""
    scheme = request.headers.get("X-Forwarded-Proto") or request.scheme
    host = request.headers.get("X-Forwarded-Host") or request.headers.get("Host", "")
    address = "://".join(value.partition(",")[0].strip() for value in (scheme.lower(), host))
    if public_url is None and ADDRESS.fullmatch(address):
        public_url = address
    return public_url and f"{public_url}/static/hold-music.mp3"


def _api_host(region_url: str) -> str | None:
    """The host that controls this call, if it is one of Vonage's: our token goes there."""
    match = REGION_URL.fullmatch(region_url)
    return match[1].lower() if match else None
