"""A verdict: made by the server from a person's keys, checked by the connector before anything runs.

The connector MUST refuse, each with a reason of its own:
 1. an envelope or payload that is not exactly the known shape and version (malformed, unknown_version)
 2. a device it has not pinned, or that is revoked (unpinned_approver, revoked_device)
 3. a missing or wrong device signature, a missing or wrong server signature (missing_signature, bad_signature, bad_server_signature)
 4. another connector, session, request, request digest or facts digest (wrong_connector, wrong_session, wrong_request, …)
 5. actions or a risk below what it derived itself (action_below, risk_below)
 6. no code where its own risk is high or critical (code_missing)
 7. a lifetime above 15 minutes or below 1 second (bad_lifetime)
 8. an expired verdict, by its own boot clock since its own request; wall time may only shorten (expired)
 9. a request it does not hold pending (not_pending), a verdict it has used (already_used): the caller keeps those two sets
It MUST verify the bytes before it parses them, and MUST NOT let any policy lower these floors.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ony_core import canon
from ony_core.clock import rfc3339, seconds_of
from ony_core.errors import Malformed, Refused
from ony_core.model import RISKS, Approver, Pending, at_least

VERSION = 1
MAX_LIFETIME_S = 15 * 60
_FIELDS = frozenset(
    {
        "v",
        "request_id",
        "request_digest",
        "facts_digest",
        "connector_id",
        "agent_session_id",
        "action",
        "actions",
        "risk",
        "decision",
        "approver_device_id",
        "code_verified",
        "issued_at",
        "expires_at",
    }
)
_ENVELOPE = frozenset({"payload", "signature", "server_signature"})

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], bool]  # (signature, message) -> holds


@dataclass(frozen=True, slots=True)
class Verdict:
    """A checked payload."""

    request_id: str
    decision: str
    action: str
    actions: tuple[str, ...]
    risk: str
    approver_device_id: str
    code_verified: bool
    issued_at: int
    expires_at: int
    digest: str  # "sha256:<hex>" of the payload bytes, as the audit row holds it


def connector_key(decision_key: bytes, connector_id: str) -> bytes:
    """K for one (device, connector): HKDF-SHA256 (RFC 5869), empty salt, 32 bytes. decision_key: 32 bytes, never leaves the server."""
    pseudorandom = hmac.digest(bytes(32), decision_key, "sha256")
    return hmac.digest(pseudorandom, b"ony/verdict/v1|" + connector_id.encode("ascii") + b"\x01", "sha256")


def payload(
    *,
    request_id: str,
    request_digest: str,
    facts_digest: str,
    connector_id: str,
    session: str,
    action: str,
    actions: tuple[str, ...],
    risk: str,
    decision: str,
    device_id: str,
    code_verified: bool,
    issued_at: int,
    expires_at: int,
) -> str:
    """The exact JSON text that is signed. Times are UTC seconds."""
    return canon.dumps(
        {
            "v": VERSION,
            "request_id": request_id,
            "request_digest": request_digest,
            "facts_digest": facts_digest,
            "connector_id": connector_id,
            "agent_session_id": session,
            "action": action,
            "actions": list(actions),
            "risk": risk,
            "decision": decision,
            "approver_device_id": device_id,
            "code_verified": code_verified,
            "issued_at": rfc3339(issued_at),
            "expires_at": rfc3339(expires_at),
        }
    ).decode("ascii")


def seal(text: str, key: bytes, server_sign: Sign) -> dict[str, str]:
    """The envelope around a payload. key: `connector_key` of the approving device; server_sign: Ed25519 over the payload bytes."""
    data = text.encode("ascii")
    return {"payload": text, "signature": canon.hmac_sha256(key, data), "server_signature": "ed25519:" + server_sign(data).hex()}


def flat(envelope: Mapping[str, str]) -> dict[str, Any]:
    """verdict.json as people are shown it: the payload's fields beside both signatures."""
    return {
        **canon.loads(envelope["payload"].encode()),
        "signature": envelope["signature"],
        "server_signature": envelope["server_signature"],
    }


def check(envelope: Any, pending: Pending, approvers: Mapping[str, Approver], server_verify: Verify, boot: float, wall: int) -> Verdict:
    """The verdict if every rule of the MUST list holds, else Refused. boot and wall: the connector's own clocks, in seconds, now."""
    text = _open(envelope)
    body = _body(text)
    _signatures(envelope, body, text, approvers, server_verify)
    _binding(body, pending)
    _floors(body, pending)
    issued, expires = _times(body)
    _fresh(issued, expires, pending, boot, wall)
    return Verdict(
        body["request_id"],
        body["decision"],
        body["action"],
        tuple(body["actions"]),
        body["risk"],
        body["approver_device_id"],
        body["code_verified"],
        issued,
        expires,
        canon.sha256(text),
    )


