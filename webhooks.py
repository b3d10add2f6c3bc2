"""What Vonage calls: the answer webhook, the event webhook, and the webhook of RTC's events."""

import logging
import re
import time
from datetime import datetime, timezone
from typing import Any

from flask import Blueprint, current_app, request, url_for
from pydantic import TypeAdapter
from werkzeug.exceptions import BadRequest, ServiceUnavailable

import ncco
from calls import ENDS, MOST_LEGS, AudioNote, Calls, Leg, News
from config import Config, is_public
from guard import CLOCKS_MAY_DIFFER, check_vonage
from incoming import as_object, clean, file_name, is_uuid, read_address, read_parameters, read_uuid

METHODS = ["GET", "POST"]
MUSIC = "hold-music.mp3"
# Fields that only events have, not requests for an NCCO. [Vonage, Webhook reference]
EVENT_FIELDS = {"status", "type", "reason", "dtmf", "speech", "recording_url"}
# RTC's events about audio. [Vonage, Conversation API, Event]
AUDIO_EVENTS = ("audio:play", "audio:play:done", "audio:play:stop")
REGION_URL = re.compile(
    r"https://(api\.nexmo\.com|api-[a-z0-9-]+\.(?:nexmo|vonage)\.com)(?::443)?(?:/.*)?",
    re.IGNORECASE | re.ASCII,
)
TIME = TypeAdapter(datetime)

log = logging.getLogger("app")
blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@blueprint.before_request
def check_sender() -> None:
    check_vonage(request, current_app.extensions["config"])


@blueprint.route("/answer", methods=METHODS, strict_slashes=False)
def answer() -> list[dict[str, Any]] | tuple[str, int]:
    """Put the caller on the line, and say what to play. [Vonage, Webhook reference]"""
    config: Config = current_app.extensions["config"]
    given = read_parameters(request)
    if is_event(given):
        warn_of_address("/webhooks/event", "Event URL")
        take_event(given)
        return "", 204
    leg = create_leg(given, config)
    count = join(leg, config)
    if leg.audio_url is None or not is_public(leg.audio_url):
        where = f"the audio's address ({leg.audio_url})"
        log.warning("leg %s: %s is not on the public internet: set PUBLIC_URL", leg.uuid, where)
    return ncco.for_leg(config, leg, count)


@blueprint.route("/event", methods=METHODS, strict_slashes=False)
def event() -> tuple[str, int]:
    """Log the event, and take a leg that has ended off the line. [Vonage, Webhook reference]"""
    take_event(read_parameters(request))
    return "", 204


@blueprint.post("/rtc", strict_slashes=False)
def rtc() -> tuple[str, int]:
    """Note what becomes of audio in a leg, and nothing else. [Vonage, Conversation API, Event]"""
    given = read_parameters(request)
    # This may be unsigned: it must not start or end a call.
    if ":" in clean(given.get("type")) and "status" not in given:  # as in audio:play
        take_audio_event(given)
    elif is_event(given):
        warn_of_address("/webhooks/event", "Event URL")
    elif "uuid" in given:
        warn_of_address("/webhooks/answer", "Answer URL")
    return "", 204


def join(leg: Leg, config: Config) -> int:
    """Put the leg on the line, and return how many are on it in its conference."""
    calls: Calls = current_app.extensions["calls"]
    try:
        count = calls.join(leg)
    except ServiceUnavailable as error:
        lost = "could not be saved, so /stream cannot reach it"
        log.error("leg %s %s: %s", leg.uuid, lost, error.description)
        return MOST_LEGS  # better a conference that starts early than one that never does
    words = ncco.in_words(config, leg, count)
    log.info("leg %s from %s joined: %s", leg.uuid, leg.short_caller, words)
    return count


def is_event(given: dict[str, Any]) -> bool:
    """Return whether this is an event, not a request for an NCCO."""
    return not EVENT_FIELDS.isdisjoint(given)


