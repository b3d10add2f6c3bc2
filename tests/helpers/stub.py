"""A sandbox whose app is a stub in this process: it returns the answer that a test wants."""

from __future__ import annotations

import json
import threading
from operator import itemgetter
from typing import Any

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler

from sandbox import Call
from tests.helpers.audio import MUSIC, wav
from tests.helpers.faults import FaultySandbox

CONFERENCE: dict[str, Any] = {"action": "conversation", "name": "Conference"}
TALK = {"action": "talk", "text": "<speak>One moment</speak>"}
INPUT = {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1}}


class StubbedSandbox(FaultySandbox):
    """A sandbox that answers the answer webhook with `answers`, one each; the last one stays.

    An answer is an NCCO, or a Response. `webhooks` has the requests received. `music` and `short`
    are the addresses of audio of 32 s and of 0.01 s.
    """

    def start_app(self) -> None:
        """Serve the stub on the app's port."""
        self.answers: list[Any] = []
        self.webhooks: list[Request] = []
        self.arrived = threading.Condition()
        self.files: dict[str, Response] = {}
        self.reset()
        app = Request.application(self._answer)
        self.serve_here(app, request_handler=_Silent)

    def stop_app(self) -> int:
        """Stop serving; returns 0."""
        return self.stop_here()

    def reset(self) -> None:
        """Hang up, forget all requests and files, and answer with a conference again."""
        self.hang_up_all()
        for kept in (self.calls, self.webhooks, self.asked, self.files, self.web):
            kept.clear()
        self.answers[:] = [[CONFERENCE]]
        self.music = self.add_file("/music.mp3", MUSIC)
        self.short = self.add_file("/short.wav", wav(seconds=0.01))

    def add_file(self, path: str, content: Any, **options: Any) -> str:
        """Serve a file, as audio unless the options say otherwise; returns its public address."""
        self.files[path] = Response(content, **{"mimetype": "audio/mpeg", **options})
        return self.public_url + path

    def stream(self, url: str = "", **more: Any) -> dict[str, Any]:
        """Return an action that plays the music, or the audio at another address."""
        return {"action": "stream", "streamUrl": [url or self.music], **more}

    def hold(self, url: str = "") -> dict[str, Any]:
        """Return an action that lets a caller wait with music."""
        return {**CONFERENCE, "startOnEnter": False, "musicOnHoldUrl": [url or self.music]}

    def sent(self, webhook: str) -> list[Any]:
        """Return the JSON of all requests to a webhook."""
        return [one.json for one in self.webhooks if one.path == f"/webhooks/{webhook}"]

    def events(self, call: Call) -> list[dict[str, Any]]:
        """Return the events about a call."""
        events = self.sent("event")
        ids = {call.uuid, call.parameters["conversation_uuid"]}
        return [one for one in events if {one.get("uuid"), one.get("conversation_uuid")} & ids]

    def rtc(self, call: Call, number: int) -> list[dict[str, Any]]:
        """Return the RTC events about a call, by their time, once there are so many."""

        def find() -> list[dict[str, Any]]:
            events = self.sent("rtc")
            return [event for event in events if event["body"]["channel"]["id"] == call.uuid]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(find()) >= number, 20), find()
        return sorted(find(), key=itemgetter("timestamp"))

    def _answer(self, request: Request) -> Response:
        request.get_data()  # is kept, and could not be read later
        if request.path.startswith("/webhooks/"):
            with self.arrived:
                self.webhooks.append(request)
                self.arrived.notify_all()
        path = request.full_path.rstrip("?")
        if path in self.files:
            return self.files[path]
        if request.path in ("/webhooks/event", "/webhooks/rtc"):
            return Response(status=204)
        answer = self.answers[0]
        if len(self.answers) > 1:
            del self.answers[0]
        if isinstance(answer, Response):
            return answer
        return Response(json.dumps(answer), mimetype="application/json")


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass
