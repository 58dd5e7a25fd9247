"""Transactions on one SQLite file: one thread that writes and checkpoints, one connection that only reads.

MUST: answer a write only after the COMMIT that holds it is durable (WAL, synchronous=FULL; fullfsync on macOS).
MUST: have exactly one connection that writes and checkpoints; SQLite 3.7.0 to 3.51.2 can lose a commit otherwise (sqlite.org/wal.html,
section 11). A second server on the same folder is refused by a lock file.
MUST: latch after a COMMIT whose outcome is unknown: every later write is refused until a restart has read the disk again.
MUST: refuse a database that a newer Ony has written.
Writes that arrive together share one COMMIT (group commit); each stands in a SAVEPOINT of its own, so that one refusal undoes only itself.
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ony_core.clock import Clock
from ony_core.errors import OnyError
from ony_core.store import migrations, rows, sealed
from ony_core.store.org import Org
from ony_core.store.rows import columns

VERSION = 1 + len(migrations.STEPS)
BUSY_S = 5
BATCH = 256
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "fullfsync = 1", "foreign_keys = 1", "trusted_schema = 0", "secure_delete = 1")
_RESTART = "restart the server; it checks the log before it writes again"

T = TypeVar("T")
Waiter = Future[Any] | asyncio.Future[Any]
Item = tuple[Callable[["Tx"], Any], Waiter]
Answer = tuple[Waiter, Any, BaseException | None]  # who waits, what the work came to, or what it raised
_CONNECTOR = f"SELECT {columns(rows.Connector)} FROM connector WHERE token_digest = ?"
_ENROLL_CODE = f"SELECT {columns(rows.EnrollCode)} FROM enroll_code WHERE digest = ?"
_SESSION = f"SELECT {columns(rows.Session)} FROM web_session WHERE token_digest = ?"
_INVITATION = f"SELECT {columns(rows.Invitation)} FROM invitation WHERE digest = ? AND used_at IS NULL AND expires_at > ?"
_ACCOUNTS = f"SELECT {columns(rows.User)} FROM user WHERE email = ? AND state = 'active' ORDER BY created_at, id"
_CALL = f"SELECT {columns(rows.Call)} FROM call WHERE nonce_digest = ?"
_UNSETTLED = (
    f"SELECT {columns(rows.Handoff)}, (SELECT expires_at FROM verdict WHERE request_id = handoff.id) FROM handoff"
    " WHERE state IN ('pending', 'ringing', 'approved') ORDER BY created_at"
)
_SERVER_KEY = f"SELECT {columns(rows.ServerKey)} FROM server_key WHERE purpose = ? ORDER BY created_at DESC, id"


class StoreUnavailable(OnyError):
    """Nothing was written, or it is not known what was: disk full, locked, or latched."""


class AuditLog(Protocol):
    """What the store asks of server/audit.py."""

    def checkpoint(self, db: sqlite3.Connection, org_ids: set[str]) -> None: ...


class Tx:
    """One transaction. Beside `org`, only what must be known before the organisation is."""

    def __init__(self, db: sqlite3.Connection, log: Any, clock: Clock) -> None:
        self._db, self._log, self._clock = db, log, clock
        self.touched: set[str] = set()

    def org(self, org_id: str) -> Org:
        return Org(self._db, org_id, self._log, self._clock, self.touched)

    def org_ids(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT id FROM org ORDER BY created_at, id")]

    def add_org(self, org_id: str, name: str) -> Org:
        self._db.execute("INSERT INTO org (id, name, created_at) VALUES (?, ?, ?)", (org_id, name, self._clock.wall()))
        return self.org(org_id)

    def connector_by_token(self, token_digest: bytes) -> rows.Connector | None:
        row = self._db.execute(_CONNECTOR, (token_digest,)).fetchone()
        return None if row is None else rows.Connector(*row)

    def enroll_code(self, digest: bytes) -> rows.EnrollCode | None:
        row = self._db.execute(_ENROLL_CODE, (digest,)).fetchone()
        return None if row is None else rows.EnrollCode(*row)

    def session_by_token(self, token_digest: bytes) -> rows.Session | None:
        row = self._db.execute(_SESSION, (token_digest,)).fetchone()
        return None if row is None else rows.Session(*row)

    def invitation(self, digest: bytes) -> rows.Invitation | None:
        """One that can still be used."""
        row = self._db.execute(_INVITATION, (digest, self._clock.wall())).fetchone()
        return None if row is None else rows.Invitation(*row)

    def accounts(self, email: str) -> list[rows.User]:
        """The active users with this address, over all organisations, the oldest first."""
        return [rows.User(*row) for row in self._db.execute(_ACCOUNTS, (email,))]

    def call_by_nonce(self, digest: bytes) -> rows.Call | None:
        row = self._db.execute(_CALL, (digest,)).fetchone()
        return None if row is None else rows.Call(*row)

    def unsettled(self) -> list[tuple[rows.Handoff, int | None]]:
        """Every handoff that is waiting, or approved and unclaimed, with the time its verdict expires."""
        found = self._db.execute(_UNSETTLED).fetchall()
        return [(rows.Handoff(*row[:-1]), row[-1]) for row in found]

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    def server_keys(self, purpose: str) -> list[rows.ServerKey]:
        """Newest first."""
        return [rows.ServerKey(*row) for row in self._db.execute(_SERVER_KEY, (purpose,))]

    def add_server_keys(self, keys: list[rows.ServerKey]) -> None:
        now = self._clock.wall()
        self._db.executemany(
            "INSERT INTO server_key (id, purpose, public, private_sealed, state, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            [(key.id, key.purpose, key.public, key.private_sealed, key.state, now) for key in keys],
        )


    def rotate_server_key(self, old: rows.ServerKey, fresh: rows.ServerKey, statement: str) -> None:
        """The old key signs on until `retire_server_keys`; statement: JSON, signed by both."""
        self._db.execute("UPDATE server_key SET state = 'retiring' WHERE id = ? AND state = 'active'", (old.id,))
        self.add_server_keys([fresh])
        self._db.execute("UPDATE server_key SET statement = ? WHERE id = ?", (statement, fresh.id))

    def retire_server_keys(self, before: int) -> int:
        """Keys that were replaced before then sign nothing any more. How many."""
        done = self._db.execute(
            "UPDATE server_key SET state = 'retired' WHERE state = 'retiring'"
            " AND purpose IN (SELECT purpose FROM server_key WHERE state = 'active' AND created_at <= ?)", (before,)
        )  # fmt: skip
        return done.rowcount

    def key_statements(self) -> list[str]:
        """Of every rotation so far, oldest first: JSON, each signed by an old key and the one after it."""
        found = self._db.execute("SELECT statement FROM server_key WHERE statement IS NOT NULL ORDER BY created_at, id")
        return [str(row[0]) for row in found]

    def reseal(self, change: sealed.Reseal) -> int:
        """All sealed secrets under another master key; how many."""
        return sealed.reseal(self._db, change)


class Store:
    """Open with `Store.open`. `write` is for the event loop; `write_now` for start-up and tests; `read` for the thread that opened it."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], clock: Clock) -> "Store":
        """Creates an empty database with schema.sql, or opens one of this version. OnyError where that is not possible."""
        return cls(Path(path), clock)

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._log: Any = None
        self._latched = ""
        self._closed = False
        self.commits = self.writes = 0  # since the start; counted in the writer's thread
        self._lock = only_one(path)
        try:
            self._writer = _prepared(_connect(path), path)
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only = 1")
        except OnyError:
            os.close(self._lock)
            raise
        self._work: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ony-writer", daemon=True)
        self._thread.start()

    def attach(self, log: Any) -> None:
        """The audit log that Org.audit appends to; its keys are read with this store, so it comes second."""
        self._log = log

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Runs `work` in the writer's thread; returns after its COMMIT. What work raises is raised here, and undone."""
        future = asyncio.get_running_loop().create_future()
        self._put(work, future)
        answer: T = await future
        return answer

    def write_now(self, work: Callable[[Tx], T]) -> T:
        future: Future[T] = Future()
        self._put(work, future)
        return future.result()

    def write_later(self, work: Callable[[Tx], Any]) -> None:
        """What nobody waits for. It is done in its turn, before `close` returns; where it cannot be done, nobody hears of it."""
        self._put(work, Future())

    def read(self, work: Callable[[Tx], T]) -> T:
        """Runs `work` on the reading connection, on one snapshot."""
        self._reader.execute("BEGIN")
        try:
            return work(Tx(self._reader, self._log, self._clock))
        finally:
            self._reader.execute("ROLLBACK")

    def close(self) -> None:
        """Finishes the writes that were asked for, then closes. A second time does nothing: its lock is gone."""
        if self._closed:
            return
        self._closed = True
        self._work.put(None)
        self._thread.join()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    @property
    def latched(self) -> str:
        """Why writes are refused until a restart; "" while they are not."""
        return self._latched

    def _put(self, work: Callable[[Tx], T], future: "Waiter") -> None:
        if self._closed:
            future.set_exception(StoreUnavailable("the server is stopping", "ask again when it is back"))
        else:
            self._work.put((work, future))

    def _run(self) -> None:
        while True:
            batch = self._batch()
            if not batch:
                return
            self._commit([item for item in batch if not item[1].cancelled()])

    def _batch(self) -> list[Item]:
        """The next piece of work and whatever stands behind it; empty at the end."""
        first = self._work.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < BATCH and not self._work.empty():
            item = self._work.get()
            if item is None:
                self._work.put(None)
                break
            batch.append(item)
        return batch

    def _commit(self, batch: list[Item]) -> None:
        """One transaction. Whatever goes wrong in it, each piece of work gets an answer: nobody may wait for ever for a decision."""
        try:
            answers = self._transaction(batch)
        except BaseException as trouble:  # noqa: BLE001 the writer must outlive it; what is not StoreUnavailable latches
            error = self._abandon(trouble)
            answers = [(future, None, error) for _, future in batch]
        _tell(answers)

    def _transaction(self, batch: list[Item]) -> list[Answer]:
        if self._latched:
            raise StoreUnavailable(self._latched, _RESTART)
        self._begin()
        tx = Tx(self._writer, self._log, self._clock)
        answers = [(future, *self._attempt(work, tx)) for work, future in batch]
        self._end(tx)
        self.commits, self.writes = self.commits + 1, self.writes + len(batch)
        return answers

    def _begin(self) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database cannot be written ({error})", "check the disk and who else holds the file") from None

    def _attempt(self, work: Callable[[Tx], Any], tx: Tx) -> tuple[Any, BaseException | None]:
        """One piece of work in its savepoint: (value, None), or (None, what it raised) with everything of it undone."""
        self._writer.execute("SAVEPOINT work")
        try:
            value = work(tx)
        except BaseException as failure:  # noqa: BLE001 carried to whoever awaits this piece of work, and raised there
            self._undo(failure)
            return None, _in_our_words(failure)
        self._writer.execute("RELEASE work")
        return value, None

    def _undo(self, failure: BaseException) -> None:
        if not self._writer.in_transaction:  # SQLite has rolled everything back by itself: disk full, I/O error
            raise StoreUnavailable(f"the database gave up a transaction ({failure})", "check the disk") from None
        self._writer.execute("ROLLBACK TO work")
        self._writer.execute("RELEASE work")

    def _end(self, tx: Tx) -> None:
        """Checkpoint of every log that grew, then COMMIT. A COMMIT that fails leaves the outcome unknown: latch. One that found no space
        does not: it is the commit's own frame, written last, that the disk had no room for (sqlite.org/fileformat2.html, 4.1).
        """
        try:
            if tx.touched:
                self._log.checkpoint(self._writer, tx.touched)
        except (sqlite3.Error, OnyError) as error:
            raise StoreUnavailable(f"the audit log cannot be written ({error})", "stop the server and run `ony audit verify`") from None
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise _in_our_words(error) from None
            self._latched = f"a commit failed ({error}) and its outcome is not known"
            raise StoreUnavailable(self._latched, _RESTART) from None

    def _abandon(self, trouble: BaseException) -> StoreUnavailable:
        """Nothing of the transaction stays. Trouble that nobody foresaw, or a rollback that fails, leaves doubt: latch."""
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._latched = self._latched or f"a transaction could not be undone ({error})"
        if isinstance(trouble, StoreUnavailable):
            return trouble
        self._latched = self._latched or f"a transaction met unforeseen trouble ({type(trouble).__name__})"
        return StoreUnavailable(self._latched, _RESTART)


