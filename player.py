"""What the operator opens: the page, /stream and /stream/stop."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from flask import Blueprint, current_app, render_template, request
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, NotFound, ServiceUnavailable

from calls import AudioNote, Calls, Leg, News, key
from config import Audio, Config, ConfigError, check
from incoming import clean, file_name, read_body, wants_page
from ncco import describe_count
from voice import NoSuchLeg, Outcome, Voice

METHODS = ["GET", "POST"]
AUDIO = tuple(Audio.model_fields)  # url, loop, level

log = logging.getLogger("app")
blueprint = Blueprint("player", __name__)


class WrongAddress(BadRequest):
    """The address of the audio, typed on the page, is not public."""


@blueprint.get("/")
def page() -> str:
    """Show the legs on the line, what happened, and what is not set up yet."""
    return show_page()


@blueprint.route("/stream", methods=METHODS)
def stream() -> str | dict[str, Any]:
    """Play the audio into the active call, as the parameters of this request say."""
    calls: Calls = current_app.extensions["calls"]
    voice: Voice = current_app.extensions["voice"]
    with voice.turn():  # includes reading the body: slow ones occupy two threads at most
        check_parameters("uuid", *AUDIO)
        audio = read_audio()
        legs = find_legs(calls.live())
        name = file_name(audio.url or legs[0].audio_url) or "the audio"
        outcomes = voice.play(legs, audio)
    return report(f"Sent {name} to", AudioNote("sent", name), outcomes)


@blueprint.route("/stream/stop", methods=METHODS)
def stop() -> str | dict[str, Any]:
    """Stop the audio in the active call, or in the leg that `uuid` names."""
    calls: Calls = current_app.extensions["calls"]
    voice: Voice = current_app.extensions["voice"]
    with voice.turn():
        check_parameters("uuid")
        outcomes = voice.stop(find_legs(calls.live()))
    return report("Stopped for", AudioNote("stopped"), outcomes)


def check_parameters(*known: str) -> None:
    """Refuse parameters that would be ignored, so that nothing else plays than was asked for."""
    body = read_body(request)
    if body and (request.method == "GET" or request.files or not request.form):
        raise BadRequest("Parameters go into the address or, by POST, into a form, not into JSON.")
    for name in request.values:
        if name not in known:
            raise BadRequest(
                f"{request.path} has no parameter {clean(name)}, only {', '.join(known)}. "
                "Where it is part of an audio address, write each & of that address as %26."
            )


def read_audio() -> Audio:
    """Return what to play: the settings, with url, loop and level as in this request."""
    config: Config = current_app.extensions["config"]
    settings = {
        "url": config.VOICE_STREAM_URL,
        "loop": config.VOICE_STREAM_LOOP,
        "level": config.VOICE_STREAM_LEVEL,
    }
    given = {name: request.values[name] for name in AUDIO if name in request.values}
    try:
        return check(Audio, {**settings, **given})
    except ConfigError as error:
        sentence = " ".join(error.problems)
        if "url" in request.form and len(given) == 1:
            raise WrongAddress(sentence) from None
        raise BadRequest(sentence) from None


def find_legs(live: list[Leg]) -> list[Leg]:
    """Return the leg that the request names, else the active call; raise NotFound or Conflict."""
    uuid = request.values.get("uuid")
    if uuid is not None:
        named = [leg for leg in live if key(leg.uuid) == key(uuid)]
        if not named:
            raise NotFound(f"The call “{clean(uuid)}” is not on the line.")
        return named
    if not live:
        raise Conflict("No one is on the line. Dial the number first.")
    return active_legs(live)


def active_legs(live: list[Leg]) -> list[Leg]:
    """Return the active call: the leg that joined last, and all in its conference."""
    if not live or live[0].conference is None:
        return live[:1]
    return [leg for leg in live if leg.conference == live[0].conference]


def report(done: str, audio: AudioNote, outcomes: Sequence[Outcome]) -> str | dict[str, Any]:
    """Log and save what was done, and return the answer; raise an error if no leg was reached."""
    failures = group_failures(outcomes)
    sentence = f"{done} {count_callers(outcomes)}"
    news = "; ".join([sentence, *failures])
    if failures:
        details = [f"{reason} ({', '.join(uuids)})" for reason, uuids in failures.items()]
        line = "; ".join([sentence, *details])
        log.warning("%s", line)
    else:
        log.info("%s", sentence)
    save(audio, outcomes, News(time.time(), news, bad=bool(failures)))
    check_any_reached(outcomes)
    if wants_page(request):
        return show_page(message=news)
    legs = [as_json(outcome) for outcome in outcomes]
    return {"message": sentence, "legs": legs}


def as_json(outcome: Outcome) -> dict[str, str]:
    """Return what became of a leg for a client that reads JSON."""
    became = {"uuid": outcome.leg.uuid}
    if outcome.error is not None:
        became["error"] = str(outcome.error.description)
    return became


def group_failures(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Return each reason of a failure, with the uuids of the legs that were not reached."""
    failures: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            reason = reason_of(outcome.error)
            uuids = failures.setdefault(reason, [])
            uuids.append(outcome.leg.uuid)
    return failures


