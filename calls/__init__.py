"""The list of calls: which legs are on the line, and what happened lately."""

from calls.base import ENDS, MOST_LEGS, AudioNote, Calls, Leg, News, key
from calls.sqlite import SqliteCalls

__all__ = ["ENDS", "MOST_LEGS", "AudioNote", "Calls", "Leg", "News", "key", "open_calls"]


def open_calls(url: str, application_id: str | None) -> Calls:
    """Return the store at this CALLS_URL, not yet connected. Applications may share one."""
    if url.startswith("sqlite:///"):
        return SqliteCalls(url.removeprefix("sqlite:///"), application_id)
    from calls.redis import RedisCalls  # needs a package that SQLite does without

    return RedisCalls(url, application_id)
