"""How the sandbox's story has the app's log in it, and callers by their names."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.story import LEFT, Story
from tests.helpers.audio import MUSIC
from tests.helpers.stub import StubbedSandbox

DATE = "[2026-11-26 14:17:02,123]"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file of the app's log."""
    file = tmp_path / "app.log"
    file.touch()
    return file


@pytest.fixture
def output() -> io.StringIO:
    """Where the story is printed."""
    return io.StringIO()


@pytest.fixture
def story(log: Path, sandbox: StubbedSandbox, output: io.StringIO) -> Iterator[Story]:
    """A story about the callers of a sandbox."""
    story = Story(log, sandbox.calls, output)
    yield story
    story.close()


def add(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def told(output: io.StringIO) -> list[str]:
    """The lines since the last look, without their time, which all have."""
    lines = output.getvalue().splitlines()
    output.seek(0)
    output.truncate()
    text = "\n".join(lines).replace("\n" + " " * LEFT, " ")  # unfolded
    return [re.sub(r"^ *\d+\.\d s  ", "", line) for line in text.splitlines()]


def test_what_the_app_has_logged_comes_before_a_line(
    story: Story, log: Path, output: io.StringIO
) -> None:
    add(log, f"{DATE} INFO: first\n")
    story.say("…0001", "second")
    add(log, f"{DATE} INFO: third\nTraceback\n")
    story.read_log()
    lines = ["app      first", "…0001    second", "app      third", "app      Traceback"]
    assert told(output) == lines


@pytest.mark.parametrize(
    ("logged", "lines"),
    [
        ("INFO: good", ["good"]),
        ("WARNING: Not set up: X", ["warning: Not set up: X"]),
        ("ERROR: bad", ["error: bad"]),
        ("INFO: Running on http://localhost:9000 (Ctrl-C ends it)", []),
        ("INFO: leg {leg}: started", []),
        ("INFO: leg {leg}: ringing", []),
        ("INFO: leg {leg}: transfer", []),
        ("INFO: leg {leg}: audio playing", []),
        ("WARNING: leg {leg}: audio could not be played: it answers 404", []),
        ("INFO: leg {leg}: answered", ["{name}: answered"]),
        ("INFO: leg {leg}: completed after 1 s", ["{name}: completed after 1 s"]),
    ],
)
def test_a_line_of_the_app_has_its_level_where_it_is_news_and_went_wrong(
    story: Story,
    log: Path,
    sandbox: StubbedSandbox,
    output: io.StringIO,
    logged: str,
    lines: list[str],
) -> None:
    call = sandbox.create_call()
    add(log, f"{DATE} {logged.format(leg=call.uuid)}")
    story.read_log()
    assert told(output) == []  # the app may not have written all of it
    add(log, "\n")
    story.read_log()
    assert told(output) == [f"app      {line.format(name=call.name)}" for line in lines]


def test_callers_have_their_last_four_digits(
    story: Story, log: Path, sandbox: StubbedSandbox, output: io.StringIO
) -> None:
    one, other = sandbox.dial({"from": "447700900123"}), sandbox.dial({"from": "447700900456"})
    unknown = "63f61863-4a51-4f6b-86e1-46edebcf9356"
    add(log, f"{DATE} INFO: leg {one.uuid} from …0123 joined: conference, 1 of 3 on the line\n")
    add(log, f"{DATE} WARNING: Sent a.mp3 to 1 of 3 callers; no such call ({one.uuid}, ")
    add(log, f"{other.uuid.replace('-', '')}, {unknown})\n")
    story.read_log()
    assert told(output) == [
        "app      …0123 joined: conference, 1 of 3 on the line",
        f"app      warning: Sent a.mp3 to 1 of 3 callers; no such call (…0123, …0456, {unknown})",
    ]


def test_the_bundled_music_is_fetched_once_for_a_reader(
    story: Story, log: Path, output: io.StringIO
) -> None:
    add(log, f"{DATE} INFO: GET /static/hold-music.mp3: 200\n" * 3)
    add(log, f"{DATE} INFO: GET /static/hold-music.mp3: 206\n")
    story.read_log()
    fetched = "app      GET /static/hold-music.mp3:"
    assert told(output) == [f"{fetched} 200", f"{fetched} 206"]


@pytest.mark.parametrize("line", ["INFO: Sent a.mp3 to all 2", "WARNING: Sent a.mp3 to 1 of 2"])
def test_the_sum_of_a_play_comes_after_its_callers(
    story: Story,
    log: Path,
    sandbox: StubbedSandbox,
    output: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    may_come = threading.Event()

    def late() -> Iterator[bytes]:
        may_come.wait(5)
        yield MUSIC

    call = sandbox.dial()
    call.hears("is in the conference")
    monkeypatch.setattr(sandbox, "on_line", story.say)
    call.start_stream(sandbox.add_file("/late.mp3", late()), 1, 0)
    add(log, f"{DATE} {line} callers\n{DATE} INFO: next\n")
    story.read_log()
    assert [one.split()[-1] for one in told(output)] == ["200", "next"]
    may_come.set()
    call.hears("hears music")
    story.read_log()
    heard, summed = told(output)
    assert "hears music: late.mp3" in heard
    assert summed.endswith("callers")


def test_only_what_went_wrong_has_a_colour_and_only_on_a_terminal(
    story: Story, log: Path, output: io.StringIO
) -> None:
    reads, writes = pty.openpty()
    with os.fdopen(reads, "rb") as screen, os.fdopen(writes, "w") as file:
        on_terminal = Story(log, {}, file)
        for told_to in (on_terminal, story):
            told_to.say("…0001", "hears music")
            told_to.say("sandbox", "app.py has ended by itself, with status -9")
        on_terminal.close()
        good, wrong = (screen.readline().decode() for _ in range(2))
    assert "\x1b" not in good
    assert re.search(r"\x1b\[31m.*app\.py has ended.*\x1b\[0m", wrong)
    assert "\x1b" not in output.getvalue()


def test_a_long_line_is_folded_under_its_beginning(
    story: Story, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    story.say("sandbox", "word " * 30)
    lines = output.getvalue().splitlines()
    assert len(lines) == 3
    assert max(len(line) for line in lines) < 80
    assert [line[:18].strip() for line in lines[1:]] == ["", ""]
    assert " ".join(lines).split().count("word") == 30


def test_nothing_is_printed_once_it_is_closed(story: Story, log: Path, output: io.StringIO) -> None:
    add(log, f"{DATE} INFO: last\n")
    story.close()
    assert told(output) == ["app      last"]
    story.say("…0001", "hears music")
    story.read_log()
    assert told(output) == []
