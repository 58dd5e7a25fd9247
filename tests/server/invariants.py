"""What must hold of a data folder whatever happened to its server: the invariants of docs/architecture.md, judged from the files alone."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ony_core import auditkey, auditlog, canon, states
from ony_core.states import EVENTS
from ony_core.verify import verify

OWNED = ("totp", "code_failure", "device", "connector", "enroll_code", "session_mode", "pause", "handoff", "verdict", "call", "head")
LEADS = {
    "connector": ("user_id", "user"), "device": ("user_id", "user"), "totp": ("user_id", "user"), "handoff": ("connector_id", "connector"),
    "verdict": ("request_id", "handoff"), "call": ("request_id", "handoff"), "head": ("connector_id", "connector"),
    "session_mode": ("connector_id", "connector"), "pause": ("connector_id", "connector"),
}  # fmt: skip

Ack = tuple[str, str]  # what was answered: the state a request came to, and its id


def judge(folder: Path, acked: Iterable[Ack]) -> None:
    """AssertionError names the invariant. acked: answers that somebody has heard, oldest first."""
    db = sqlite3.connect(folder / "ony.db")
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        now = dict(db.execute("SELECT id, state FROM handoff"))
        _nothing_acknowledged_is_lost(now, list(acked))
        _lives_are_legal(db, now)
        _verdicts_stand_in_the_log(db)
        _nothing_ran_without_a_yes(db)
        _organisations_are_apart(db)
    finally:
        db.close()
    _logs_verify(folder)


def _nothing_acknowledged_is_lost(now: dict[str, str], acked: list[Ack]) -> None:
    for state, request_id in acked:
        assert request_id in now, f"I2: {state} of {request_id} is gone"
        assert now[request_id] in reachable(state), f"I2, I4: {state} became {now[request_id]}"
    claims = Counter(request_id for state, request_id in acked if state == "used")
    assert all(number == 1 for number in claims.values()), "I3: one verdict released two calls"


def reachable(state: str) -> set[str]:
    found, waiting = {state}, [state]
    while waiting:
        here = waiting.pop()
        further = {after for (before, _), after in EVENTS.items() if before == here} - found
        found |= further
        waiting.extend(further)
    return found


def _lives_are_legal(db: sqlite3.Connection, now: dict[str, str]) -> None:
    lives: dict[str, str] = {}
    for (body,) in db.execute("SELECT body FROM audit ORDER BY org_id, seq"):
        row = canon.loads(body)
        if row["kind"] == "handoff":
            assert row["request_id"] not in lives, "one birth a request"
            lives[row["request_id"]] = states.PENDING
        if row["kind"] == "step":
            assert EVENTS[lives[row["request_id"]], row["event"]] == row["state"], "I4: a step that the table does not have"
            lives[row["request_id"]] = row["state"]
    assert lives == now, "the log tells other lives than the table"


def _verdicts_stand_in_the_log(db: sqlite3.Connection) -> None:
    rows = [canon.loads(body) for (body,) in db.execute("SELECT body FROM audit")]
    told = sorted((row["request_id"], row["payload_digest"]) for row in rows if row["kind"] == "verdict")
    kept = sorted(db.execute("SELECT request_id, payload_digest FROM verdict"))
    assert told == kept, "I5: each verdict has exactly one row"


def _nothing_ran_without_a_yes(db: sqlite3.Connection) -> None:
    used = {row[0] for row in db.execute("SELECT id FROM handoff WHERE state = 'used'")}
    claimed = db.execute("SELECT request_id, decision FROM verdict WHERE claimed_at IS NOT NULL").fetchall()
    assert {request_id for request_id, _ in claimed} == used, "I1: what ran was claimed, and what was claimed is used"
    assert all(decision == "approve" for _, decision in claimed), "I1: only a yes is claimed"
    approved = db.execute("SELECT h.id FROM handoff h LEFT JOIN verdict v ON v.request_id = h.id AND v.decision = 'approve'"
                          " WHERE h.state IN ('approved', 'used', 'unused', 'revoked') AND v.request_id IS NULL").fetchall()  # fmt: skip
    assert approved == [], "I1: a yes without its verdict"


def _organisations_are_apart(db: sqlite3.Connection) -> None:
    known = {row[0] for row in db.execute("SELECT id FROM org")}
    for table in OWNED:
        assert {row[0] for row in db.execute(f"SELECT org_id FROM {table}")} <= known, f"I7: {table}"
    for table, (column, parent) in LEADS.items():
        strays = db.execute(f"SELECT count(*) FROM {table} c JOIN {parent} p ON p.id = c.{column} WHERE p.org_id <> c.org_id").fetchone()
        assert strays == (0,), f"I7: a {table} of one organisation hangs on a {parent} of another"
    foreign = db.execute("SELECT count(*) FROM handoff h JOIN device d ON d.id = h.decided_by JOIN connector c ON c.id = h.connector_id"
                         " WHERE d.user_id <> c.user_id").fetchone()  # fmt: skip
    assert foreign == (0,), "I6, I7: somebody else's phone decided"


def _logs_verify(folder: Path) -> None:
    for org_id, key in auditkey.read_keys(folder / "audit.key").items():
        with auditlog.database(folder) as db:
            report = verify(auditlog.log_of(db, org_id), key)
        assert report.result.startswith("OK"), f"I5: {report.result}"