def warn_of_address(right: str, name: str) -> None:
    """Warn that one of the application's addresses leads to the wrong webhook."""
    what = f"{request.path} received what belongs to {right}"
    log.warning("%s: correct the application's %s", what, name)


def take_event(given: dict[str, Any]) -> None:
    """Log an event, and end the leg if its status says so."""
    calls: Calls = current_app.extensions["calls"]
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
        return
    what = status or clean(given.get("type")) or "no status"
    duration = clean(given.get("duration"))
    if duration:
        what += f" after {duration} s"
    if reason:
        what += f": {reason}"
    log.info("%s: %s", who, what)


def take_audio_event(given: dict[str, Any]) -> None:
    """Note what an event of RTC says of the audio in a live leg; ignore the other events."""
    config: Config = current_app.extensions["config"]
    calls: Calls = current_app.extensions["calls"]
    kind = clean(given.get("type"))
    if kind not in AUDIO_EVENTS or not config.may_be_ours(given.get("application_id")):
        return
    body = as_object(given.get("body"))
    uuid = as_object(body.get("channel")).get("id")
    if not is_uuid(uuid):
        log.info("%s without a leg", kind)
        return
    audio = read_audio_note(kind, body)
    leg = calls.note(uuid, audio, read_time(given.get("timestamp")))
    if audio.state != "failed":
        log.info("leg %s: audio %s", uuid, audio.state)
        return
    log.warning("leg %s: audio could not be played: %s", uuid, audio.detail)
    if leg is not None:
        text = f"Audio for {leg.short_caller} could not be played: {audio.detail}"
        calls.tell(News(time.time(), text, bad=True))


def read_audio_note(kind: str, body: dict[str, Any]) -> AudioNote:
    """Return what the body of an RTC event about audio says."""
    error = clean(body.get("error"))
    if error:
        return AudioNote("failed", error)
    if kind == "audio:play:done":
        return AudioNote("over")
    if kind == "audio:play:stop":
        return AudioNote("stopped")
    url = body.get("stream_url")  # in a list of one
    if isinstance(url, list) and url:
        url = url[0]
    return AudioNote("playing", file_name(url))


def read_time(timestamp: object) -> float:
    """Return a timestamp in seconds since 1970, or now if it is missing, invalid or ahead."""
    now = time.time()
    try:
        at = TIME.validate_python(timestamp)
    except ValueError:
        return now
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone.utc)
    seconds = at.timestamp()
    if seconds > now + CLOCKS_MAY_DIFFER:
        return now
    return seconds


def create_leg(given: dict[str, Any], config: Config) -> Leg:
    """Return the leg that asks for its NCCO; raise BadRequest. [Vonage, Webhook reference]"""
    uuid = read_uuid(given.get("uuid"))
    conference = None
    if config.ANSWER_WITH == "conversation":
        conference = config.VOICE_CONFERENCE_NAME
    audio_url = config.VOICE_STREAM_URL or find_music(config)
    if audio_url is None and conference is None:
        raise BadRequest("Set PUBLIC_URL: this request's Host is no address for the audio.")
    return Leg(
        uuid=uuid,
        caller=clean(given.get("from")) or clean(given.get("from_user")),
        api_host=read_api_host(given.get("region_url")),
        audio_url=audio_url,
        conference=conference,
        joined=time.time(),
    )


def read_api_host(region_url: object) -> str | None:
    """Return the host that controls this call if it is one of Vonage's: our token goes there."""
    match = REGION_URL.fullmatch(clean(region_url))
    if match is None:
        return None
    return match[1].lower()


def find_music(config: Config) -> str | None:
    """Return the bundled music's address: at PUBLIC_URL, else where this webhook came in."""
    if config.PUBLIC_URL is not None:
        return f"{config.PUBLIC_URL}/static/{MUSIC}"
    address = read_address(request)
    if address is None:
        return None
    return address + url_for("static", filename=MUSIC)
