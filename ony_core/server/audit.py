"""The writer of the audit log. Every call runs inside the store's own write transaction: a row and what it reports are committed
together or not at all.

MUST: refuse to write where there is no key, or where the log on disk is not what its newest checkpoint promised; nothing is approved
that cannot be logged.
MUST: keep names, addresses, codes and raw calls out of a body: only ids, digests, times, counts and closed words pass.
MUST NOT: remember the tip of a log between calls; the transaction it stood in may have been rolled back.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from ony_core import auditkey, canon, chain, checkpoint
from ony_core.auditkey import create_key
from ony_core.clock import Clock, rfc3339
from ony_core.errors import Malformed, OnyError, Refused
from ony_core.store import audit_sql as sql

__all__ = ["Log", "create_key"]

TAIL_ROWS = 1000  # looked at again when a log is first written to after a start
_KIND = re.compile(r"[a-z][a-z_.-]{0,39}\Z", re.ASCII)
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}\Z", re.ASCII)
_WORD = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9_.:/-]{0,139}"  # an id, a digest, a closed word
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"  # a time
    r"|\d{1,4}(?:\.\d{1,4}){1,2})?\Z",  # a version
    re.ASCII,
)


class Log:
    """The audit logs of one server, one chain per organisation.

    key_file: path of audit.key. origin_of: org_id -> "ony/<server_id>/<org_id>". sign_ed25519: signs checkpoints; public_key: its 32
    bytes, which only name the signature line for other tools. `db` is always the store's sqlite3 connection.
    """

    def __init__(self, key_file: str | os.PathLike[str], origin_of: Callable[[str], str], sign_ed25519: Callable[[bytes], bytes],
                 clock: Clock, public_key: bytes | Callable[[], bytes] = b"") -> None:  # fmt: skip
        self._key_file = key_file
        self._origin_of = origin_of
        self._sign = sign_ed25519
        self._public = public_key if callable(public_key) else lambda: public_key
        self._clock = clock
        self._keys: dict[str, bytes] = {}
        self._sound: set[str] = set()

    def require_sound(self, db: sqlite3.Connection, org_id: str) -> None:
        """Before a server says that it is ready: OnyError where no row could be added to this log. It is never empty: its first row
        is as old as the organisation.
        """
        if self._tip(db, org_id)[0] == 0:
            raise _unsound()
        self._require_sound(db, org_id)

    def append(self, db: sqlite3.Connection, org_id: str, kind: str, body: dict[str, Any]) -> int:
        """Adds one row and returns its seq, counting from 1. ValueError for a body that may hold more than ids, digests and closed
        words.
        """
        if org_id not in self._sound:
            self._require_sound(db, org_id)
        text = _body(kind, _at(self._clock.wall()), body)
        size, previous = self._tip(db, org_id)
        seq = size + 1
        mac = chain.row_mac(self._key(org_id), self._origin_of(org_id), previous, seq, text)
        db.execute(sql.ADD_ROW, (org_id, seq, text, mac))
        return seq

    def checkpoint(self, db: sqlite3.Connection, org_ids: Iterable[str]) -> None:
        """Grows the tree of each log over its new rows, seals and signs its present size; the last thing before a COMMIT. A log without
        new rows keeps its checkpoint.
        """
        for org_id in org_ids:
            size, last = self._tip(db, org_id)
            found = db.execute(sql.LAST_CHECKPOINT, (org_id,)).fetchone()
            before = found[0] if found else 0
            if size > before:
                root = chain.root(size, _grown(db, org_id, before))
                db.execute(sql.ADD_CHECKPOINT, (org_id, size, root, self._note(org_id, size, root, last, before)))

    def proof(self, db: sqlite3.Connection, org_id: str, seq: int, head: chain.Head | None) -> dict[str, Any]:
        """What stands beside a verdict (JSON): the row, the newest checkpoint, and that it holds the row and extends `head`.

        A head that this log cannot extend gets the same form with no hashes: the connector refuses it and keeps both notes, which is
        its evidence.
        """
        body, mac = _one(db.execute(sql.ROW, (org_id, seq)))
        size, _, note = _one(db.execute(sql.LAST_CHECKPOINT, (org_id,)))
        get = _get(db, org_id)
        start = head[0] if head else 0
        growth = chain.consistency_proof(start, size, get) if start <= size else []
        return {
            "row": {"seq": seq, "body": bytes(body).decode("ascii"), "mac": mac.hex()},
            "note": note,
            "inclusion": [h.hex() for h in chain.inclusion_proof(seq - 1, size, get)],
            "consistency": {"from": start, "hashes": [h.hex() for h in growth]},
        }

    def consistency(self, db: sqlite3.Connection, org_id: str, old: int, new: int) -> dict[str, Any]:
        """{"note", "hashes"}: the checkpoint at `new`, and that it extends the log of `old` rows. Refused("unknown_size") where there
        is no such checkpoint.
        """
        within = 0 <= old <= new <= self._tip(db, org_id)[0]
        found = db.execute(sql.CHECKPOINT, (org_id, new)).fetchone() if within else None
        if found is None:
            raise Refused("unknown_size", "there is no checkpoint of that size", "ask from one head this server gave to another")
        return {"note": found[1], "hashes": [h.hex() for h in chain.consistency_proof(old, new, _get(db, org_id))]}

    def _note(self, org_id: str, size: int, root: bytes, last: bytes, after: int) -> str:
        key = self._key(org_id)
        text = checkpoint.make(self._origin_of(org_id), size, root, key, self._clock.wall(), last, after)
        signed = text + "\n" + checkpoint.sign(text, self._sign, self._public())
        return signed + checkpoint.seal(signed, key)

    def _tip(self, db: sqlite3.Connection, org_id: str) -> tuple[int, bytes]:
        found = db.execute(sql.LAST_ROW, (org_id,)).fetchone()
        return (found[0], found[1]) if found else (0, chain.first_mac(self._origin_of(org_id)))

    def _key(self, org_id: str) -> bytes:
        if org_id not in self._keys:
            self._keys = auditkey.read_keys(self._key_file)
        if org_id not in self._keys:
            raise OnyError("this organisation has no audit key", "put audit.key back from where it was kept; none is made anew")
        return self._keys[org_id]

    def _require_sound(self, db: sqlite3.Connection, org_id: str) -> None:
        """Once after a start: the newest checkpoint is ours and covers all rows, and the last rows follow from one another."""
        size, last = self._tip(db, org_id)
        found = db.execute(sql.LAST_CHECKPOINT, (org_id,)).fetchone()
        if found or size:
            self._require_sealed(found, org_id, size, last, chain.root(size, _get(db, org_id)))
            self._require_linked(db, org_id, size)
        self._sound.add(org_id)

    def _require_sealed(self, found: tuple[int, bytes, str] | None, org_id: str, size: int, last: bytes, root: bytes) -> None:
        try:
            note = checkpoint.parse(found[2]) if found else None
        except Malformed:
            note = None
        promised = (note.origin, note.size, note.root, note.last) if note and checkpoint.sealed_by(note, self._key(org_id)) else None
        if promised != (self._origin_of(org_id), size, root, last):
            raise _unsound()

    def _require_linked(self, db: sqlite3.Connection, org_id: str, size: int) -> None:
        first = max(1, size - TAIL_ROWS + 1)
        mac_of = chain.row_macs(self._key(org_id), self._origin_of(org_id))
        previous = _one(db.execute(sql.ROW, (org_id, first - 1)))[1] if first > 1 else chain.first_mac(self._origin_of(org_id))
        expected = first
        for seq, body, mac in db.execute(sql.ROWS_FROM, (org_id, first)):
            if seq != expected or mac_of(previous, seq, body) != mac:
                raise _unsound()
            previous, expected = mac, seq + 1


def _body(kind: str, at: str, fields: dict[str, Any]) -> bytes:
    if not _named(_KIND, kind) or not fields.keys().isdisjoint({"at", "kind"}):
        raise ValueError("an audit row has a kind of its own and takes its time from the clock")
    for name, value in fields.items():
        closed = all(map(_closed, value)) if isinstance(value, list | tuple) else _closed(value)
        if not closed or not _named(_FIELD, name):
            raise ValueError(f"audit field {name[:40]!r} is not an id, a digest, a time, a count or a closed word")
    return canon.dumps({"at": at, "kind": kind, **fields})


@lru_cache(maxsize=1024)
def _named(pattern: re.Pattern[str], name: str) -> bool:
    """Kinds and fields are words of our own source, asked again and again."""
    return pattern.match(name) is not None


_at = lru_cache(maxsize=4)(rfc3339)  # the rows of one second


def _closed(value: Any) -> bool:
    if isinstance(value, str):
        return _WORD.match(value) is not None
    return value is None or type(value) in (bool, int)


def _grown(db: sqlite3.Connection, org_id: str, before: int) -> Callable[[int, int], bytes]:
    """The tree with every row after the first `before`: many rows of one transaction are written as one list. Read back from the
    transaction itself, so that a row that was undone in it has no place.
    """
    made: dict[tuple[int, int], bytes] = {}
    stored = _get(db, org_id)

    def get(level: int, position: int) -> bytes:
        return made.get((level, position)) or stored(level, position)

    for seq, body, mac in db.execute(sql.ROWS_FROM, (org_id, before + 1)).fetchall():
        made.update(((level, at), h) for level, at, h in chain.append_nodes(seq - 1, chain.leaf(seq, body, mac), get))
    db.executemany(sql.ADD_NODE, [(org_id, *place, h) for place, h in made.items()])
    return get


def _get(db: sqlite3.Connection, org_id: str) -> Callable[[int, int], bytes]:
    def get(level: int, position: int) -> bytes:
        found = db.execute(sql.NODE, (org_id, level, position)).fetchone()
        if found is None:
            raise _unsound()
        return bytes(found[0])

    return get


def _one(rows: sqlite3.Cursor) -> Any:
    found = rows.fetchone()
    if found is None:
        raise OnyError("the audit log has no such row or checkpoint yet", "ask again after the commit")
    return found


def _unsound() -> OnyError:
    return OnyError("the audit log on disk is not what its last checkpoint promised", "stop the server and run `ony audit verify`")
