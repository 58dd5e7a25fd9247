"""The audit log as it lies on disk: a server's data folder (SQLite) or an export (JSON lines). One reader for verifying, listing and
exporting, so that what people are shown is what was checked.

MUST: read only, in one transaction, in constant memory, with the standard library alone. MUST: hand out rows and checkpoints in the
order they lie there and leave judging to ony_core.verify; what cannot be read at all ends as `Broken`. An export line has one
spelling: any other is `Broken`.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ony_core import chain, checkpoint
from ony_core.errors import OnyError
from ony_core.store import audit_sql as sql

UNREADABLE = (sqlite3.Error, ValueError, OverflowError)  # ValueError: sqlite3 decodes its own message about a damaged file

Row = tuple[int, bytes, bytes]  # seq, body, mac


class Broken(Exception):
    """The log cannot be read on. result: FORMAT or TRUNCATED; seq: the first row affected; offset: byte in an export, None in a
    database.
    """

    def __init__(self, result: str, seq: int, what: str, offset: int | None = None) -> None:
        super().__init__(what)
        self.result, self.seq, self.what, self.offset = result, seq, what, offset


@dataclass(frozen=True, slots=True)
class Promise:
    """A checkpoint as stored beside the rows; nothing in it is believed yet."""

    size: int
    root: bytes
    note: str


@dataclass(slots=True)
class Log:
    """One organisation's log. `items()` may be walked once; rows come in stored order, each checkpoint after the last row it covers.

    first: seq of the first row (above 1 in a partial export); previous_mac and peaks: what that row follows, and the tree before it.
    shown: (connector id, size, root) that the server saw connectors present.
    """

    origin: str
    lines: Iterator[Row | Promise]
    first: int = 1
    previous_mac: bytes = b""
    peaks: tuple[bytes, ...] = ()
    shown: list[tuple[str, int, bytes]] = field(default_factory=list)

    @property
    def org_id(self) -> str:
        return self.origin.rpartition("/")[2]

    def items(self) -> Iterator[Row | Promise]:
        return self.lines

    def rows(self) -> Iterator[Row]:
        return (item for item in self.lines if not isinstance(item, Promise))


# ---------------------------------------------------------------- a data folder


@contextlib.contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection inside one transaction. Works beside a running server and on a bare copy of the file. OnyError if there
    is none.

    A file without its -wal is open nowhere, so it is read as immutable: otherwise SQLite would leave two new files beside it, owned by
    the reader.
    """
    path = folder / "ony.db"
    if not path.is_file():
        raise OnyError(f"there is no ony.db in {folder}", "name the server's data folder with --data, or an export with --export")
    wal = path.with_name(path.name + "-wal")
    alone = not wal.exists()
    db = _connect(path, "&immutable=1" if alone else "")
    try:
        yield db
    finally:
        db.close()
    if alone and wal.exists():
        raise OnyError("the server was started while its log was being read", "run this again")


def _connect(path: Path, extra: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{extra}", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = 1")
        db.execute("BEGIN")
        db.execute(sql.SERVER_ID).fetchone()
    except UNREADABLE as error:
        db.close()
        raise OnyError(f"{path.name} cannot be read ({error})", "check that it is an Ony database and readable for you") from None
    return db


def organisations(db: sqlite3.Connection) -> list[str]:
    """Every organisation the database speaks of, in any of the log's tables."""
    try:
        return [row[0] for row in db.execute(sql.ORGS)]
    except UNREADABLE as error:
        raise OnyError(f"the audit tables cannot be read ({error})", "check that this is an Ony database") from None


def log_of(db: sqlite3.Connection, org_id: str) -> Log:
    """The log of one organisation in a database."""
    try:
        found = db.execute(sql.SERVER_ID).fetchone()
        shown = [(str(who), int(size), bytes(root)) for who, size, root in db.execute(sql.HEADS, (org_id,))]
    except (*UNREADABLE, TypeError) as error:
        raise OnyError(f"the database cannot be read ({error})", "check that it is an Ony database") from None
    origin = f"ony/{found[0] if found else ''}/{org_id}"
    if not checkpoint.ORIGIN.match(origin):
        raise OnyError("the database names no server id or an impossible organisation", "check that it is an Ony database")
    return Log(origin, _from_database(db, org_id), previous_mac=chain.first_mac(origin), shown=shown)


def _from_database(db: sqlite3.Connection, org_id: str) -> Iterator[Row | Promise]:
    last = 0
    try:
        promises = db.execute(sql.CHECKPOINTS, (org_id,))
        promise = _promise(promises.fetchone())
        for seq, body, mac in db.execute(sql.ROWS, (org_id,)):
            if type(seq) is not int or type(body) is not bytes or type(mac) is not bytes or len(mac) != 32:
                raise Broken("FORMAT", last + 1, "a row holds values of the wrong type or length")
            while promise and promise.size < seq:
                yield promise
                promise = _promise(promises.fetchone())
            yield seq, body, mac
            last = seq
        while promise:
            yield promise
            promise = _promise(promises.fetchone())
    except UNREADABLE as error:
        raise Broken("FORMAT", last + 1, f"the database cannot be read on: {error}") from None


def _promise(found: Any) -> Promise | None:
    if found is None:
        return None
    size, root, note = found
    if type(size) is not int or type(root) is not bytes or type(note) is not str:
        raise Broken("FORMAT", size if type(size) is int else 0, "a checkpoint holds values of the wrong type")
    return Promise(size, root, note)