def reason_of(error: HTTPException) -> str:
    return str(error.description).rstrip(".")


def save(audio: AudioNote, outcomes: Sequence[Outcome], news: News) -> None:
    """Keep what became of each leg, and the line of what happened; if the store fails, log that.

    `outcome.at` keeps a note from replacing what Vonage has reported meanwhile.
    """
    calls: Calls = current_app.extensions["calls"]
    try:
        for outcome in outcomes:
            uuid = outcome.leg.uuid
            if outcome.error is None:
                calls.note(uuid, audio, outcome.at)
            elif isinstance(outcome.error, NoSuchLeg) and outcome.error.ends_leg:
                calls.end(uuid)
            else:
                unreached = AudioNote("unreached", reason_of(outcome.error))
                calls.note(uuid, unreached, outcome.at)
        calls.tell(news)
    except ServiceUnavailable as error:
        log.error("“%s” could not be saved: %s", news.text, error.description)


def count_callers(outcomes: Sequence[Outcome]) -> str:
    """Return how many callers were reached, as in "2 of 3 callers"."""
    asked = len(outcomes)
    reached = [outcome.error for outcome in outcomes].count(None)
    if reached == 0:
        return "no one"
    if asked == 1:
        return "the caller"
    if reached == asked:
        return f"all {asked} callers"
    return f"{reached} of {asked} callers"


def check_any_reached(outcomes: Sequence[Outcome]) -> None:
    """If no leg was reached, raise the first error that is not NoSuchLeg, else the first."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) < len(outcomes):
        return
    for error in errors:
        if not isinstance(error, NoSuchLeg):
            raise error
    raise errors[0]


# The page


def show_page(*, message: str = "", error: str = "", address_error: str = "") -> str:
    """Return the page with the answer to a press; while the list is unavailable, only the answer.

    If there is no answer to show either, raise ServiceUnavailable.
    """
    config: Config = current_app.extensions["config"]
    calls: Calls = current_app.extensions["calls"]
    error_alone = error or address_error
    try:
        live = calls.live()
        news = calls.news()
    except ServiceUnavailable:
        if not message and not error_alone:
            raise
        return render_template("alone.html", message=message, error=error_alone, is_let_in=True)
    return render_template(
        "page.html",
        config=config,
        callers=len(live),
        active=len(active_legs(live)),
        groups=group_legs(live, config),
        news=news,
        message=message,
        error=error,
        address_error=address_error,
        is_let_in=True,
        now=time.time(),
    )


def show_error(error: HTTPException, sentence: str) -> str:
    """Return the page with an error, which stands alone unless the operator has been let in."""
    if isinstance(error, WrongAddress):
        return show_page(address_error="Use a public http or https address.")
    if request.blueprint != "player" or error.code in (401, 403, 500):
        return render_template("alone.html", error=sentence)
    return show_page(error=sentence)


def group_legs(live: list[Leg], config: Config) -> list[tuple[str | None, list[Leg], str]]:
    """Return each conference with its callers, in the order they joined, and their count."""
    conferences: dict[str | None, list[Leg]] = {}
    for leg in live:
        callers = conferences.setdefault(leg.conference, [])
        callers.append(leg)
    groups = []
    for conference, callers in conferences.items():
        count = describe_count(config, len(callers))
        groups.append((conference, callers[::-1], count))
    return groups


@blueprint.app_template_filter()
def clock(at: float) -> str:
    """Return seconds since 1970 as the server's time of day; the script shows the browser's."""
    return time.strftime("%H:%M:%S", time.localtime(at))


@blueprint.app_template_filter()
def iso(at: float) -> str:
    """Return seconds since 1970 for a `datetime` attribute."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
