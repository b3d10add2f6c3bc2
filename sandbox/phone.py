"""The phone: a page on this machine that dials as a caller would, and sounds like it."""

import json
import logging
from collections.abc import Iterator
from threading import Semaphore, Thread
from typing import Any

from flask import Flask, Response, abort, render_template, request
from werkzeug.serving import make_server

from sandbox import Sandbox

MOST_CALLS = 5  # a browser has six connections a host, and each call takes one
HEARTBEAT = 0.5  # seconds; writing to a tab that is gone fails, and so shows that it is gone
KEYS = set("0123456789*#")
PROXIES = ("Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src blob: data:; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HERE = "The phone works only in a browser on the machine that runs the sandbox, at localhost"


def serve_phone(vonage: Sandbox, port: int) -> None:
    """Serve the phone on this machine until the process ends, and log nothing of it."""
    logging.getLogger("werkzeug").disabled = True
    server = make_server("127.0.0.1", port, create_phone(vonage), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()


def create_phone(vonage: Sandbox) -> Flask:
    """Return the phone's page and its calls: each call is one request, and ends with it."""
    phone = Flask(__name__, static_url_path="")
    phone.before_request(check_origin)
    phone.after_request(add_headers)
    free_lines = Semaphore(MOST_CALLS)

    @phone.get("/")
    def page() -> str:
        return render_template("phone.html", app_url=vonage.app_url)

    @phone.get("/dial")
    def dial() -> Response:
        return Response(events(vonage, free_lines), mimetype="text/event-stream")

    @phone.get("/calls/<uuid>/audio")
    def audio(uuid: str) -> Response:
        call = vonage.calls.get(uuid) or abort(404)
        return Response(call.audio, mimetype="application/octet-stream")

    @phone.post("/calls/<uuid>/<any('press', 'spoken', 'hang-up'):verb>")
    def act(uuid: str, verb: str) -> Response:
        call = vonage.calls.get(uuid) or abort(404)
        key = request.get_data(as_text=True)
        if verb == "hang-up":
            call.hang_up()
        elif verb == "spoken":
            call.go_on.set()
        elif key in KEYS:
            call.press(key)
        else:
            abort(400)
        return Response(status=204)

    return phone


def check_origin() -> None:
    """Refuse all but the page itself, in a browser on this machine, with 403."""
    if request.host.partition(":")[0] not in ("localhost", "127.0.0.1"):
        abort(403, f"{HERE}: not at {request.host}, as through a forwarded port.")
    for name in PROXIES:
        if name in request.headers:
            abort(403, f"{HERE}: not through a forwarded port or a proxy, which sent {name}.")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site == "none" and request.path == "/":  # typed into the address bar
        return
    if site != "same-origin":
        abort(403, "Only the phone's own page may ask for this: type its address into a browser.")


def add_headers(response: Response) -> Response:
    """Forbid to keep, to frame, and to run anything from elsewhere."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = POLICY
    return response


def events(vonage: Sandbox, free_lines: Semaphore) -> Iterator[str]:
    """Dial, yield what happens in the call as server-sent events, and then hang up.

    The response is closed when no one reads it any more, which hangs up, too.
    """
    if not free_lines.acquire(blocking=False):
        full = f"Only {MOST_CALLS} calls at a time: hang up in another tab"
        yield write_event({"line": full, "place": "over", "state": "Not dialled"})
        return
    call = vonage.create_call()
    call.speaks = True
    Thread(target=call.dial, daemon=True).start()
    try:
        sent = 0
        while sent < len(call.happened) or not call.over.is_set():
            with call.news:
                if sent == len(call.happened):
                    call.news.wait(HEARTBEAT)
                new = call.happened[sent:]
            for event in new:
                yield write_event(event)
            sent += len(new)
            yield ":\n\n"  # a comment, for the heartbeat
    finally:
        free_lines.release()
        call.hang_up()


def write_event(event: dict[str, Any]) -> str:
    """Return an event as the browser reads it."""
    return f"data: {json.dumps(event)}\n\n"
