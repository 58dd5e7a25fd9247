"""The offline verifier: does a log hold together, and is it the one that was promised elsewhere?

MUST: name what failed, where first, and never merge two results. MUST: say OK only when a head kept outside agrees; without one it is
OK-UNANCHORED, since a keyed chain cannot tell a shorter log from the whole. MUST: treat a missing seal where one is due as a failure.
MUST: need the standard library alone; it therefore does not check the Ed25519 lines, and says so.
Results and exits: docs/audit-format.md. One pass, constant memory, no clock.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ony_core import chain, checkpoint
from ony_core.auditlog import Broken, Log, Promise
from ony_core.clock import rfc3339
from ony_core.errors import Malformed
from ony_core.merkle import Frontier
from ony_core.notes import Head

EXITS = {
    "OK": 0, "OK-UNANCHORED": 0, "EDITED": 10, "MISSING": 11, "REORDERED": 11, "TRUNCATED": 12, "ROLLBACK": 13, "FORK": 14, "KEY": 15,
    "FORMAT": 18,
}  # fmt: skip
EXIT_STRICT = 3
MAX_FINDINGS = 20
NOT_CHECKED = "the Ed25519 lines of the checkpoints were not checked: that needs more than the standard library (docs/audit-format.md)"


@dataclass(frozen=True, slots=True)
class Finding:
    """One failure. seq: the first row affected. details: expected, found and the like, for people and for --json."""

    result: str
    seq: int
    what: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What was checked and what was found; findings in the order they were met, the first one names the result."""

    origin: str
    key_id: str
    first: int = 1
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    checkpoints: int = 0
    last_good: int = 0
    later_good: int = 0
    first_time: str = ""
    last_time: str = ""
    agreeing: Head | None = None
    disagreeing: Head | None = None

    @property
    def result(self) -> str:
        if self.findings:
            return self.findings[0].result
        return "OK" if self.agreeing and self.first == 1 else "OK-UNANCHORED"

    def exit_code(self, strict: bool) -> int:
        return EXIT_STRICT if strict and self.result == "OK-UNANCHORED" else EXITS[self.result]

    def to_json(self) -> dict[str, Any]:
        found = self.findings[0] if self.findings else None
        details = found.details if found else {}
        return {
            "result": self.result, "origin": self.origin, "key_id": self.key_id,
            "first_bad_seq": found.seq if found else None, "expected": details.get("expected"), "found": details.get("found"),
            "last_good_seq": self.last_good, "later_good_rows": self.later_good,
            "agreeing_head": _head_json(self.agreeing), "disagreeing_head": _head_json(self.disagreeing),
            "rows_checked": self.rows, "checkpoints_checked": self.checkpoints, "first_time": self.first_time, "last_time": self.last_time,
            "findings": [{"result": f.result, "seq": f.seq, "what": f.what, **f.details} for f in self.findings], "notes": self.notes,
        }  # fmt: skip


def verify(log: Log, key: bytes, witnesses: Iterable[Head] = ()) -> Report:
    """Walks the log once. key: 32 bytes. witnesses: heads kept outside; those of other logs are named in the notes and left out."""
    return _Walk(log, key, list(witnesses)).run()


