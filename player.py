"""What whoever runs the server opens: the page, /stream and /stream/stop."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from urllib.parse import unquote, urlsplit

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    jsonify,
    make_response,
    render_template,
    request,
)
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, NotFound, ServiceUnavailable

from calls import Calls, Leg, key
from config import Audio, Config, ConfigError
from voice import NoSuchCall, Outcome, Voice
from webhooks import METHODS, clean, printable, read_body

AUDIO = tuple(Audio.model_fields)  # url, loop, level
NAMED = 3  # legs that a line of the log names by uuid

log = logging.getLogger("app")
blueprint = Blueprint("player", __name__)


@blueprint.get("/")
def page() -> Response:
    """Show who is on the line, play, stop, and what is not set up yet."""
    calls: Calls = current_app.extensions["calls"]
    return show_page(calls.live())


@blueprint.route("/stream", methods=METHODS)
def stream() -> Response:
    """Play the audio into the active call; `uuid`, `url`, `loop`, `level` are for this once."""
    calls: Calls = current_app.extensions["calls"]
    voice: Voice = current_app.extensions["voice"]
    with voice.turn():  # also while a body comes in: one that never ends takes no other thread
        check_parameters("uuid", *AUDIO)
        audio = read_audio()
        legs = asked_legs(calls.live())
        name = file_name(audio.url or legs[0].audio_url)
        outcomes = voice.play(legs, audio, partial(note, calls, f"{name} sent"))
    end_unknown_legs(calls, outcomes)
    log_outcomes(f"Sent {name}, {how_often(audio)}, {how_loud(audio)}, to", outcomes)
    return respond(f"Sent {name} to", outcomes)


@blueprint.route("/stream/stop", methods=METHODS)
def stop() -> Response:
    """Stop the audio in the active call, or in the leg that `uuid` names."""
    calls: Calls = current_app.extensions["calls"]
    voice: Voice = current_app.extensions["voice"]
    with voice.turn():
        check_parameters("uuid")
        legs = asked_legs(calls.live())
        outcomes = voice.stop(legs, partial(note, calls, "stopped"))
    end_unknown_legs(calls, outcomes)
    log_outcomes("Stopped for", outcomes)
    return respond("Stopped for", outcomes)


def check_parameters(*known: str) -> None:
    """Refuse what no one would look at, so that nothing else plays than was asked for."""
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
    """What to play: the settings, with url, loop and level as in this request."""
    config: Config = current_app.extensions["config"]
    given = {name: request.values[name] for name in AUDIO if name in request.values}
    try:
        asked = Audio.from_text(given)
    except ConfigError as error:
        raise BadRequest(" ".join(error.problems)) from None
    return config.audio.model_copy(update=asked.model_dump(exclude_unset=True))


def asked_legs(live: list[Leg]) -> list[Leg]:
    """The leg that the request names, else the active call; raises NotFound or Conflict."""
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
    """The active call: the leg that joined last, and all in its conference."""
    last = live[0]
    if last.conference is None:
        return [last]
    return [leg for leg in live if leg.conference == last.conference]


def file_name(url: str | None) -> str:
    """The last part of an address, or else its host."""
    if url is None:
        return "the audio"
    parts = urlsplit(url)
    name = unquote(parts.path).rpartition("/")[2]
    return printable(name or parts.hostname or url)


def how_often(audio: Audio) -> str:
    if audio.loop is None or audio.loop == 1:
        return "once"
    if audio.loop == 0:
        return "forever"
    return f"{audio.loop} times"


def how_loud(audio: Audio) -> str:
    if audio.level is None:
        return "at Vonage's default volume"
    return f"at level {audio.level:g}"


def note(calls: Calls, audio: str, leg: Leg, began: float) -> None:
    """Keep what is known of a leg's audio; a store that fails costs no one their music.

    Vonage may have said meanwhile that it plays: that is newer than what began before.
    """
    try:
        calls.note(leg.uuid, audio, began)
    except ServiceUnavailable as error:
        log.error("leg %s: “%s” could not be noted: %s", leg.uuid, audio, error.description)


def end_unknown_legs(calls: Calls, outcomes: Sequence[Outcome]) -> None:
    """Take the legs off the line that Vonage does not know any more."""
    try:
        for outcome in outcomes:
            if isinstance(outcome.error, NoSuchCall) and outcome.error.ends_leg:
                calls.end(outcome.leg.uuid)
    except ServiceUnavailable as error:
        log.error("Legs that are over stay listed: %s", error.description)


def log_outcomes(done: str, outcomes: Sequence[Outcome]) -> None:
    """One line: how many legs were reached, and each failure once, with the legs it befell."""
    reached = [outcome.leg.uuid for outcome in outcomes if outcome.error is None]
    line = f"{done} {len(reached)} of {len(outcomes)}"
    if reached:
        line += f": {', '.join(reached[:NAMED])}"
    if len(reached) > NAMED:
        line += f" and {len(reached) - NAMED} more"
    failures = group_failures(outcomes)
    for sentence, legs in failures.items():
        line += f"; {sentence} ({', '.join(leg.uuid for leg in legs)})"
    if failures:
        log.warning("%s", line)
    else:
        log.info("%s", line)


def group_failures(outcomes: Sequence[Outcome]) -> dict[str, list[Leg]]:
    """Each failure's sentence, with the legs it befell."""
    failures: dict[str, list[Leg]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            failures.setdefault(str(outcome.error.description), []).append(outcome.leg)
    return failures


def respond(done: str, outcomes: Sequence[Outcome]) -> Response:
    """Say how many were reached, and why others were not; raises an error if no one was."""
    g.outcomes = outcomes  # for the page, also where it shows the error that is raised here
    reached = [outcome for outcome in outcomes if outcome.error is None]
    if not reached:
        raise worst(outcomes)
    message = f"{done} {count_callers(len(reached), len(outcomes))}"
    if wants_page():
        return show_page(callers_if_known(), message=message)
    legs = []
    for outcome in outcomes:
        leg = {"uuid": outcome.leg.uuid}
        if outcome.error is not None:
            leg["error"] = str(outcome.error.description)
        legs.append(leg)
    return jsonify(message=message, legs=legs)


def worst(outcomes: Sequence[Outcome]) -> HTTPException:
    """The error to answer with: a call that has ended matters least."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in errors:
        if not isinstance(error, NoSuchCall):
            return error
    return errors[0]


def count_callers(reached: int, asked: int) -> str:
    if asked == 1:
        return "the caller"
    if reached == asked:
        return f"all {asked} callers"
    return f"{reached} of {asked} callers"


def wants_page() -> bool:
    """Whether this is a browser; webhooks always answer JSON."""
    types = request.accept_mimetypes
    is_browser = types["text/html"] > types["application/json"]
    return is_browser and not request.path.startswith("/webhooks/")


def callers_if_known() -> list[Leg] | None:
    """Who is on the line; None for whoever may not know, or where the store fails."""
    calls: Calls = current_app.extensions["calls"]
    if "is_operator" not in g:
        return None
    try:
        return calls.live()
    except ServiceUnavailable:
        return None


def show_page(callers: list[Leg] | None, *, message: str = "", error: str = "") -> Response:
    """The page, with what was said above the callers."""
    active = []
    if callers:
        active = active_legs(callers)
    outcomes: Sequence[Outcome] = g.get("outcomes", ())
    html = render_template(
        "page.html",
        config=current_app.extensions["config"],
        callers=callers,
        active=active,
        message=message,
        error=error,
        failures=group_failures(outcomes),
        now=time.time(),
    )
    return make_response(html)


@blueprint.app_template_filter()
def clock(at: float) -> str:
    """Seconds since 1970 as the server's time of day; script makes it the browser's."""
    return time.strftime("%H:%M:%S", time.localtime(at))


@blueprint.app_template_filter()
def iso(at: float) -> str:
    """Seconds since 1970 for a `datetime` attribute."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
