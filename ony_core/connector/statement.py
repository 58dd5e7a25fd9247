"""Signed statements of the server: bundle, claim, mode. The bytes are verified first and parsed after.

MUST bind the type into what is signed (b"ony/<type>/v1\\n" + payload), so that one kind of statement never passes for another.
"""

from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ony_core import canon
from ony_core.errors import Malformed, Refused

Verify = Callable[[bytes, bytes], bool]


def verifier(key: bytes) -> Verify:
    """(signature, message) -> holds, for one 32-byte Ed25519 public key (RFC 8032)."""
    public = Ed25519PublicKey.from_public_bytes(key)

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify


def opened(kind: str, signed: Any, fields: frozenset[str], verify: Verify) -> dict[str, Any]:
    """The payload of a statement with exactly these fields. Refused: <kind>_malformed, <kind>_bad_signature, <kind>_unknown_version."""
    if not isinstance(signed, dict) or not isinstance(signed.get("payload"), str) or not isinstance(signed.get("server_signature"), str):
        raise Refused(f"{kind}_malformed", f"the server's {kind} is not a signed statement")
    try:
        data = signed["payload"].encode("ascii")
        scheme, _, text = signed["server_signature"].partition(":")
        signature = bytes.fromhex(text)
    except ValueError:
        raise Refused(f"{kind}_malformed", f"the server's {kind} is not a signed statement") from None
    if scheme != "ed25519" or len(signature) != 64 or not verify(signature, f"ony/{kind}/v1\n".encode() + data):
        raise Refused(f"{kind}_bad_signature", f"the signature of the server's {kind} does not hold")
    return _body(kind, data, fields)


def _body(kind: str, data: bytes, fields: frozenset[str]) -> dict[str, Any]:
    try:
        body = canon.loads(data)
    except Malformed as error:
        raise Refused(f"{kind}_malformed", error.what) from None
    if not isinstance(body, dict) or body.get("type") != kind:
        raise Refused(f"{kind}_malformed", f"the statement is not a {kind}")
    if type(body.get("v")) is not int or body["v"] != 1:
        raise Refused(f"{kind}_unknown_version", f"the server's {kind} has a version this connector does not know", "update Ony")
    if set(body) != fields:
        raise Refused(f"{kind}_malformed", f"the server's {kind} has missing or unknown fields")
    return body
