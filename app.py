"""Play audio into a Vonage call: by NCCO when it is answered, by /stream while it lasts."""

import logging
import mimetypes
import os
import signal
import sys
import time
import warnings
from threading import Thread

from flask import Flask, Response, current_app, jsonify, make_response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, ServiceUnavailable
from werkzeug.serving import make_server

import player
import webhooks
from calls import Calls, open_calls
from config import FOLDER, Config, ConfigError
from guard import check_operator
from incoming import KEPT, LONGEST_BODY, printable, wants_page
from voice import Voice

# The endpoints that are open to others than the operator.
OPEN = ("webhooks.answer", "webhooks.event", "webhooks.rtc", "static")
# For what only the operator may see: not cached, not framed, no foreign script.
PRIVATE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # under no-referrer, browsers send "Origin: null"
    "X-Content-Type-Options": "nosniff",
}
log = logging.getLogger("app")


def create_app(config: Config | None = None) -> Flask:
    """Return the WSGI application; raise ConfigError if a setting in the environment is wrong."""
    if config is None:
        config = Config.from_env()
    set_up_logging()
    mimetypes.add_type("text/css", ".css")  # Windows' registry may say otherwise
    mimetypes.add_type("text/javascript", ".js")
    mimetypes.add_type("audio/mpeg", ".mp3")
    mimetypes.add_type("image/svg+xml", ".svg")

    app = Flask(__name__, instance_path=str(FOLDER / "instance"))
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY + 1  # see read_body
    url = config.CALLS_URL or f"sqlite:///{app.instance_path}/calls.sqlite3"
    app.extensions["config"] = config
    app.extensions["calls"] = open_calls(url, config.VONAGE_APPLICATION_ID)
    app.extensions["voice"] = Voice(config)

    app.before_request(require_operator)
    app.before_request(refuse_head)
    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(player.blueprint)
    app.after_request(add_headers)
    app.after_request(log_music)
    app.register_error_handler(HTTPException, show_error)

    log.info("Webhooks: /webhooks/answer, /webhooks/event and, for RTC, /webhooks/rtc")
    for name, why in config.not_set_up.items():
        log.warning("Not set up: %s, %s", name, why)
    return app


def set_up_logging() -> None:
    """Log a line for each thing that an operator asks about, and nothing from libraries."""
    logging.basicConfig(format="[%(asctime)s] %(levelname)s: %(message)s")
    log.setLevel(logging.INFO)
    log.addFilter(keep_printable)
    logging.getLogger("werkzeug").addFilter(is_not_about_a_request)
    logging.getLogger("vonage").setLevel(logging.CRITICAL)  # we log its errors ourselves
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each spare connection
    warnings.filterwarnings("ignore", "The HMAC key is")  # Vonage chooses the secret's length


def keep_printable(record: logging.LogRecord) -> bool:
    record.msg = printable(record.getMessage())
    record.args = None
    return True


def is_not_about_a_request(record: logging.LogRecord) -> bool:
    """Werkzeug's lines about requests have arguments, which its lines at the start have not."""
    return not record.args


def require_operator() -> None:
    """Close every route to all but the operator, unless it is named as open."""
    if request.endpoint is not None and request.endpoint not in OPEN:  # None: no such route
        check_operator(request, current_app.extensions["config"])


def refuse_head() -> None:
    """Refuse HEAD, which in Flask does what GET does: it would take a call or start music."""
    if request.method == "HEAD" and request.endpoint not in (None, "static", "player.page"):
        raise MethodNotAllowed(webhooks.METHODS)


def add_headers(response: Response) -> Response:
    """Forbid caching and framing of what only the operator may see, and of unknown paths."""
    if request.endpoint not in OPEN:
        response.headers.update(PRIVATE)
    return response


def log_music(response: Response) -> Response:
    """Log requests for the bundled music: if a caller hears nothing, look there first."""
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
    log.warning("%s %s: %s %s", request.method, request.path[:KEPT], error.code, reason)
    if wants_page(request):
        response = make_response(player.show_error(error, sentence))
    else:
        response = jsonify(error=sentence)
    response.status_code = error.code or 500
    for name, value in error.get_headers():  # Allow, Retry-After, WWW-Authenticate
        response.headers.setdefault(name, value)
    return response


def main() -> int:
    """Run the server until Ctrl-C or SIGTERM. Return 2, having said why, if it cannot start."""
    try:
        config = Config.from_env()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    app = create_app(config)
    try:
        server = make_server(config.HOST, config.PORT, app, threaded=True)
    except (SystemExit, UnicodeError):  # for the first, Werkzeug has printed why
        print(f"Check HOST ({config.HOST}) and PORT ({config.PORT}).", file=sys.stderr)
        return 2
    # At once: a thread that is inside the SDK would make the interpreter's shutdown fail.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: os._exit(0))
    Thread(target=end_calls_from_before, args=[app, time.time()], daemon=True).start()
    log.info("Running on %s (Ctrl-C ends it)", own_address(config))
    server.serve_forever()
    return 0


def end_calls_from_before(app: Flask, started: float) -> None:
    """Check that the list can be written, and end the legs that Vonage says are over.

    Only legs that joined before `started`, in seconds since 1970, are asked about.
    """
    config: Config = app.extensions["config"]
    calls: Calls = app.extensions["calls"]
    voice: Voice = app.extensions["voice"]
    try:
        calls.check_writable()
        if config.missing_credentials:
            return
        for leg in calls.live():
            if leg.joined < started and voice.is_over(leg):
                calls.end(leg.uuid)
                log.info("leg %s: had ended before the start", leg.uuid)
    except ServiceUnavailable as error:
        log.error("%s", error.description)


def own_address(config: Config) -> str:
    """Return the server's address as this machine can open it."""
    host = config.HOST
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{config.PORT}"


if __name__ == "__main__":
    sys.exit(main())
