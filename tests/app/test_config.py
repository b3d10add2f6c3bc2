"""The settings: where they are read, which are invalid, and the messages about them."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import dotenv
import flask.cli
import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from pytest import MonkeyPatch

from config import FOLDER, Config, ConfigError, is_public
from sandbox import Account
from tests.helpers.settings import SETTINGS, problem

# Which values are valid

NOT_PUBLIC = [
    *["ftp://example.com/b.mp3", "music.mp3", "https://", "https://a b.com/c", "http://[x"],
    *["http://example.com:99999/", "https://example.com/\udcff", "https://example.com/\ta"],
    # On this machine
    *["http://localhost:8000/a.mp3", "http://localhost./a", "http://music.localhost/a"],
    *["http://127.0.0.1/a", "http://127.1/a", "http://2130706433/a", "http://0.0.0.0/a"],
    *["http://[::1]/a", "http://[::ffff:127.0.0.1]/a"],
    # On its network
    *["http://10.0.0.5/a", "http://169.254.1.1/a", "http://100.64.0.1/a", "http://[fd00::1]/a"],
    *["http://nas/a", "http://nas.local/a", "http://metadata.google.internal/a"],
]
PUBLIC = ["http://music.example/a.mp3?key=1", "https://8.8.8.8/a.wav", "HTTPS://a.b:8080/"]
LOCAL = ["http://localhost/"]
AN_ID = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
NO_API_HOSTS = ["https://api.nexmo.com", "host:70000", "ho st", "u@h", "a?b"]
NO_LEVELS = ["1.1", "-2", "nan", "loud", "0.15"]
NOT_OWN = ["https://example.com/?b", "https://example.com/#b", "http://nas.local/"]
OWN = ["https://a.example/webhooks/answers", "https://webhooks.example/answer"]
NO_STORES = [
    *["calls.db", "sqlite://a.db", "sqlite:///", "sqlite:///\udcff.db", "postgres://h/db"],
    *["redis://h:port/0", "redis://h/0?timeout=5", "rediss://h/0?ssl_cert_regs=none"],
    *["redis://:a/b@h/0", "redis://:a#b@h"],
]
STORES = ["sqlite:////tmp/calls.db", "rediss://:secret@host/0?socket_timeout=5"]
# How the message describes the setting, invalid values, and valid ones.
VALUES: dict[str, tuple[str, list[str], list[Any]]] = {
    "VONAGE_APPLICATION_ID": ("a UUID", ["1234", "line\nbreak"], [AN_ID]),
    "VONAGE_SIGNATURE_SECRET": ("one word of printable ASCII", ["two words", "\u00fc"], ["a!b~c"]),
    "VONAGE_API_HOST": (
        "a host alone, such as api-us-3.vonage.com",
        NO_API_HOSTS,
        ["localhost:8443"],
    ),
    "ANSWER_WITH": ("conversation or stream", ["both"], ["stream"]),
    "VOICE_STREAM_URL": ("an http or https address on the public internet", LOCAL, PUBLIC[:1]),
    "VOICE_STREAM_LOOP": ("a whole number", ["-1", "often"], [0, 25]),
    "VOICE_STREAM_LEVEL": ("a number from -1 to 1 in steps of 0.1", NO_LEVELS, [0, 1, -1, 0.3]),
    "VOICE_STREAM_BARGE_IN": ("true or false", ["perhaps"], [True]),
    "VOICE_CONFERENCE_NAME": ("text in UTF-8", ["Caf\udce9"], ["Caf\u00e9 \u2615"]),
    "VOICE_TEXT": ("UTF-8, at most 1,500 characters", ["x" * 1501, "\udcfc"], [" ", "x" * 1500]),
    "VOICE_CONFERENCE_QUORUM": ("a whole number from 2 to 50", ["1", "51"], [2, 50]),
    "PUBLIC_URL": ("a public http or https address, without ? and #", NOT_OWN, OWN),
    "STREAM_PASSWORD": ("printable ASCII", ["schl\u00fcssel", "tab\tbed"], ["two words"]),
    "CALLS_URL": ("sqlite:///path, redis://\u2026 or rediss://\u2026", NO_STORES, STORES),
    "HOST": ("an address or a name of this machine", ["two words"], ["::1"]),
    "PORT": ("a port from 1 to 65535", ["0", "65536", "http"], [1, 65535]),
}
INVALID = [(name, value) for name, (_, values, _) in VALUES.items() for value in values]
VALID = {(name, str(value)): value for name, (_, _, values) in VALUES.items() for value in values}
VALID |= {
    ("VONAGE_APPLICATION_ID", AN_ID.upper()): AN_ID,
    ("VONAGE_API_HOST", "API-us-3.vonage.com"): "api-us-3.vonage.com",
    ("PUBLIC_URL", "https://example.ngrok.app/"): "https://example.ngrok.app",
    ("CALLS_URL", "sqlite:///calls.db"): f"sqlite:///{FOLDER}/calls.db",
}


@pytest.mark.parametrize("url", [*NOT_PUBLIC, *PUBLIC], ids=ascii)
def test_an_address_that_may_be_on_the_public_internet(url: str) -> None:
    assert is_public(url) == (url in PUBLIC)


def short(value: str) -> str:
    return ascii(value)[1:-1][:40]


@pytest.mark.parametrize(("name", "value"), INVALID, ids=short)
def test_the_message_says_what_an_invalid_setting_must_be(name: str, value: str) -> None:
    assert problem(name, value).startswith(f"{name} must be {VALUES[name][0]}")


@pytest.mark.parametrize(("name", "value"), VALID, ids=short)
def test_a_valid_setting_is_accepted(monkeypatch: MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.chdir("/")  # a relative path begins beside app.py
    assert getattr(Config.from_text({name: value}), name) == VALID[name, value]


def test_every_setting_has_its_invalid_and_its_valid_values() -> None:
    assert {*SETTINGS} == {*VALUES, "VONAGE_PRIVATE_KEY"}


def test_a_public_url_that_is_a_webhooks_is_refused_by_name() -> None:
    for path in ("webhooks/", "webhooks/answer", "webhooks/event/", "calls/webhooks/rtc"):
        sentence = problem("PUBLIC_URL", f"https://a.example/{path}")
        assert "without the path of a webhook" in sentence, path


def test_the_message_quotes_the_value_and_says_how_to_write_a_password() -> None:
    assert problem("PORT", "http") == "PORT must be a port from 1 to 65535 (got 'http')."
    sentence = problem("CALLS_URL", "redis://:of/hunter2@host/0")
    assert "in a password, write / as %2F, # as %23 and @ as %40" in sentence


def test_without_the_package_of_redis_the_message_names_it(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    assert problem("CALLS_URL", "redis://localhost").endswith("pip install redis.")


# Secrets


SECRETS = [
    ("VONAGE_SIGNATURE_SECRET", "hunter2 hunter2"),
    ("STREAM_PASSWORD", "hunter2\u00fc"),
    ("VONAGE_PRIVATE_KEY", "MIIEvQIBADANhunter2kqhkiG9w0BAQEFAASC"),
    ("VONAGE_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nMIIEvhunter2QIBAD"),
    ("CALLS_URL", "redis://:of/hunter2@host/0?timeout=5"),
    ("PUBLIC_URL", "ftp://user:hunter2@host/"),
    ("VOICE_STREAM_URL", "http://user:of/hunter2@localhost/"),
    ("VOICE_STREAM_URL", "http://user:of@hunter2@localhost/"),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_a_secret_is_not_shown_when_it_is_wrong(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        Config.from_text({name: value})
    assert wrong.value.problems[0].startswith(name)
    assert "hunter2" not in "".join(traceback.format_exception(wrong.value))


def test_secrets_are_not_in_the_repr(account: Account) -> None:
    values = {"VONAGE_SIGNATURE_SECRET": "a-secret", "STREAM_PASSWORD": "a-password"}
    values |= {"VONAGE_PRIVATE_KEY": account.private_key, "CALLS_URL": "redis://:pass-word@host"}
    shown = repr(Config.from_text(values))
    secrets = ["a-secret", "a-password", "pass-word", account.private_key.splitlines()[3]]
    assert [secret for secret in secrets if secret in shown] == []


# The private key


def pem(key: Any, form: Any = forms.PrivateFormat.PKCS8, password: str = "") -> str:
    locked: Any = forms.NoEncryption()
    if password:
        locked = forms.BestAvailableEncryption(password.encode())
    text = key.private_bytes(forms.Encoding.PEM, form, locked)
    return str(text.decode())


@pytest.mark.parametrize("path", ["vonage.key", "my key", "{folder}/key", ""])
def test_the_key_may_be_a_path_or_private_key_beside_app_py(
    folder: Path, monkeypatch: MonkeyPatch, account: Account, path: str
) -> None:
    path = path.format(folder=folder)
    (folder / (path or "private.key")).write_text(account.private_key)
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", path)
    assert pem(Config.from_env().VONAGE_PRIVATE_KEY) == account.private_key


@pytest.mark.parametrize(("newline", "quote"), [("\n", ""), ("\\n", '"'), ("\r\n", "")])
def test_the_key_may_be_text(
    folder: Path, monkeypatch: MonkeyPatch, account: Account, newline: str, quote: str
) -> None:
    text = account.private_key.replace("\n", newline)
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", f"{quote}{text}{quote}")
    assert pem(Config.from_env().VONAGE_PRIVATE_KEY) == account.private_key


SMALL = rsa.generate_private_key(65537, 1024)
REFUSED = {
    "Ed25519": (pem(ed25519.Ed25519PrivateKey.generate()), "another format"),
    "PKCS 1": (pem(SMALL, forms.PrivateFormat.TraditionalOpenSSL), "another format"),
    "torn": (pem(SMALL).replace("A", "", 3), "no PEM private key"),
    "with a password": (pem(SMALL, password="password"), "password"),
    "a folder": (str(FOLDER), "cannot be read"),
    "not UTF-8": ("\udcff.key", "must be the path or the text"),
    "no file": ("no-such.key", f": {FOLDER}/no-such.key cannot be read"),
}


@pytest.mark.parametrize(("value", "said"), REFUSED.values(), ids=REFUSED)
def test_a_key_that_the_sdk_cannot_use_is_refused(value: str, said: str) -> None:
    sentence = problem("VONAGE_PRIVATE_KEY", value)
    assert said in sentence
    assert "BEGIN" not in sentence


# Where they are read


def test_with_nothing_set_the_defaults_hold(folder: Path) -> None:
    assert Config.from_env().model_dump(exclude_none=True) == {
        "ANSWER_WITH": "conversation",
        "VOICE_STREAM_BARGE_IN": False,
        "VOICE_CONFERENCE_NAME": "Relaxing Conference",
        "VOICE_TEXT": "Please wait while we connect you to the conference",
        "HOST": "localhost",
        "PORT": 9000,
    }


@pytest.mark.parametrize(("value", "port"), [("9002", 9002), ("", 9000), (None, 9001)])
def test_dotenv_beside_app_py_comes_after_the_environment(
    folder: Path, monkeypatch: MonkeyPatch, value: str | None, port: int
) -> None:
    (folder / ".env").write_text("PORT=9001\nHOST=\n")
    monkeypatch.chdir("/")
    if value is not None:
        monkeypatch.setenv("PORT", value)
    config = Config.from_env()
    assert (port, "localhost") == (config.PORT, config.HOST)


DOTENV = {
    b"VONAGE_SIGNATURE_SECRET='ab${X}cd'\n": "ab--cd",
    b"X=..\nVONAGE_SIGNATURE_SECRET='ab${X}cd'\n": "ab..cd",
    "\ufeffVONAGE_SIGNATURE_SECRET=abcd\r\nVOICE_TEXT=Gr\u00fcezi\r\n".encode(): "abcd",
}


@pytest.mark.parametrize("text", DOTENV, ids=["environment", "file", "BOM"])
def test_flask_run_reads_dotenv_alike(folder: Path, monkeypatch: MonkeyPatch, text: bytes) -> None:
    (folder / ".env").write_bytes(text)
    monkeypatch.setattr(os, "environ", {**os.environ, "X": "--"})
    monkeypatch.chdir(folder)
    by_us = Config.from_env()
    flask.cli.load_dotenv()
    assert Config.from_env() == by_us
    assert DOTENV[text] == by_us.VONAGE_SIGNATURE_SECRET


TEXTS = {
    **{'"of Docker"': "of Docker", '"of both, it\'s"\r': "of both, it's", "\"half'": "\"half'"},
    **{'"': '"', " ": " ", "' '": " ", '" "': " ", "\n \n": " ", "'\t \r'": " ", " ' ' ": " "},
}


@pytest.mark.parametrize("value", TEXTS, ids=ascii)
def test_quotes_go_and_a_blank_alone_stays(
    folder: Path, monkeypatch: MonkeyPatch, value: str
) -> None:
    """Docker's --env-file keeps quotes; a text may be a single blank."""
    monkeypatch.setenv("VOICE_TEXT", value)
    assert TEXTS[value] == Config.from_env().VOICE_TEXT


