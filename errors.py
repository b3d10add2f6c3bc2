"""What goes wrong, as one plain sentence and the HTTP status it is told with."""

from __future__ import annotations


class Trouble(Exception):
    """Something that whoever asked should be told, raised by any room, answered by app.py.

    `status` is the HTTP status, `retry_after` the seconds after which asking again may help.
    """

    def __init__(self, sentence: str, status: int, *, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
        self.retry_after = retry_after
