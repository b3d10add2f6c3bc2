"""What a caller hears on answering: NCCOs, built with the SDK's own models.

An NCCO is a JSON array of actions, run in order; when the last is done the call ends.
Each function gives one, ready to be sent as JSON, and keeps it for the next caller, so it is
not to be changed. [Vonage, NCCO reference]
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from vonage_voice.models import Conversation, Input, NccoAction, Stream, Talk

Ncco = list[dict[str, Any]]


@lru_cache(maxsize=64)
def stream(
    audio_url: str,
    *,
    loop: int | None = None,
    level: float | None = None,
    barge_in: bool = False,
) -> Ncco:
    """Play the audio: `loop` times (0 is for ever), at `level` from -1 to 1.

    With `barge_in` a key press ends it; the next action must then be an input.
    """
    music = Stream(streamUrl=[audio_url], loop=loop, level=level, bargeIn=barge_in or None)
    return _json(music, Input(type=["dtmf"])) if barge_in else _json(music)


@lru_cache(maxsize=64)
def conversation(name: str, text: str) -> Ncco:
    """Say `text`, unless it is blank, then join the conference called `name`."""
    return _json(*_talk(text), Conversation(name=name))


@lru_cache(maxsize=64)
def conversation_with_quorum(name: str, text: str, *, audio_url: str, starts: bool) -> Ncco:
    """Join the conference: to start it for everybody, or to wait for that and hear the audio.

    Whoever enters with `startOnEnter` false after the start joins at once, and Vonage stops
    the music for all when it starts, so nothing has to be done then.
    """
    if starts:
        return _json(*_talk(text), Conversation(name=name, startOnEnter=True))
    waits = Conversation(name=name, startOnEnter=False, musicOnHoldUrl=[audio_url])
    return _json(*_talk(text), waits)


def _talk(text: str) -> list[Talk]:
    return [Talk(text=text)] if text.strip() else []


def _json(*actions: NccoAction) -> Ncco:
    return [action.model_dump(mode="json", by_alias=True, exclude_none=True) for action in actions]