class _Walk:
    """The state of one pass: which row must come next, what it follows, and the tree so far."""

    def __init__(self, log: Log, key: bytes, witnesses: list[Head]) -> None:
        self.log, self.key = log, key
        self.report = Report(log.origin, checkpoint.key_id(key), log.first)
        self.mac_of = chain.row_macs(key, log.origin)
        self.next, self.previous = log.first, log.previous_mac
        self.tree = Frontier(log.first - 1, log.peaks)
        self.whole = True  # no row has failed yet
        self.good, self.odd = 0, 0  # last row before the first that failed; rows from there on
        self.watch = 0  # the next row that needs more than its MAC checked
        self.proven = False  # a checkpoint or later row verified under this key, so the key is this log's
        self.stranger = ""  # origin of a sealed checkpoint that speaks of another log
        self.claimed = ""  # key id of a checkpoint that this key did not seal
        self.ahead: checkpoint.Note | None = None  # a sealed checkpoint beyond the rows read so far
        self.sealed: int | None = None  # size of the checkpoint before
        self.covered = log.first - 1  # rows that a true checkpoint covers
        self.unsaid = 0
        self.outside = _of_this_log(witnesses, self.report)
        self.inside = [Head(log.origin, size, root, "", f"connector {who}") for who, size, root in log.shown]
        self.due = sorted(self.outside + self.inside, key=lambda head: head.size, reverse=True)
        self.last_body = b""

    def run(self) -> Report:
        self._compare(self.next - 1)
        self.watch = 0
        try:
            for item in self.log.items():
                if isinstance(item, tuple):
                    self._row(*item)
                else:
                    self._promise(item)
        except Broken as broken:
            self._found(broken.result, broken.seq, broken.what, **({} if broken.offset is None else {"offset": broken.offset}))
        self._close()
        return self.report

    def _row(self, seq: int, body: bytes, mac: bytes) -> None:
        """The whole cost of a long log is here, so the common case touches little: it is the next row, and its MAC holds."""
        if self.whole and seq == self.next and self.mac_of(self.previous, seq, body) == mac:
            self.tree.append(chain.leaf(seq, body, mac))
            self.last_body = body
            self.next, self.previous = seq + 1, mac
            if seq >= self.watch:
                self._watched(seq)
        else:
            self._odd_row(seq, body, mac)

    def _watched(self, seq: int) -> None:
        """The first row, a row that a head speaks of, or one that a checkpoint has run ahead of."""
        self.report.first_time = self.report.first_time or _field(self.last_body, "at")
        if self.ahead:
            self._found("REORDERED", seq, f"the checkpoint at {self.ahead.size} rows stands before row {seq}")
            self.ahead = None
        self._compare(seq)

    def _odd_row(self, seq: int, body: bytes, mac: bytes) -> None:
        """The first row that fails, and every row after it: those are only counted."""
        expected = self.mac_of(self.previous, seq, body) if 0 <= seq <= chain.MAX_SEQ else b""
        holds = expected == mac and seq == self.next
        if self.whole:
            self.whole = False
            self.good = self.next - 1
            self._bad_row(seq, body, mac, expected)
        self.report.first_time = self.report.first_time or _field(body, "at")
        self.report.later_good += holds
        self.odd += 1
        self.last_body, self.next, self.previous = body, seq + 1, mac

    def _bad_row(self, seq: int, body: bytes, mac: bytes, expected: bytes) -> None:
        if seq > self.next:
            self._found("MISSING", self.next, f"rows {self.next} to {seq - 1} are missing", last_missing=seq - 1)
        elif seq < self.next:
            self._found("REORDERED", self.next, f"row {seq} stands where row {self.next} belongs")
        else:
            self._found("EDITED", seq, f"row {seq} is not the row that was written", expected=expected.hex(), found=mac.hex(),
                        time=_field(body, "at"), kind=_field(body, "kind"))  # fmt: skip

    def _promise(self, stored: Promise) -> None:
        """A checkpoint: spelled as made, sealed by this key, about this log."""
        self.report.checkpoints += 1
        try:
            note = checkpoint.parse(stored.note)
        except Malformed as error:
            return self._found("FORMAT", max(stored.size, 1), error.what)
        if not checkpoint.sealed_by(note, self.key) or (note.size, note.root) != (stored.size, stored.root):
            self.claimed, self.sealed = self.claimed or note.key_id, note.size
            return self._found("EDITED", max(self.next - 1, 1), f"the checkpoint at {stored.size} rows is not the one that was sealed",
                               expected=self.report.key_id, found=note.key_id)  # fmt: skip
        self.proven = True
        if note.origin != self.log.origin:
            self.stranger = note.origin
            return self._found("KEY", 1, "a checkpoint speaks of another log", expected=self.log.origin, found=note.origin)
        return self._kept(note, stored.note)

    def _kept(self, note: checkpoint.Note, text: str) -> None:
        """A sealed checkpoint must be true of the rows before it; one beyond them waits for the end."""
        last, before = self.next - 1, self.sealed
        self.sealed = note.size
        if not self.whole:
            return
        if note.after != before and (before is not None or note.after >= self.log.first):
            self._found("MISSING", note.after, f"the checkpoint at {note.after} rows is missing", last_missing=note.after)
        if note.size > last:
            self.ahead, self.watch = note, 0
        elif note.size < last:
            self._found("REORDERED", note.size, f"the checkpoint at {note.size} rows stands after row {last}")
        elif (note.root, note.last) != (self.tree.root(), self.previous):
            self._found("FORK", note.size, f"the log's own checkpoint at {note.size} rows was made over other rows",
                        expected=note.root.hex(), found=self.tree.root().hex(), note=text)  # fmt: skip
        else:
            self.covered = note.size

    def _compare(self, size: int) -> None:
        """Heads kept elsewhere, against the tree as it stood at their size."""
        while self.due and self.due[-1].size <= size:
            head = self.due.pop()
            if head.size < size:
                self.report.notes.append(f"a head at {head.size} rows lies before the first row here and was not compared")
            elif head.root == self.tree.root():
                self.report.agreeing = head if head in self.outside else self.report.agreeing
            elif self.report.disagreeing is None:
                self._forked(head)
        self.watch = self.due[-1].size if self.due else chain.MAX_SEQ

    def _forked(self, head: Head) -> None:
        self.report.disagreeing = head
        agreed = self.report.agreeing.size if self.report.agreeing else 0
        sealed = "sealed by the same key" if _sealed(head, self.key) else "not sealed by this key"
        what = f"{head.source} ({sealed}) saw another log of {head.size} rows: the change lies in rows {agreed + 1} to {head.size}"
        self._found("FORK", head.size, what, expected=head.root.hex(), found=self.tree.root().hex())

    def _close(self) -> None:
        """What only shows at the end: rows without a checkpoint, promises beyond the last row, a key that never fitted."""
        report, last = self.report, self.next - 1
        report.last_good = self.good = last if self.whole else self.good
        report.rows = self.good - self.log.first + 1 + self.odd
        report.last_time = _field(self.last_body, "at")
        if self.ahead:
            what = f"the log ends at row {last}; its own checkpoint of {rfc3339(self.ahead.at)} promises {self.ahead.size} rows"
            self._found("TRUNCATED", last + 1, what, expected=self.ahead.size, found=last)
        elif not report.findings and last > self.covered:
            what = f"no checkpoint covers rows {self.covered + 1} to {last}: one is made with every commit"
            self._found("MISSING", self.covered + 1, what, last_missing=last)
        if not any(found.result == "FORMAT" for found in report.findings):
            self._beyond([h for h in self.due if h.size > last and h in self.inside], "TRUNCATED", last)
            self._beyond([h for h in self.due if h.size > last and h in self.outside], "ROLLBACK", last)
        if not report.findings and last < 1:
            self._found("TRUNCATED", 1, "the log is empty, although every log begins with its genesis row")
        self._judge_key()
        self._remark()

    def _beyond(self, heads: list[Head], result: str, last: int) -> None:
        if heads:
            head = heads[0]
            self.report.disagreeing = self.report.disagreeing or (head if head in self.outside else None)
            what = f"the log ends at row {last}; {head.source} has seen {head.size} rows{_when(head)}"
            self._found(result, last + 1, what, expected=head.size, found=last)

    def _judge_key(self) -> None:
        """A log in which nothing at all verifies was not edited: it belongs to another key, or to another log."""
        report = self.report
        verified = report.last_good >= self.log.first or report.later_good
        alien = not verified and (self.stranger or not self.proven)
        if report.findings and report.findings[0].result == "EDITED" and alien:
            what = f"nothing verifies under key {report.key_id}: this is another key or another log, not evidence of an edit"
            found = self.stranger or self.claimed
            report.findings.insert(0, Finding("KEY", report.findings[0].seq, what, {"expected": report.key_id, "found": found}))

    def _remark(self) -> None:
        report = self.report
        if not self.whole and self.due:
            report.notes.append(f"heads beyond row {report.last_good} could not be compared")
        if not report.agreeing:
            report.notes.append("no head kept outside agrees: truncation and rollback cannot be excluded; pass --witness")
        if self.log.first > 1:
            report.notes.append(f"this is a part of the log: rows 1 to {self.log.first - 1} are not in it")
        if self.unsaid:
            report.notes.append(f"{self.unsaid} further findings are not listed")
        report.notes.append(NOT_CHECKED)

    def _found(self, result: str, seq: int, what: str, **details: Any) -> None:
        if len(self.report.findings) < MAX_FINDINGS:
            self.report.findings.append(Finding(result, seq, what, details))
        else:
            self.unsaid += 1


def _of_this_log(witnesses: list[Head], report: Report) -> list[Head]:
    others = sorted({head.origin for head in witnesses if head.origin != report.origin})
    if others:
        report.notes.append(f"heads of {len(others)} other log(s) in the witness were left out")
    return [head for head in witnesses if head.origin == report.origin and head.size > 0]  # an empty tree anchors nothing


def _sealed(head: Head, key: bytes) -> bool:
    return bool(head.note) and checkpoint.sealed_by(checkpoint.parse(head.note), key)


def _when(head: Head) -> str:
    return f" at {rfc3339(checkpoint.parse(head.note).at)}" if head.note else ""


def _head_json(head: Head | None) -> dict[str, Any] | None:
    return {"size": head.size, "root": head.root.hex(), "source": head.source, "note": head.note} if head else None


def _field(body: bytes, name: str) -> str:
    """A field of a body for the report; "" where the body is not what it should be, which the MAC has then already shown."""
    try:
        return str(json.loads(body)[name])[:40]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
