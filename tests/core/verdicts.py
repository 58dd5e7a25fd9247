"""Verdicts good and bad, as one table: what is altered, and the one reason for the refusal. Also the source of tests/vectors/verdict."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ony_core import canon, verdict
from ony_core.model import Approver, Pending

SERVER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
DEVICE, CONNECTOR, REQUEST, SESSION = "dev_" + "d" * 32, "con_" + "c" * 32, "req_" + "e" * 32, "sess_" + "5" * 32
KEY = verdict.connector_key(b"decision key of 32 bytes in test", CONNECTOR)
ISSUED = 1_782_829_327
PENDING = Pending(
    REQUEST,
    "hmac-sha256:" + "1" * 64,
    "sha256:" + "2" * 64,
    CONNECTOR,
    SESSION,
    ("deploy.production", "db.migrate"),
    "critical",
    asked_boot=1000.0,
    deadline_s=300,
    created_at=ISSUED - 20,
)
PAYLOAD = json.loads(
    verdict.payload(
        request_id=REQUEST,
        request_digest=PENDING.request_digest,
        facts_digest=PENDING.facts_digest,
        connector_id=CONNECTOR,
        session=SESSION,
        action="deploy.production",
        actions=("deploy.production", "db.migrate"),
        risk="critical",
        decision="approve",
        device_id=DEVICE,
        code_verified=True,
        issued_at=ISSUED,
        expires_at=ISSUED + 120,
    )
)
GONE = object()


@dataclass(frozen=True)
class Case:
    """expect: "approve", "deny" or a refusal. payload: fields changed before signing. text: the payload's text changed before signing.
    unsigned: fields changed after signing. envelope: the envelope changed at the end. pending, state, boot, wall: the connector's own side.
    """

    name: str
    expect: str
    payload: dict[str, Any] = field(default_factory=dict)
    text: Callable[[str], str] = str
    unsigned: dict[str, Any] = field(default_factory=dict)
    envelope: Callable[[dict[str, Any]], Any] = dict
    pending: dict[str, Any] = field(default_factory=dict)
    state: str = "active"
    boot: float = 1010.0
    wall: int = ISSUED + 2
    key: bytes = KEY
    server: Ed25519PrivateKey = SERVER

    def made(self) -> Any:
        """The envelope as it arrives."""
        text = self.text(_changed(PAYLOAD, self.payload))
        data = text.encode("utf-8", "surrogatepass")
        sealed = {
            "payload": text,
            "signature": canon.hmac_sha256(self.key, data),
            "server_signature": "ed25519:" + self.server.sign(data).hex(),
        }
        if self.unsigned:
            sealed["payload"] = _changed(json.loads(text), self.unsigned)
        return self.envelope(sealed)

    def check(self) -> verdict.Verdict:
        approvers = {DEVICE: Approver(DEVICE, KEY, self.state)}
        return verdict.check(self.made(), replace(PENDING, **self.pending), approvers, server_holds, self.boot, self.wall)


def server_holds(signature: bytes, message: bytes) -> bool:
    try:
        SERVER.public_key().verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _changed(fields: dict[str, Any], changes: dict[str, Any]) -> str:
    return canon.dumps({name: value for name, value in {**fields, **changes}.items() if value is not GONE}).decode()


def _with(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda envelope: {name: value for name, value in {**envelope, **changes}.items() if value is not GONE}


def _edit(name: str, edit: Callable[[str], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda envelope: {**envelope, name: edit(envelope[name])}


OTHER = {  # another well-formed value for each field, and the reason when the right keys signed it
    "v": (2, "unknown_version"),
    "request_id": ("req_" + "f" * 32, "wrong_request"),
    "request_digest": ("hmac-sha256:" + "3" * 64, "wrong_request_digest"),
    "facts_digest": ("sha256:" + "3" * 64, "wrong_facts_digest"),
    "connector_id": ("con_" + "f" * 32, "wrong_connector"),
    "agent_session_id": ("sess_" + "f" * 32, "wrong_session"),
    "action": ("git.force_push", "malformed"),
    "actions": (["deploy.production"], "action_below"),
    "risk": ("high", "risk_below"),
    "decision": ("deny", "deny"),
    "approver_device_id": ("dev_" + "f" * 32, "unpinned_approver"),
    "code_verified": (False, "code_missing"),
    "issued_at": ("2026-06-30T14:00:07Z", "bad_lifetime"),
    "expires_at": ("2026-06-30T15:24:07Z", "bad_lifetime"),
}
MISTYPED = {
    "v": "1",
    "request_id": 1,
    "request_digest": None,
    "facts_digest": [],
    "connector_id": 5,
    "agent_session_id": {},
    "action": True,
    "actions": "deploy.production",
    "risk": "severe",
    "decision": "yes",
    "approver_device_id": 7,
    "code_verified": 1,
    "issued_at": 1,
    "expires_at": None,
}
LOW = {"actions": ("git.push",), "risk": "low"}
LOW_PAYLOAD = {"action": "git.push", "actions": ["git.push"], "risk": "low", "code_verified": False}
T = "2026-06-30T14:22:07Z"

CASES = [
    Case("good", "approve"),
    Case("good_deny", "deny", {"decision": "deny"}),
    Case("deny_needs_no_code", "deny", {"decision": "deny", "code_verified": False}),
    Case("low_risk_needs_no_code", "approve", LOW_PAYLOAD, pending=LOW),
    Case("medium_risk_needs_no_code", "approve", {**LOW_PAYLOAD, "risk": "medium"}, pending={**LOW, "risk": "medium"}),
    Case("the_server_may_name_more_and_worse", "approve", {"risk": "critical"}, pending={"risk": "low", "actions": ("db.migrate",)}),
    *(Case(f"other_{name}", reason, {name: value}) for name, (value, reason) in OTHER.items()),
    *(
        Case(
            f"altered_{name}",
            "unknown_version"
            if name == "v"
            else "malformed"
            if name == "action"
            else "unpinned_approver"
            if name == "approver_device_id"
            else "bad_signature",
            unsigned={name: value},
        )
        for name, (value, _) in OTHER.items()
    ),
    *(Case(f"mistyped_{name}", "unknown_version" if name == "v" else "malformed", {name: value}) for name, value in MISTYPED.items()),
    *(Case(f"without_{name}", "unknown_version" if name == "v" else "malformed", {name: GONE}) for name in PAYLOAD),
    Case("with_one_field_more", "malformed", {"note": "x"}),
    Case("version_true", "unknown_version", {"v": True}),
    Case("version_one_point_zero", "unknown_version", {"v": canon.Number("1.0")}),
    Case("no_actions", "malformed", {"actions": []}),
    Case("too_many_actions", "malformed", {"actions": ["deploy.production"] * 65}),
    Case("as_many_actions_as_allowed", "approve", {"actions": ["deploy.production", "db.migrate"] * 32}),
    Case("an_action_that_is_no_text", "malformed", {"actions": ["deploy.production", 1]}),
    Case("repeated_field", "malformed", text=lambda t: t.replace('{"action"', '{"risk":"low","action"', 1)),
    Case("payload_is_a_list", "malformed", text=lambda t: "[]"),
    Case("payload_is_no_json", "malformed", text=lambda t: t[:-1]),
    Case("payload_is_not_ascii", "malformed", text=lambda t: t.replace("deploy", "dépl")),
    Case("payload_is_nested_too_deeply", "malformed", text=lambda t: "[" * 70 + "]" * 70),
    Case("payload_with_spaces_is_still_the_bytes_signed", "approve", text=lambda t: t.replace(",", ", ")),
    Case("payload_reformatted_after_signing", "bad_signature", envelope=_edit("payload", lambda t: t.replace(",", ", "))),
    Case("envelope_is_no_object", "malformed", envelope=lambda e: [e]),
    Case("envelope_is_null", "malformed", envelope=lambda e: None),
    Case("envelope_without_payload", "malformed", envelope=_with(payload=GONE)),
    Case("envelope_payload_is_an_object", "malformed", envelope=_with(payload=PAYLOAD)),
    Case("envelope_with_one_field_more", "malformed", envelope=_with(public_key="x")),
    Case("no_device_signature", "missing_signature", envelope=_with(signature=GONE)),
    Case("no_server_signature", "missing_signature", envelope=_with(server_signature=GONE)),
    Case("device_signature_null", "missing_signature", envelope=_with(signature=None)),
    Case("device_signature_empty", "bad_signature", envelope=_with(signature="")),
    Case("device_signature_of_another_key", "bad_signature", key=b"\x07" * 32),
    Case("device_signature_in_capitals", "bad_signature", envelope=_edit("signature", str.upper)),
    Case("device_signature_cut", "bad_signature", envelope=_edit("signature", lambda s: s[:-2])),
    Case("device_signature_not_ascii", "bad_signature", envelope=_edit("signature", lambda s: s[:-1] + "é")),
    Case("device_signature_of_another_scheme", "bad_signature", envelope=_edit("signature", lambda s: s.replace("hmac-sha256", "sha256"))),
    Case("server_signature_of_another_key", "bad_server_signature", server=STRANGER),
    Case("server_signature_empty", "bad_server_signature", envelope=_with(server_signature="")),
    Case(
        "server_signature_of_another_scheme",
        "bad_server_signature",
        envelope=_edit("server_signature", lambda s: s.replace("ed25519", "none")),
    ),
    Case("server_signature_cut", "bad_server_signature", envelope=_edit("server_signature", lambda s: s[:-2])),
    Case("server_signature_not_hex", "bad_server_signature", envelope=_edit("server_signature", lambda s: s[:-1] + "x")),
    Case("server_signature_with_a_tail", "bad_server_signature", envelope=_edit("server_signature", lambda s: s + "00")),
    Case("revoked_device", "revoked_device", state="revoked"),
    Case("unverified_device", "revoked_device", state="unverified"),
    Case("revoked_device_denies", "revoked_device", {"decision": "deny"}, state="revoked"),
    Case("action_not_named", "action_below", {"action": "db.migrate", "actions": ["db.migrate"]}),
    Case("risk_above_what_the_verdict_knew", "risk_below", {"risk": "medium"}),
    Case("own_risk_high_without_code", "code_missing", {"code_verified": False, "risk": "high"}, pending={"risk": "high"}),
    Case("server_risk_high_without_code", "code_missing", {**LOW_PAYLOAD, "risk": "high"}, pending=LOW),
    Case("lifetime_of_one_second", "approve", {"expires_at": "2026-06-30T14:22:08Z"}, boot=1010.0, wall=ISSUED),
    Case("lifetime_of_none", "bad_lifetime", {"expires_at": T}, wall=ISSUED - 1),
    Case("lifetime_backwards", "bad_lifetime", {"expires_at": "2026-06-30T14:22:06Z"}, wall=ISSUED - 5),
    Case("lifetime_of_fifteen_minutes", "approve", {"expires_at": "2026-06-30T14:37:07Z"}),
    Case("lifetime_above_fifteen_minutes", "bad_lifetime", {"expires_at": "2026-06-30T14:37:08Z"}),
    Case("time_in_another_spelling", "malformed", {"issued_at": "2026-06-30T14:22:07+00:00"}),
    Case("time_that_is_none", "malformed", {"expires_at": "2026-06-31T14:24:07Z"}),
    Case("last_second_by_the_wall_clock", "approve", wall=ISSUED + 119),
    Case("expired_by_the_wall_clock", "expired", wall=ISSUED + 120),
    Case("a_slow_wall_clock_does_not_lengthen", "expired", boot=1141.0, wall=ISSUED - 4000),
    Case("last_second_by_the_boot_clock", "approve", boot=1140.0),
    Case("expired_by_the_boot_clock", "expired", boot=1140.5),
    Case("without_a_start_the_deadline_and_lifetime_bound_it", "approve", pending={"created_at": 0}, boot=1420.0),
    Case("past_deadline_and_lifetime", "expired", pending={"created_at": 0}, boot=1420.5),
    Case("no_start_and_a_long_deadline", "approve", pending={"created_at": 0, "deadline_s": 5000}, boot=1900.0),
    Case("never_longer_than_fifteen_minutes_without_a_start", "expired", pending={"created_at": 0, "deadline_s": 5000}, boot=1900.5),
    Case("a_boot_clock_that_went_back", "expired", boot=999.0),
    Case("answered_at_once", "approve", boot=1000.0),
]
