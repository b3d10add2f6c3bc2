"""Play audio into a Vonage call: by NCCO when it is answered, by /stream while it lasts."""

import json
import logging
import os
import re
import signal
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple, cast

from flask import Blueprint, Flask, Response, current_app, g, jsonify, render_template, request
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, MethodNotAllowed, NotFound
from werkzeug.exceptions import ServiceUnavailable as Unavailable
from werkzeug.local import LocalProxy
from werkzeug.serving import make_server

import ncco
import webhooks
from calls import Calls, Leg, key, open_calls
from config import FOLDER, Config, ConfigError
from guard import PRIVATE, check_operator, check_signature
from voice import NoSuchCall, Trouble, Voice

METHODS = ["GET", "POST"]
WEBHOOKS = ("webhooks.answer", "webhooks.event")
log = logging.getLogger("app")
for_vonage = Blueprint("webhooks", __name__, url_prefix="/webhooks")
for_operator = Blueprint("operator", __name__)


class Server(NamedTuple):
    """What the views need. It hangs on the app, as an extension does."""

    config: Config
    calls: Calls
    voice: Voice


server = cast(Server, LocalProxy(lambda: current_app.extensions["server"]))


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application; raises ConfigError if no config is given and a setting is wrong."""
    config = config or Config.from_env()
    # Flask's own handler looks up the request for each line, at a fifth of an answer's cost.
    logging.basicConfig(format="[%(asctime)s] %(levelname)s: %(message)s")
    log.setLevel(logging.INFO)
    logging.getLogger("vonage").setLevel(logging.CRITICAL)  # it says what we say
    # Werkzeug's lines about requests have arguments, which its lines at the start have not.
    logging.getLogger("werkzeug").addFilter(lambda record: not record.args)
    app = Flask(__name__, instance_path=str(FOLDER / "instance"))
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600  # seconds for which Vonage may keep the music
    url = config.CALLS_URL or f"sqlite:///{app.instance_path}/calls.sqlite3"
    calls = open_calls(url, config.VONAGE_APPLICATION_ID)
    app.extensions["server"] = Server(config, calls, Voice(config))
    app.before_request(check_access)
    app.register_error_handler(HTTPException, show_error)
    app.register_error_handler(ConfigError, lambda error: show_error(BadRequest(str(error))))
    app.register_blueprint(for_vonage)
    app.register_blueprint(for_operator)
    app.add_template_filter(lambda at: time.strftime("%H:%M", time.localtime(at)), "clock")
    log.info("Webhooks: /webhooks/answer and /webhooks/event")
    for name, why in config.not_set_up.items():
        log.warning("Not set up: %s, %s", name, why)
    return app


def _asked() -> Any:
    """The request itself: Flask's stand-in looks it up at each use, a twentieth of an answer."""
    return request._get_current_object()  # type: ignore[attr-defined]


def check_access() -> None:
    """Close every route to all but the operator; webhooks are for Vonage, files for all."""
    asked = _asked()
    if asked.endpoint in WEBHOOKS:
        check_signature(asked, server.config)
    elif asked.endpoint not in (None, "static"):
        check_operator(asked, server.config)
        g.let_in = True
    # Flask lets HEAD do what GET does: here that would take a call or start music.
    if asked.method == "HEAD" and asked.endpoint not in (None, "static", "operator.page"):
        raise MethodNotAllowed(METHODS)


@for_vonage.route("/answer/", methods=METHODS, strict_slashes=False)
def answer() -> Response:
    """Put the caller on the line, and say what to play. [Vonage, Webhook reference]"""
    config, calls, _ = current_app.extensions["server"]
    leg = webhooks.leg(_asked(), config)
    try:
        count = calls.join(leg)
        log.info("leg %s from %s joined: %s", leg.uuid, leg.short_caller, ncco.words(config, count))
    except Unavailable as error:
        count = 50  # better a conference that starts early than a caller who waits forever
        log.error(
            "leg %s could not be saved, so /stream cannot reach it: %s", leg.uuid, error.description
        )
    if leg.audio_url is None:
        log.warning("leg %s: no address for the audio is known; set PUBLIC_URL", leg.uuid)
    return Response(json.dumps(ncco.for_leg(config, leg, count)), mimetype="application/json")


@for_vonage.route("/event/", methods=METHODS, strict_slashes=False)
def event() -> tuple[str, int]:
    """Log the event, and take a leg that has ended off the line. [Vonage, Webhook reference]"""
    given = webhooks.parameters(request)
    uuid = webhooks.uuid(given["uuid"]) if "uuid" in given else None
    status = webhooks.text(given.get("status") or given.get("type"))
    reason, seconds = (webhooks.text(given.get(name)) for name in ("reason", "duration"))
    if uuid and status in webhooks.ENDS:
        server.calls.end(uuid)
    level = logging.WARNING if reason and not status else logging.INFO
    what = status or ("error" if reason else "no status")
    what += (seconds and f" after {seconds} s") + (reason and f": {reason}")
    log.log(level, "%s: %s", f"leg {uuid}" if uuid else "event without a uuid", what)
    return "", 204


