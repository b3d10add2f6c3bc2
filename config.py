"""Every setting: read once from the environment and `.env`, checked, and frozen."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dotenv import dotenv_values
from pydantic import AfterValidator as After
from pydantic import BaseModel, BeforeValidator, Field, HttpUrl, TypeAdapter, ValidationError

FOLDER = Path(__file__).resolve().parent
ANY_URL = TypeAdapter(HttpUrl)
LOOPBACK = re.compile(r"localhost|(::ffff:)?127\.[0-9.]+|::1", re.IGNORECASE)
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal")
SHOWN = 80  # characters of a wrong value that a message shows
WELCOME = "Please wait while we connect you to the conference"

# What values must be, where two places say so.
PUBLIC = "an http or https address on the public internet"
LOOP = "a whole number from 0 to 999999999; 0 is forever"
LEVEL = "a number from -1 to 1 in steps of 0.1"

# What /stream needs, and where it is found.
CREDENTIALS = {
    "VONAGE_APPLICATION_ID": "needed by /stream; it is on the application's page in the dashboard",
    "VONAGE_PRIVATE_KEY": "needed by /stream; save the application's key file as private.key",
}
NO_SECRET = "without it, webhooks are accepted from anyone; it is in the dashboard's settings"
NO_PASSWORD = "needed to open the page from another machine; choose one"


class ConfigError(Exception):
    """The values that are wrong, a sentence each in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@lru_cache(maxsize=256)
def is_public(url: str) -> bool:
    """Return whether an address is http or https, and its host may be on the public internet."""
    if re.search(r"\s", url):  # which pydantic would take out
        return False
    try:
        host = ANY_URL.validate_python(url).host  # of 127.1 this is 127.0.0.1
    except ValidationError:
        return False
    host = str(host).strip("[]").rstrip(".")
    try:
        return ip_address(host).is_global
    except ValueError:  # a name
        return "." in host and not host.endswith(PRIVATE_SUFFIXES)


@lru_cache(maxsize=256)
def is_host(value: str) -> bool:
    """Return whether this is a host, perhaps with a port, and nothing else."""
    if not re.fullmatch(r"[\w.:\[\]-]+", value, re.ASCII):
        return False
    try:
        ANY_URL.validate_python(f"https://{value}")  # refuses [::::] and port 99999
    except ValidationError:
        return False
    return True


def check_public_url(value: str) -> str:
    if not is_public(value):
        raise ValueError
    return str(ANY_URL.validate_python(value))


def check_own_url(value: str) -> str:
    if "?" in value or "#" in value:
        raise ValueError
    url = check_public_url(value).rstrip("/")
    if re.search("/webhooks(/(answer|event|rtc))?$", url):
        raise ValueError("give the server's address, without the path of a webhook")
    return url


def check_api_host(value: str) -> str:
    if not is_host(value):
        raise ValueError
    return value.lower()


def check_calls_url(value: str) -> str:
    """Make a path absolute, and refuse what redis-py would refuse only at the first call."""
    scheme, _, rest = value.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return f"sqlite:///{FOLDER / rest[1:]}"
    if scheme not in ("redis", "rediss"):
        raise ValueError
    try:
        from redis import Redis  # an optional package
    except ImportError:
        raise ValueError("Redis needs a package: pip install redis") from None
    try:
        Redis.from_url(value).connection_pool.make_connection()  # which connects nowhere
    except Exception:  # an option's converter may raise anything
        raise ValueError(
            "redis-py refuses this address or one of its options; "
            "in a password, write / as %2F, # as %23 and @ as %40"
        ) from None
    return value


def read_private_key(value: str) -> RSAPrivateKey:
    """Return the key in a PEM text, or in the file at a path; raise ValueError."""
    pem = value.replace("\\n", "\n")
    if "-----BEGIN" not in pem:
        pem = read_key_file(value)
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("this is no PEM private key, or it has a password") from None
    if not isinstance(key, RSAPrivateKey) or "-----BEGIN PRIVATE KEY-----" not in pem:
        raise ValueError("this key is in another format, which Vonage does not use")
    return key


def read_key_file(path: str) -> str:
    shown = "the file"
    if "." in path and len(path) < 200 and path.isprintable():  # else it may be half of a key
        shown = str(FOLDER / path)
    try:
        return (FOLDER / Path(path).expanduser()).read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{shown} cannot be read: {type(error).__name__}") from None


Text = Annotated[str, Field(min_length=1)]  # a length limit makes pydantic refuse what is not UTF-8
Word = Annotated[str, Field(pattern="^[!-~]+$")]
Printable = Annotated[str, Field(pattern="^[ -~]+$")]
Uuid = Annotated[str, After(UUID), After(str)]
Key = Annotated[RSAPrivateKey, BeforeValidator(read_private_key)]
ApiHost = Annotated[str, After(check_api_host)]
PublicUrl = Annotated[str, After(check_public_url)]
OwnUrl = Annotated[str, After(check_own_url)]
CallsUrl = Annotated[Text, After(check_calls_url)]
Mode = Literal["conversation", "stream"]
Loop = Annotated[int, Field(ge=0, lt=10**9)]
Level = Annotated[float, Field(ge=-1, le=1, multiple_of=0.1)]


