"""The names of the settings, a folder to read them from, and the message about a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config import Config, ConfigError

SETTINGS = list(Config.model_fields)

# An empty setting is unset, and wins over a .env beside the app.
os.environ.update(dict.fromkeys(SETTINGS, ""))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty folder in the app's place, and leave no setting in the environment."""
    monkeypatch.setattr("config.FOLDER", tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def problem(name: str, value: str) -> str:
    """Return the one sentence about a setting that is wrong."""
    with pytest.raises(ConfigError) as wrong:
        Config.from_text({name: value})
    [sentence] = wrong.value.problems
    return sentence
