"""What releases a held call: every rule of verdict, replay, claim and proof broken one by one; only the whole chain ends in an allow."""

import errno
import os

import pytest

from ony_core import canon
from ony_core.clock import rfc3339
from ony_core.connector.hold import Hold
from tests.connector.holding import call, held, reasons
from tests.connector.standin import StandIn


def test_an_approved_call_is_allowed_claimed_and_reported(gate, server, project):
    decision = held(gate, project)
    assert decision.outcome == "allow"
    assert "Ada's phone" in decision.reason
    (request,) = server.requests.values()
    assert request["state"] == "used"
    assert request["digest"] in gate.used
    assert gate.heads.newest().size == 2
    gate.outbox.send()
    assert {"type": "used", "request_id": decision.request_id} in server.events


def test_a_denied_call_says_who_and_when_and_not_to_retry(gate, server, project, clock):
    server.decides = "deny"
    decision = held(gate, project)
    assert decision.outcome == "deny"
    assert "denied by Ada's phone" in decision.reason and rfc3339(clock.wall()) in decision.reason and "Do not retry" in decision.reason
    assert "claim" not in server.heard


def test_a_no_needs_no_signature_but_names_nobody_then(gate, server, project):
    server.decides = "deny"
    server.twist["verdict"] = lambda envelope: {**envelope, "signature": "hmac-sha256:" + "0" * 64}
    decision = held(gate, project)
    assert decision.outcome == "deny" and "denied by the owner" in decision.reason
    assert reasons(gate, server) == ["bad_signature"]


@pytest.mark.parametrize("state", ["expired", "cancelled", "failed", "revoked", "unused", "used"])
def test_a_request_that_ended_otherwise_is_a_deny(gate, server, project, state):
    server.decides = state
    decision = held(gate, project)
    assert decision.outcome == "deny" and "so the call is blocked" in decision.reason
    assert "claim" not in server.heard


REASONS = {
    "paused": "paused this session",
    "no_channel": "no way to reach",
    "nobody_reached": "could not be reached",
    "<script>": "the call is blocked",
}


@pytest.mark.parametrize("state", ["denied", "failed"])
@pytest.mark.parametrize(("reason", "says"), REASONS.items())
def test_a_no_of_the_server_itself_says_why_in_our_words(gate, server, project, state, reason, says):
    server.decides = state
    server.twist["row"] = lambda row: {**row, "reason": reason}
    decision = held(gate, project)
    assert decision.outcome == "deny" and says in decision.reason and "<" not in decision.reason
    assert reasons(gate, server) == []


def resealed(**changes: object):
    """A payload changed before it is signed with the real keys: what a confused or bribed server could send."""
    return {"text": lambda text: canon.dumps({**canon.loads(text.encode()), **changes}).decode()}


def flipped(name: str):
    return {"verdict": lambda envelope: {**envelope, name: envelope[name][:-1] + ("0" if envelope[name][-1] != "0" else "1")}}


