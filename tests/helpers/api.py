"""What clients send to the sandbox's Voice API."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox import Account

MUSIC = ["https://example.com/a.mp3"]
BODY: dict[str, Any] = {"stream_url": MUSIC}


def bearer(account: Account, key: str | None = None, **claims: Any) -> str:
    """The token of a request, in which claims may be replaced, or left out with None."""
    known = {"application_id": account.application_id, "iat": int(time.time()), "jti": "x"}
    signed = {name: value for name, value in {**known, **claims}.items() if value is not None}
    key = key or account.private_key
    return "Bearer " + jwt.encode(signed, parse(key), algorithm="RS256")


@lru_cache
def parse(key: str) -> Any:
    """A key from PEM text, which takes a while."""
    return load_pem_private_key(key.encode(), None)
