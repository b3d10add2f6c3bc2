"""VONAGE_PRIVATE_KEY: the forms that are taken, and those that the SDK would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pytest import MonkeyPatch

from config import FOLDER, Config
from sandbox import Account
from tests.helpers.settings import problem


def pem(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    password: str = "",
) -> str:
    locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, locked).decode()


def is_the_key(account: Account, **values: str) -> bool:
    """Whether the settings have it, read from these values or, without any, as at the start."""
    config = Config.from_text(values) if values else Config.from_env()
    assert config.VONAGE_PRIVATE_KEY is not None
    return pem(config.VONAGE_PRIVATE_KEY) == account.private_key


@pytest.mark.parametrize("path", ["vonage.key", "my key", "{folder}/key"])
def test_the_key_may_be_a_path(folder: Path, account: Account, path: str) -> None:
    path = path.format(folder=folder)
    (folder / path).write_text(account.private_key)
    assert is_the_key(account, VONAGE_PRIVATE_KEY=path)


def test_private_key_beside_app_py_is_the_default(folder: Path, account: Account) -> None:
    (folder / "private.key").write_text(account.private_key)
    assert is_the_key(account)


@pytest.mark.parametrize(("newline", "quote"), [("\n", ""), ("\\n", '"'), ("\r\n", "")])
def test_the_key_may_be_text(
    folder: Path, monkeypatch: MonkeyPatch, account: Account, newline: str, quote: str
) -> None:
    text = account.private_key.replace("\n", newline)
    monkeypatch.setenv("VONAGE_PRIVATE_KEY", f"{quote}{text}{quote}")
    assert is_the_key(account)


def test_the_key_may_be_text_in_dotenv(folder: Path, account: Account) -> None:
    text = account.private_key.replace("\n", "\\n")
    (folder / ".env").write_text(f'VONAGE_PRIVATE_KEY="{text}"\n')
    assert is_the_key(account)


def test_a_key_file_that_cannot_be_read_is_named() -> None:
    assert f": {FOLDER}/no-such.key cannot be read" in problem("VONAGE_PRIVATE_KEY", "no-such.key")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Ed25519", "in another format"),
        ("elliptic curve", "in another format"),
        ("PKCS 1", "in another format"),
        ("public", "no PEM private key"),
        ("torn", "no PEM private key"),
        ("with a password", "password"),
        ("a folder", "cannot be read"),
        ("not UTF-8", "must be the path or the text"),
    ],
)
def test_what_the_sdk_would_not_take_is_refused(account: Account, kind: str, said: str) -> None:
    small = rsa.generate_private_key(65537, 1024)
    value = {
        "Ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
        "elliptic curve": pem(ec.generate_private_key(ec.SECP256R1())),
        "PKCS 1": pem(small, PrivateFormat.TraditionalOpenSSL),
        "public": account.public_key,
        "torn": account.private_key.replace("A", "", 3),
        "with a password": pem(small, password="password"),
        "a folder": str(FOLDER),
        "not UTF-8": "\udcff.key",
    }[kind]
    sentence = problem("VONAGE_PRIVATE_KEY", value)
    assert said in sentence
    assert "BEGIN" not in sentence
