"""What Vonage calls: the answer webhook, the event webhooks, and the reading of what it sends."""

import json
import logging
import re
import time
from typing import Any, TypeGuard

from flask import Blueprint, Request, Response, current_app, request, url_for
from pydantic import ValidationError
from werkzeug.exceptions import BadRequest, ServiceUnavailable

import ncco
from calls import MOST_LEGS, Calls, Leg
from config import ANY_URL, Config, is_public

METHODS = ["GET", "POST"]
KEPT = 256  # characters that are kept of what a caller can choose
MUSIC = "hold-music.mp3"
# The statuses that end a leg. [Vonage, Webhook reference]
ENDS = {"completed", "busy", "cancelled", "unanswered", "rejected", "failed", "timeout"}
# What is known of a leg's audio after an event. [Vonage, Conversation API, Event]
AUDIO_EVENTS = {"audio:play": "playing", "audio:play:done": "over", "audio:play:stop": "stopped"}
UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
REGION_URL = re.compile(
    r"https://(api\.nexmo\.com|api-[a-z0-9-]+\.(?:nexmo|vonage)\.com)(?::443)?(?:/.*)?",
    re.IGNORECASE | re.ASCII,
)
ADDRESS = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)

log = logging.getLogger("app")
blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@blueprint.route("/answer", methods=METHODS, strict_slashes=False)
def answer() -> Response:
    """Put the caller on the line, and say what to play. [Vonage, Webhook reference]"""
    config: Config = current_app.extensions["config"]
    calls: Calls = current_app.extensions["calls"]
    leg = read_leg(request, config)
    who = f"leg {leg.uuid}"
    try:
        count = calls.join(leg)
    except ServiceUnavailable as error:
        count = MOST_LEGS  # better a conference that starts early than one that never does
        log.error("%s could not be saved, so /stream cannot reach it: %s", who, error.description)
    else:
        told = ncco.in_words(config, leg, count)
        log.info("%s from %s joined: %s", who, leg.short_caller, told)
    if leg.audio_url is None or not is_public(leg.audio_url):
        where = f"the audio's address ({leg.audio_url})"
        log.warning("%s: %s is not on the public internet: set PUBLIC_URL", who, where)
    actions = ncco.for_leg(config, leg, count)
    return Response(json.dumps(actions), mimetype="application/json")


@blueprint.route("/event", methods=METHODS, strict_slashes=False)
def event() -> tuple[str, int]:
    """Log the event, and take a leg that has ended off the line. [Vonage, Webhook reference]"""
    calls: Calls = current_app.extensions["calls"]
    given = read_parameters(request)
    status = clean(given.get("status"))
    who = "event without a uuid"
    if "uuid" in given:
        uuid = read_uuid(given["uuid"])
        who = f"leg {uuid}"
        if status in ENDS:
            calls.end(uuid)
    reason = clean(given.get("reason"))
    if reason and not status:  # often the only sign of a broken NCCO
        log.warning("%s: error: %s", who, reason)
        return "", 204
    what = first_text(given, "status", "type") or "no status"
    duration = clean(given.get("duration"))
    if duration:
        what += f" after {duration} s"
    if reason:
        what += f": {reason}"
    log.info("%s: %s", who, what)
    return "", 204


@blueprint.post("/rtc", strict_slashes=False)
def rtc() -> tuple[str, int]:
    """Note what becomes of audio in a leg, and nothing else. [Vonage, Conversation API, Event]"""
    config: Config = current_app.extensions["config"]
    calls: Calls = current_app.extensions["calls"]
    given = read_parameters(request)
    kind = clean(given.get("type"))
    if kind not in AUDIO_EVENTS or not may_be_ours(given.get("application_id"), config):
        return "", 204
    body = as_object(given.get("body"))
    uuid = as_object(body.get("channel")).get("id")
    if not is_uuid(uuid):
        log.info("%s without a leg", kind)
        return "", 204
    error = clean(body.get("error"))
    if error:
        audio = f"could not be played: {error}"
        log.warning("leg %s: audio %s", uuid, audio)
    else:
        audio = AUDIO_EVENTS[kind]
        log.info("leg %s: audio %s", uuid, audio)
    calls.note(uuid, audio)
    return "", 204


