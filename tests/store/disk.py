"""A disk that forgets what was not synced, and one that has trouble, under the store's own SQL.

SQLite's file layer (sqlite.org/vfs.html) is replaced through apsw, which brings a SQLite of its own; `Connected` gives its connections the
face of the standard library's, so that the store runs unchanged. `Disk.image` is what a machine finds after its power was cut: of each
file, what was written before its last sync; of the rest nothing, or any part.
"""

import contextlib
import itertools
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
_count = itertools.count()
_KINDS = [(apsw.ConstraintError, sqlite3.IntegrityError), (apsw.Error, sqlite3.OperationalError)]

_CODES = {apsw.FullError: sqlite3.SQLITE_FULL, apsw.IOError: sqlite3.SQLITE_IOERR, apsw.BusyError: sqlite3.SQLITE_BUSY}


class Disk:
    """log: every change of a file since the start, as (file name, what, …). trouble: asked before each write and sync; may raise."""

    def __init__(self, synchronous: str = "FULL") -> None:
        self.name, self.synchronous = f"disk{next(_count)}", synchronous
        self.log: list[tuple[Any, ...]] = []
        self.trouble: Any = lambda name, what: None
        self._vfs = _Vfs(self)  # kept: it is unregistered with its last reference

    def connect(self, path: Path) -> "Connected":
        """In place of ony_core.store.store._connect."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = Connected(apsw.Connection(str(path), vfs=self.name))
        db.real.set_busy_timeout(300)
        for pragma in ("journal_mode = WAL", f"synchronous = {self.synchronous}", "foreign_keys = 1", "trusted_schema = 0"):
            db.execute(f"PRAGMA {pragma}")
        return db

    def image(self, upto: int, folder: Path, dice: random.Random | None = None) -> None:
        """Writes the files as they are found when power was cut after `upto` changes. dice: of what was not synced, sectors survive at
        random; None: nothing does.
        """
        changes = self.log[:upto]
        last_sync = {change[0]: index for index, change in enumerate(changes) if change[1] == "sync"}
        files: dict[str, bytearray] = {}
        for index, (name, what, *rest) in enumerate(changes):
            content = files.setdefault(name, bytearray())
            safe = index <= last_sync.get(name, -1)
            if what == "write":
                for offset, part in _sectors(*rest):
                    if safe or (dice is not None and dice.random() < 0.5):
                        content[len(content) : offset] = bytes(max(0, offset - len(content)))
                        content[offset : offset + len(part)] = part
            elif what == "truncate" and (safe or (dice is not None and dice.random() < 0.5)):
                del content[rest[0] :]
            elif what == "delete":
                del files[name]
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(data), SECTOR):
        yield offset + start, data[start : start + SECTOR]


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self._disk, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        self._disk.log.append((os.path.basename(name), "delete"))
        super().xDelete(name, sync)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = os.path.basename(name.filename() if hasattr(name, "filename") else str(name))
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.trouble(self._name, "write")
        super().xWrite(data, offset)
        self._disk.log.append((self._name, "write", offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._disk.log.append((self._name, "truncate", size))

    def xSync(self, flags: int) -> None:
        self._disk.trouble(self._name, "sync")
        super().xSync(flags)
        self._disk.log.append((self._name, "sync"))


class Connected:
    """As much of sqlite3.Connection (isolation_level=None) as the store uses."""

    def __init__(self, real: apsw.Connection) -> None:
        self.real = real

    def execute(self, text: str, values: Any = ()) -> "Rows":
        with _translated():
            return Rows(self.real, self.real.execute(text, values))

    def executemany(self, text: str, values: Any) -> "Rows":
        with _translated():
            return Rows(self.real, self.real.executemany(text, list(values)))

    def executescript(self, text: str) -> None:
        self.execute(text)

    @property
    def in_transaction(self) -> bool:
        return bool(self.real.in_transaction)

    def close(self) -> None:
        self.real.close()


class Rows:
    def __init__(self, real: apsw.Connection, found: Any) -> None:
        self._found, self.rowcount = found, real.changes()

    def fetchone(self) -> Any:
        with _translated():
            return self._found.fetchone()

    def fetchall(self) -> list[Any]:
        with _translated():
            return list(self._found.fetchall())

    def __iter__(self) -> Iterator[Any]:
        with _translated():
            yield from self._found


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        kind = next(ours for theirs, ours in _KINDS if isinstance(error, theirs))
        told = kind(str(error))
        told.sqlite_errorcode = _CODES.get(type(error), sqlite3.SQLITE_ERROR)
        raise told from None