@for_operator.get("/")
def page() -> Response:
    """Show who is on the line, play, stop, and what is not set up yet."""
    return _answer({}, server.calls.live())


@for_operator.route("/stream", methods=METHODS)
def stream() -> Response:
    """Play the audio into the active call; `uuid`, `url`, `loop`, `level` are for this once."""
    with server.voice.turn() as voice:
        audio, legs = _audio(), _active_legs()
        troubles = voice.play(legs, audio)
    url = re.sub("(?<=//)[^/@]*@|[?#].*", "", audio.VOICE_STREAM_URL or legs[0].audio_url or "none")
    what = f"play {url} loop={audio.VOICE_STREAM_LOOP} level={audio.VOICE_STREAM_LEVEL}"
    return _report(what, "Playing to", legs, troubles)


@for_operator.route("/stream/stop", methods=METHODS)
def stop() -> Response:
    """Stop the audio in the active call, or in the leg that `uuid` names."""
    with server.voice.turn() as voice:
        legs = _active_legs()
        return _report("stop", "Stopped for", legs, voice.stop(legs))


def _audio() -> Config:
    """The settings, with url, loop and level as in this request; raises ConfigError."""
    names = {"VOICE_STREAM_URL": "url", "VOICE_STREAM_LOOP": "loop", "VOICE_STREAM_LEVEL": "level"}
    given = {setting: request.values.get(name, "") for setting, name in names.items()}
    asked = Config.from_text(given, **names)
    return server.config.model_copy(update=asked.model_dump(exclude_unset=True))


def _active_legs() -> list[Leg]:
    """The leg that the request names, else the one that joined last, or all in its conference."""
    live, uuid = server.calls.live(), request.values.get("uuid")
    if uuid and not (live := [leg for leg in live if key(leg.uuid) == key(uuid)]):
        raise NotFound(f"The call {webhooks.text(uuid)} is not on the line.")
    if not live:
        raise Conflict("No one is on the line. Dial the number first.")
    conference = None if uuid else live[0].conference
    return [leg for leg in live if leg.conference == conference] if conference else live[:1]


def _report(what: str, done: str, legs: list[Leg], troubles: list[Trouble]) -> Response:
    """Log and answer what became of each leg; raises what went wrong if none was reached."""
    said = []
    for leg, trouble in zip(legs, troubles, strict=True):
        said.append({"uuid": leg.uuid} | ({"error": str(trouble.description)} if trouble else {}))
        if isinstance(trouble, NoSuchCall) and trouble.is_over:
            with suppress(Unavailable):  # the next request will say so
                server.calls.end(leg.uuid)
    log.info("%s: %s", what, "; ".join(f"{one['uuid']} {one.get('error', 'ok')}" for one in said))
    reached = troubles.count(None)
    if not reached:
        raise min(filter(None, troubles), key=lambda trouble: isinstance(trouble, NoSuchCall))
    return _answer({"message": f"{done} {reached} of {len(legs)} callers.", "legs": said})


def _answer(said: dict[str, Any], callers: list[Leg] | None = None) -> Response:
    """The page for a browser, with what was said above the callers; JSON for other clients."""
    types = request.accept_mimetypes
    is_browser = types["text/html"] > types["application/json"] and request.endpoint not in WEBHOOKS
    if callers is None and is_browser and "let_in" in g:
        with suppress(Unavailable):
            callers = server.calls.live()
    response = jsonify(said)
    if is_browser or not said:
        response = Response(render_template("page.html", said=said, callers=callers, server=server))
    response.headers.update(PRIVATE)
    return response


def show_error(error: HTTPException) -> Response:
    """Log what went wrong, with its cause, and answer it in a sentence."""
    sentence = error.description or error.name
    if request.endpoint is None and error.code == 404:
        sentence = "Not found. The webhooks are /webhooks/answer and /webhooks/event."
    reason = f"{sentence} ({error.__cause__})" if error.__cause__ else sentence
    path, reason = webhooks.text(request.path), webhooks.text(reason.replace("\n", " "))
    log.warning("%s %s: %s %s", request.method, path, error.code, reason)
    response = _answer({"error": sentence})
    response.status_code = error.code or 500
    for name, value in error.get_headers():  # Allow, Retry-After, WWW-Authenticate
        response.headers.setdefault(name, value)
    return response


def main() -> int:
    """Run the server until Ctrl-C or SIGTERM; 2 if it cannot start, having said why."""
    try:
        config = Config.from_env()
        app = create_app(config)
        web = make_server(config.HOST, config.PORT, app, threaded=True)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (SystemExit, UnicodeError):  # Werkzeug has printed why
        print(f"Check HOST ({config.HOST}) and PORT ({config.PORT}).", file=sys.stderr)
        return 2
    for ending in (signal.SIGTERM, signal.SIGINT):
        # At once: a thread inside the SDK would make the interpreter abort on its way out.
        signal.signal(ending, lambda *_: os._exit(0))
    _, calls, voice = app.extensions["server"]
    try:
        calls.end("0" * 32)  # no leg's uuid: only to see whether the list can be written
        Thread(target=voice.end_what_is_over, args=[calls], daemon=True).start()
    except Unavailable as error:
        log.error("%s", error.description)
    web.log_startup()
    web.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