def without_secrets(value: str) -> str:
    """Return an invalid value for a message, without an address's password and query."""
    value = re.sub(r"^.*@", "…@", value, flags=re.DOTALL)
    value = re.sub(r"\?.*", "?…", value, flags=re.DOTALL)
    return value[:SHOWN]


def setting(must_be: str, default: Any = None, **limits: Any) -> Any:
    """Return a field; `must_be` ends the sentence "NAME must be …"."""
    return Field(default, description=must_be, **limits)


Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return a model with these values; raise ConfigError, which reports every invalid one."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [describe(model, problem, values) for problem in error.errors()]
    raise ConfigError(problems)  # without the cause, which quotes secrets


def describe(model: type[BaseModel], problem: Any, values: Mapping[str, Any]) -> str:
    """Return what one value must be, what it is unless it is a secret, and why it is refused."""
    name = problem["loc"][0]
    field = model.model_fields[name]
    sentence = f"{name} must be {field.description}"
    if field.repr:
        sentence += f" (got {without_secrets(values[name])!r})"
    reason = str(problem.get("ctx", {}).get("error", ""))
    if reason:
        sentence += f": {reason}"
    return f"{sentence}."


class Audio(BaseModel, frozen=True):
    """What to play, how often, and how loud; None is the leg's own music, or Vonage's default."""

    url: PublicUrl | None = setting(PUBLIC)
    loop: Loop | None = setting(LOOP)
    level: Level | None = setting(LEVEL)


class Config(BaseModel, frozen=True, arbitrary_types_allowed=True):
    """The settings, named as in the environment; `.env.example` says where to find each value."""

    VONAGE_APPLICATION_ID: Uuid | None = setting("a UUID, as on the application's page")
    VONAGE_PRIVATE_KEY: Key | None = setting("the path or the text of Vonage's key", repr=False)
    VONAGE_SIGNATURE_SECRET: Word | None = setting("one word of printable ASCII", repr=False)
    VONAGE_API_HOST: ApiHost | None = setting("a host alone, such as api-us-3.vonage.com")
    ANSWER_WITH: Mode = setting("conversation or stream", "conversation")
    VOICE_STREAM_URL: PublicUrl | None = setting(PUBLIC)
    VOICE_STREAM_LOOP: Loop | None = setting(LOOP)
    VOICE_STREAM_LEVEL: Level | None = setting(LEVEL)
    VOICE_STREAM_BARGE_IN: bool = setting("true or false", False)
    VOICE_CONFERENCE_NAME: Text = setting("text in UTF-8", "Relaxing Conference")
    VOICE_TEXT: Text = setting("UTF-8, at most 1,500 characters", WELCOME, max_length=1500)
    VOICE_CONFERENCE_QUORUM: int | None = setting("a whole number from 2 to 50", ge=2, le=50)
    PUBLIC_URL: OwnUrl | None = setting("a public http or https address, without ? and #")
    STREAM_PASSWORD: Printable | None = setting("printable ASCII", repr=False)
    CALLS_URL: CallsUrl | None = setting("sqlite:///path, redis://… or rediss://…", repr=False)
    HOST: Word = setting("an address or a name of this machine", "localhost")
    PORT: int = setting("a port from 1 to 65535", 9000, ge=1, le=65535)

    @classmethod
    def from_env(cls) -> "Config":
        """Return the settings of the environment and, for those not in it, of `.env`.

        Empty means unset, in the environment too. Raise ConfigError for invalid ones.
        """
        file = FOLDER / ".env"
        try:
            found = {**dotenv_values(file), **os.environ}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{file} must be a text file in UTF-8: {error}."]) from error
        values = {name: strip(found.get(name) or "") for name in cls.model_fields}
        if not values["VONAGE_PRIVATE_KEY"] and (FOLDER / "private.key").is_file():
            values["VONAGE_PRIVATE_KEY"] = "private.key"
        return cls.from_text(values)

    @classmethod
    def from_text(cls, values: Mapping[str, str]) -> "Config":
        """Return these settings, "" for unset; raise ConfigError for invalid ones."""
        return check(cls, {name: value for name, value in values.items() if value})

    def may_be_ours(self, application_id: object) -> bool:
        """Return whether this may be our application's ID: Vonage or the settings may lack it."""
        if not application_id or self.VONAGE_APPLICATION_ID is None:
            return True
        return application_id == self.VONAGE_APPLICATION_ID

    @property
    def missing_credentials(self) -> list[str]:
        """The settings that `/stream` lacks."""
        return [name for name in CREDENTIALS if getattr(self, name) is None]

    @property
    def not_set_up(self) -> dict[str, str]:
        """Each setting that is missing, with its purpose and where to find its value."""
        missing = {name: CREDENTIALS[name] for name in self.missing_credentials}
        if self.VONAGE_SIGNATURE_SECRET is None:
            missing["VONAGE_SIGNATURE_SECRET"] = NO_SECRET
        if self.STREAM_PASSWORD is None and not LOOPBACK.fullmatch(self.HOST):
            missing["STREAM_PASSWORD"] = NO_PASSWORD
        return missing


def strip(value: str) -> str:
    """Return a value without blanks around it, and without the quotes of Docker's --env-file."""
    bare = value.strip()
    if re.fullmatch(r"""(["']).*\1""", bare, re.DOTALL):
        value = bare[1:-1]
    return value.strip() or value.strip("\t\r\n")  # VOICE_TEXT may be a single space
