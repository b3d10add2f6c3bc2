"""Every setting: read once from the environment and `.env`, checked, and frozen."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dotenv import dotenv_values
from pydantic import AfterValidator as After
from pydantic import BaseModel, BeforeValidator, Field, HttpUrl, TypeAdapter, ValidationError

# The key in a PEM text, parsed once: parsing takes 100 times as long as signing.
load_key = lru_cache(maxsize=1)(lambda pem: load_pem_private_key(pem.encode(), password=None))
NEEDED_BY_STREAM = "needed by /stream"
FOLDER = Path(__file__).resolve().parent
ANY_URL = TypeAdapter(HttpUrl)
LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1", re.IGNORECASE)


class ConfigError(Exception):
    """The settings that are wrong, a sentence each in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _like(pattern: str) -> BeforeValidator:
    """Refuse text that does not match: pydantic alone takes `1_000`, ` 3 ` and `yes` as well."""

    def check(value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(pattern, value, re.IGNORECASE):
            raise ValueError
        return value

    return BeforeValidator(check)


def _public(value: str) -> str:
    url = ANY_URL.validate_python(value)  # also knows that 127.1 is 127.0.0.1
    host = (url.host or "").strip("[]").rstrip(".")
    try:
        is_public = ip_address(host).is_global
    except ValueError:
        is_public = "." in host and not host.endswith((".localhost", ".local", ".internal"))
    if not is_public:
        raise ValueError
    return str(url)


def _private_key(value: str) -> str:
    pem = value.replace("\\n", "\n")
    try:
        if "-----BEGIN" not in value:
            pem = (FOLDER / Path(value).expanduser()).read_text(encoding="utf-8")
        key = load_key(pem)
    except (OSError, UnicodeError, RuntimeError) as error:
        # Only what looks like a file's name is shown: it may be half of a key.
        file = str(FOLDER / value) if "." in value and len(value) < 200 else "the file"
        raise ValueError(f"{file} cannot be read: {type(error).__name__}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("this is no PEM private key without a password") from error
    if not isinstance(key, RSAPrivateKey) or "-----BEGIN PRIVATE KEY-----" not in pem:
        raise ValueError("this key is in another format, which the SDK refuses")
    return pem


def _calls_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme == "sqlite" and re.fullmatch("/.+", rest):
        return f"sqlite:///{FOLDER / rest[1:]}"
    if scheme not in ("redis", "rediss"):
        raise ValueError
    try:
        from redis import Redis

        Redis.from_url(value).connection_pool.make_connection()  # builds it, connects nowhere
    except ImportError as error:
        raise ValueError("Redis needs a package: pip install redis") from error
    except Exception as error:  # whatever the type of an option raises
        raise ValueError("redis-py refuses this address or one of its options") from error
    return value


# The environment's bytes that are not UTF-8 arrive as lone surrogates, which cannot be encoded.
Text = Annotated[str, After(lambda value: value.encode().decode())]
Word = Annotated[str, _like("[!-~]+")]
Printable = Annotated[str, _like("[ -~]+")]
Uuid = Annotated[str, After(lambda value: str(UUID(value)))]
Key = Annotated[Text, After(_private_key)]
Host = Annotated[
    str,
    _like("[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]*)?"),
    After(lambda host: ANY_URL.validate_python(f"https://{host}") and host),
]
Url = Annotated[str, _like(r"https?://\S+"), After(_public)]
OwnUrl = Annotated[Url, _like("[^?#]*"), After(lambda value: value.rstrip("/"))]
CallsUrl = Annotated[Text, After(_calls_url)]
Flag = Annotated[bool, _like("true|false")]
Whole = Annotated[int, _like("[0-9]{1,9}")]
Steps = Annotated[float, Field(ge=-1, le=1, multiple_of=0.1)]
Level = Annotated[Steps, BeforeValidator(float), _like(r"[-+]?([0-9]+|[0-9]*\.[0-9]+)")]
WELCOME = "Please wait while we connect you to the conference"


def _is(must_be: str, default: Any = None, **limits: Any) -> Any:
    return Field(default, description=must_be, **limits)


class Config(BaseModel, frozen=True, extra="forbid"):
    """The settings, called as in the environment; `.env.example` says where to find each value.

    `VONAGE_PRIVATE_KEY` is the key's PEM text, wherever it came from. Secrets are not in the repr.
    """

    VONAGE_APPLICATION_ID: Uuid | None = _is("a UUID, as on the application's page")
    VONAGE_PRIVATE_KEY: Key | None = _is("the path or the text of Vonage's key file", repr=False)
    VONAGE_SIGNATURE_SECRET: Word | None = _is("one word of printable ASCII", repr=False)
    VONAGE_API_HOST: Host | None = _is("a host such as api-us-3.vonage.com, without https://")
    ANSWER_WITH: Literal["conversation", "stream"] = _is("conversation or stream", "conversation")
    VOICE_STREAM_URL: Url | None = _is("an http or https address on the public internet")
    VOICE_STREAM_LOOP: Whole | None = _is("a whole number; 0 is forever")
    VOICE_STREAM_LEVEL: Level | None = _is("a number from -1 to 1 in steps of 0.1")
    VOICE_STREAM_BARGE_IN: Flag = _is("true or false", False)
    VOICE_CONFERENCE_NAME: Text = _is("text in UTF-8", "Relaxing Conference")
    VOICE_TEXT: Text = _is("UTF-8, at most 1,500 characters", WELCOME, max_length=1500)
    VOICE_CONFERENCE_QUORUM: Whole | None = _is("a whole number from 2 to 50", ge=2, le=50)
    PUBLIC_URL: OwnUrl | None = _is("a public http or https address, without ? and #")
    STREAM_PASSWORD: Printable | None = _is("printable ASCII", repr=False)
    CALLS_URL: CallsUrl | None = _is("sqlite:///path, redis://… or rediss://…", repr=False)
    HOST: Word = _is("an address or a name of this machine", "localhost")
    PORT: Whole = _is("a port from 1 to 65535", 9000, ge=1, le=65535)

    @classmethod
    def from_env(cls) -> "Config":
        """Read the environment, then `.env` beside this file; ConfigError names all wrong ones.

        Empty means unset, in the environment too, whatever `.env` says.
        """
        file = FOLDER / ".env"
        try:
            env = {**dotenv_values(file), **os.environ}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{file} must be a text file in UTF-8: {error}."]) from error
        if not env.get("VONAGE_PRIVATE_KEY") and (FOLDER / "private.key").is_file():
            env["VONAGE_PRIVATE_KEY"] = "private.key"
        return cls.from_text({name: _unquoted(env.get(name) or "") for name in cls.model_fields})

    @classmethod
    def from_text(cls, values: Mapping[str, str], **called: str) -> "Config":
        """The settings with these values, "" for unset; ConfigError names all that are wrong."""
        problems = []
        try:
            return cls.model_validate({name: value for name, value in values.items() if value})
        except ValidationError as error:
            for wrong in error.errors():
                name, reason = str(wrong["loc"][0]), wrong.get("ctx", {}).get("error")
                field = cls.model_fields[name]
                shown = re.sub("//.*@", "//…@", values[name])[:80]  # without a password
                got = f" (got {shown!r})" if field.repr else ""
                why = f": {reason}" if type(reason) is ValueError and str(reason) else ""
                problems.append(f"{called.get(name, name)} must be {field.description}{got}{why}.")
        raise ConfigError(problems)  # without the cause, which quotes secrets

    @property
    def not_set_up(self) -> dict[str, str]:
        """What is missing, though nothing is wrong: names of settings, and what each is for."""
        names = ("VONAGE_APPLICATION_ID", "VONAGE_PRIVATE_KEY")
        missing = {name: NEEDED_BY_STREAM for name in names if getattr(self, name) is None}
        if self.VONAGE_SIGNATURE_SECRET is None:
            missing["VONAGE_SIGNATURE_SECRET"] = "without it, webhooks are accepted from anyone"
        if self.STREAM_PASSWORD is None and not LOOPBACK.fullmatch(self.HOST):
            missing["STREAM_PASSWORD"] = "needed to open the page from another machine"
        return missing


def _unquoted(value: str) -> str:
    """Without what Docker's --env-file leaves on a value: matching quotes, a carriage return."""
    value = value.removesuffix("\r")
    return value[1:-1] if re.fullmatch(r"""(["']).*\1""", value, re.DOTALL) else value