ENDS = ["", " ", "\t", "\r", "\n", "\r\n", " \t\n ", "\u00a0"]


@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("quote", ["", "'", '"'], ids=["bare", "single", "double"])
def test_blanks_and_ends_of_lines_around_a_value_go(
    folder: Path, monkeypatch: MonkeyPatch, quote: str, end: str
) -> None:
    """Both inside quotes and around them."""
    values = {"VONAGE_SIGNATURE_SECRET": "s3cret", "STREAM_PASSWORD": "open it", "PORT": 9001}
    for name, value in values.items():
        monkeypatch.setenv(name, f"{end}{quote}{end}{value}{end}{quote}{end}")
    config = Config.from_env()
    assert {name: getattr(config, name) for name in values} == values


@pytest.mark.parametrize("value", ["", "\n", "\t", "''", '""', "\r\n", "'\n'"], ids=ascii)
def test_a_line_end_alone_is_unset(folder: Path, monkeypatch: MonkeyPatch, value: str) -> None:
    for name in SETTINGS:
        monkeypatch.setenv(name, value)
    assert Config.from_env() == Config()


def test_a_dotenv_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(ConfigError, match=rf"^{folder}/\.env must be a text file in UTF-8"):
        Config.from_env()


# Messages and documentation

HERE = ["localhost", "127.0.0.2", "::1"]


