"""What a caller hears on answering: NCCOs, built with the SDK's own models.

An NCCO is a JSON array of actions, run in order; when the last is done the call ends.
[Vonage, NCCO reference]
"""

from typing import Any

from vonage_voice.models import Conversation, Input, NccoAction, Stream, Talk

from calls import Leg
from config import Config, is_public


def for_leg(config: Config, leg: Leg, count: int) -> list[dict[str, Any]]:
    """Return the NCCO for a leg; `count` is of the legs in its conference, with this one."""
    if leg.conference is None:
        actions = stream_actions(config, leg)
    else:
        actions = conference_actions(config, leg, count)
    return [action.model_dump(mode="json", by_alias=True, exclude_none=True) for action in actions]


def in_words(config: Config, leg: Leg, count: int) -> str:
    """Return for the log what the leg hears or joins, with the count if a quorum is set."""
    if leg.conference is None:
        return "music"
    if config.VOICE_CONFERENCE_QUORUM is None:
        return "conference"
    return f"conference, {describe_count(config, count)}"


def describe_count(config: Config, count: int) -> str:
    """Return "2 of 3 on the line" where a quorum is set and not exceeded, else "4 on the line"."""
    quorum = config.VOICE_CONFERENCE_QUORUM
    if quorum is not None and count <= quorum:
        return f"{count} of {quorum} on the line"
    return f"{count} on the line"


def stream_actions(config: Config, leg: Leg) -> list[NccoAction]:
    """Play the audio. With `bargeIn` a key press ends it, and an input must follow."""
    music = Stream(
        streamUrl=[str(leg.audio_url)],
        loop=config.VOICE_STREAM_LOOP,
        level=config.VOICE_STREAM_LEVEL,
    )
    if not config.VOICE_STREAM_BARGE_IN:
        return [music]
    music.bargeIn = True
    return [music, Input(type=["dtmf"])]


def conference_actions(config: Config, leg: Leg, count: int) -> list[NccoAction]:
    """Say the text, then join the conference; with a quorum, start it or wait with music."""
    actions: list[NccoAction] = []
    if config.VOICE_TEXT.strip():  # a blank text says nothing
        actions.append(Talk(text=config.VOICE_TEXT))
    join = Conversation(name=leg.conference)
    if config.VOICE_CONFERENCE_QUORUM is not None:
        join.startOnEnter = count >= config.VOICE_CONFERENCE_QUORUM
    if join.startOnEnter is False and leg.audio_url and is_public(leg.audio_url):
        join.musicOnHoldUrl = [leg.audio_url]
    actions.append(join)
    return actions
