"""The sandbox's story contains the app's log, and names callers."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.story import Story
from tests.helpers.audio import MUSIC
from tests.helpers.stub import StubbedSandbox

DATE = "[2026-11-26 14:17:02,123]"


class Told:
    """A story about the callers of a sandbox, with the app's log and the output."""

    def __init__(self, log: Path, sandbox: StubbedSandbox) -> None:
        self.log = log
        self.log.touch()
        self.output = io.StringIO()
        self.story = Story(log, sandbox.calls, self.output)

    def add(self, text: str) -> None:
        """Write to the app's log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text)

    def lines(self) -> list[str]:
        """Return the lines printed since the last call, without their time."""
        self.story.read_log()
        text = self.output.getvalue().replace("\n" + " " * 18, " ")  # unfolded
        self.output.seek(0)
        self.output.truncate()
        return [re.sub(r"^ *\d+\.\d s  ", "", line) for line in text.splitlines()]


@pytest.fixture
def told(sandbox: StubbedSandbox, tmp_path: Path) -> Iterator[Told]:
    """Yield a story without any line."""
    told = Told(tmp_path / "app.log", sandbox)
    yield told
    told.story.close()


def test_what_the_app_has_logged_comes_before_a_line(told: Told) -> None:
    told.add(f"{DATE} INFO: first\n")
    told.story.say("…0001", "second")
    told.add(f"{DATE} INFO: third\nTraceback\n")
    lines = ["app      first", "…0001    second", "app      third", "app      Traceback"]
    assert told.lines() == lines


@pytest.mark.parametrize(
    ("logged", "lines"),
    [
        ("WARNING: Not set up: X", ["warning: Not set up: X"]),
        ("INFO: Running on http://localhost:9000 (Ctrl-C ends it)", []),
        ("INFO: leg {leg}: started", []),
        ("WARNING: leg {leg}: audio could not be played: it answers 404", []),
        ("INFO: leg {leg}: completed after 1 s", ["{name}: completed after 1 s"]),
    ],
)
def test_a_line_of_the_app_has_its_level_where_it_is_news_and_went_wrong(
    told: Told, sandbox: StubbedSandbox, logged: str, lines: list[str]
) -> None:
    call = sandbox.create_call()
    told.add(f"{DATE} {logged.format(leg=call.uuid)}")
    assert told.lines() == []  # the app may not have written all of it
    told.add("\n")
    assert told.lines() == [f"app      {line.format(name=call.name)}" for line in lines]


def test_callers_have_their_last_four_digits(told: Told, sandbox: StubbedSandbox) -> None:
    one, other = sandbox.dial({"from": "447700900123"}), sandbox.dial({"from": "447700900456"})
    unknown = "63f61863-4a51-4f6b-86e1-46edebcf9356"
    told.add(f"{DATE} INFO: leg {one.uuid} from …0123 joined: conference, 1 of 3 on the line\n")
    told.add(f"{DATE} WARNING: Sent a.mp3 to 1 of 3 callers; no such call ({one.uuid}, ")
    told.add(f"{other.uuid.replace('-', '')}, {unknown})\n")
    assert told.lines() == [
        "app      …0123 joined: conference, 1 of 3 on the line",
        f"app      warning: Sent a.mp3 to 1 of 3 callers; no such call (…0123, …0456, {unknown})",
    ]


def test_the_bundled_music_is_fetched_once_for_a_reader(told: Told) -> None:
    told.add(f"{DATE} INFO: GET /static/hold-music.mp3: 200\n" * 3)
    told.add(f"{DATE} INFO: GET /static/hold-music.mp3: 206\n")
    fetched = "app      GET /static/hold-music.mp3:"
    assert told.lines() == [f"{fetched} 200", f"{fetched} 206"]


@pytest.mark.parametrize("line", ["INFO: Sent a.mp3 to all 2", "WARNING: Sent a.mp3 to 1 of 2"])
def test_the_sum_of_a_play_comes_after_its_callers(
    told: Told, sandbox: StubbedSandbox, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    may_come = threading.Event()

    def late() -> Iterator[bytes]:
        may_come.wait(20)
        yield MUSIC

    call = sandbox.dial()
    call.hears("is in the conference")
    monkeypatch.setattr(sandbox, "on_line", told.story.say)
    call.start_stream(sandbox.add_file("/late.mp3", late()), 1, 0)
    told.add(f"{DATE} {line} callers\n{DATE} INFO: next\n")
    assert [one.split()[-1] for one in told.lines()] == ["200", "next"]
    may_come.set()
    call.hears("hears music")
    heard, summed = told.lines()
    assert "hears music: late.mp3" in heard
    assert summed.endswith("callers")


def test_only_what_went_wrong_has_a_colour_and_only_on_a_terminal(told: Told) -> None:
    reads, writes = pty.openpty()
    with os.fdopen(reads, "rb") as screen, os.fdopen(writes, "w") as file:
        on_terminal = Story(told.log, {}, file)
        for story in (on_terminal, told.story):
            story.say("…0001", "hears music")
            story.say("sandbox", "app.py has ended by itself, with status -9")
        on_terminal.close()
        good, wrong = (screen.readline().decode() for _ in range(2))
    assert "\x1b" not in good
    assert re.search(r"\x1b\[31m.*app\.py has ended.*\x1b\[0m", wrong)
    assert "\x1b" not in told.output.getvalue()


def test_a_long_line_is_folded_under_its_beginning(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told.story.say("sandbox", "word " * 30)
    lines = told.output.getvalue().splitlines()
    assert len(lines) == 3
    assert max(len(line) for line in lines) < 80
    assert {line[:18] for line in lines[1:]} == {" " * 18}
    assert " ".join(lines).split().count("word") == 30


def test_nothing_is_printed_once_it_is_closed(told: Told) -> None:
    told.add(f"{DATE} INFO: last\n")
    told.story.close()
    assert told.lines() == ["app      last"]
    told.story.say("…0001", "hears music")
    assert told.lines() == []


def test_a_closed_terminal_is_no_error(told: Told) -> None:
    reads, writes = pty.openpty()
    with os.fdopen(writes, "w") as file:  # which writes what is left
        os.close(reads)
        story = Story(told.log, {}, file)
        for _ in range(2):
            story.say("…0001", "hangs up")
        story.close()
