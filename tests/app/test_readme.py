"""The README: the JSON and code that it shows are the app's, and its table lists the files."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from app import create_app
from config import Config
from sandbox import FOLDER
from tests.helpers.servers import need

README = (FOLDER / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^ {4}.+\n)+", README, re.MULTILINE)
PATH = "/webhooks/answer?uuid=63f61863-4a51-4f6b-86e1-46edebcf9356"


def test_the_nccos_are_what_the_app_answers(tmp_path: Path) -> None:
    """For default settings at a public address, to the request that the README makes by hand."""
    assert f'curl "http://localhost:9000{PATH}"' in README
    store = f"sqlite:///{tmp_path}/calls.sqlite3"
    settings = {"PUBLIC_URL": "https://example.ngrok.app", "CALLS_URL": store}
    answered = []
    for mode in ("conversation", "stream"):
        app = create_app(Config.from_text({"ANSWER_WITH": mode, **settings}))
        answered.append(app.test_client().get(PATH).json)
    assert [json.loads(block) for block in BLOCKS if block.startswith("    [{")] == answered


def test_the_calls_of_the_sdk_are_lines_of_voice_py() -> None:
    [block] = [block for block in BLOCKS if "client.voice.play_audio_into_call" in block]
    shown = [line.strip() for line in block.splitlines()]
    shown += re.findall(r"`(client\.voice\.stop_audio_stream.+?)`", README)
    assert len(shown) == 3
    lines = (FOLDER / "voice.py").read_text(encoding="utf-8").splitlines()
    assert set(shown) <= {line.strip() for line in lines}


def test_the_table_of_files_is_the_folder() -> None:
    """All that git tracks and `ls` shows, but for the README itself."""
    command = [need("git"), "-c", "safe.directory=*", "ls-files"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs a clone: git lists no files here")
    tracked = {re.sub("/.*", "/", path) for path in done.stdout.splitlines()}
    visible = {path for path in tracked if not path.startswith(".")}
    table = README.partition("\n## Files\n")[2].partition("\n## ")[0]
    firsts = [line.strip("| ").partition("|")[0] for line in table.splitlines()]
    assert sorted(re.findall("`(.+?)`", " ".join(firsts))) == sorted(visible - {"README.md"})
