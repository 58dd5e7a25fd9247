"""Two organisations in one database: whatever one is asked about the other's rows, it finds nothing, changes nothing and adds nothing."""

import inspect
import sqlite3
from dataclasses import replace

import pytest

from ony_core.errors import Refused
from ony_core.store import rows
from ony_core.store.org import Org
from tests.store.world import (
    NOON,
    Clock,
    a_device,
    a_handoff,
    a_session,
    add_org,
    an_envelope,
    an_id,
    an_invitation,
    open_store,
)

# Each method of Org, asked through organisation 1 about what belongs to organisation 2 (`theirs`). A method without a line fails a test.
FOREIGN = {
    "user": lambda org, theirs: org.user(theirs.user_id),
    "user_by_email": lambda org, theirs: org.user_by_email(theirs.email),
    "add_user": lambda org, theirs: org.add_user(theirs.user_id, "new@example.com", "admin", ""),
    "totp": lambda org, theirs: org.totp(theirs.user_id, "approval"),
    "add_totp": lambda org, theirs: org.add_totp(theirs.user_id, "login", b"mine"),
    "burn_step": lambda org, theirs: org.burn_step(theirs.user_id, "approval", 99),
    "code_failures": lambda org, theirs: org.code_failures(theirs.user_id, "voice"),
    "set_code_failures": lambda org, theirs: org.set_code_failures(theirs.user_id, "telegram", 0, None),
    "set_code_failures, counted before": lambda org, theirs: org.set_code_failures(theirs.user_id, "voice", 0, None),
    "activate_device": lambda org, theirs: org.activate_device(theirs.device_id, NOON),
    "rename_device": lambda org, theirs: org.rename_device(theirs.device_id, "mine"),
    "rename_connector": lambda org, theirs: org.rename_connector(theirs.connector_id, "mine"),
    "history": lambda org, theirs: org.history(9, connector_id=theirs.connector_id),
    "history, from a place": lambda org, theirs: org.history(9, before=theirs.request_id),
    "history_looked_to": lambda org, theirs: org.history_looked_to(before=theirs.request_id),
    "change_user": lambda org, theirs: org.change_user(theirs.user_id, role="viewer", state="disabled"),
    "drop_totp": lambda org, theirs: org.drop_totp(theirs.user_id, "approval"),
    "set_recovery_codes": lambda org, theirs: org.set_recovery_codes(theirs.user_id, [b"7" * 32]),
    "use_recovery_code": lambda org, theirs: org.use_recovery_code(theirs.user_id, theirs.recovery_digest),
    "recovery_codes_left": lambda org, theirs: org.recovery_codes_left(theirs.user_id),
    "add_session": lambda org, theirs: org.add_session(a_session(theirs, an_id("ses", 77), b"7" * 32)),
    "add_session, as mine": lambda org, theirs: org.add_session(replace(a_session(theirs, an_id("ses", 78), b"8" * 32), org_id=org.id)),
    "sessions": lambda org, theirs: org.sessions(theirs.user_id),
    "saw_session": lambda org, theirs: org.saw_session(theirs.session_id),
    "end_session": lambda org, theirs: org.end_session(theirs.user_id, theirs.session_id),
    "end_sessions": lambda org, theirs: org.end_sessions(theirs.user_id),
    "invitation": lambda org, theirs: org.invitation(theirs.invitation_id),
    "add_invitation": lambda org, theirs: org.add_invitation(an_invitation(theirs, an_id("inv", 77), b"7" * 32)),
    "use_invitation": lambda org, theirs: org.use_invitation(theirs.invitation_digest),
    "withdraw_invitation": lambda org, theirs: org.withdraw_invitation(theirs.invitation_id),
    "device": lambda org, theirs: org.device(theirs.device_id),
    "devices": lambda org, theirs: org.devices(theirs.user_id),
    "add_device": lambda org, theirs: org.add_device(a_device(theirs, an_id("dev", 77))),
    "add_device, as mine": lambda org, theirs: org.add_device(replace(a_device(theirs, an_id("dev", 78)), org_id=org.id)),
    "revoke_device": lambda org, theirs: org.revoke_device(theirs.device_id),
    "connector": lambda org, theirs: org.connector(theirs.connector_id),
    "add_connector": lambda org, theirs: org.add_connector(an_id("con", 77), theirs.user_id, "mine now", b"7" * 32, "1"),
    "saw_connector": lambda org, theirs: org.saw_connector(theirs.connector_id),
    "revoke_connector": lambda org, theirs: org.revoke_connector(theirs.connector_id),
    "add_enroll_code": lambda org, theirs: org.add_enroll_code(b"7" * 32, theirs.user_id, NOON + 900),
    "add_enroll_code, theirs": lambda org, theirs: org.add_enroll_code(theirs.code_digest, org.users()[0].id, NOON + 900),
    "use_enroll_code": lambda org, theirs: org.use_enroll_code(theirs.code_digest),
    "close_enroll_codes": lambda org, theirs: org.close_enroll_codes(theirs.user_id),
    "mode": lambda org, theirs: org.mode(theirs.connector_id, theirs.session),
    "mode_or_default": lambda org, theirs: org.mode_or_default(theirs.connector_id, theirs.session),
    "modes": lambda org, theirs: org.modes(theirs.connector_id),
    "set_mode": lambda org, theirs: org.set_mode(rows.Mode(theirs.connector_id, theirs.session, "off", NOON + 9999, 0)),
    "set_mode, a new session": lambda org, theirs: org.set_mode(rows.Mode(theirs.connector_id, an_id("sess", 77), "off", NOON + 9999, 0)),
    "drop_modes": lambda org, theirs: org.drop_modes(theirs.connector_id, ("away",)),
    "pause": lambda org, theirs: org.pause(theirs.connector_id, theirs.session, NOON, "mine"),
    "pause, a new session": lambda org, theirs: org.pause(theirs.connector_id, an_id("sess", 77), NOON + 999, "mine"),
    "paused_by": lambda org, theirs: org.paused_by(theirs.connector_id, theirs.session),
    "add_overlay": lambda org, theirs: org.add_overlay(rows.Overlay(theirs.rule_id, "", "{}", "high")),
    "drop_overlay": lambda org, theirs: org.drop_overlay(theirs.rule_id),
    "count_passes": lambda org, theirs: org.count_passes(theirs.connector_id, theirs.session, 1, "git", 5),
    "keep_head": lambda org, theirs: org.keep_head(theirs.connector_id, 9, b"9" * 32),
    "handoff": lambda org, theirs: org.handoff(theirs.request_id),
    "waiting": lambda org, theirs: org.waiting(theirs.connector_id),
    "password": lambda org, theirs: org.password(theirs.user_id),
    "rung_since": lambda org, theirs: org.rung_since(theirs.user_id, 0),
    "settled_last": lambda org, theirs: org.settled_last(theirs.connector_id, theirs.session, 0, 9),
    "add_handoff": lambda org, theirs: org.add_handoff(a_handoff(theirs, an_id("req", 77))),
    "add_handoff, as mine": lambda org, theirs: org.add_handoff(replace(a_handoff(theirs, an_id("req", 78)), org_id=org.id)),
    "step": lambda org, theirs: org.step(a_handoff(theirs), "deny"),
    "verdict": lambda org, theirs: org.verdict(theirs.request_id),
    "add_verdict": lambda org, theirs: org.add_verdict(a_handoff(theirs), theirs.device_id, "approve", an_envelope(), NOON, NOON + 120),
    "claim_verdict": lambda org, theirs: org.claim_verdict(theirs.request_id, "ab" * 32, "{}"),
    "payload": lambda org, theirs: org.payload(theirs.request_id),
    "add_payload": lambda org, theirs: org.add_payload(theirs.request_id, theirs.connector_id, ("pending", "ringing", "approved"), b"mine"),
    "calls": lambda org, theirs: org.calls(theirs.request_id),
    "add_call": lambda org, theirs: org.add_call(b"7" * 32, theirs.request_id, theirs.device_id, "signalwire"),
    "renew_totp": lambda org, theirs: org.renew_totp(theirs.user_id, "approval", b"mine"),
    "forget_head": lambda org, theirs: org.forget_head(theirs.connector_id),
    "change_call": lambda org, theirs: org.change_call(theirs.nonce_digest, sid="CA-mine"),
}  # fmt: skip
# What takes no id of anybody, or works on the log, which is bound to the organisation by its own key (tests/audit).
OWN = {"approvers", "audit", "bump_policy", "checkpoint_at", "connectors", "consistency", "declare_restored", "drop_loose_modes",
       "erase", "exported", "freeze", "in_state", "invitations", "overlay", "proof", "require_log", "restored", "row", "scrub_history",
       "scrub_payloads", "scrub_rest", "set_policy", "settle_after_restore", "size", "users"}  # fmt: skip


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    made = open_store(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def orgs(store, tmp_path):
    return add_org(store, tmp_path, 1), add_org(store, tmp_path, 2)


def dump(tx, org_id: str) -> dict[str, list]:
    """Every row of every table that carries this org_id."""
    db = tx._db
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%org_id%'")]
    return {name: db.execute(f"SELECT * FROM {name} WHERE org_id = ? ORDER BY 1, 2", (org_id,)).fetchall() for name in tables}


def test_every_method_of_an_organisation_is_asked_about_the_other():
    methods = {name for name, _ in inspect.getmembers(Org, inspect.isfunction) if not name.startswith("_")}
    assert {line.split(",")[0] for line in FOREIGN} | OWN == methods


@pytest.mark.parametrize("line", FOREIGN)
def test_what_is_foreign_is_not_there(store, orgs, line):
    mine, theirs = orgs
    before = store.read(lambda tx: dump(tx, theirs.org_id))
    names = set(vars(theirs).values()) - {theirs.session}
    try:
        found = store.write_now(lambda tx: FOREIGN[line](tx.org(mine.org_id), theirs))
    except (Refused, sqlite3.IntegrityError):
        found = None
    assert not found or found == (0, 0), "nothing is told"
    assert store.read(lambda tx: dump(tx, theirs.org_id)) == before, "nothing of theirs has changed"
    strangers = {table: [row for row in rows_ if names & set(row)] for table, rows_ in store.read(lambda tx: dump(tx, mine.org_id)).items()}
    assert not any(strangers.values()), "no row of mine names what is theirs"


def test_lists_show_what_is_mine(store, orgs):
    mine, _ = orgs

    def listed(tx):
        org = tx.org(mine.org_id)
        assert org.row().id == mine.org_id
        lists = (org.users(), org.approvers(), org.sessions(mine.user_id), org.invitations(), org.devices(), org.connectors(),
                 org.waiting(), org.history(9))  # fmt: skip
        return [[row.id for row in rows_] for rows_ in lists]

    user, request = [mine.user_id], [mine.request_id]
    assert store.read(listed) == [
        user,
        user,
        [mine.session_id],
        [mine.invitation_id],
        [mine.device_id],
        [mine.connector_id],
        request,
        request,
    ]


def test_before_the_organisation_is_known_a_digest_leads_to_its_own_row_alone(store, orgs):
    mine, theirs = orgs
    found = store.read(
        lambda tx: (tx.connector_by_token(theirs.token_digest), tx.enroll_code(mine.code_digest), tx.call_by_nonce(theirs.nonce_digest))
    )
    assert [row.org_id for row in found] == [theirs.org_id, mine.org_id, theirs.org_id]
    nobody = b"\0" * 32
    assert store.read(lambda tx: (tx.connector_by_token(nobody), tx.enroll_code(nobody), tx.call_by_nonce(nobody))) == (None, None, None)


# ---------------------------------------------------------------- steps


def test_a_step_changes_the_state_and_the_log_together(store, orgs):
    mine, _ = orgs
    known = store.read(lambda tx: len(dump(tx, mine.org_id)["audit"]))
    row = store.write_now(lambda tx: tx.org(mine.org_id).step(tx.org(mine.org_id).handoff(mine.request_id), "ring"))
    assert (row.state, row.version) == ("ringing", 2)
    assert store.read(lambda tx: len(dump(tx, mine.org_id)["audit"])) == known + 1


def test_of_two_steps_from_the_same_look_one_is_refused(store, orgs):
    mine, _ = orgs
    row = store.read(lambda tx: tx.org(mine.org_id).handoff(mine.request_id))
    store.write_now(lambda tx: tx.org(mine.org_id).step(row, "ring"))
    with pytest.raises(Refused) as refused:
        store.write_now(lambda tx: tx.org(mine.org_id).step(row, "deny"))
    assert refused.value.reason == "wrong_state"
    assert store.read(lambda tx: tx.org(mine.org_id).handoff(mine.request_id)).state == "ringing"


def test_a_step_the_table_does_not_have_is_refused(store, orgs):
    mine, _ = orgs
    with pytest.raises(Refused):
        store.write_now(lambda tx: tx.org(mine.org_id).step(tx.org(mine.org_id).handoff(mine.request_id), "approve"))


def test_a_step_changes_nothing_that_a_verdict_was_made_of(store, orgs):
    mine, _ = orgs
    for name in ("risk", "facts", "request_digest", "state", "version", "connector_id"):
        with pytest.raises(ValueError, match="nothing else"):
            store.write_now(lambda tx, name=name: tx.org(mine.org_id).step(a_handoff(mine), "ring", **{name: "none"}))


# ---------------------------------------------------------------- what is used once, and what ends


def test_a_time_step_is_burnt_once_and_takes_all_before_it_along(store, orgs):
    mine, _ = orgs
    burnt = [store.write_now(lambda tx, s=s: tx.org(mine.org_id).burn_step(mine.user_id, "approval", s)) for s in (7, 7, 6, 8)]
    assert burnt == [True, False, False, True]


def test_a_one_time_code_works_once_and_before_it_expires(store, orgs, clock):
    mine, theirs = orgs

    def use(of):
        return store.write_now(lambda tx: tx.org(of.org_id).use_enroll_code(of.code_digest))

    assert [use(mine), use(mine)] == [True, False]
    clock.pass_(900)
    assert use(theirs) is False


def test_a_verdict_is_claimed_once(store, orgs):
    mine, _ = orgs

    def claim(nonce):
        return store.write_now(lambda tx: tx.org(mine.org_id).claim_verdict(mine.request_id, nonce, "{}"))

    store.write_now(lambda tx: tx.org(mine.org_id).add_verdict(a_handoff(mine), mine.device_id, "approve", an_envelope(), NOON, NOON + 120))
    assert [claim("aa"), claim("bb")] == [True, False]
    assert store.read(lambda tx: tx.org(mine.org_id).verdict(mine.request_id)).claim_nonce == "aa"


def test_a_request_has_at_most_one_verdict(store, orgs):
    mine, _ = orgs
    store.write_now(lambda tx: tx.org(mine.org_id).add_verdict(a_handoff(mine), mine.device_id, "deny", an_envelope(), NOON, NOON + 120))
    with pytest.raises(Exception, match="UNIQUE"):
        store.write_now(
            lambda tx: tx.org(mine.org_id).add_verdict(a_handoff(mine), mine.device_id, "approve", an_envelope(1), NOON, NOON + 120)
        )
    assert store.read(lambda tx: tx.org(mine.org_id).verdict(mine.request_id)).decision == "deny"


def test_modes_and_pauses_end_by_themselves(store, orgs, clock):
    mine, _ = orgs

    def standing(tx):
        org = tx.org(mine.org_id)
        return org.mode(mine.connector_id, mine.session) is not None, bool(org.paused_by(mine.connector_id, mine.session))

    assert store.read(standing) == (True, True)
    clock.pass_(3600)
    assert store.read(standing) == (False, False)


def test_a_head_never_goes_back(store, orgs):
    mine, _ = orgs
    for size in (5, 9, 7):
        store.write_now(lambda tx, size=size: tx.org(mine.org_id).keep_head(mine.connector_id, size, bytes([size]) * 32))
    assert store.read(lambda tx: tx._db.execute("SELECT size, root FROM head").fetchall()) == [(9, b"\x09" * 32)]


@pytest.mark.parametrize("column", ["org_id", "provider", "request_id", "step = 'done', sid"])
def test_a_call_changes_in_the_columns_that_may_change(store, orgs, column):
    mine, _ = orgs
    with pytest.raises(ValueError, match="not a column"):
        store.write_now(lambda tx: tx.org(mine.org_id).change_call(mine.nonce_digest, **{column: "x"}))
