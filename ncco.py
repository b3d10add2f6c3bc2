"""What a caller hears on answering: NCCOs, built with the SDK's own models.

An NCCO is a JSON array of actions, run in order; when the last is done the call ends.
[Vonage, NCCO reference]
"""

from typing import Any

from vonage_voice.models import Conversation, Input, NccoAction, Stream, Talk

from calls import Leg
from config import Config


def for_leg(config: Config, leg: Leg, on_the_line: int) -> list[dict[str, Any]]:
    """The NCCO for a leg in whose conference so many are `on_the_line`, this one included."""
    actions = _conference(config, leg, on_the_line) if leg.conference else _stream(config, leg)
    return [action.model_dump(mode="json", by_alias=True, exclude_none=True) for action in actions]


def words(config: Config, on_the_line: int) -> str:
    """The same for the log: music, conference, wait 2 of 3, or start."""
    quorum = config.VOICE_CONFERENCE_QUORUM
    if config.ANSWER_WITH == "stream" or not quorum:
        return "music" if config.ANSWER_WITH == "stream" else "conference"
    return f"wait {on_the_line} of {quorum}" if on_the_line < quorum else "start"


def _stream(config: Config, leg: Leg) -> list[NccoAction]:
    """Play the audio. A key press ends it with `bargeIn`, which needs an input after it."""
    barge_in = config.VOICE_STREAM_BARGE_IN or None
    music = Stream(
        streamUrl=[str(leg.audio_url)],
        loop=config.VOICE_STREAM_LOOP,
        level=config.VOICE_STREAM_LEVEL,
        bargeIn=barge_in,
    )
    return [music, Input(type=["dtmf"])] if barge_in else [music]


def _conference(config: Config, leg: Leg, on_the_line: int) -> list[NccoAction]:
    """Say the text, unless it is blank, then join the conference, or wait for its start."""
    talk = [Talk(text=config.VOICE_TEXT)] if config.VOICE_TEXT.strip() else []
    starts = config.VOICE_CONFERENCE_QUORUM and on_the_line >= config.VOICE_CONFERENCE_QUORUM
    music = [leg.audio_url] if leg.audio_url and starts is False else None
    return [*talk, Conversation(name=leg.conference, startOnEnter=starts, musicOnHoldUrl=music)]
