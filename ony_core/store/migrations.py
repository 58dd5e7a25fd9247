"""From an older schema to this one: forward only, all steps in one transaction, with a copy of the old database beside the new one.

MUST: leave the old database untouched where a step fails or the process is killed. MUST NOT: know a way back; the copy is the way back.
Until the first release there is no step: schema.sql is edited in place, and its version stays 1.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ony_core.errors import OnyError
from ony_core.store import copies

STEPS: tuple[str, ...] = ()  # STEPS[n] leads from version n + 1 to n + 2: statements of SQL, each ended by a semicolon


def migrate(db: sqlite3.Connection, path: Path, steps: Sequence[str]) -> Path | None:
    """Brings the database of `path`, which `db` alone has open for writing, to version len(steps) + 1. The copy that was kept.

    OnyError where a step fails; then nothing has changed.
    """
    have = int(db.execute("PRAGMA user_version").fetchone()[0])
    wanted = len(steps) + 1
    if have == wanted:
        return None
    kept = path.with_name(f"{path.name}.v{have}")
    if not kept.exists():  # one that is there was made before an attempt that failed, so it is the same
        copies.copy(path, kept)
    text = "\n".join(steps[have - 1 :])
    try:
        db.executescript(f"PRAGMA foreign_keys = 0;\nBEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {wanted};")
        if db.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise sqlite3.IntegrityError("a reference leads nowhere")
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        what = f"the database cannot be brought to this version ({error})"
        raise OnyError(what, f"nothing was changed; the old one is also in {kept}") from None
    finally:
        db.execute("PRAGMA foreign_keys = 1")
    return kept
