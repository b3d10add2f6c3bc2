"""Play audio into a Vonage call: by NCCO when it is answered, by /stream while it lasts."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from flask import Flask, Request, Response, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.serving import run_simple

import config as settings
import log
import ncco
import page
import stream
import webhooks
from calls import Leg, open_calls
from config import Config, ConfigError
from errors import Trouble
from guard import Guard, Unsigned
from voice import Voice, region_host

WEBHOOKS = {"answer", "event"}
OPERATOR = {"page", "play", "stop"}
MUSIC = "/static/hold-music.mp3"
T = TypeVar("T")


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application; raises ConfigError if no config is given and a setting is wrong."""
    config = config or Config.from_env()
    # Flask would look for it in the working directory when run as python app.py.
    app = Flask(__name__, instance_path=str(settings.FOLDER / "instance"))
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600  # seconds for which Vonage may keep the music
    app.add_template_filter(page.visible)
    app.add_template_filter(page.local)
    log.set_up(app.logger)
    sqlite = f"sqlite:///{app.instance_path}/calls.sqlite3"
    calls = open_calls(config.calls_url or sqlite, config.application_id or "")
    guard = Guard(config.signature_secret, config.application_id, config.stream_token)
    voice = None
    if config.application_id and config.private_key:
        voice = Voice(config.application_id, config.private_key, config.api_host)

    @app.before_request
    def check_the_door() -> None:
        asked = _request()
        if asked.endpoint in WEBHOOKS:
            guard.webhook(asked)
        elif asked.endpoint in OPERATOR:
            guard.operator(asked)
            g.inside = True
        # Flask lets HEAD do what GET does: here that would take a call or start music.
        if asked.method == "HEAD" and asked.endpoint not in ("static", "page"):
            raise MethodNotAllowed(["GET", "POST"])

    @app.after_request
    def keep_it_to_the_operator(response: Response) -> Response:
        if not request.path.startswith(("/webhooks/", "/static/")):
            response.headers.update(page.HEADERS)
        return response

    @lru_cache(maxsize=1)
    def keep_address(address: str, hour: int) -> None:
        """Remember a public address for the page; the cache lets it be written once an hour."""
        if page.is_public(address):
            calls.note("address", address)

    def note_address(address: str) -> None:
        with suppress(Trouble):  # the call goes on all the same
            if config.public_url is None:
                keep_address(address, int(time.time() // 3600))

    @app.route("/webhooks/answer", methods=["GET", "POST"])
    def answer() -> Response:
        asked = _request()
        address = webhooks.address(asked)
        leg = _leg(config, webhooks.parameters(asked), config.public_url or address)
        quorum = config.conference_quorum if leg.conference else None
        try:
            leg = calls.join(leg, quorum)
        except Trouble as trouble:
            # Better a caller who hears something, and a conference that starts early.
            app.logger.error("leg %s is lost to /stream: %s", leg.uuid, trouble)
            leg = replace(leg, starts=True if quorum else None)
        else:
            note_address(address)
            app.logger.info("leg %s from %s has joined", leg.uuid, log.number(leg.from_))
        return jsonify(_ncco(config, leg))

    @app.route("/webhooks/event", methods=["GET", "POST"])
    def event() -> tuple[str, int]:
        event = webhooks.parameters(request)
        if "reason" in event:
            app.logger.warning("Vonage reports an error: %s", webhooks.whole(request))
            calls.note("error", webhooks.text(event["reason"]))
        elif webhooks.has_no_leg(event):
            app.logger.info("event without a leg: %s", webhooks.whole(request))
        if webhooks.has_no_leg(event):
            return "", 204
        uuid, status = webhooks.uuid(event.get("uuid")), webhooks.text(event.get("status"))
        if status in webhooks.ENDS:
            calls.end(uuid)
        elif status == "answered":
            calls.change(uuid, answered=True)
        elif "conversation_uuid_to" in event:
            status = "transfer"
            calls.change(uuid, conversation_uuid=webhooks.text(event["conversation_uuid_to"]))
        seconds = f" after {webhooks.text(event['duration'])} s" if "duration" in event else ""
        app.logger.info("leg %s: %s%s", uuid, status or "event without a status", seconds)
        note_address(webhooks.address(request))
        return "", 204

    def look() -> page.View:
        return page.view(calls, config, request.environ["SERVER_PORT"])

    def tell(
        said: dict[str, Any],
        status: int = 200,
        *,
        view: page.View | None = None,
        outcomes: Sequence[stream.Outcome] = (),
    ) -> Response:
        """Answer with JSON, or with the page and what just happened on top of it."""
        if not _asks_for_html():
            return make_response(jsonify(said), status)
        if view is None and "inside" in g:  # nobody else is shown who is on the line
            view = look()
        html = render_template(
            "page.html", view=view, said=said, outcomes=outcomes, now=time.time()
        )
        return make_response(html, status)

    @app.get("/", endpoint="page")
    def console() -> Response:
        view = look()
        return tell(view.json, view.trouble.status if view.trouble else 200, view=view)

    @app.route("/stream", methods=["GET", "POST"])
    def play() -> Response:
        loop = _option("loop", settings.loop, config.stream_loop)
        level = _option("level", settings.level, config.stream_level)
        outcomes = stream.play(calls, _set_up(voice, config), _uuid(), loop, level)
        return tell(_told("The music plays", outcomes), outcomes=outcomes)

    @app.route("/stream/stop", methods=["GET", "POST"])
    def stop() -> Response:
        outcomes = stream.stop(calls, _set_up(voice, config), _uuid())
        return tell(_told("The music is stopped", outcomes), outcomes=outcomes)

    @app.errorhandler(Trouble)
    def tell_trouble(trouble: Trouble) -> Response:
        reason = trouble.reason if isinstance(trouble, Unsigned) else trouble
        app.logger.warning("%s answered %s: %s", request.path, trouble.status, reason)
        response = tell({"error": trouble.sentence}, trouble.status)
        if trouble.retry_after is not None:
            response.headers["Retry-After"] = str(trouble.retry_after)
        return response

    @app.errorhandler(HTTPException)
    def tell_http_error(error: HTTPException) -> Response:
        response = tell({"error": error.description or ""}, error.code or 500)
        if allow := error.get_response().headers.get("Allow"):
            response.headers["Allow"] = allow
        return response

    return app


def _request() -> Request:
    """The request itself: Flask's stand-in for it looks it up again at each use."""
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    return asked


def _leg(config: Config, asked: webhooks.Parameters, public_url: str) -> Leg:
    """The leg that an answer webhook is about; raises Trouble (400) if it names none."""
    region_url = webhooks.text(asked.get("region_url"))
    return Leg(
        uuid=webhooks.uuid(asked.get("uuid")),
        conversation_uuid=webhooks.text(asked.get("conversation_uuid")),
        from_=webhooks.text(asked.get("from") or asked.get("from_user")),
        to=webhooks.text(asked.get("to")),
        api_host=region_host(region_url),
        audio_url=config.stream_url or public_url + MUSIC,
        conference=config.conference_name if config.answer_with == "conversation" else None,
        joined=time.time(),
    )


def _ncco(config: Config, leg: Leg) -> ncco.Ncco:
    if leg.conference is None:
        return ncco.stream(
            leg.audio_url,
            loop=config.stream_loop,
            level=config.stream_level,
            barge_in=config.stream_barge_in,
        )
    if leg.starts is None:
        return ncco.conversation(leg.conference, config.text)
    return ncco.conversation_with_quorum(
        leg.conference, config.text, audio_url=leg.audio_url, starts=leg.starts
    )


def _option(name: str, check: Callable[[str], T], default: T | None) -> T | None:
    """A parameter of /stream, else the setting; raises Trouble (400) if it is out of range."""
    value = request.values.get(name, "")
    try:
        return check(value) if value else default
    except ValueError as error:
        raise Trouble(f"{name} {error}.", status=400) from error


def _uuid() -> str | None:
    value = request.values.get("uuid", "")
    return webhooks.uuid(value) if value else None


def _set_up(voice: Voice | None, config: Config) -> Voice:
    if voice is None:
        names = " and ".join(config.missing_credentials)
        raise Trouble(f"Set {names} first: /stream asks Vonage in the application's name.", 503)
    return voice


def _asks_for_html() -> bool:
    """Whether a browser asks; webhooks answer JSON to everybody."""
    types = request.accept_mimetypes
    return types["text/html"] > types["application/json"] and not request.path.startswith(
        "/webhooks/"
    )


def _told(done: str, outcomes: list[stream.Outcome]) -> dict[str, Any]:
    reached = sum(outcome.trouble is None for outcome in outcomes)
    legs = [
        {"uuid": outcome.leg.uuid, "error": outcome.trouble.sentence}
        if outcome.trouble
        else {"uuid": outcome.leg.uuid}
        for outcome in outcomes
    ]
    return {"message": f"{done} in {reached} of {len(outcomes)} legs.", "legs": legs}


def main() -> int:
    """Run the server until Ctrl-C or SIGTERM; 2 if a setting is wrong, which is then printed."""
    try:
        config = Config.from_env()
    except ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: sys.exit(0))
    host = "localhost" if config.host in ("0.0.0.0", "::") else config.host
    print(
        "Answer webhook  /webhooks/answer",
        "Event webhook   /webhooks/event",
        f"Page            http://{f'[{host}]' if ':' in host else host}:{config.port}/",
        *(f"Not set up      {names}: {what}" for names, what in config.not_set_up.items()),
        sep="\n",
        flush=True,
    )
    run_simple(config.host, config.port, create_app(config), threaded=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
