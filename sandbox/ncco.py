"""What Vonage refuses in an NCCO, and in a request that plays audio, beyond the SDK's models."""

import json
import re
from contextlib import suppress
from typing import Any

import requests
from pydantic import BaseModel, ValidationError
from vonage_voice.errors import NccoActionError
from vonage_voice.models import AudioStreamOptions, Conversation, Input, Stream, Talk

MODELS: dict[str, type[BaseModel]] = {"talk": Talk, "stream": Stream}
MODELS |= {"conversation": Conversation, "input": Input}
UNUSED = ("record", "connect", "notify", "wait", "transfer")  # by the app: neither checked nor run
SYNTAX_ERROR = "Syntax error in NCCO. Invalid value type or action."  # [Webhook reference]


class Refused(ValueError):
    """What Vonage refuses, and why: its two arguments."""


def read_json(data: bytes) -> Any:
    """The value of a JSON text; raises Refused."""
    try:
        return json.loads(data.decode(), parse_constant=int)  # for which NaN is none
    except (ValueError, RecursionError) as error:
        raise Refused("body", "must be JSON") from error


def read_ncco(response: requests.Response | None) -> list[dict[str, Any]]:
    """The NCCO in an answer; ValueError with the reasons if Vonage would not run it."""
    if response is None:
        raise ValueError("The answer webhook cannot be reached.")
    if response.status_code != 200:  # nor may the type differ [support article on NCCO download]
        raise ValueError(f"The answer webhook answered {response.status_code}.")
    if response.headers.get("Content-Type", "").partition(";")[0] != "application/json":
        raise ValueError("The answer webhook's content type is not application/json.")
    try:
        ncco: list[dict[str, Any]] = read_json(response.content)
        if not isinstance(ncco, list):
            raise Refused("NCCO", "must be an array")
        for action, following in zip(ncco, [*ncco[1:], None], strict=False):
            _check_action(action, following)
    except Refused as error:
        raise ValueError(SYNTAX_ERROR, *error.args) from error
    return ncco


def check_stream(body: Any) -> dict[str, Any]:
    """The body of a request that plays audio, without nulls; raises Refused."""
    if not isinstance(body, dict):
        raise Refused("body", "must be an object")
    given = {name: value for name, value in body.items() if value is not None}
    with suppress(ValueError):  # text in the OpenAPI file, a number in the SDK: either is taken
        given |= {"level": float(given["level"])} if isinstance(given.get("level"), str) else {}
    _check(AudioStreamOptions, given)
    return given


def _check_action(action: Any, following: Any) -> None:
    name = action.get("action") if isinstance(action, dict) else None
    if name in UNUSED:
        return
    if not isinstance(name, str) or name not in MODELS:
        raise Refused("action", f"must be the name of one, not {json.dumps(name)[:80]}")
    fields = {key: value for key, value in action.items() if key != "action"}
    if isinstance(fields.get("text"), str):  # of which SSML tags do not count
        fields["text"] = re.sub(r"</?[a-zA-Z][^<>]*>", "", fields["text"])
    _check(MODELS[name], fields)
    next_name = following.get("action") if isinstance(following, dict) else None
    # Of 2021: the next action that is no stream. [NCCO reference; Java SDK: the next one]
    if name in ("stream", "talk") and fields.get("bargeIn") and next_name != "input":
        raise Refused("bargeIn", "the next action must be input")


def _check(model: type[BaseModel], fields: dict[str, Any]) -> None:
    """Raise Refused for what the SDK's model refuses, or should. Null is as if left out."""
    try:
        model.model_validate(fields, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        raise Refused(".".join(map(str, problem["loc"])), problem["msg"]) from error
    except NccoActionError as error:
        raise Refused("mute", str(error)) from error
    given = {name: fields[name] for name in model.model_fields if fields.get(name) is not None}
    for name in {"streamUrl", "stream_url", "musicOnHoldUrl"} & given.keys():
        if len(given[name]) != 1 or not re.match(r"(?i)https?://[^/]", given[name][0]):
            raise Refused(name, "must be an array of one http or https URL")
    if given.get("type") == []:
        raise Refused("type", "must not be empty")
    if round(given.get("level", 0) * 10, 6) % 1:
        raise Refused("level", "must be in steps of 0.1")
