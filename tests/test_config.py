"""The settings: where they are read, which are wrong, and what is said of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from config import FOLDER, Config, ConfigError
from sandbox import Account
from tests.conftest import SETTINGS, StartSandbox, browse


def show(folder: Path, setting: str, **environment: str) -> str:
    """A setting as Python prints it, read by the app in this folder from another one."""
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    code = f"from config import Config; print(repr(Config.from_env().{setting}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, **environment, "PYTHONPATH": str(folder)},
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def problems() -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        Config.from_env()
    return wrong.value.problems


def test_with_nothing_set_the_defaults_hold() -> None:
    defaults = Config()
    assert (defaults.answer_with, defaults.host, defaults.port) == ("stream", "localhost", 9000)
    if not (FOLDER / "private.key").exists():
        assert Config.from_env() == defaults


def test_dotenv_beside_app_py_is_read_whatever_the_working_directory(an_app: Path) -> None:
    (an_app / ".env").write_text("VOICE_TEXT='Hello ${HOME}'\nPORT=\n")
    assert show(an_app, "text") == "'Hello ${HOME}'"
    assert show(an_app, "port") == "9000"


def test_the_environment_goes_before_dotenv(an_app: Path) -> None:
    (an_app / ".env").write_text("PORT=9001\nHOST=0.0.0.0\n")
    assert show(an_app, "port", PORT="9002") == "9002"
    assert show(an_app, "host", HOST="") == "'localhost'"


def test_a_dotenv_that_notepad_saved_is_read(an_app: Path) -> None:
    (an_app / ".env").write_bytes("\ufeffPORT=9001\r\nVOICE_TEXT=Grüezi\r\n".encode())
    assert show(an_app, "port") == "9001"
    assert show(an_app, "text") == "'Grüezi'"


def test_a_dotenv_that_is_not_text_is_named(an_app: Path) -> None:
    (an_app / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        show(an_app, "port")
    assert f"{an_app}/.env cannot be read" in failed.value.stderr


def test_private_key_beside_app_py_is_the_default(an_app: Path, account: Account) -> None:
    (an_app / "private.key").write_text(account.private_key)
    assert show(an_app, "private_key") == repr(account.private_key)


WRONG = {
    "VONAGE_APPLICATION_ID": ["two words", "line\nbreak"],
    "VONAGE_SIGNATURE_SECRET": ["two words"],
    "VONAGE_API_HOST": ["https://api.nexmo.com", "a/b", "host:0", "host:70000", "ho st", "-", "a:"],
    "ANSWER_WITH": ["streams", "Stream", "both"],
    "VOICE_STREAM_URL": ["ftp://a/b.mp3", "music.mp3", "https://", "https://a b/c", "http://[x"],
    "VOICE_STREAM_LOOP": ["-1", "1.5", "often", "1_0"],
    "VOICE_STREAM_LEVEL": ["1.1", "-2", "nan", "inf", "loud"],
    "VOICE_STREAM_BARGE_IN": ["yes", "1", "perhaps"],
    "VOICE_TEXT": ["x" * 1501],
    "VOICE_CONFERENCE_QUORUM": ["1", "0", "51", "-3", "two"],
    "PUBLIC_URL": ["example.ngrok.app", "https://a/?b", "https://a/#b"],
    "STREAM_TOKEN": ["two words", "schlüssel"],
    "CALLS_URL": ["calls.db", "postgres://host/db", "sqlite://calls.db", "sqlite:///"],
    "HOST": ["two words"],
    "PORT": ["0", "65536", "http", "-1"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert [problem.split()[0] for problem in problems()] == [name]


GOOD = {
    "VONAGE_API_HOST": ["api-us-3.vonage.com", "localhost:8443"],
    "VOICE_STREAM_URL": ["http://music.example/a.mp3?key=1"],
    "VOICE_STREAM_LOOP": ["0", "1", "25"],
    "VOICE_STREAM_LEVEL": ["0", "1", "-1", "0.1", "-.5", "1.0", "+0.5"],
    "VOICE_STREAM_BARGE_IN": ["true", "False"],
    "VOICE_TEXT": [" ", "x" * 1500],
    "VOICE_CONFERENCE_QUORUM": ["2", "50"],
    "PUBLIC_URL": ["https://example.ngrok.app/"],
    "CALLS_URL": ["sqlite:///calls.db", "sqlite:////tmp/calls.db", "redis://host:6379/1"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values]
)
def test_a_good_setting_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    Config.from_env()


def test_every_setting_has_its_test_and_its_line_in_the_readme() -> None:
    assert set(SETTINGS) == {*WRONG, "VONAGE_PRIVATE_KEY", "VOICE_CONFERENCE_NAME"}
    readme = (FOLDER / "README.md").read_text()
    assert [name for name in SETTINGS if f"`{name}`" not in readme] == []


def test_a_relative_path_is_taken_from_the_folder_of_app_py(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLS_URL", "sqlite:///calls.db")
    assert Config.from_env().calls_url == f"sqlite:///{FOLDER}/calls.db"


def test_all_wrong_settings_are_named_at_once_with_what_they_hold(an_app: Path) -> None:
    env = {**os.environ, "PORT": "http", "ANSWER_WITH": "both", "STREAM_TOKEN": "se cret"}
    done = subprocess.run(
        [sys.executable, an_app / "app.py"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["ANSWER_WITH", "STREAM_TOKEN", "PORT"]
    assert "holds 'both'; it may hold stream or conversation" in lines[0]
    assert "se cret" not in done.stderr


def test_a_password_in_a_wrong_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLS_URL", "postgres://user:hunter2@host/db")
    monkeypatch.setenv("PUBLIC_URL", "ftp://user:hunter2@host/")
    assert "hunter2" not in " ".join(problems())


def test_secrets_are_not_in_the_repr(account: Account) -> None:
    secrets = [account.private_key, "a-secret", "a-token", "redis://:pass@host"]
    key, secret, token, url = secrets
    config = Config(private_key=key, signature_secret=secret, stream_token=token, calls_url=url)
    assert [secret for secret in secrets if secret in repr(config)] == []


# The private key


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, form: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("name", ["vonage.key", "key.pem", "key", "my key"])
def test_the_key_may_be_a_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: Account, name: str
) -> None:
    (tmp_path / name).write_text(account.private_key)
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", str(tmp_path / name))
    assert Config.from_env().private_key == account.private_key


@pytest.mark.parametrize("newline", ["\n", "\\n", "\r\n"])
def test_the_key_may_be_text(
    monkeypatch: pytest.MonkeyPatch, account: Account, newline: str
) -> None:
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", account.private_key.replace("\n", newline))
    assert Config.from_env().private_key == account.private_key


def test_a_key_with_escaped_newlines_plays_music(start: StartSandbox, account: Account) -> None:
    key = account.private_key.replace("\n", "\\n")
    sandbox = start(ANSWER_WITH="conversation", VONAGE_PRIVATE_KEY=key)
    call = sandbox.dial()
    browse(sandbox, "/stream").raise_for_status()
    call.hears("hears music")


def test_a_key_in_pkcs_1_is_turned_into_what_the_sdk_takes(
    monkeypatch: pytest.MonkeyPatch, rsa_key: rsa.RSAPrivateKey
) -> None:
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", pem(rsa_key, PrivateFormat.TraditionalOpenSSL))
    assert Config.from_env().private_key == pem(rsa_key, PrivateFormat.PKCS8)


def test_a_key_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", "no-such.key")
    assert f"{FOLDER}/no-such.key" in problems()[0]


def test_a_key_pasted_by_halves_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, account: Account
) -> None:
    half = account.private_key.splitlines()[1]
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", half)
    assert half not in problems()[0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ed25519", "not RSA"),
        ("public", "no private key"),
        ("torn", "no private key"),
        ("with a password", "with a password"),
        ("a folder", "can be read"),
    ],
)
def test_what_is_no_rsa_private_key_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
    account: Account,
    rsa_key: rsa.RSAPrivateKey,
    kind: str,
    said: str,
) -> None:
    locked = rsa_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    value = {
        "ed25519": pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
        "public": account.public_key,
        "torn": account.private_key.replace("A", "", 3),
        "with a password": locked.decode(),
        "a folder": str(FOLDER),
    }[kind]
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", value)
    assert said in problems()[0]
    assert "BEGIN" not in problems()[0]


def test_redis_without_its_package_is_a_sentence(an_app: Path) -> None:
    (an_app / "redis.py").write_text("raise ImportError")
    env = {**os.environ, "CALLS_URL": "redis://localhost", "PYTHONPATH": str(an_app)}
    done = subprocess.run(
        [sys.executable, an_app / "app.py"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "CALLS_URL names Redis, which needs a package: pip install redis.\n"


# The start


def test_the_start_says_what_to_give_to_vonage_and_what_is_missing(start: StartSandbox) -> None:
    sandbox = start(VONAGE_APPLICATION_ID="", VONAGE_SIGNATURE_SECRET="")
    said = sandbox.log.read_text()
    assert "/webhooks/answer" in said
    assert "/webhooks/event" in said
    assert f"http://localhost:{sandbox.port}/" in said
    assert "VONAGE_APPLICATION_ID: needed by /stream" in said
    assert "VONAGE_SIGNATURE_SECRET: without it" in said


def test_when_all_is_set_up_nothing_is_missing(start: StartSandbox) -> None:
    assert "Not set up" not in start().log.read_text()