def _open(envelope: Any) -> bytes:
    if not isinstance(envelope, dict) or not set(envelope) <= _ENVELOPE or not isinstance(envelope.get("payload"), str):
        raise Refused("malformed", "the verdict is not an envelope")
    for name in ("signature", "server_signature"):
        if not isinstance(envelope.get(name), str):
            raise Refused("missing_signature", f"the verdict carries no {name.replace('_', ' ')}")
    try:
        return str(envelope["payload"]).encode("ascii")
    except UnicodeEncodeError:
        raise Refused("malformed", "the verdict's payload is not ASCII") from None


def _body(data: bytes) -> dict[str, Any]:
    """Parsed only to learn which device signed; nothing else is believed before `_signatures` has passed."""
    try:
        body = canon.loads(data)
    except Malformed as error:
        raise Refused("malformed", error.what) from None
    if not isinstance(body, dict):
        raise Refused("malformed", "the verdict's payload is not an object")
    if type(body.get("v")) is not int or body["v"] != VERSION:
        raise Refused("unknown_version", "the verdict has a version this connector does not know", "update Ony on both sides")
    if set(body) != _FIELDS or not _typed(body):
        raise Refused("malformed", "the verdict's payload has missing, unknown or mistyped fields")
    return body


def _typed(body: dict[str, Any]) -> bool:
    lists = isinstance(body["actions"], list) and 0 < len(body["actions"]) <= 64 and all(isinstance(a, str) for a in body["actions"])
    words = _FIELDS - {"v", "actions", "code_verified"}
    return (
        lists
        and all(isinstance(body[name], str) for name in words)
        and type(body["code_verified"]) is bool
        and body["decision"] in ("approve", "deny")
        and body["risk"] in RISKS
        and body["action"] in body["actions"]
    )


def _signatures(envelope: Mapping[str, str], body: dict[str, Any], data: bytes, approvers: Mapping[str, Approver], verify: Verify) -> None:
    approver = approvers.get(body["approver_device_id"])
    if approver is None:
        raise Refused("unpinned_approver", "the verdict comes from a device this connector has not pinned")
    if not canon.same(envelope["signature"], canon.hmac_sha256(approver.key, data)):
        raise Refused("bad_signature", "the verdict's device signature does not hold")
    scheme, _, text = envelope["server_signature"].partition(":")
    if scheme != "ed25519" or len(text) != 128 or not verify(_hex(text), data):
        raise Refused("bad_server_signature", "the verdict's server signature does not hold")
    if approver.state != "active":
        raise Refused("revoked_device", "the verdict comes from a device that is not active")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused("bad_server_signature", "the verdict's server signature is not hex") from None


def _binding(body: dict[str, Any], pending: Pending) -> None:
    for field, mine, reason in (
        ("connector_id", pending.connector_id, "wrong_connector"),
        ("request_id", pending.request_id, "wrong_request"),
        ("agent_session_id", pending.session, "wrong_session"),
        ("request_digest", pending.request_digest, "wrong_request_digest"),
        ("facts_digest", pending.facts_digest, "wrong_facts_digest"),
    ):
        if not canon.same(body[field], mine):
            raise Refused(reason, f"the verdict is bound to another {field.replace('_', ' ')}")


def _floors(body: dict[str, Any], pending: Pending) -> None:
    if not set(pending.actions) <= set(body["actions"]):
        raise Refused("action_below", "the verdict does not name every action this connector derived")
    if not at_least(body["risk"], pending.risk):
        raise Refused("risk_below", "the verdict's risk is below what this connector derived")
    needs_code = at_least(pending.risk, "high") or at_least(body["risk"], "high")
    if body["decision"] == "approve" and needs_code and not body["code_verified"]:
        raise Refused("code_missing", "a high-risk approval came without the six-digit code")


def _times(body: dict[str, Any]) -> tuple[int, int]:
    try:
        return seconds_of(body["issued_at"]), seconds_of(body["expires_at"])
    except ValueError:
        raise Refused("malformed", "the verdict's times are not RFC 3339 in whole UTC seconds") from None


def _fresh(issued: int, expires: int, pending: Pending, boot: float, wall: int) -> None:
    lifetime = expires - issued
    if not 0 < lifetime <= MAX_LIFETIME_S:
        raise Refused("bad_lifetime", "the verdict's lifetime is not between 1 second and 15 minutes")
    elapsed = boot - pending.asked_boot
    allowed = min(pending.deadline_s + lifetime, expires - pending.created_at if pending.created_at else MAX_LIFETIME_S)
    if not 0 <= elapsed <= allowed or wall >= expires:
        raise Refused("expired", "the verdict has expired")


def digest_of(text: str) -> str:
    """ "sha256:<hex>" of a payload's bytes, the form the audit row holds."""
    return "sha256:" + sha256(text.encode("ascii")).hexdigest()