def _tell(answers: list[Answer]) -> None:
    """Each waiter its own. An event loop is woken once, however many of its tasks wait: that costs as much as writing a row."""
    loops: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for answer in answers:
        if isinstance(answer[0], asyncio.Future):
            loops.setdefault(answer[0].get_loop(), []).append(answer)
        else:
            _settle([answer])
    for loop, theirs in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(_settle, theirs)


def _settle(answers: list[Answer]) -> None:
    for future, value, failure in answers:
        if future.done():  # whoever waited has gone away
            continue
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(value)


def _in_our_words(failure: BaseException) -> BaseException:
    """What the database itself refuses (full, locked, damaged) is the store's trouble; a broken constraint is the caller's."""
    if isinstance(failure, sqlite3.Error) and not isinstance(failure, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return StoreUnavailable(f"the database cannot be written ({failure})", "check the disk and who else holds the file")
    return failure


def only_one(path: Path) -> int:
    """A lock on the folder of a database, held until its descriptor is closed. OnyError where a server has it."""
    lock = os.open(path.with_name("server.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OnyError("another server is using this data folder", "stop it first, or give this one another --data") from None
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
    except (OSError, sqlite3.Error) as error:
        raise OnyError(f"the database {path.name} cannot be opened ({error})", "check the data folder and its owner") from None
    return db


def _prepared(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """The connection, its schema in place and of this version. OnyError for a newer one, or a file that is something else's database."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise OnyError("the database was written by a newer Ony", "run that version, or restore a backup of this one")
    if version == 0:
        schema = (resources.files(__package__) / "schema.sql").read_text("utf-8")
        try:
            db.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version = {VERSION};\nCOMMIT;")
        except sqlite3.Error as error:
            raise OnyError(f"the database cannot be set up ({error})", "check that the file is Ony's and the disk is not full") from None
    else:
        migrations.migrate(db, path, migrations.STEPS)
    return db