OTHER = "sha256:" + "0" * 64
REFUSED = {
    "malformed": {"verdict": lambda envelope: {**envelope, "extra": 1}},
    "malformed (a list)": {"verdict": lambda envelope: [envelope]},
    "malformed (unknown field)": resealed(note="x"),
    "malformed (mistyped)": resealed(code_verified=1),
    "malformed (times)": resealed(issued_at="yesterday"),
    "unknown_version": resealed(v=2),
    "missing_signature": {"verdict": lambda envelope: {k: v for k, v in envelope.items() if k != "signature"}},
    "missing_signature (server)": {"verdict": lambda envelope: {k: v for k, v in envelope.items() if k != "server_signature"}},
    "bad_signature": flipped("signature"),
    "bad_server_signature": flipped("server_signature"),
    "bad_signature (payload)": {"verdict": lambda e: {**e, "payload": e["payload"].replace('"risk":"critical"', '"risk":"low"')}},
    "unpinned_approver": resealed(approver_device_id="dev_" + "9" * 32),
    "wrong_connector": resealed(connector_id="con_" + "9" * 32),
    "wrong_request": resealed(request_id="req_" + "9" * 32),
    "wrong_session": resealed(agent_session_id="sess_" + "9" * 32),
    "wrong_request_digest": resealed(request_digest="hmac-" + OTHER),
    "wrong_facts_digest": resealed(facts_digest=OTHER),
    "action_below": resealed(actions=["git.status"], action="git.status"),
    "risk_below": resealed(risk="high"),
    "code_missing": {"payload": lambda made: {**made, "code_verified": False}},
    "bad_lifetime": {"payload": lambda made: {**made, "expires_at": made["issued_at"] + 901}},
    "bad_lifetime (none)": {"payload": lambda made: {**made, "expires_at": made["issued_at"]}},
    "expired": {"payload": lambda made: {**made, "issued_at": made["issued_at"] - 300, "expires_at": made["issued_at"] - 1}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_verdict_that_breaks_one_rule_releases_nothing(gate, server, project, name):
    server.twist |= REFUSED[name]
    decision = held(gate, project)
    reason = name.partition(" ")[0]
    assert decision.outcome == "deny" and f"[{reason}]" in decision.reason
    assert "claim" not in server.heard
    if reason != "expired":
        assert ("SECURITY ERROR" in decision.reason) == (reason != "unknown_version")
        assert reasons(gate, server) == [reason]


def test_a_verdict_without_an_envelope_releases_nothing(gate, server, project):
    server.twist["row"] = lambda row: {**row, "verdict": None}
    assert "[malformed]" in held(gate, project).reason


def test_a_device_revoked_by_the_bundle_releases_nothing(gate, server, project):
    server.device_state, server.version = "revoked", 2
    gate.refresh()
    assert "[revoked_device]" in held(gate, project).reason


def test_a_device_the_bundle_does_not_list_any_more_releases_nothing(gate, server, project):
    server.twist["bundle"] = lambda body: {**body, "version": 2, "approvers": []}
    gate.refresh()
    assert "[revoked_device]" in held(gate, project).reason


def test_a_device_the_bundle_adds_is_not_believed(gate, server, project):
    new = "dev_" + "8" * 32
    server.twist["bundle"] = lambda body: {
        **body,
        "version": 2,
        "approvers": [*body["approvers"], {"device_id": new, "label": "x", "state": "active"}],
    }
    gate.refresh()
    server.twist |= resealed(approver_device_id=new)
    assert "[unpinned_approver]" in held(gate, project).reason


def test_an_approve_in_the_row_with_a_denying_verdict_releases_nothing(gate, server, project):
    server.decides = "deny"
    server.twist["row"] = lambda row: {**row, "state": "approved" if row["state"] == "denied" else row["state"]}
    assert "[not_approved]" in held(gate, project).reason
    assert "claim" not in server.heard


# -------------------------------------------------------------------- replays


def test_the_verdict_of_one_request_releases_no_other(gate, server, project):
    taken: list[dict] = []
    server.twist["verdict"] = lambda envelope: taken.append(envelope) or envelope
    assert held(gate, project).outcome == "allow"
    server.twist["verdict"] = lambda envelope: taken[0]
    decision = held(gate, project)
    assert decision.outcome == "deny" and "[wrong_request]" in decision.reason


def test_a_verdict_in_the_used_set_releases_nothing_also_after_a_restart(open_gate, server, project):
    gate = open_gate()
    weighed = gate.weigh(call(project))
    first, second = Hold(gate, weighed), Hold(gate, weighed)
    second.request_id = first.request_id
    assert first.run().outcome == "allow"
    server.requests[first.request_id]["state"] = "approved"  # a server that forgot
    assert "[already_used]" in second.run().reason
    third = Hold(open_gate(), weighed)
    third.request_id = first.request_id
    assert "[already_used]" in third.run().reason


def test_a_used_set_that_cannot_be_written_releases_nothing(gate, server, project, folder):
    (folder / "used").mkdir()
    decision = held(gate, project)
    assert decision.outcome == "deny" and "could not keep its records" in decision.reason


def test_a_disk_that_does_not_promise_to_keep_the_record_releases_nothing(gate, server, project, folder, monkeypatch):
    real = os.fsync

    def full(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}") == str(folder / "used"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    decision = held(gate, project)
    assert decision.outcome == "deny" and "No space left" in decision.reason


# -------------------------------------------------------------------- claims

CLAIMS = {
    "another nonce": ({"claim": lambda c: {**c, "nonce": "0" * 64}}, "claim_mismatch"),
    "another request": ({"claim": lambda c: {**c, "request_id": "req_" + "9" * 32}}, "claim_mismatch"),
    "another connector": ({"claim": lambda c: {**c, "connector_id": "con_" + "9" * 32}}, "claim_mismatch"),
    "another payload": ({"claim": lambda c: {**c, "payload_digest": OTHER}}, "claim_mismatch"),
    "an unknown field": ({"claim": lambda c: {**c, "x": 1}}, "claim_malformed"),
    "a missing field": ({"claim": lambda c: {k: v for k, v in c.items() if k != "nonce"}}, "claim_malformed"),
    "another version": ({"claim": lambda c: {**c, "v": 2}}, "claim_unknown_version"),
    "another type": ({"claim": lambda c: {**c, "type": "mode"}}, "claim_malformed"),
    "no signature": ({"signed claim": lambda s: {"payload": s["payload"]}}, "claim_malformed"),
    "a forged signature": ({"signed claim": lambda s: {**s, "server_signature": "ed25519:" + "0" * 128}}, "claim_bad_signature"),
    "an altered payload": ({"signed claim": lambda s: {**s, "payload": s["payload"].replace("claim", "clAim")}}, "claim_bad_signature"),
}


@pytest.mark.parametrize(("twist", "reason"), CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_that_is_not_for_this_very_release_releases_nothing(gate, server, project, twist, reason):
    server.twist |= twist
    decision = held(gate, project)
    assert decision.outcome == "deny" and "SECURITY ERROR: " in decision.reason and f"[{reason}]" in decision.reason
    assert reasons(gate, server) == [reason]


def test_a_claim_signed_as_another_kind_of_statement_releases_nothing(gate, server, project):
    def as_mode(signed: dict) -> dict:
        signature = server.server_key.sign(b"ony/mode/v1\n" + signed["payload"].encode())
        return {**signed, "server_signature": "ed25519:" + signature.hex()}

    server.twist["signed claim"] = as_mode
    assert "[claim_bad_signature]" in held(gate, project).reason


def test_a_verdict_revoked_before_the_claim_releases_nothing(gate, server, project):
    def revoke(row: dict) -> dict:
        for request in server.requests.values():
            request["state"] = "revoked"
        return row

    server.twist["row"] = revoke
    assert "[revoked]" in held(gate, project).reason


def test_a_verdict_claimed_by_somebody_else_first_releases_nothing(gate, server, project):
    def claimed(row: dict) -> dict:
        for request in server.requests.values():
            request |= {"state": "used", "nonce": "another"}
        return row

    server.twist["row"] = claimed
    assert "[already_used]" in held(gate, project).reason


# -------------------------------------------------------------------- proofs


def other_row(server: StandIn):
    def change(proof: dict) -> dict:
        return {**server.log.proof(server.db, "org_" + "0" * 31 + "1", 1, None), "consistency": proof["consistency"]}

    return change


def test_an_approval_without_a_proof_releases_nothing(gate, server, project):
    server.twist["row"] = lambda row: {**row, "proof": None}
    assert "[proof_missing]" in held(gate, project).reason


PROOFS = {
    "the row of something else": (lambda server: other_row(server), "proof_wrong_row"),
    "an altered body": (
        lambda server: lambda p: {**p, "row": {**p["row"], "body": p["row"]["body"].replace("approve", "apprOve")}},
        "proof_not_included",
    ),
    "an altered note": (lambda server: lambda p: {**p, "note": p["note"].replace("\n2\n", "\n3\n", 1)}, "proof_bad_signature"),
    "another path": (lambda server: lambda p: {**p, "inclusion": ["0" * 64 for _ in p["inclusion"]]}, "proof_not_included"),
    "an unknown field": (lambda server: lambda p: {**p, "x": 1}, "proof_malformed"),
    "nothing in it": (lambda server: lambda p: {}, "proof_malformed"),
}


@pytest.mark.parametrize(("twist", "reason"), PROOFS.values(), ids=PROOFS.keys())
def test_a_proof_that_does_not_hold_releases_nothing(gate, server, project, twist, reason):
    server.twist["proof"] = twist(server)
    decision = held(gate, project)
    assert decision.outcome == "deny" and f"[{reason}]" in decision.reason and "SECURITY ERROR" in decision.reason
    assert "claim" not in server.heard
    assert gate.heads.newest() is None, "a head was kept that was not proven"


def test_a_log_that_was_rolled_back_releases_nothing_and_the_head_stays(gate, server, project, tmp_path, clock):
    for _ in range(3):
        assert held(gate, project).outcome == "allow"
    kept = gate.heads.newest()
    server.db.executescript(
        "DROP TRIGGER audit_no_delete; DROP TRIGGER checkpoint_no_delete; DELETE FROM audit; DELETE FROM audit_node; DELETE FROM checkpoint"
    )
    decision = held(gate, project)
    assert decision.outcome == "deny" and "SECURITY ERROR" in decision.reason and "[proof_" in decision.reason
    assert gate.heads.newest() == kept


def test_a_kept_head_that_is_damaged_is_an_error_and_never_no_head(gate, server, project, folder):
    assert held(gate, project).outcome == "allow"
    (file,) = (folder / "heads").glob("*.json")
    file.write_text("{}")
    decision = held(gate, project)
    assert decision.outcome == "deny" and "damaged" in decision.reason
    assert file.read_text() == "{}"
