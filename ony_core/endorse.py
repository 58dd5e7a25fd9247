"""An approver that joined after a connector had enrolled: endorsed with the code of one that the connector has pinned. Pure.

The endorsement is an HMAC under a key that only the server and that one connector have, for the device whose owner gave the code; it
travels inside the signed bundle, so that, as with a verdict, neither half alone is worth anything.

The connector MUST take a new approver only where the endorser is pinned here, the endorsement names this connector, this device and the
digest of this very key, and the HMAC holds; and MUST NOT let a server name approvers by its own signature alone.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ony_core import canon
from ony_core.errors import Malformed, Refused
from ony_core.model import Approver

_FIELDS = frozenset({"v", "type", "connector_id", "device_id", "key_digest", "endorsed_by", "endorsed_at"})
_HEX32 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_DEVICE = re.compile(r"dev_[0-9a-f]{32}\Z", re.ASCII)


def made(connector_id: str, device_id: str, key: bytes, endorsed_by: str, endorsed_at: str, endorsers_key: bytes) -> dict[str, str]:
    """As the bundle carries it. key, endorsers_key: verdict.connector_key of the new and of the endorsing device. endorsed_at: RFC 3339."""
    payload = canon.dumps({
        "v": 1, "type": "approver", "connector_id": connector_id, "device_id": device_id, "key_digest": canon.sha256(key),
        "endorsed_by": endorsed_by, "endorsed_at": endorsed_at,
    })  # fmt: skip
    return {"payload": payload.decode("ascii"), "key": key.hex(), "signature": _signature(payload, endorsers_key)}


def added(listed: Iterable[Mapping[str, Any]], connector_id: str, pinned: Iterable[Approver]) -> tuple[list[Approver], list[str]]:
    """The approvers of a checked bundle that may be pinned too, and why others may not. One may be endorsed by another new one."""
    known = {one.device_id: one for one in pinned}
    waiting = {one["device_id"]: one for one in listed if one.get("endorsement") is not None and one["device_id"] not in known}
    found: list[Approver] = []
    reasons: dict[str, str] = {}
    progress = True
    while progress and waiting:
        progress = False
        for device_id, one in list(waiting.items()):
            try:
                new = check(one["endorsement"], connector_id, device_id, str(one.get("label", ""))[:80], known)
            except Refused as refused:
                reasons[device_id] = refused.reason
                continue
            known[device_id] = new
            found.append(new)
            del waiting[device_id]
            reasons.pop(device_id, None)
            progress = True
    return found, sorted(set(reasons.values()))


def check(endorsement: Any, connector_id: str, device_id: str, label: str, pinned: Mapping[str, Approver]) -> Approver:
    """Refused: endorsement_malformed, unknown_endorser, endorsement_bad_signature, endorsement_of_another."""
    if not isinstance(endorsement, dict) or set(endorsement) != {"payload", "key", "signature"}:
        raise Refused("endorsement_malformed")
    try:
        payload, key = _bytes(endorsement["payload"]), bytes.fromhex(_hex(endorsement["key"]))
        body = canon.loads(payload)
    except (Malformed, ValueError):
        raise Refused("endorsement_malformed") from None
    if not isinstance(body, dict) or set(body) != _FIELDS or (body["v"], body["type"]) != (1, "approver") or type(body["v"]) is not int:
        raise Refused("endorsement_malformed")
    endorser = pinned.get(body["endorsed_by"]) if isinstance(body["endorsed_by"], str) else None
    if endorser is None:
        raise Refused("unknown_endorser")
    if not isinstance(endorsement["signature"], str) or not canon.same(endorsement["signature"], _signature(payload, endorser.key)):
        raise Refused("endorsement_bad_signature")
    if (body["connector_id"], body["device_id"], body["key_digest"]) != (connector_id, device_id, canon.sha256(key)) or not _DEVICE.match(
        device_id
    ):
        raise Refused("endorsement_of_another")
    return Approver(device_id, key, "active", label)


def _signature(payload: bytes, connector_key: bytes) -> str:
    """HMAC-SHA256 under a key of its own: HKDF-Expand (RFC 5869) of the pair's key with a label that no verdict uses."""
    purpose = hmac.digest(connector_key, b"ony/endorse/v1\x01", "sha256")
    return "hmac-sha256:" + hmac.digest(purpose, payload, "sha256").hex()


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Malformed("not a text")
    return value.encode("ascii")


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not _HEX32.match(value):
        raise Malformed("not 32 bytes of hex")
    return value
