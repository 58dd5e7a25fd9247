"""The server's log: one JSON object a line on standard error, in which no secret and no digit of a person's can stand.

MUST NOT let text through that could be anything: of what a log call is given, a closed word, an address, a place in our source and the
words of an OnyError pass, and nothing else. MUST NOT write a digit outside the time, an address, a source line and `left_out`:
phone numbers, codes, keys pressed and ids are made of them.
MUST let nobody fill the disk, or push out what was written before, by being refused again and again: of one sentence so many lines a
minute, and how many were left out.
MUST NOT write the text of an exception, nor a line of somebody else's library beyond its logger's name: both may quote a request.
What may be given to a log call at all is held by tests/server/test_logs.py, which reads every call in the source.
"""

import ipaddress
import json
import logging
import re
import sys
from typing import Any, TextIO

from ony_core.clock import rfc3339
from ony_core.errors import OnyError

OURS = "ony."
HIDDEN = "…"
MOST, MINUTE_S = 100, 60
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,39}\Z", re.ASCII)
_PLACE = re.compile(r"[a-z_]{1,40}\.py:[0-9]{1,4}\Z", re.ASCII)
_PHRASE = re.compile(r"\(?[A-Za-z][A-Za-z._/'-]{0,24}\)?[,;:]?\Z", re.ASCII)  # one word of a sentence
_FIXED = ("the local socket", "an unknown place", "trouble")


class Calm(logging.Filter):
    """Of each sentence of ours, and of each library, at most MOST lines in MINUTE_S; the first after them says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}  # sentence -> (since, lines in this window)

    def filter(self, record: logging.LogRecord) -> bool:
        which = (record.name, str(record.msg) if record.name.startswith(OURS) else "")
        since, many = self._windows.get(which, (record.created, 0))
        if not 0 <= record.created - since < MINUTE_S:
            record.left_out = max(0, many - MOST)
            since, many = record.created, 0
        self._windows[which] = (since, many + 1)
        return many < MOST


class JsonLines(logging.Formatter):
    """{"at","level","from","what"}; with an exception "error": its type; "left_out": lines like it that were not written."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith(OURS)
        line: dict[str, Any] = {
            "at": rfc3339(int(record.created)), "level": record.levelname.lower(), "from": record.name if ours else _word(record.name),
            "what": _said(record) if ours else "a message of a library, not written down",
        }  # fmt: skip
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        if left_out := getattr(record, "left_out", 0):
            line["left_out"] = left_out
        return json.dumps(line, ensure_ascii=False)


def to_stderr(stream: TextIO | None = None) -> None:
    """Every logger of this process writes here from now on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Calm())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def _said(record: logging.LogRecord) -> str:
    """The template is a literal of our source. One that does not fit its values is shown as it is, without them."""
    given = record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
    try:
        return str(record.msg) % tuple(map(shown, given)) if given else str(record.msg)
    except (TypeError, ValueError):
        return str(record.msg)


def shown(value: Any) -> str:
    """A value as it may stand in the log. Whatever is not of a known shape is hidden whole."""
    if isinstance(value, OnyError):
        return " ".join(word if _PHRASE.match(word) else HIDDEN for word in value.what.split())
    if not isinstance(value, str):
        return HIDDEN
    return value if value in _FIXED or _PLACE.match(value) or _is_address(value) else _word(value)


def _word(value: str) -> str:
    return value if _WORD.match(value) else HIDDEN


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value  # a zone may be any text
