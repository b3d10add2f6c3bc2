"""The log: one line for each thing that happened, and no whole number in any of them."""

from __future__ import annotations

import logging
import re

# Seven digits in a row or more, but not those inside a uuid or another word.
NUMBER = re.compile(r"(?<![\w-])\+?[0-9]{3,}([0-9]{4})(?![\w-])")


def set_up(logger: logging.Logger) -> None:
    """Let the logger write one clean line a record, and keep other libraries from writing more.

    Werkzeug's access log would print query strings, with numbers and the token in them; the SDK
    and urllib3 would repeat what is said here already.
    """
    logger.setLevel(logging.INFO)
    logger.addFilter(_clean)
    # Flask's own handler looks up the request for each line; this one costs half as much.
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s in app: %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").addFilter(_without_query)
    for name in ("vonage", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)


def number(text: str) -> str:
    """Somebody's number or name for the log: the last four digits, or the words."""
    digits = re.sub(r"\D", "", text)
    return f"…{digits[-4:]}" if len(digits) > 4 else text[:40] or "no number"


def _clean(record: logging.LogRecord) -> bool:
    line = NUMBER.sub(r"…\1", record.getMessage())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line)
    record.msg, record.args = line, ()
    return True


def _without_query(record: logging.LogRecord) -> bool:
    record.msg = re.sub(r"\?[^\s\"']*", "?…", record.getMessage())
    record.args = ()
    return True
