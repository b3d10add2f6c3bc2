"""How the sandbox's story has the app's log in it, and callers by their names."""

from __future__ import annotations

import io
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.story import Story
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
    return [re.sub(r"^ *\d+\.\d s  ", "", line) for line in lines]


def test_what_the_app_has_logged_comes_before_a_line(
    story: Story, log: Path, output: io.StringIO
) -> None:
    add(log, f"{DATE} INFO: first\n")
    story.say("caller 1", "second")
    add(log, f"{DATE} INFO: third\n")
    story.read_log()
    assert told(output) == ["app       first", "caller 1  second", "app       third"]


def test_levels_go_but_for_what_went_wrong(story: Story, log: Path, output: io.StringIO) -> None:
    add(log, f"{DATE} INFO: good\n{DATE} WARNING: Not set up: X\n{DATE} ERROR: bad\nTraceback\n")
    story.read_log()
    lines = ["good", "warning: Not set up: X", "error: bad", "Traceback"]
    assert told(output) == [f"app       {line}" for line in lines]


def test_a_line_is_printed_once_the_app_has_written_all_of_it(
    story: Story, log: Path, output: io.StringIO
) -> None:
    add(log, f"{DATE} INFO: one ")
    story.read_log()
    assert told(output) == []
    add(log, "line\n")
    story.read_log()
    assert told(output) == ["app       one line"]


def test_callers_have_names(
    story: Story, log: Path, sandbox: StubbedSandbox, output: io.StringIO
) -> None:
    call = sandbox.dial()
    other = "63f61863-4a51-4f6b-86e1-46edebcf9356"
    bare = call.uuid.replace("-", "")
    add(log, f"{DATE} INFO: leg {call.uuid} joined\n{DATE} INFO: to {bare}, leg {other}\n")
    story.read_log()
    assert told(output) == [
        f"app       {call.name} joined",
        f"app       to {call.name}, leg {other}",
    ]


def test_only_what_went_wrong_has_a_colour_and_only_on_a_terminal(
    story: Story, log: Path, output: io.StringIO
) -> None:
    reads, writes = pty.openpty()
    with os.fdopen(reads, "rb") as screen, os.fdopen(writes, "w") as file:
        on_terminal = Story(log, {}, file)
        for told_to in (on_terminal, story):
            told_to.say("caller 1", "hears music")
            told_to.say("sandbox", "app.py has ended by itself, with status -9")
        on_terminal.close()
        good, wrong = (screen.readline().decode() for _ in range(2))
    assert "\x1b" not in good
    assert re.search(r"\x1b\[31m.*app\.py has ended.*\x1b\[0m", wrong)
    assert "\x1b" not in output.getvalue()


def test_what_is_no_news_is_left_out(
    story: Story, log: Path, sandbox: StubbedSandbox, output: io.StringIO
) -> None:
    call = sandbox.dial()
    for event in ("started", "ringing", "answered", "transfer", "completed after 1 s"):
        add(log, f"{DATE} INFO: leg {call.uuid}: {event}\n")
    add(log, f"{DATE} INFO: Running on http://localhost:9000 (Ctrl-C ends it)\n")
    story.read_log()
    lines = [f"{call.name}: answered", f"{call.name}: completed after 1 s"]
    assert told(output) == [f"app       {line}" for line in lines]


def test_a_long_line_is_folded_under_its_beginning(
    story: Story, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    story.say("sandbox", "word " * 30)
    lines = output.getvalue().splitlines()
    assert len(lines) == 3
    assert max(len(line) for line in lines) < 80
    assert [line[:19].strip() for line in lines[1:]] == ["", ""]
    assert " ".join(lines).split().count("word") == 30


def test_an_address_is_shortened_where_a_caller_hears_it_and_not_in_the_log(
    story: Story, log: Path, output: io.StringIO
) -> None:
    story.say("caller 1", "hears music: https://a.example/static/b.mp3, MP3 of 32 s, 1 time")
    add(log, f"{DATE} WARNING: http://localhost/static/b.mp3 is not public\n")
    story.read_log()
    assert told(output) == [
        "caller 1  hears music: …/b.mp3, MP3 of 32 s, 1 time",
        "app       warning: http://localhost/static/b.mp3 is not public",
    ]


def test_nothing_is_printed_once_it_is_closed(story: Story, log: Path, output: io.StringIO) -> None:
    add(log, f"{DATE} INFO: last\n")
    story.close()
    assert told(output) == ["app       last"]
    story.say("caller 1", "hears music")
    story.read_log()
    assert told(output) == []
