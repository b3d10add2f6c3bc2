"""The phone: a page on this machine that dials as a caller would, and sounds like it."""

import json
from collections.abc import Iterator
from queue import Queue
from threading import Thread
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from sandbox import Call, Sandbox

MOST_CALLS = 5  # a browser has six connections a host, and each call is one
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
    calls: dict[str, Call] = {}

    @phone.before_request
    def check() -> None:  # that it comes from the page itself, in a browser on this machine
        here = urlsplit(f"//{request.host}").hostname in ("localhost", "127.0.0.1", "::1")
        allowed = ("none", "same-origin") if request.path == "/" else ("same-origin",)
        asks = request.headers.get("Sec-Fetch-Site", "none")
        if not here or asks not in allowed or any(name in request.headers for name in PROXIES):
            abort(403)

    @phone.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @phone.get("/dial")
    def dial() -> Response:
        return Response(_events(vonage, calls), mimetype="text/event-stream")

    @phone.get("/calls/<uuid>/audio")
    def audio(uuid: str) -> Response:
        call = calls.get(uuid) or abort(404)
        return Response(call.audio, mimetype="application/octet-stream")

    @phone.post("/calls/<uuid>/<what>")
    def control(uuid: str, what: str) -> tuple[str, int]:
        call, text = calls.get(uuid) or abort(404), request.get_data(as_text=True)
        if what == "press":
            call.press(text)
        elif what == "spoken":
            call.spoken(int(text))
        elif what == "hang-up":
            call.hang_up()
        return "", 204

    return phone


def _events(vonage: Sandbox, calls: dict[str, Call]) -> Iterator[str]:
    """Dial, give each line of the story as an event, and hang up when nobody reads them."""
    if sum(not call.over.is_set() for call in calls.values()) >= MOST_CALLS:
        full = f"Only {MOST_CALLS} calls at a time: hang up in another tab."
        yield f"data: {json.dumps({'line': full, 'over': True})}\n\n"
        return
    dialled: Queue[Call] = Queue()
    Thread(target=vonage.dial, kwargs={"phone": dialled.put}, daemon=True).start()
    call, told = dialled.get(), 0
    calls[call.uuid] = call
    try:
        while not (call.over.is_set() and told == len(call.story)):
            with call.news:
                call.news.wait_for(lambda: len(call.story) > told, HEARTBEAT)  # noqa: B023
                lines = list(zip(call.story, call.sounds, strict=True))[told:]
            for line, sounds in lines:
                told += 1
                news = {"uuid": call.uuid, "number": call.parameters["from"], "line": line}
                over = call.over.is_set() and told == len(call.story)
                yield f"data: {json.dumps({**news, 'lines': told, 'over': over, **sounds})}\n\n"
            yield ":\n\n"
    finally:
        call.hang_up()
        del calls[call.uuid]