@pytest.mark.parametrize("host", [*HERE, "0.0.0.0", "::", "a-machine", "localhost.example"])
def test_a_host_that_others_reach_needs_a_password(host: str) -> None:
    assert ("STREAM_PASSWORD" in Config.from_text({"HOST": host}).not_set_up) == (host not in HERE)
    with_password = Config.from_text({"HOST": host, "STREAM_PASSWORD": "x"})
    assert "STREAM_PASSWORD" not in with_password.not_set_up


EXAMPLE = (FOLDER / ".env.example").read_text()
DEFAULTS = {
    name: str(default).lower() if isinstance(default, bool) else str(default)
    for name, default in Config().model_dump(exclude_none=True).items()
}


def test_dotenv_example_as_it_is_sets_the_defaults(folder: Path) -> None:
    (folder / ".env").write_text(EXAMPLE)
    assert Config.from_env() == Config()


def test_dotenv_example_has_every_setting_and_its_default(folder: Path, account: Account) -> None:
    (folder / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE))
    (folder / "private.key").write_text(account.private_key)
    Config.from_env()
    shown = dotenv.dotenv_values(folder / ".env")
    assert set(shown) == set(SETTINGS)
    assert {name: shown[name] for name in DEFAULTS} == DEFAULTS


def test_the_readme_has_every_setting_with_its_default() -> None:
    lines = (FOLDER / "README.md").read_text().splitlines()
    for name in SETTINGS:
        about = [line for line in lines if f"`{name}`" in line]
        assert about, name
        if name in DEFAULTS:
            assert any(f"`{DEFAULTS[name]}`" in line for line in about), name
