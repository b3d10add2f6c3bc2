"""A leg of a call: what Vonage knows of it, and the events that it sends about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import requests

from sandbox.tunnel import Tunnel, describe_status

NAMES = ("from", "to", "from_user", "uuid", "conversation_uuid")  # what most events say of a leg
NO_NEWS = ("started", "ringing", "transfer")  # events that change nothing for a reader
EVENT_TIME = "%Y-%m-%dT%H:%M:%S.000Z"
API_TIME = "%Y-%m-%d %H:%M:%S"  # [OpenAPI file]
COSTS = {"rate": "0.00", "price": "0.00", "network": "65512"}


@dataclass(eq=False)
class Leg:
    """A caller's connection; `on_line` gets its name and each line about it."""

    tunnel: Tunnel
    on_line: Callable[[str, str], None]
    name: str
    region: str
    parameters: dict[str, Any]  # of the answer webhook
    status: str = "ringing"
    answered: datetime | None = None
    ended_at: datetime | None = None
    _rtc_events: int = 0

    def __post_init__(self) -> None:
        self.uuid = str(self.parameters.get("uuid"))

    def describe(self) -> dict[str, Any]:
        """The leg as the Voice API describes it. [Voice API]"""
        described: dict[str, Any] = {
            "_links": {"self": {"href": f"/calls/{self.uuid}"}},
            "uuid": self.uuid,
            "conversation_uuid": self.parameters.get("conversation_uuid"),
            "to": {"type": "phone", "number": self.parameters.get("to")},
            "from": self._describe_caller(),
            "status": self.status,
            "direction": "inbound",
        }
        if self.ended_at:
            began = self.answered or self.ended_at
            described["start_time"] = f"{began:{API_TIME}}"
            described["end_time"] = f"{self.ended_at:{API_TIME}}"
            described["duration"] = self._lasted(self.ended_at)
            described |= COSTS
        return described

    def _describe_caller(self) -> dict[str, Any] | None:
        user = self.parameters.get("from_user")
        if user:
            return {"type": "app", "user": user}
        caller = self.parameters.get("from")
        if not caller:
            return None
        if str(caller).startswith(("sip:", "sips:")):
            return {"type": "sip", "uri": caller}
        return {"type": "phone", "number": caller}

    def event(self, status: str, **more: Any) -> requests.Response | None:
        """Send the event of a status; gives the answer. [Webhook reference]"""
        fields = self.named() | {"status": status, "direction": "inbound"}
        if status == "answered":  # what is not known yet is null [captured bodies]
            fields |= {"start_time": None, "rate": None, "network": None}
        if status == "completed":
            ended = self.ended_at or datetime.now(timezone.utc)
            fields["start_time"] = None
            if self.answered:
                fields["start_time"] = f"{self.answered:{EVENT_TIME}}"
            fields["end_time"] = f"{ended:{EVENT_TIME}}"
            fields["duration"] = self._lasted(ended)
            fields |= {**COSTS, "disconnected_by": "platform", "sip_code": 200}
        return self.send_event("event", status, fields | more)

    def error(self, reason: str) -> None:
        """Send the event of an error, which says nothing of the leg. [Webhook reference]"""
        self.send_event("event", "error", self.named(["conversation_uuid"]) | {"reason": reason})

    def send_rtc(self, kind: str, play_id: str, **body: Any) -> None:
        """Send what RTC says of audio in a leg. [Conversation API, Event]"""
        self._rtc_events += 1
        channel = {"id": self.uuid, "type": "phone"}
        fields = {
            "type": kind,
            "application_id": self.tunnel.account.application_id,
            "id": self._rtc_events,
            "conversation_id": self.parameters.get("conversation_uuid"),
            "body": {"play_id": play_id, "channel": channel, **body},
        }
        self.send_event("rtc", kind, fields, Authorization=None)

    def named(self, names: Iterable[str] = NAMES) -> dict[str, Any]:
        """Those of the leg's parameters that an event has."""
        return {name: self.parameters[name] for name in names if name in self.parameters}

    def _lasted(self, ended: datetime) -> str:
        """The seconds from the answer to the end, as a text."""
        if not self.answered:
            return "0"
        return str(int((ended - self.answered).total_seconds()))

    def send_event(
        self, webhook: str, what: str, fields: dict[str, Any], **headers: str | None
    ) -> requests.Response | None:
        """Send a webhook about `what`, and say so, unless it is no news; gives the answer."""
        fields["timestamp"] = f"{datetime.now(timezone.utc):{EVENT_TIME}}"
        response = self.tunnel.send("POST", f"/webhooks/{webhook}", fields, **headers)
        came = describe_status(response)
        if not came.startswith("2") or what not in NO_NEWS:
            self.on_line(self.name, f"POST /webhooks/{webhook} {what} → {came}")
        return response
