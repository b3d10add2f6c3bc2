"""The phone: a page on this machine that dials as a caller would, and sounds like it."""

import json
import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from sandbox import Call, Sandbox

MOST_CALLS = 5  # a browser has six connections a host, and each call is one
HEARTBEAT = 0.5  # seconds, after which a tab that is gone is noticed
PROXIES = ("Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; media-src blob: data:; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def create_phone(vonage: Sandbox) -> Flask:
    """The page of the phone, and its calls: each is one request, and ends with it."""
    phone = Flask(__name__, static_url_path="")
    calls: dict[str, Call] = {}

    @phone.before_request
    def check() -> None:
        """Refuse what does not come from the page itself, in a browser on this machine."""
        here = urlsplit(f"//{request.host}").hostname in ("localhost", "127.0.0.1", "::1")
        site = request.headers.get("Sec-Fetch-Site", "none")
        allowed = ("none", "same-origin") if request.path == "/" else ("same-origin",)
        if not here or site not in allowed or any(name in request.headers for name in PROXIES):
            abort(403)

    @phone.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @phone.get("/")
    def page() -> Response:
        return phone.send_static_file("phone.html")

    @phone.get("/dial")
    def dial() -> Response:
        return Response(_news(vonage, calls), mimetype="text/event-stream")

    @phone.post("/calls/<uuid>/<what>")
    def control(uuid: str, what: str) -> tuple[str, int]:
        call = calls.get(uuid) or abort(404)
        text = request.get_data(as_text=True)
        if what == "press" and text in list("0123456789*#"):
            call.press(text)
        elif what == "spoken" and text.isdigit():
            call.spoken(int(text))
        elif what == "hang-up":
            call.hang_up()
        return "", 204

    @phone.get("/calls/<uuid>/audio")
    def audio(uuid: str) -> Response:
        call = calls.get(uuid) or abort(404)
        return Response(call.audio, mimetype="application/octet-stream")

    return phone


def _news(vonage: Sandbox, calls: dict[str, Call]) -> Iterator[str]:
    """Dial, give each line of the story as an event, and hang up when nobody reads them."""
    if sum(not call.over.is_set() for call in calls.values()) >= MOST_CALLS:
        yield _event(line=f"Only {MOST_CALLS} calls at a time: hang up in another tab.", over=True)
        return
    ready: Queue[Call] = Queue()
    threading.Thread(target=vonage.dial, kwargs={"phone": ready.put}, daemon=True).start()
    call, told = ready.get(), 0
    calls[call.uuid] = call
    try:
        yield _event(uuid=call.uuid, number=call.parameters["from"])
        while not (call.over.is_set() and told == len(call.story)):
            with call.news:
                call.news.wait_for(lambda: len(call.story) > told, HEARTBEAT)  # noqa: B023
                lines = list(zip(call.story, call.sounds, strict=True))[told:]
            for line, sounds in lines:
                told += 1
                yield _event(line=line, lines=told, **sounds)
            yield ":\n\n"
        yield _event(over=True)
    finally:
        call.hang_up()
        del calls[call.uuid]


def _event(**fields: Any) -> str:
    return f"data: {json.dumps(fields)}\n\n"
