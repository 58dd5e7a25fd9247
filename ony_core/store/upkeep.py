"""What an organisation's rows are put through besides decisions: retention, export, erasure, and the day after a restore.

MUST: name org_id in every statement, like all of store/org.py. MUST NOT: touch a row of the log, its tree or its checkpoints; they know ids
and digests only, and a log with holes proves nothing.
"""

import json
import sqlite3
from typing import Any

from ony_core import states

CHUNK = 500  # rows in one piece of work, so that no decision waits long behind it
_LOG = frozenset({"audit", "audit_node", "checkpoint"})
_FINAL = tuple(sorted(states.FINAL))
_OF_REQUEST = ("verdict", "call", "chat_message", "payload")
_SECRET = frozenset({"password", "secret", "statement"})
_POLICY_JUMP = 1_000_000  # more changes of the policy than a lost stretch of time can have held


class Upkeep:
    """A part of store.org.Org."""

    _db: sqlite3.Connection
    id: str

    def scrub_payloads(self, before: int) -> int:
        """Attached payloads older than this, UTC seconds. How many are gone."""
        return self._db.execute("DELETE FROM payload WHERE org_id = ? AND created_at < ?", (self.id, before)).rowcount

    def scrub_history(self, before: int) -> int:
        """The oldest settled requests from before then, with all that hangs on them; at most CHUNK. How many are gone."""
        marks = ", ".join("?" * len(_FINAL))
        found = self._db.execute(
            f"SELECT id FROM handoff WHERE org_id = ? AND created_at < ? AND state IN ({marks}) ORDER BY created_at LIMIT {CHUNK}",
            (self.id, before, *_FINAL),
        ).fetchall()
        for table in _OF_REQUEST:
            self._db.executemany(f"DELETE FROM {table} WHERE org_id = ? AND request_id = ?", [(self.id, name) for (name,) in found])
        self._db.executemany("DELETE FROM handoff WHERE org_id = ? AND id = ?", [(self.id, name) for (name,) in found])
        return len(found)

    def scrub_rest(self, before: int, now: int) -> None:
        """What has ended: counts and codes from before then; pauses and modes that are over."""
        self._db.execute("DELETE FROM pass_count WHERE org_id = ? AND hour < ?", (self.id, before // 3600))
        self._db.execute("DELETE FROM enroll_code WHERE org_id = ? AND expires_at < ?", (self.id, now))
        self._db.execute("DELETE FROM invitation WHERE org_id = ? AND expires_at < ?", (self.id, now))
        self._db.execute("DELETE FROM pause WHERE org_id = ? AND until < ?", (self.id, now))
        self._db.execute("DELETE FROM session_mode WHERE org_id = ? AND until <> 0 AND until < ?", (self.id, now))

    def exported(self) -> dict[str, list[dict[str, Any]]]:
        """Every row but the log's, table by table, without what is secret: no blob, no hash of a password or a token."""
        found = {}
        for table in self._tables():
            names = [name for name, kind in self._columns(table) if kind != "BLOB" and name not in _SECRET]
            key = "id" if table == "org" else "org_id"
            rows = self._db.execute(f"SELECT {', '.join(names)} FROM {table} WHERE {key} = ? ORDER BY 1, 2", (self.id,))
            found[table] = [dict(zip(names, row, strict=True)) for row in rows]
        return found

    def erase(self, now: int) -> None:
        """Everything but the log. The organisation's row stays, without its name and frozen, so that the log keeps its place."""
        self._db.execute("PRAGMA defer_foreign_keys = 1")
        for table in self._tables():
            if table != "org":
                self._db.execute(f"DELETE FROM {table} WHERE org_id = ?", (self.id,))
        self._db.execute("UPDATE org SET name = '', policy = '{}', frozen_at = ? WHERE id = ?", (now, self.id))

    def settle_after_restore(self, step: int) -> None:
        """What was valid at the time of the backup must not be valid twice: codes up to `step`, one-time codes (recovery codes
        too: which were used since is not known), sessions, loose modes.

        The policy's version jumps ahead of every one that a connector may have seen since.
        """
        self._db.execute("UPDATE totp SET last_step = max(last_step, ?) WHERE org_id = ?", (step, self.id))
        for table in ("enroll_code", "invitation", "recovery_code", "web_session"):
            self._db.execute(f"DELETE FROM {table} WHERE org_id = ?", (self.id,))
        self._db.execute("UPDATE org SET policy_version = policy_version + ? WHERE id = ?", (_POLICY_JUMP, self.id))

    def declare_restored(self, at: int, user_id: str) -> None:
        """From now on connectors may be told that what they have seen beyond this log is lost. at: UTC seconds."""
        self._db.execute("UPDATE org SET restored = ? WHERE id = ?", (json.dumps({"at": at, "user_id": user_id}), self.id))

    def restored(self) -> tuple[int, str]:
        """(when, by whom) a restore was declared; (0, "") where none was."""
        found = self._db.execute("SELECT restored FROM org WHERE id = ?", (self.id,)).fetchone()
        said: dict[str, Any] = json.loads(found[0]) if found and found[0] else {"at": 0, "user_id": ""}
        return int(said["at"]), str(said["user_id"])

    def renew_totp(self, user_id: str, purpose: str, secret_sealed: bytes) -> bool:
        """Another secret in place of the present one; steps that were used stay used. False where there is none."""
        done = self._db.execute(
            "UPDATE totp SET secret_sealed = ? WHERE org_id = ? AND user_id = ? AND purpose = ?", (secret_sealed, self.id, user_id, purpose)
        )
        return done.rowcount == 1

    def forget_head(self, connector_id: str) -> None:
        """What this connector has shown is lost by a declared restore; it will show a new one."""
        self._db.execute("DELETE FROM head WHERE org_id = ? AND connector_id = ?", (self.id, connector_id))

    def size(self) -> int:
        """Rows of the log."""
        found = self._db.execute("SELECT seq FROM audit WHERE org_id = ? ORDER BY seq DESC LIMIT 1", (self.id,)).fetchone()
        return int(found[0]) if found else 0

    def checkpoint_at(self, size: int) -> tuple[bytes, str] | None:
        """(root, note) of the checkpoint of that size, where there is one."""
        found = self._db.execute("SELECT root, note FROM checkpoint WHERE org_id = ? AND size = ?", (self.id, size)).fetchone()
        return (bytes(found[0]), str(found[1])) if found else None

    def _tables(self) -> list[str]:
        """Those that hold rows of organisations, read from the schema, so that a new one cannot be forgotten."""
        names = [row[0] for row in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return [name for name in names if name == "org" or (name not in _LOG and "org_id" in dict(self._columns(name)))]

    def _columns(self, table: str) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self._db.execute("SELECT name, type FROM pragma_table_info(?)", (table,))]
