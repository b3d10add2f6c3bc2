"""Who is on the line: the legs that joined and have not ended."""

from calls.base import MOST_LEGS, Calls, Leg, key
from calls.sqlite import SqliteCalls

__all__ = ["MOST_LEGS", "Calls", "Leg", "key", "open_calls"]


def open_calls(url: str, application_id: str | None) -> Calls:
    """The store at this CALLS_URL, not yet connected; applications may share one Redis."""
    if url.startswith("sqlite:///"):
        return SqliteCalls(url.removeprefix("sqlite:///"))
    from calls.redis import RedisCalls  # needs a package that the app can do without

    return RedisCalls(url, application_id)
