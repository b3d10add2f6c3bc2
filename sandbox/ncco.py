"""Read an NCCO, and a request that plays audio: by the SDK's models, and what they let pass."""

import json
import re
from decimal import Decimal
from typing import Any

import requests
from pydantic import BaseModel, ValidationError
from vonage_voice.errors import NccoActionError
from vonage_voice.models import AudioStreamOptions, Conversation, Input, Stream, Talk
from werkzeug.http import parse_options_header

MODELS = {model.__name__.lower(): model for model in (Talk, Stream, Conversation, Input)}
URL = re.compile("https?://[^/]", re.IGNORECASE)
TAG = re.compile("</?[a-zA-Z][^<>]*>")  # of SSML
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
SYNTAX_ERROR = "Syntax error in NCCO. Invalid value type or action."  # [Webhook reference]
# The actions and fields that the app does not use. Such an action is not even checked.
UNUSED = ("record", "connect", "notify", "wait", "transfer")
NOT_RUN = ("canHear", "canSpeak", "endOnExit", "eventUrl", "mute", "record", "submitOnHash")


class RefusedError(ValueError):
    """What Vonage refuses: its arguments are the field's name and the reason."""


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type is application/json, however it is written."""
    return parse_options_header(content_type)[0].lower() == "application/json"


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text, or None if it is no JSON."""
    try:
        return json.loads(data.decode(), parse_constant=int)  # int refuses NaN
    except (ValueError, RecursionError):
        return None


def read_ncco(response: requests.Response | None) -> list[dict[str, Any]]:
    """Return the NCCO in a response as it is run: without nulls, and texts without SSML tags.

    Raises ValueError with the reasons if Vonage refuses it.
    """
    if response is None:
        raise ValueError("The answer webhook cannot be reached.")
    kind = response.headers.get("Content-Type", "")
    if response.status_code != 200 or not is_json(kind):  # [support article on NCCO download]
        answer = f"{response.status_code} {kind}".partition(";")[0]
        raise ValueError(f"The answer webhook answered {answer}, not 200 application/json.")
    ncco = read_json(response.content)
    try:
        if not isinstance(ncco, list) or not all(isinstance(action, dict) for action in ncco):
            raise RefusedError("NCCO", "must be a JSON array of objects")
        following = [*ncco[1:], {}]
        return [_read_action(*two) for two in zip(ncco, following, strict=False)]
    except RefusedError as error:
        raise ValueError(SYNTAX_ERROR, *error.args) from error


def list_not_run(action: dict[str, Any]) -> list[str]:
    """Return what the sandbox does not run of an action: all of it, or some of its fields."""
    name = action["action"]
    if name in UNUSED:
        return [name]
    options = {**action, **action.get("dtmf", {})}
    used = [field for field in NOT_RUN if options.get(field, False) is not False]
    skipped = [f"{name} with {field}" for field in used]
    if "speech" in action.get("type", []):
        skipped.append("input of speech")
    return skipped


def check_stream(body: Any) -> dict[str, Any]:
    """Return the body of a request that plays audio, its `level` a number; raises RefusedError."""
    if not isinstance(body, dict):
        raise RefusedError("body", "must be a JSON object")
    for name in ("loop", "level"):
        if name in body and body[name] is None:
            raise RefusedError(name, "must not be null")
    level = body.get("level")
    if isinstance(level, str):  # as in the OpenAPI file; a number in the SDK
        if not DECIMAL.fullmatch(level):
            raise RefusedError("level", "must be a number such as -0.4")
        body = {**body, "level": float(level)}
    return _check_fields(AudioStreamOptions, body)


def _read_action(action: dict[str, Any], following: dict[str, Any]) -> dict[str, Any]:
    """Return one action; with `bargeIn` the one after it is checked, too."""
    name = action.get("action")
    if name in UNUSED:
        return {"action": name}
    if not isinstance(name, str) or name not in MODELS:
        raise RefusedError("action", f"must be the name of one, not {json.dumps(name)[:80]}")
    fields = {**action, "action": MODELS[name].model_fields["action"].default}
    text = fields.get("text")
    if isinstance(text, str):  # of which SSML tags do not count
        fields["text"] = TAG.sub("", text)
    if fields.get("startOnEnter") in ("true", "false"):  # [Vonage's tutorial, Call whisper]
        fields["startOnEnter"] = fields["startOnEnter"] == "true"
    given = _check_fields(MODELS[name], fields)
    # Of 2021: the next action that is no stream. [NCCO reference; Java SDK: the next one]
    if given.get("bargeIn") and following.get("action") != "input":
        raise RefusedError("bargeIn", "the next action must be input")
    return {**given, "action": name}


def _check_fields(model: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without nulls; raises RefusedError if the SDK refuses one, or should."""
    try:
        given = model.model_validate(fields, strict=True).model_dump(exclude_none=True)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise RefusedError(place, problem["msg"]) from error
    except NccoActionError as error:
        raise RefusedError("mute", str(error)) from error
    for name in ("streamUrl", "stream_url", "musicOnHoldUrl"):
        urls = given.get(name)
        if urls is not None and (len(urls) != 1 or not URL.match(urls[0])):
            raise RefusedError(name, "must be an array of one http or https URL")
    level = Decimal(str(given.get("level", 0)))  # as it is written
    if model is not Talk and level * 10 % 1:
        raise RefusedError("level", "must be in steps of 0.1")
    return given