def read_body(incoming: Request) -> bytes:
    """A request's body; raises RequestEntityTooLarge above MAX_CONTENT_LENGTH, also in chunks."""
    body = incoming.get_data()
    if body and incoming.content_length is None:
        incoming.stream.read(1)  # Werkzeug cuts a chunked body at the limit, and raises only here
    return body


def read_parameters(incoming: Request) -> dict[str, Any]:
    """A GET's query, or the JSON object in the body, without nulls; raises BadRequest."""
    if incoming.method == "GET":
        return incoming.args.to_dict()
    try:
        given = json.loads(read_body(incoming))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body of a webhook must be JSON.") from error
    if not isinstance(given, dict):
        raise BadRequest("The body of a webhook must be a JSON object.")
    return {name: value for name, value in given.items() if value is not None}


def read_leg(incoming: Request, config: Config) -> Leg:
    """The leg that an answer webhook is about; raises BadRequest. [Vonage, Webhook reference]"""
    given = read_parameters(incoming)
    uuid = read_uuid(given.get("uuid"))
    conference = None
    if config.ANSWER_WITH == "conversation":
        conference = config.VOICE_CONFERENCE_NAME
    audio_url = config.VOICE_STREAM_URL or find_music(incoming, config)
    if audio_url is None and conference is None:
        raise BadRequest("Set PUBLIC_URL: this request's Host is no address for the audio.")
    return Leg(
        uuid=uuid,
        caller=first_text(given, "from", "from_user"),
        api_host=read_api_host(given.get("region_url")),
        audio_url=audio_url,
        conference=conference,
        joined=time.time(),
    )


def read_uuid(value: object) -> str:
    """A leg's uuid as it came, with or without hyphens; raises BadRequest."""
    if not is_uuid(value):
        raise BadRequest("uuid must be 36 characters with hyphens, or 32 without, 0-9 and a-f.")
    return value


def is_uuid(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def read_api_host(region_url: object) -> str | None:
    """The host that controls this call, if it is one of Vonage's: our token goes there."""
    match = REGION_URL.fullmatch(clean(region_url))
    if match is None:
        return None
    return match[1].lower()


def may_be_ours(application_id: object, config: Config) -> bool:
    """Whether an application's id, as Vonage sends it, may be ours: either side may lack one."""
    if not application_id or config.VONAGE_APPLICATION_ID is None:
        return True
    return application_id == config.VONAGE_APPLICATION_ID


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one in place of anything else."""
    if isinstance(value, dict):
        return value
    return {}


def first_text(given: dict[str, Any], *names: str) -> str:
    """The first of these fields that has a text, cleaned."""
    for name in names:
        value = clean(given.get(name))
        if value:
            return value
    return ""


def clean(value: object) -> str:
    """A text or number from outside, cut and printable; "" for anything else."""
    if not isinstance(value, (str, int, float)):
        return ""
    return printable(str(value)[:KEPT])


def printable(value: str) -> str:
    """A text without its unprintable characters, such as ends of lines and terminals' commands."""
    if value.isprintable():
        return value
    return "".join(filter(str.isprintable, value))


def find_music(incoming: Request, config: Config) -> str | None:
    """The bundled music's address: at PUBLIC_URL, else where this webhook came in.

    A tunnel or proxy says so in X-Forwarded-Proto and X-Forwarded-Host, of which the first counts.
    """
    if config.PUBLIC_URL is not None:
        return f"{config.PUBLIC_URL}/static/{MUSIC}"
    scheme = incoming.headers.get("X-Forwarded-Proto") or incoming.scheme
    host = incoming.headers.get("X-Forwarded-Host") or incoming.headers.get("Host", "")
    address = f"{first_of(scheme).lower()}://{first_of(host)}"
    if not ADDRESS.fullmatch(address) or not is_address(address):
        return None
    return address + url_for("static", filename=MUSIC)


def is_address(value: str) -> bool:
    """Whether a URL has a host and a port that can be: [::::] and 99999 cannot."""
    try:
        ANY_URL.validate_python(value)
    except ValidationError:
        return False
    return True


def first_of(header: str) -> str:
    return header.partition(",")[0].strip()
