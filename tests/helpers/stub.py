"""A sandbox whose app is a stub in this process: it gives the answer that a test wants."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox import Call
from tests.helpers.faults import FaultySandbox


@dataclass(frozen=True)
class Webhook:
    """A webhook as it came in: `payload` is the bytes of its body, or of its query."""

    method: str
    path: str
    payload: bytes
    parameters: dict[str, Any]
    headers: dict[str, str]


class StubbedSandbox(FaultySandbox):
    """Answers the answer webhook with `answers`, one each, of which the last one stays.

    An answer is an NCCO, or a Response. `webhooks` is what came in.
    """

    def start_app(self) -> None:
        """Serve the stub on the app's port."""
        self.answers: list[Any] = [[{"action": "conversation", "name": "Conference"}]]
        self.webhooks: list[Webhook] = []
        self.arrived = threading.Condition()
        self.files: dict[str, Response] = {}
        options: dict[str, Any] = {"threaded": True, "request_handler": _Silent}
        self._stub = make_server("127.0.0.1", self.port, self._serve, **options)
        threading.Thread(target=self._stub.serve_forever, args=(0.02,), daemon=True).start()

    def stop_app(self) -> int:
        """Stop serving."""
        self._stub.shutdown()
        self._stub.server_close()
        return 0

    def reset(self) -> None:
        """Hang up, forget what came in, and answer with a conference again."""
        self.hang_up_all()
        for kept in (self.calls, self.webhooks, self.asked, self.files, self.web):
            kept.clear()
        self.answers[:] = [[{"action": "conversation", "name": "Conference"}]]

    def events(self, call: Call) -> list[dict[str, Any]]:
        """The parameters of the events about a call that came in."""
        events = [one.parameters for one in self.webhooks if one.path == "/webhooks/event"]
        ids = (call.uuid, call.parameters.get("conversation_uuid"))
        return [one for one in events if {one.get("uuid"), one.get("conversation_uuid")} & {*ids}]

    def rtc(self, call: Call, number: int) -> list[dict[str, Any]]:
        """The parameters of the first RTC events about a call, which this waits for."""

        def find() -> list[dict[str, Any]]:
            events = [one.parameters for one in self.webhooks if one.path == "/webhooks/rtc"]
            return [event for event in events if event["body"]["channel"]["id"] == call.uuid]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(find()) >= number, 5), find()
        return find()

    @property
    def _serve(self) -> Any:
        return Request.application(self._answer)

    def _answer(self, request: Request) -> Response:
        path = request.full_path.rstrip("?")
        if path in self.files:
            return self.files[path]
        payload = request.query_string
        given = request.args.to_dict()
        if request.method == "POST":
            payload = request.get_data()
            given = json.loads(payload)
        headers = dict(request.headers)
        with self.arrived:
            self.webhooks.append(Webhook(request.method, request.path, payload, given, headers))
            self.arrived.notify_all()
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
