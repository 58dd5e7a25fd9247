"""The people of an organisation: users, their secrets, their sessions, the invitations to join. A part of store.org(id).

MUST: name org_id in every WHERE and every INSERT, and insert no row that names a user of another organisation.
MUST: keep tokens, invitations and recovery codes as digests only, and use each one-time code once.
"""

import sqlite3
from typing import Any, TypeVar

from ony_core.clock import Clock
from ony_core.errors import Refused
from ony_core.store import rows
from ony_core.store.rows import columns

_USER = f"SELECT {columns(rows.User)} FROM user WHERE org_id = ?"
_TOTP = f"SELECT {columns(rows.Totp)} FROM totp WHERE org_id = ? AND user_id = ? AND purpose = ?"
_SESSION = f"SELECT {columns(rows.Session)} FROM web_session WHERE org_id = ?"
_INVITATION = f"SELECT {columns(rows.Invitation)} FROM invitation WHERE org_id = ? AND used_at IS NULL"
_USER_CHANGES = frozenset({"name", "role", "timezone", "password", "state"})
Row = TypeVar("Row")


class People:
    """What Org inherits; never made by itself."""

    _db: sqlite3.Connection
    _clock: Clock
    id: str

    # ---------------------------------------------------------------- users

    def password(self, user_id: str) -> str:
        """The stored hash; "" for a user of another organisation or without one."""
        found = self._db.execute("SELECT password FROM user WHERE org_id = ? AND id = ?", (self.id, user_id)).fetchone()
        return str(found[0] or "") if found else ""

    def user(self, user_id: str) -> rows.User | None:
        return one(rows.User, self._db.execute(_USER + " AND id = ?", (self.id, user_id)))

    def user_by_email(self, email: str) -> rows.User | None:
        return one(rows.User, self._db.execute(_USER + " AND email = ?", (self.id, email)))

    def users(self) -> list[rows.User]:
        return [rows.User(*row) for row in self._db.execute(_USER + " ORDER BY created_at, id", (self.id,))]

    def add_user(self, user_id: str, email: str, role: str, password: str, name: str = "") -> None:
        self._db.execute(
            "INSERT INTO user (id, org_id, email, name, role, password, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (user_id, self.id, email, name, role, password, self._clock.wall()),
        )

    def change_user(self, user_id: str, **changes: str) -> bool:
        """Sets name, role, timezone, password or state."""
        if not changes or not changes.keys() <= _USER_CHANGES:
            raise ValueError("not a column of a user that changes")
        assignments = ", ".join(f"{name} = ?" for name in changes)  # names from the closed set above
        done = self._db.execute(f"UPDATE user SET {assignments} WHERE org_id = ? AND id = ?", (*changes.values(), self.id, user_id))
        return done.rowcount == 1

    # ---------------------------------------------------------------- codes

    def totp(self, user_id: str, purpose: str) -> rows.Totp | None:
        return one(rows.Totp, self._db.execute(_TOTP, (self.id, user_id, purpose)))

    def add_totp(self, user_id: str, purpose: str, secret_sealed: bytes, last_step: int = 0) -> None:
        mine(self.user(user_id))
        self._db.execute(
            "INSERT INTO totp (user_id, org_id, purpose, secret_sealed, last_step) VALUES (?, ?, ?, ?, ?)",
            (user_id, self.id, purpose, secret_sealed, last_step),
        )

    def drop_totp(self, user_id: str, purpose: str) -> None:
        self._db.execute("DELETE FROM totp WHERE org_id = ? AND user_id = ? AND purpose = ?", (self.id, user_id, purpose))

    def approvers(self) -> list[rows.User]:
        """The active users who have an approval secret: their codes confirm what an approver must confirm."""
        found = self._db.execute(
            _USER + " AND state = 'active' AND id IN (SELECT user_id FROM totp WHERE org_id = ? AND purpose = 'approval')"
            " ORDER BY created_at, id",
            (self.id, self.id),
        )
        return [rows.User(*row) for row in found]

    def burn_step(self, user_id: str, purpose: str, step: int) -> bool:
        """Use up a code's time step. False where it, or a later one, was used before."""
        done = self._db.execute(
            "UPDATE totp SET last_step = ? WHERE org_id = ? AND user_id = ? AND purpose = ? AND last_step < ?",
            (step, self.id, user_id, purpose, step),
        )
        return done.rowcount == 1

    def code_failures(self, user_id: str, channel: str) -> tuple[int, int]:
        """(wrong codes in a row, closed until) of one channel."""
        found = self._db.execute(
            "SELECT in_a_row, closed_until FROM code_failure WHERE org_id = ? AND user_id = ? AND channel = ?", (self.id, user_id, channel)
        ).fetchone()
        return (found[0], found[1] or 0) if found else (0, 0)

    def set_code_failures(self, user_id: str, channel: str, in_a_row: int, closed_until: int | None) -> None:
        mine(self.user(user_id))
        self._db.execute(
            "INSERT INTO code_failure (user_id, org_id, channel, in_a_row, closed_until) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (user_id, channel)"
            " DO UPDATE SET in_a_row = excluded.in_a_row, closed_until = excluded.closed_until WHERE code_failure.org_id = excluded.org_id",
            (user_id, self.id, channel, in_a_row, closed_until),
        )

    def set_recovery_codes(self, user_id: str, digests: list[bytes]) -> None:
        """These, and none of those before."""
        mine(self.user(user_id))
        self._db.execute("DELETE FROM recovery_code WHERE org_id = ? AND user_id = ?", (self.id, user_id))
        self._db.executemany(
            "INSERT INTO recovery_code (user_id, org_id, digest) VALUES (?, ?, ?)", [(user_id, self.id, digest) for digest in digests]
        )

    def use_recovery_code(self, user_id: str, digest: bytes) -> bool:
        done = self._db.execute(
            "UPDATE recovery_code SET used_at = ? WHERE org_id = ? AND user_id = ? AND digest = ? AND used_at IS NULL",
            (self._clock.wall(), self.id, user_id, digest),
        )
        return done.rowcount == 1

    def recovery_codes_left(self, user_id: str) -> int:
        found = self._db.execute(
            "SELECT count(*) FROM recovery_code WHERE org_id = ? AND user_id = ? AND used_at IS NULL", (self.id, user_id)
        ).fetchone()
        return int(found[0])

    # ---------------------------------------------------------------- sessions

    def add_session(self, session: rows.Session) -> None:
        mine(self.user(session.user_id) if session.org_id == self.id else None)
        self._db.execute(
            f"INSERT INTO web_session ({columns(rows.Session)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (session.token_digest, session.id, self.id, session.user_id, session.level, session.created_at, session.seen_at,
             session.confirmed_at, session.agent),
        )  # fmt: skip

    def sessions(self, user_id: str) -> list[rows.Session]:
        """Newest first, those that have run out included."""
        found = self._db.execute(_SESSION + " AND user_id = ? ORDER BY created_at DESC, id", (self.id, user_id))
        return [rows.Session(*row) for row in found]

    def saw_session(self, session_id: str) -> None:
        self._db.execute("UPDATE web_session SET seen_at = ? WHERE org_id = ? AND id = ?", (self._clock.wall(), self.id, session_id))

    def end_session(self, user_id: str, session_id: str) -> bool:
        done = self._db.execute("DELETE FROM web_session WHERE org_id = ? AND user_id = ? AND id = ?", (self.id, user_id, session_id))
        return done.rowcount == 1

    def end_sessions(self, user_id: str, but: str = "") -> int:
        """All of a user's, or all but one; how many ended."""
        done = self._db.execute("DELETE FROM web_session WHERE org_id = ? AND user_id = ? AND id <> ?", (self.id, user_id, but))
        return done.rowcount

    # ---------------------------------------------------------------- invitations

    def invitations(self) -> list[rows.Invitation]:
        """Those that can still be used, oldest first."""
        found = self._db.execute(_INVITATION + " AND expires_at > ? ORDER BY created_at, id", (self.id, self._clock.wall()))
        return [rows.Invitation(*row) for row in found]

    def invitation(self, invitation_id: str) -> rows.Invitation | None:
        return one(rows.Invitation, self._db.execute(_INVITATION + " AND id = ?", (self.id, invitation_id)))

    def add_invitation(self, invitation: rows.Invitation) -> None:
        """In the place of an open one to the same address."""
        mine(invitation if invitation.org_id == self.id else None)
        self._db.execute("DELETE FROM invitation WHERE org_id = ? AND email = ? AND used_at IS NULL", (self.id, invitation.email))
        self._db.execute(
            "INSERT INTO invitation (digest, id, org_id, email, role, reset, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (invitation.digest, invitation.id, self.id, invitation.email, invitation.role, invitation.reset, invitation.created_at,
             invitation.expires_at),
        )  # fmt: skip

    def use_invitation(self, digest: bytes) -> bool:
        """Once, and only before it expires."""
        now = self._clock.wall()
        done = self._db.execute(
            "UPDATE invitation SET used_at = ? WHERE org_id = ? AND digest = ? AND used_at IS NULL AND expires_at > ?",
            (now, self.id, digest, now),
        )
        return done.rowcount == 1

    def withdraw_invitation(self, invitation_id: str) -> bool:
        done = self._db.execute("DELETE FROM invitation WHERE org_id = ? AND id = ? AND used_at IS NULL", (self.id, invitation_id))
        return done.rowcount == 1


def one(kind: type[Row], found: sqlite3.Cursor) -> Row | None:
    row = found.fetchone()
    return None if row is None else kind(*row)


def mine(row: Any) -> None:
    """What a new row names was found among this organisation's own."""
    if row is None:
        raise Refused("wrong_org")
