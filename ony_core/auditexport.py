"""The export of a log: JSON lines that can be streamed, searched with grep and verified anywhere. Format: docs/audit-format.md.

MUST: one spelling per line; a line that the writer would have spelled otherwise is `Broken`, so that no byte of an export is without
effect.
MUST: hold every checkpoint, and end with a line that says how far it goes: an export that was cut says so.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain as chain_of
from typing import Any, BinaryIO

from ony_core import chain, checkpoint
from ony_core.auditlog import Broken, Log, Promise, Row
from ony_core.errors import OnyError
from ony_core.merkle import Frontier

FORMAT = "ony-audit/2"
MAX_LINE = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


def export(log: Log, first: int = 1) -> Iterator[bytes]:
    """The lines of an export that begins with row `first`: header, rows and checkpoints, end. Nothing is judged here."""
    items = log.items()
    before, previous = Frontier(), log.previous_mac
    last, covered = first - 1, first - 1
    rest: list[Row | Promise] = []
    for item in items:
        if _reach(item) >= first:
            rest.append(item)
            break
        if not isinstance(item, Promise):
            before.append(chain.leaf(*item))
            previous = item[2]
    yield _header(log.origin, first, previous, before.peaks)
    for item in chain_of(rest, items):
        if isinstance(item, Promise):
            covered = item.size
            yield _note_line(item.note)
        else:
            last = item[0]
            yield _row_line(*item)
    yield _end_line(last, covered)


def _reach(item: Row | Promise) -> int:
    return item.size if isinstance(item, Promise) else item[0]


def read_export(file: BinaryIO) -> Log:
    """The log in an export. OnyError if the file is none; a fault further down ends `items()` with Broken."""
    line = file.readline(MAX_LINE)
    try:
        head = json.loads(line)
        origin, first = head["origin"], head["first"]
        previous, peaks = _hex(head["previous_mac"]), tuple(_hex(p) for p in head["peaks"])
        if _header(origin, first, previous, peaks) != line or not checkpoint.ORIGIN.match(origin) or not 0 < first <= chain.MAX_SEQ:
            raise ValueError
        Frontier(first - 1, peaks)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise OnyError("this is not an Ony audit export, or its first line is damaged", f"its first line says {FORMAT}", 18) from None
    if first == 1 and previous != chain.first_mac(origin):
        raise OnyError("the export's first line is damaged", "row 1 follows the digest of the origin and nothing else", 18)
    return Log(origin, _from_export(file, len(line), first), first, previous, peaks)


def _from_export(file: BinaryIO, offset: int, first: int) -> Iterator[Row | Promise]:
    last, covered = first - 1, first - 1
    while line := file.readline(MAX_LINE):
        if not line.endswith(b"\n") and len(line) < MAX_LINE:
            break
        item = _item(line, last + 1, offset)
        if item is None:
            _finish(file, line, offset, last, covered)
            return
        if isinstance(item, Promise):
            covered = item.size
        else:
            last = item[0]
        yield item
        offset += len(line)
    raise Broken("TRUNCATED", last + 1, "the export ends without its last line", offset)


def _item(line: bytes, seq: int, offset: int) -> Row | Promise | None:
    """None for the end line. Whatever is not spelled as the writer would have spelled it is Broken."""
    try:
        value = json.loads(line)
        if "seq" in value:
            row = (value["seq"], value["body"].encode("ascii"), _hex(value["mac"]))
            if type(row[0]) is int and 0 < row[0] <= chain.MAX_SEQ and _row_line(*row) == line:
                return row
        elif "note" in value:
            note = checkpoint.parse(value["note"])
            if _note_line(value["note"]) == line:
                return Promise(note.size, note.root, value["note"])
        elif "end" in value:
            return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OnyError):
        pass  # said below, with its place
    raise Broken("FORMAT", seq, "a line of the export is not spelled as Ony writes it", offset)


def _finish(file: BinaryIO, line: bytes, offset: int, last: int, covered: int) -> None:
    if line != _end_line(last, covered):
        raise Broken("TRUNCATED", last + 1, "the export's last line speaks of other rows than the file holds", offset)
    if file.read(1):
        raise Broken("FORMAT", last + 1, "there is data after the export's last line", offset + len(line))


def _hex(text: Any) -> bytes:
    if not isinstance(text, str) or not _HEX.match(text):
        raise ValueError("not 32 bytes in lower-case hex")
    return bytes.fromhex(text)


def _header(origin: str, first: int, previous_mac: bytes, peaks: Sequence[bytes]) -> bytes:
    before = {"previous_mac": previous_mac.hex(), "peaks": [peak.hex() for peak in peaks]}
    return _line({"format": FORMAT, "origin": origin, "first": first, **before})


def _row_line(seq: int, body: bytes, mac: bytes) -> bytes:
    return _line({"seq": seq, "body": body.decode("utf-8", "backslashreplace"), "mac": mac.hex()})


def _note_line(note: str) -> bytes:
    return _line({"note": note})


def _end_line(last: int, covered: int) -> bytes:
    return _line({"end": {"last": last, "checkpoint": covered}})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
