"""The only door to an organisation's rows: every statement here is bound to one org_id, and a foreign id finds nothing.

MUST: name org_id in every WHERE and every INSERT, and insert no row that names a user, device, connector or request of another.
MUST: let a handoff change state through `step` alone, which asks states.py, compares the version, and writes the audit row of the
change in the same transaction.
"""

import sqlite3
from dataclasses import replace
from typing import Any

from ony_core import canon, states
from ony_core.clock import Clock
from ony_core.errors import Refused
from ony_core.store import rows
from ony_core.store.people import People
from ony_core.store.people import mine as _mine
from ony_core.store.people import one as _one
from ony_core.store.rows import columns
from ony_core.store.upkeep import Upkeep

_DEVICE = f"SELECT {columns(rows.Device)} FROM device WHERE org_id = ?"
_CONNECTOR = f"SELECT {columns(rows.Connector)} FROM connector WHERE org_id = ?"
_HANDOFF = f"SELECT {columns(rows.Handoff)} FROM handoff WHERE org_id = ?"
_VERDICT = f"SELECT {columns(rows.Verdict)} FROM verdict WHERE org_id = ? AND request_id = ?"
_CALLS = f"SELECT {columns(rows.Call)} FROM call WHERE org_id = ? AND request_id = ? ORDER BY created_at, nonce_digest"
_MODE = f"SELECT {columns(rows.Mode)} FROM session_mode WHERE org_id = ? AND connector_id = ?"
_RUNG = f"SELECT {columns(rows.Handoff)} FROM handoff WHERE +org_id = ?"  # the plus: found by id, by way of the calls, not by time
_OPEN = (  # the few that are not settled, by the index of them: its own words, or SQLite does not see that it fits
    f"SELECT {columns(rows.Handoff)} FROM handoff INDEXED BY handoff_waiting WHERE org_id = ?"
    " AND state IN ('pending', 'ringing', 'approved')"
)
_FROM_PLACE = " AND created_at >= ? AND created_at < ? AND created_at <= ? AND (created_at < ? OR id < ?) ORDER BY created_at DESC, id DESC"
LOOKED_THROUGH = 20_000  # requests at a time: whoever looks for what there is none of keeps nobody waiting
_LONGEST_WAIT_S = 900  # a handoff is rung within its deadline
_FOREVER = 1 << 62
_WANTED = frozenset({"state", "risk", "action", "connector_id", "session", "decided_by"})
_STEPPED = frozenset({"reason", "decided_at", "decided_by"})
_CALL_CHANGES = frozenset({"sid", "step", "tries", "prompts", "served_at_ms", "choice", "status", "status_seq", "ended_at"})


