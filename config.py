"""Every setting, read once from the environment and `.env`, checked, and frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from dotenv import dotenv_values

FOLDER = Path(__file__).resolve().parent
T = TypeVar("T")
D = TypeVar("D")


class ConfigError(Exception):
    """The settings that are wrong, one sentence each in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Config:
    """The settings, by the names that `.env.example` explains; secrets are not in the repr.

    `private_key` is the PEM text of an RSA key in PKCS #8, the only form that the SDK takes.
    """

    application_id: str | None = None
    private_key: str | None = field(default=None, repr=False)
    signature_secret: str | None = field(default=None, repr=False)
    api_host: str | None = None
    answer_with: str = "stream"
    stream_url: str | None = None
    stream_loop: int | None = None
    stream_level: float | None = None
    stream_barge_in: bool = False
    conference_name: str = "Relaxing Conference"
    text: str = "Please wait while we connect you to the conference"
    conference_quorum: int | None = None
    public_url: str | None = None
    stream_token: str | None = field(default=None, repr=False)
    calls_url: str | None = field(default=None, repr=False)
    host: str = "localhost"
    port: int = 9000

    @classmethod
    def from_env(cls) -> Config:
        """Read the environment, then `.env` beside this file; raise ConfigError if any is wrong.

        A setting that is empty in the environment is unset, whatever `.env` holds for it.
        """
        dotenv = FOLDER / ".env"
        try:
            # Without -sig, old versions of python-dotenv keep the mark that Notepad begins with.
            lines = dotenv_values(dotenv, interpolate=False, encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{dotenv} cannot be read: {error}."]) from error
        env = {name: value for name, value in {**lines, **os.environ}.items() if value}
        if (FOLDER / "private.key").is_file():
            env.setdefault("VONAGE_PRIVATE_KEY", "private.key")
        return cls._checked(env)

    @property
    def missing_credentials(self) -> list[str]:
        """The settings that /stream lacks."""
        given = {
            "VONAGE_APPLICATION_ID": self.application_id,
            "VONAGE_PRIVATE_KEY": self.private_key,
        }
        return [name for name, value in given.items() if value is None]

    @property
    def not_set_up(self) -> dict[str, str]:
        """What is missing, though nothing is wrong: names of settings, and what they are for."""
        missing = {}
        if self.missing_credentials:
            names = " and ".join(self.missing_credentials)
            missing[names] = "needed by /stream, which plays music into a call."
        if self.signature_secret is None:
            missing["VONAGE_SIGNATURE_SECRET"] = (
                "without it, whoever finds the webhooks' address can pretend to be Vonage."
            )
        return missing

    @classmethod
    def _checked(cls, env: Mapping[str, str]) -> Config:
        problems: list[str] = []

        def read(name: str, check: Callable[[str], T], default: D) -> T | D:
            if name not in env:
                return default
            try:
                return check(env[name])
            except ValueError as error:
                problems.append(f"{name} {error}.")
                return default

        config = cls(
            application_id=read("VONAGE_APPLICATION_ID", _one_word, None),
            private_key=read("VONAGE_PRIVATE_KEY", _private_key, None),
            signature_secret=read("VONAGE_SIGNATURE_SECRET", _secret, None),
            api_host=read("VONAGE_API_HOST", _host_and_port, None),
            answer_with=read("ANSWER_WITH", _answer_with, cls.answer_with),
            stream_url=read("VOICE_STREAM_URL", _web_address, None),
            stream_loop=read("VOICE_STREAM_LOOP", loop, None),
            stream_level=read("VOICE_STREAM_LEVEL", level, None),
            stream_barge_in=read("VOICE_STREAM_BARGE_IN", _true_or_false, cls.stream_barge_in),
            conference_name=read("VOICE_CONFERENCE_NAME", str, cls.conference_name),
            text=read("VOICE_TEXT", _text, cls.text),
            conference_quorum=read("VOICE_CONFERENCE_QUORUM", _quorum, None),
            public_url=read("PUBLIC_URL", _public_url, None),
            stream_token=read("STREAM_TOKEN", _secret, None),
            calls_url=read("CALLS_URL", _calls_url, None),
            host=read("HOST", _one_word, cls.host),
            port=read("PORT", _port, cls.port),
        )
        if problems:
            raise ConfigError(problems)
        return config


def loop(value: str) -> int:
    """How often the audio plays; 0 is for ever. Raise ValueError for anything else."""
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise _holds(value, "a whole number: 1 plays it once, 0 for ever")
    return int(value)


def level(value: str) -> float:
    """How loud the audio plays, from -1 to 1. Raise ValueError for anything else."""
    if not re.fullmatch(r"[-+]?(0|1|0?\.[0-9]{1,9}|[01]\.[0-9]{1,9})", value):
        raise _holds(value, "a number from -1 to 1")
    if abs(float(value)) > 1:
        raise _holds(value, "a number from -1 to 1")
    return float(value)


def _holds(value: str, allowed: str) -> ValueError:
    """What a setting holds, short and without a password in an address, and what it may hold."""
    return ValueError(f"holds {re.sub('//[^/@]*@', '//…@', value)[:80]!r}; it may hold {allowed}")


def _one_word(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise _holds(value, "one word without blanks")
    return value


def _secret(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("holds a blank or a letter outside ASCII; it may hold one word")
    return value


def _private_key(value: str) -> str:
    if "-----BEGIN" in value:
        pem = value.replace("\\n", "\n").encode()
    else:
        path = FOLDER / Path(value).expanduser()
        try:
            pem = path.read_bytes()
        except (OSError, ValueError) as error:
            # Only what looks like a file's name is quoted: it may be a key pasted by halves.
            named = f"{str(path)!r}" if "." in value and len(value) < 200 else "it"
            raise ValueError(
                f"holds neither PEM text nor the path of a file that can be read: {named} "
                f"({type(error).__name__}); a path is taken from {FOLDER}"
            ) from error
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError("holds a key with a password; it may hold one without") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(
            "holds no private key that can be read; it may hold the path or the text of the "
            "PEM file that Vonage gave for the application"
        ) from error
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("holds a key that is not RSA; Vonage's applications have RSA keys")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _host_and_port(value: str) -> str:
    host, _, port = value.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host) or (
        ":" in value and not _is_port(port)
    ):
        raise _holds(value, "a host name such as api-us-3.vonage.com, without https://")
    return value


def _answer_with(value: str) -> str:
    if value not in ("stream", "conversation"):
        raise _holds(value, "stream or conversation")
    return value


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", value):
        raise _holds(value, "an address that starts with https:// or http://")
    return value


def _public_url(value: str) -> str:
    if "?" in value or "#" in value:
        raise _holds(value, "an address without ? and #, such as https://example.ngrok.app")
    return _web_address(value).rstrip("/")


def _true_or_false(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise _holds(value, "true or false")
    return value.lower() == "true"


def _text(value: str) -> str:
    if len(value) > 1500:  # the most that Vonage says in one talk action [SDK]
        raise ValueError(f"holds {len(value)} characters; it may hold at most 1,500")
    return value


def _quorum(value: str) -> int:
    # A conversation has at most 50 legs, so a higher quorum would never come. [NCCO reference]
    if not re.fullmatch(r"[0-9]{1,2}", value) or not 2 <= int(value) <= 50:
        raise _holds(value, "a whole number from 2 to 50")
    return int(value)


def _calls_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return f"sqlite:///{FOLDER / rest[1:]}"
    if scheme not in ("redis", "rediss"):
        raise ValueError("may hold sqlite:///path, redis://… or rediss://…, and holds neither")
    try:
        from redis import Redis
    except ImportError as error:
        raise ValueError("names Redis, which needs a package: pip install redis") from error
    try:
        Redis.from_url(value).close()
    except (ValueError, TypeError) as error:
        raise ValueError("names Redis with an address that cannot be read") from error
    return value


def _is_port(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", value)) and 1 <= int(value) <= 65535


def _port(value: str) -> int:
    if not _is_port(value):
        raise _holds(value, "a port from 1 to 65535")
    return int(value)
