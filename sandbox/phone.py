"""The phone: a page on this machine that dials as a caller would, and sounds like it."""

import json
from collections.abc import Iterator
from queue import Queue
from threading import Thread

from flask import Flask, Response, abort, request

from sandbox import Call, Sandbox

MOST = 5  # a browser has six connections a host, and each call is one
HEARTBEAT = 0.5  # seconds, after which it shows that a tab is gone
PROXIES = ("Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host")
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} | {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; media-src blob: data:; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}


def create_phone(vonage: Sandbox) -> Flask:
    """The page of the phone, and its calls: each is one request, and ends with it."""
    phone = Flask(__name__, static_url_path="")
    phone.add_url_rule("/", view_func=lambda: phone.send_static_file("phone.html"))

    @phone.before_request
    def check() -> None:  # that it comes from the page itself, in a browser on this machine
        here = request.host.partition(":")[0] in ("localhost", "127.0.0.1")
        site = request.headers.get("Sec-Fetch-Site", "none")
        own = site == "same-origin" or (site == "none" and request.path == "/")
        if not here or not own or any(name in request.headers for name in PROXIES):
            abort(403)

    @phone.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @phone.get("/dial")
    def dial() -> Response:
        return Response(_events(vonage), mimetype="text/event-stream")

    @phone.route("/calls/<uuid>/<what>", methods=["GET", "POST"])
    def control(uuid: str, what: str) -> Response:
        call = vonage.calls.get(uuid) or abort(404)
        if what == "press":
            call.press(request.get_data(as_text=True))
        elif what == "spoken":
            call.go_on.set()
        elif what == "hang-up":
            call.hang_up()
        audio = call.audio if what == "audio" else b""
        return Response(audio, mimetype="application/octet-stream")

    return phone


def _events(vonage: Sandbox) -> Iterator[str]:
    """Dial, give each line of the story as an event, and hang up when no one reads them."""
    if sum(call.speaks and not call.over.is_set() for call in list(vonage.calls.values())) >= MOST:
        full = f"Only {MOST} calls at a time: hang up in another tab."
        yield f"data: {json.dumps({'line': full, 'over': True})}\n\n"
        return
    dialled: Queue[Call] = Queue()
    Thread(target=vonage.dial, kwargs={"phone": dialled.put}, daemon=True).start()
    call, lines = dialled.get(), 0
    try:
        while not call.over.is_set() or lines < len(call.sounds):
            with call.news:
                news = call.news.wait_for(lambda: call.sounds[lines:], HEARTBEAT)  # noqa: B023
            for heard in news:
                yield f"data: {json.dumps(heard)}\n\n"
            yield ":\n\n"
            lines += len(news)
    finally:
        call.hang_up()