class Org(People, Upkeep):
    """One organisation inside one transaction. log: the audit log; touched: organisations that wrote to it."""

    def __init__(self, db: sqlite3.Connection, org_id: str, log: Any, clock: Clock, touched: set[str]) -> None:
        self._db, self.id, self._log, self._clock, self._touched = db, org_id, log, clock, touched

    # ---------------------------------------------------------------- the log

    def audit(self, kind: str, **body: Any) -> int:
        """Appends a row; its seq."""
        self._touched.add(self.id)
        return int(self._log.append(self._db, self.id, kind, body))

    def require_log(self) -> None:
        """OnyError where no row could be added: no key, or not the log that its newest checkpoint promised."""
        self._log.require_sound(self._db, self.id)

    def proof(self, seq: int, head: tuple[int, bytes] | None) -> dict[str, Any]:
        proof: dict[str, Any] = self._log.proof(self._db, self.id, seq, head)
        return proof

    def consistency(self, old: int, new: int) -> dict[str, Any]:
        found: dict[str, Any] = self._log.consistency(self._db, self.id, old, new)
        return found

    def keep_head(self, connector_id: str, size: int, root: bytes) -> None:
        """The newest head a connector has shown; an older one changes nothing."""
        _mine(self.connector(connector_id))
        self._db.execute(
            "INSERT INTO head (org_id, connector_id, size, root, seen_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (connector_id) DO UPDATE"
            " SET size = excluded.size, root = excluded.root, seen_at = excluded.seen_at"
            " WHERE head.org_id = excluded.org_id AND head.size <= excluded.size",
            (self.id, connector_id, size, root, self._clock.wall()),
        )

    # ---------------------------------------------------------------- the organisation itself

    def row(self) -> rows.Org | None:
        return _one(rows.Org, self._db.execute(f"SELECT {columns(rows.Org)} FROM org WHERE id = ?", (self.id,)))

    def set_policy(self, text: str) -> None:
        """text: a JSON object, the organisation's own settings."""
        self._db.execute("UPDATE org SET policy = ? WHERE id = ?", (text, self.id))

    def freeze(self, at: int | None) -> None:
        """at: UTC seconds; None = not frozen any more."""
        self._db.execute("UPDATE org SET frozen_at = ? WHERE id = ?", (at, self.id))

    # ---------------------------------------------------------------- devices and connectors

    def device(self, device_id: str) -> rows.Device | None:
        return _one(rows.Device, self._db.execute(_DEVICE + " AND id = ?", (self.id, device_id)))

    def devices(self, user_id: str = "") -> list[rows.Device]:
        """Those of one user, or all, oldest first."""
        found = self._db.execute(_DEVICE + " AND (? = '' OR user_id = ?) ORDER BY created_at, id", (self.id, user_id, user_id))
        return [rows.Device(*row) for row in found]

    def add_device(self, device: rows.Device) -> None:
        _mine(self.user(device.user_id) if device.org_id == self.id else None)
        self._db.execute(
            f"INSERT INTO device ({columns(rows.Device)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (device.id, self.id, device.user_id, device.kind, device.label, device.address_sealed, device.decision_key_sealed, device.state,
             device.active_from, device.created_at, device.endorsed_by, device.endorsed_at),
        )  # fmt: skip

    def revoke_device(self, device_id: str) -> bool:
        done = self._db.execute(
            "UPDATE device SET state = 'revoked' WHERE org_id = ? AND id = ? AND state <> 'revoked'", (self.id, device_id)
        )
        return done.rowcount == 1

    def activate_device(self, device_id: str, active_from: int) -> bool:
        """An unverified device is known to be its owner's. active_from: UTC seconds."""
        done = self._db.execute(
            "UPDATE device SET state = 'active', active_from = ? WHERE org_id = ? AND id = ? AND state = 'unverified'",
            (active_from, self.id, device_id),
        )
        return done.rowcount == 1

    def rename_device(self, device_id: str, label: str) -> bool:
        return self._db.execute("UPDATE device SET label = ? WHERE org_id = ? AND id = ?", (label, self.id, device_id)).rowcount == 1

    def bump_policy(self) -> None:
        """What bundles carry has changed: their version goes up."""
        self._db.execute("UPDATE org SET policy_version = policy_version + 1 WHERE id = ?", (self.id,))

    def connector(self, connector_id: str) -> rows.Connector | None:
        return _one(rows.Connector, self._db.execute(_CONNECTOR + " AND id = ?", (self.id, connector_id)))

    def connectors(self) -> list[rows.Connector]:
        return [rows.Connector(*row) for row in self._db.execute(_CONNECTOR + " ORDER BY created_at, id", (self.id,))]

    def add_connector(self, connector_id: str, user_id: str, name: str, token_digest: bytes, version: str) -> None:
        _mine(self.user(user_id))
        self._db.execute(
            "INSERT INTO connector (id, org_id, user_id, name, token_digest, state, created_at, version)"
            " VALUES (?, ?, ?, ?, ?, 'active', ?, ?)",
            (connector_id, self.id, user_id, name, token_digest, self._clock.wall(), version),
        )

    def rename_connector(self, connector_id: str, name: str) -> bool:
        return self._db.execute("UPDATE connector SET name = ? WHERE org_id = ? AND id = ?", (name, self.id, connector_id)).rowcount == 1

    def saw_connector(self, connector_id: str) -> None:
        self._db.execute("UPDATE connector SET seen_at = ? WHERE org_id = ? AND id = ?", (self._clock.wall(), self.id, connector_id))

    def revoke_connector(self, connector_id: str) -> bool:
        done = self._db.execute(
            "UPDATE connector SET state = 'revoked' WHERE org_id = ? AND id = ? AND state = 'active'", (self.id, connector_id)
        )
        return done.rowcount == 1

    def add_enroll_code(self, digest: bytes, user_id: str, expires_at: int) -> bool:
        """False where this code was there before, for whomever, used and run out ones included."""
        _mine(self.user(user_id))
        done = self._db.execute(
            "INSERT INTO enroll_code (digest, org_id, user_id, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
            (digest, self.id, user_id, expires_at),
        )
        return done.rowcount == 1

    def use_enroll_code(self, digest: bytes) -> bool:
        """Once, and only before it expires."""
        now = self._clock.wall()
        done = self._db.execute(
            "UPDATE enroll_code SET used_at = ? WHERE org_id = ? AND digest = ? AND used_at IS NULL AND expires_at > ?",
            (now, self.id, digest, now),
        )
        return done.rowcount == 1

    def close_enroll_codes(self, user_id: str) -> None:
        """Those of a user that are still open run out now. They stay, so that none is approved a second time."""
        now = self._clock.wall()
        self._db.execute(
            "UPDATE enroll_code SET expires_at = ? WHERE org_id = ? AND user_id = ? AND used_at IS NULL AND expires_at > ?",
            (now, self.id, user_id, now),
        )

    # ---------------------------------------------------------------- modes and pauses

    def mode(self, connector_id: str, session: str) -> rows.Mode | None:
        """The mode in force; None (= on) where there is none or it has ended."""
        found = self._db.execute(
            _MODE + " AND session = ? AND (until = 0 OR until > ?)", (self.id, connector_id, session, self._clock.wall())
        )
        return _one(rows.Mode, found)

    def mode_or_default(self, connector_id: str, session: str) -> rows.Mode | None:
        """The session's own, or else the connector's."""
        found = self._db.execute(
            _MODE + " AND session IN (?, '') AND (until = 0 OR until > ?) ORDER BY session DESC LIMIT 1",
            (self.id, connector_id, session, self._clock.wall()),
        )
        return _one(rows.Mode, found)

    def modes(self, connector_id: str) -> list[rows.Mode]:
        found = self._db.execute(_MODE + " AND (until = 0 OR until > ?) ORDER BY session", (self.id, connector_id, self._clock.wall()))
        return [rows.Mode(*row) for row in found]

    def set_mode(self, mode: rows.Mode) -> None:
        _mine(self.connector(mode.connector_id))
        self._db.execute(
            "INSERT INTO session_mode (org_id, connector_id, session, mode, until, eased_until) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (connector_id, session) DO UPDATE SET mode = excluded.mode, until = excluded.until,"
            " eased_until = excluded.eased_until WHERE session_mode.org_id = excluded.org_id",
            (self.id, mode.connector_id, mode.session, mode.mode, mode.until, mode.eased_until),
        )

    def drop_modes(self, connector_id: str, which: tuple[str, ...]) -> None:
        """Sessions that stand in one of these modes follow the connector's default again."""
        self._db.executemany(
            "DELETE FROM session_mode WHERE org_id = ? AND connector_id = ? AND session <> '' AND mode = ?",
            [(self.id, connector_id, mode) for mode in which],
        )

    def drop_loose_modes(self) -> None:
        """No session passes more than the default any longer: mode off ends, and so does every easing."""
        self._db.execute("DELETE FROM session_mode WHERE org_id = ? AND mode = 'off'", (self.id,))
        self._db.execute("UPDATE session_mode SET eased_until = 0 WHERE org_id = ?", (self.id,))

    def pause(self, connector_id: str, session: str, until: int, reason: str) -> None:
        _mine(self.connector(connector_id))
        self._db.execute(
            "INSERT INTO pause (org_id, connector_id, session, until, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (connector_id, session)"
            " DO UPDATE SET until = excluded.until, reason = excluded.reason WHERE pause.org_id = excluded.org_id",
            (self.id, connector_id, session, until, reason),
        )

    def paused_by(self, connector_id: str, session: str) -> str:
        """Why a session is paused now: "owner", "two_noes"; "" = it is not."""
        found = self._db.execute(
            "SELECT reason FROM pause WHERE org_id = ? AND connector_id = ? AND session = ? AND until > ?",
            (self.id, connector_id, session, self._clock.wall()),
        ).fetchone()
        return str(found[0]) if found else ""

    # ---------------------------------------------------------------- the organisation's own rules

    def overlay(self) -> list[rows.Overlay]:
        found = self._db.execute("SELECT id, project, rule, risk FROM overlay WHERE org_id = ? ORDER BY created_at, id", (self.id,))
        return [rows.Overlay(*row) for row in found]

    def add_overlay(self, one: rows.Overlay) -> None:
        self._db.execute(
            "INSERT INTO overlay (id, org_id, project, rule, risk, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (one.id, self.id, one.project, one.rule, one.risk, self._clock.wall()),
        )

    def drop_overlay(self, identity: str) -> bool:
        return self._db.execute("DELETE FROM overlay WHERE org_id = ? AND id = ?", (self.id, identity)).rowcount == 1

    def count_passes(self, connector_id: str, session: str, hour: int, family: str, passes: int) -> None:
        _mine(self.connector(connector_id))
        self._db.execute(
            "INSERT INTO pass_count (org_id, connector_id, session, hour, family, passes) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (connector_id, session, hour, family) DO UPDATE SET passes = pass_count.passes + excluded.passes"
            " WHERE pass_count.org_id = excluded.org_id",
            (self.id, connector_id, session, hour, family, passes),
        )

    # ---------------------------------------------------------------- handoffs

    def handoff(self, request_id: str) -> rows.Handoff | None:
        return _one(rows.Handoff, self._db.execute(_HANDOFF + " AND id = ?", (self.id, request_id)))

    def waiting(self, connector_id: str = "") -> list[rows.Handoff]:
        """Still undecided, oldest first; of one connector, or of all."""
        found = self._db.execute(
            _OPEN + " AND state IN ('pending', 'ringing') AND (? = '' OR connector_id = ?) ORDER BY created_at, id",
            (self.id, connector_id, connector_id),
        )
        return [rows.Handoff(*row) for row in found]

    def in_state(self, state: str) -> list[rows.Handoff]:
        return [rows.Handoff(*row) for row in self._db.execute(_HANDOFF + " AND state = ? ORDER BY created_at, id", (self.id, state))]

    def rung_since(self, user_id: str, since: int) -> list[rows.Handoff]:
        """The handoffs for which a phone of this user was rung since then and that got no yes."""
        found = self._db.execute(
            _RUNG + " AND created_at > ? AND state NOT IN ('approved', 'used', 'unused') AND id IN (SELECT request_id FROM call"
            " JOIN device ON device.id = call.device_id WHERE call.org_id = ? AND device.org_id = ? AND device.user_id = ?"
            " AND call.created_at > ?)",
            (self.id, since - _LONGEST_WAIT_S, self.id, self.id, user_id, since),
        )
        return [rows.Handoff(*row) for row in found]

    def settled_last(self, connector_id: str, session: str, since: int, many: int) -> list[rows.Handoff]:
        """The last handoffs of a session, made since then, that are not waiting any more, newest first."""
        found = self._db.execute(
            _HANDOFF + " AND created_at > ? AND connector_id = ? AND session = ? AND state NOT IN ('pending', 'ringing')"
            " ORDER BY coalesce(decided_at, deadline_at) DESC, created_at DESC LIMIT ?",
            (self.id, since, connector_id, session, many),
        )
        return [rows.Handoff(*row) for row in found]

    def history(self, limit: int, *, before: str = "", since: int = 0, until: int = _FOREVER, **wanted: str) -> list[rows.Handoff]:
        """Newest first, of those made from `since` until just before `until`; before: the request after which the page begins.

        wanted: state, risk, action, connector_id, session, decided_by; looked for among the next LOOKED_THROUGH requests alone.
        """
        if not wanted.keys() <= _WANTED:
            raise ValueError("not a column to look for")
        place = self._place(before)
        if place is None:
            return []
        names = "".join(f" AND {name} = ?" for name in wanted)  # names from the closed set above
        found = self._db.execute(
            f"SELECT {columns(rows.Handoff)} FROM ({_HANDOFF}{_FROM_PLACE} LIMIT {LOOKED_THROUGH})"
            f" WHERE org_id = ?{names} ORDER BY created_at DESC, id DESC LIMIT ?",
            (self.id, since, until, *place, self.id, *wanted.values(), limit),
        )
        return [rows.Handoff(*row) for row in found]

    def history_looked_to(self, *, before: str = "", since: int = 0, until: int = _FOREVER) -> str | None:
        """The last request that `history` looks at from there; None where it sees them all."""
        found = self._db.execute(
            f"SELECT id FROM handoff WHERE org_id = ?{_FROM_PLACE} LIMIT 1 OFFSET {LOOKED_THROUGH - 1}",
            (self.id, since, until, *(self._place(before) or (0, 0, ""))),
        ).fetchone()
        return str(found[0]) if found else None

    def _place(self, before: str) -> tuple[int, int, str] | None:
        """None: there is no such request."""
        last = self.handoff(before) if before else None
        if before and last is None:
            return None
        return (last.created_at, last.created_at, last.id) if last else (_FOREVER, _FOREVER, "")

    def add_handoff(self, handoff: rows.Handoff) -> None:
        """A new pending handoff and its audit row. Refused("id_reused") where the id is taken, by whomever."""
        _mine(self.connector(handoff.connector_id) if handoff.org_id == self.id else None)
        done = self._db.execute(
            "INSERT INTO handoff (id, org_id, connector_id, session, agent, tool, mode, project, facts, facts_digest, request_digest,"
            " body_digest, action, actions, risk, title, titles, word, state, reason, created_at, deadline_at, head_size, head_root)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (handoff.id, self.id, handoff.connector_id, handoff.session, handoff.agent, handoff.tool, handoff.mode, handoff.project,
             handoff.facts, handoff.facts_digest, handoff.request_digest, handoff.body_digest, handoff.action, handoff.actions_json,
             handoff.risk, handoff.title, handoff.titles_json, handoff.word, states.PENDING, "", handoff.created_at, handoff.deadline_at,
             handoff.head_size, handoff.head_root),
        )  # fmt: skip
        if done.rowcount != 1:
            raise Refused("id_reused")
        self.audit(
            "handoff", request_id=handoff.id, connector_id=handoff.connector_id, session=handoff.session, action=handoff.action,
            actions=list(handoff.actions), risk=handoff.risk, mode=handoff.mode, request_digest=handoff.request_digest,
            facts_digest=handoff.facts_digest, head_size=handoff.head_size,
        )  # fmt: skip

    def step(self, handoff: rows.Handoff, event: str, **changes: Any) -> rows.Handoff:
        """The one way a handoff changes state. Refused("wrong_state") where the table has no such step or somebody was faster."""
        state = states.after(handoff.state, event)
        if not changes.keys() <= _STEPPED:
            raise ValueError("a step changes the reason and the decision, nothing else")
        done = self._db.execute(
            "UPDATE handoff SET state = ?, version = version + 1, reason = coalesce(?, reason), decided_at = coalesce(?, decided_at),"
            " decided_by = coalesce(?, decided_by) WHERE org_id = ? AND id = ? AND version = ? AND state = ?",
            (state, changes.get("reason"), changes.get("decided_at"), changes.get("decided_by"), self.id, handoff.id, handoff.version,
             handoff.state),
        )  # fmt: skip
        if done.rowcount != 1:
            raise Refused("wrong_state", "the handoff has moved on meanwhile")
        self.audit("step", request_id=handoff.id, event=event, state=state, reason=changes.get("reason") or "")
        return replace(handoff, state=state, version=handoff.version + 1, **{name: new for name, new in changes.items() if new is not None})

    def verdict(self, request_id: str) -> rows.Verdict | None:
        return _one(rows.Verdict, self._db.execute(_VERDICT, (self.id, request_id)))

    def add_verdict(
        self, handoff: rows.Handoff, device_id: str, decision: str, envelope: dict[str, str], issued: int, expires: int
    ) -> None:
        """The verdict and the audit row that holds its digest."""
        _mine(self.handoff(handoff.id))
        _mine(self.device(device_id))
        digest = canon.sha256(envelope["payload"].encode("ascii"))
        seq = self.audit(
            "verdict",
            request_id=handoff.id,
            decision=decision,
            device_id=device_id,
            payload_digest=digest,
            request_digest=handoff.request_digest,
        )
        self._db.execute(
            "INSERT INTO verdict (request_id, org_id, device_id, decision, payload, signature, server_signature, payload_digest, audit_seq,"
            " issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (handoff.id, self.id, device_id, decision, envelope["payload"], envelope["signature"], envelope["server_signature"], digest,
             seq,              issued, expires),
        )  # fmt: skip

    def claim_verdict(self, request_id: str, nonce: str, claim: str) -> bool:
        """Once. The state step beside it is the caller's, in the same transaction."""
        done = self._db.execute(
            "UPDATE verdict SET claimed_at = ?, claim_nonce = ?, claim = ? WHERE org_id = ? AND request_id = ? AND claimed_at IS NULL",
            (self._clock.wall(), nonce, claim, self.id, request_id),
        )
        return done.rowcount == 1

    def add_payload(self, request_id: str, connector_id: str, waiting: frozenset[str] | tuple[str, ...], sealed: bytes) -> bool:
        """Once, for a request of this connector in one of these states."""
        row = self.handoff(request_id)
        if row is None or row.connector_id != connector_id or row.state not in waiting or self.payload(request_id) is not None:
            return False
        self._db.execute("INSERT INTO payload VALUES (?, ?, ?, ?)", (request_id, self.id, sealed, self._clock.wall()))
        return True

    def payload(self, request_id: str) -> bytes | None:
        """Sealed."""
        found = self._db.execute("SELECT sealed FROM payload WHERE org_id = ? AND request_id = ?", (self.id, request_id)).fetchone()
        return bytes(found[0]) if found else None

    # ---------------------------------------------------------------- calls

    def calls(self, request_id: str) -> list[rows.Call]:
        return [rows.Call(*row) for row in self._db.execute(_CALLS, (self.id, request_id))]

    def add_call(self, nonce_digest: bytes, request_id: str, device_id: str, provider: str) -> None:
        """One leg. Only the nonce's SHA-256 is kept: the nonce itself stands in the URLs given to the provider."""
        _mine(self.handoff(request_id))
        _mine(self.device(device_id))
        self._db.execute(
            "INSERT INTO call (nonce_digest, org_id, request_id, device_id, provider, step, created_at)"
            " VALUES (?, ?, ?, ?, ?, 'created', ?)",
            (nonce_digest, self.id, request_id, device_id, provider, self._clock.wall()),
        )

    def change_call(self, nonce_digest: bytes, **changes: Any) -> None:
        """Sets the named columns of one leg."""
        if not changes or not changes.keys() <= _CALL_CHANGES:
            raise ValueError("not a column of a call that changes")
        assignments = ", ".join(f"{name} = ?" for name in changes)  # names from the closed set above
        done = self._db.execute(
            f"UPDATE call SET {assignments} WHERE org_id = ? AND nonce_digest = ?",
            (*changes.values(), self.id, nonce_digest),
        )
        if done.rowcount != 1:
            raise Refused("unknown_call")
