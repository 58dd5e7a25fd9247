"""Copies of the database: made from a running server, checked, and put in place of what is there. No keys are in them.

MUST: make a copy of one moment, whole or not at all, 0600 from its first byte, and never over another file.
MUST: check a copy through and through before anything of it is believed: pages, references, schema version.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ony_core.errors import OnyError

SQLITE = sqlite3.sqlite_version_info
_BESIDE = ("", "-wal", "-shm")


def copy(source: Path, target: Path) -> None:
    """A copy of the database as it stands, beside a running server or without one. OnyError where `target` exists or cannot be written.

    The reader neither writes nor checkpoints (sqlite.org/backup.html, sqlite.org/wal.html section 11).
    """
    if os.path.lexists(target):
        raise OnyError(f"{target} exists already", "name a new file")
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        _copied(source, fresh)
        os.link(fresh, target)  # unlike a rename, never over another file
        synced_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise OnyError(f"the copy cannot be made ({_why(error)})", "check the disk, and that the folder can be written") from None
    finally:
        for end in (*_BESIDE, "-journal"):
            fresh.with_name(fresh.name + end).unlink(missing_ok=True)


def _copied(source: Path, fresh: Path) -> None:
    with _open(source, "ro") as from_, _open(fresh, "rw") as to:
        from_.backup(to)
        to.execute("PRAGMA journal_mode = DELETE")  # one file holds everything
    with open(fresh, "rb") as file:
        os.fsync(file.fileno())


def check(path: Path, newest: int) -> int:
    """The schema version of a copy. OnyError where it is damaged, no database of Ony's, or newer than `newest`."""
    try:
        with _open(path, "ro") as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            whole = db.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]
            linked = db.execute("PRAGMA foreign_key_check").fetchone() is None
            known = db.execute("SELECT 1 FROM meta WHERE name = 'server_id'").fetchone() is not None
    except sqlite3.Error as error:
        raise OnyError(f"{path.name} is not a database of Ony's ({error})", "take another backup") from None
    if version > newest:
        raise OnyError(f"{path.name} was written by a newer Ony", "use that version")
    if not (whole and linked and known and version):
        raise OnyError(f"{path.name} is damaged", "take another backup")
    return version


def place(path: Path, database: Path, aside: str) -> Path | None:
    """Moves a checked file to where the server looks; what stood there is kept, named `aside`. The caller holds the server's lock."""
    kept = database.with_name(aside)
    if os.path.lexists(kept):
        raise OnyError(f"{kept} exists already", "wait a second, or move it away")
    had = database.exists()
    for end in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            os.replace(database.with_name(database.name + end), kept.with_name(kept.name + end))
    os.replace(path, database)
    synced_folder(database.parent)
    return kept if had else None


def taken(source: Path, into: Path) -> None:
    """The bytes of a backup file, into a new file of our own beside the database. OnyError."""
    try:
        descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(source, "rb") as from_, os.fdopen(descriptor, "wb") as to:
            shutil.copyfileobj(from_, to)
            to.flush()
            os.fsync(to.fileno())
    except OSError as error:
        raise OnyError(f"the backup cannot be read ({_why(error)})", f"look at {source}") from None


def synced_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _open(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    try:
        yield db
    finally:
        db.close()


def _why(error: Exception) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
