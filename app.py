"""Play audio into a Vonage call: by NCCO when it is answered, by /stream while it lasts."""

import logging
import mimetypes
import os
import signal
import sys
import time
import warnings
from threading import Thread
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, ServiceUnavailable
from werkzeug.serving import make_server

import player
import webhooks
from calls import Calls, open_calls
from config import FOLDER, Config, ConfigError
from guard import PRIVATE, check_operator, check_signature
from voice import Voice

# A machine's own list may say otherwise, as Windows' registry does.
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".mp3": "audio/mpeg",
    ".svg": "image/svg+xml",
}
FOR_VONAGE = ("webhooks.answer", "webhooks.event", "webhooks.rtc")
log = logging.getLogger("app")


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application; raises ConfigError if no config is given and a setting is wrong."""
    if config is None:
        config = Config.from_env()
    set_up_logging()
    for ending, kind in TYPES.items():
        mimetypes.add_type(kind, ending)

    app = Flask(__name__, instance_path=str(FOLDER / "instance"))
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    url = config.CALLS_URL or f"sqlite:///{app.instance_path}/calls.sqlite3"
    app.extensions["config"] = config
    app.extensions["calls"] = open_calls(url, config.VONAGE_APPLICATION_ID)
    app.extensions["voice"] = Voice(config)

    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(player.blueprint)
    app.before_request(check_access)
    app.after_request(protect)
    app.after_request(log_music)
    app.register_error_handler(HTTPException, show_error)

    log.info("Webhooks: /webhooks/answer and /webhooks/event")
    for name, why in config.not_set_up.items():
        log.warning("Not set up: %s, %s", name, why)
    return app


def set_up_logging() -> None:
    """A line for each thing that an operator asks about, and none of what libraries say."""
    logging.basicConfig(format="[%(asctime)s] %(levelname)s: %(message)s")
    log.setLevel(logging.INFO)
    log.addFilter(keep_printable)
    logging.getLogger("werkzeug").addFilter(is_not_about_a_request)
    logging.getLogger("vonage").setLevel(logging.CRITICAL)  # it says what we say
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each spare connection
    warnings.filterwarnings("ignore", "The HMAC key is")  # Vonage chooses the secret's length


def keep_printable(record: logging.LogRecord) -> bool:
    record.msg = webhooks.printable(record.getMessage())
    record.args = None
    return True


def is_not_about_a_request(record: logging.LogRecord) -> bool:
    """Werkzeug's lines about requests have arguments, which its lines at the start have not."""
    return not record.args


def check_access() -> None:
    """Close every route to all but the operator; webhooks are for Vonage, files for all."""
    config: Config = current_app.extensions["config"]
    endpoint = request.endpoint
    if endpoint == "webhooks.rtc" and "Authorization" not in request.headers:
        return  # Vonage does not document whether it signs events of this kind
    if endpoint in FOR_VONAGE:
        check_signature(request, config)
    elif endpoint not in (None, "static"):
        check_operator(request, config)
        g.is_operator = True
    # Flask lets HEAD do what GET does: here that would take a call or start music.
    if request.method == "HEAD" and endpoint not in (None, "static", "player.page"):
        raise MethodNotAllowed(webhooks.METHODS)


def protect(response: Response) -> Response:
    """Let no one cache or frame what is only for the operator."""
    if request.endpoint != "static" and request.endpoint not in FOR_VONAGE:
        response.headers.update(PRIVATE)
    return response


def log_music(response: Response) -> Response:
    """Say that the bundled music was fetched: after silence, that is the first question."""
    if request.method == "GET" and request.path == f"/static/{webhooks.MUSIC}":
        log.info("GET %s: %s", request.path, response.status_code)
    return response


def show_error(error: HTTPException) -> Response:
    """Log what went wrong, with its cause, and answer it in a sentence."""
    sentence = error.description or error.name
    if request.endpoint is None and error.code == 404:
        sentence = "Not found. The webhooks are /webhooks/answer and /webhooks/event."
    reason = sentence
    if error.__cause__ is not None:
        reason += f" ({error.__cause__})"
    log.warning("%s %s: %s %s", request.method, request.path, error.code, reason)
    if player.wants_page():
        response = player.show_page(player.callers_if_known(), error=sentence)
    else:
        response = jsonify(error=sentence)
    response.status_code = error.code or 500
    for name, value in error.get_headers():  # Allow, Retry-After, WWW-Authenticate
        response.headers.setdefault(name, value)
    return response


def main() -> int:
    """Run the server until Ctrl-C or SIGTERM; 2 if it cannot start, having said why."""
    try:
        config = Config.from_env()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    app = create_app(config)
    try:
        server = make_server(config.HOST, config.PORT, app, threaded=True)
    except (SystemExit, UnicodeError):  # Werkzeug has printed why
        print(f"Check HOST ({config.HOST}) and PORT ({config.PORT}).", file=sys.stderr)
        return 2
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, end_at_once)
    Thread(target=end_calls_from_before, args=[app, time.time()], daemon=True).start()
    log.info("Running on %s (Ctrl-C ends it)", listening_at(config))
    server.serve_forever()
    return 0


def end_at_once(*_: Any) -> None:
    """A thread inside the SDK would make the interpreter abort on its way out."""
    os._exit(0)


def end_calls_from_before(app: Flask, started: float) -> None:
    """Ask Vonage about the legs that joined before the start, and end those that are over.

    Says, too, if the list of calls cannot be written. `started` is in seconds since 1970.
    """
    config: Config = app.extensions["config"]
    calls: Calls = app.extensions["calls"]
    voice: Voice = app.extensions["voice"]
    try:
        calls.note("", "")  # about no leg: it changes nothing, but fails where others would
        if config.missing_credentials:
            return
        for leg in calls.live():
            if leg.joined < started and voice.is_over(leg):
                calls.end(leg.uuid)
                log.info("leg %s: had ended before the start", leg.uuid)
    except ServiceUnavailable as error:
        log.error("%s", error.description)


def listening_at(config: Config) -> str:
    host = config.HOST
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{config.PORT}"


if __name__ == "__main__":
    sys.exit(main())
