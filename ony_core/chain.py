"""The audit chain: how one row follows from the one before it, and what a connector must see before it believes that a verdict was logged.

MUST: bind every row to its log (origin), its place (seq, previous mac) and its exact bytes; the bytes are never written anew to be checked.
MUST: `check_proof` accepts only a signed checkpoint of the known log that holds the row with this very payload's digest and that
extends, or is a proven prefix of, the head this connector already keeps. Each refusal has its own reason, all beginning with "proof_".
Format: docs/audit-format.md. Pure: keys, hashes and signature checks are passed in.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ony_core import canon, checkpoint
from ony_core.errors import Malformed, Refused
from ony_core.merkle import (
    EMPTY_ROOT,
    append_nodes,
    consistency_proof,
    inclusion_proof,
    node,
    root,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "EMPTY_ROOT", "append_nodes", "check_proof", "consistency_proof", "first_mac", "inclusion_proof", "leaf", "node", "root", "row_mac",
    "row_macs", "verify_consistency", "verify_inclusion",
]  # fmt: skip

ROW = b"ony-row-v2"
MAX_SEQ = 2**63 - 1
_BLOCK = 64  # SHA-256, for HMAC (RFC 2104)

Head = tuple[int, bytes]  # (size, root)


def first_mac(origin: str) -> bytes:
    """What row 1 follows: SHA-256 of the origin."""
    return sha256(origin.encode("ascii")).digest()


def row_mac(key: bytes, origin: str, previous_mac: bytes, seq: int, body: bytes) -> bytes:
    """HMAC-SHA256(key, "ony-row-v2" ‖ origin ‖ previous mac ‖ u64be(seq) ‖ body). An origin has one length, so the parts cannot slide."""
    return hmac.digest(key, ROW + origin.encode("ascii") + previous_mac + seq.to_bytes(8, "big") + body, "sha256")


def row_macs(key: bytes, origin: str) -> Callable[[bytes, int, bytes], bytes]:
    """`row_mac` for many rows of one log, twice as fast: both key pads and the fixed prefix are hashed once (RFC 2104 section 4)."""
    padded = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner = sha256(bytes(b ^ 0x36 for b in padded) + ROW + origin.encode("ascii"))
    outer = sha256(bytes(b ^ 0x5C for b in padded))

    def mac(previous_mac: bytes, seq: int, body: bytes) -> bytes:
        inside, outside = inner.copy(), outer.copy()
        inside.update(previous_mac + seq.to_bytes(8, "big") + body)
        outside.update(inside.digest())
        return outside.digest()

    return mac


def leaf(seq: int, body: bytes, mac: bytes) -> bytes:
    """SHA-256(0x00 ‖ u64be(seq) ‖ SHA-256(body) ‖ mac): commits to the body without showing it."""
    return sha256(b"\x00" + seq.to_bytes(8, "big") + sha256(body).digest() + mac).digest()


def check_proof(proof: Any, payload_digest: str, origin: str, head: Head | None, verify_ed25519: checkpoint.Verify) -> Head:
    """The head to keep from now on, else Refused("proof_…").

    proof: the JSON delivered beside a verdict. payload_digest: "sha256:<hex>" of the verdict's payload bytes. head: what this
    connector keeps for the log, None before the first. "proof_other_head" alone may be mended: ask the server for the consistency
    between the two sizes, put it into the proof and check again. Every other refusal is a SECURITY ERROR: keep both notes.
    """
    seq, body, mac, note, inclusion, consistency = _shape(proof)
    if note.origin != origin:
        raise Refused("proof_wrong_origin", "the proof comes from another log")
    if not checkpoint.signed_by(note, verify_ed25519):
        raise Refused("proof_bad_signature", "the checkpoint's signature does not hold")
    _holds_verdict(body, payload_digest)
    if not verify_inclusion(seq - 1, note.size, leaf(seq, body, mac), note.root, inclusion):
        raise Refused("proof_not_included", "the checkpoint does not hold the row of this verdict")
    return _grown(head or (0, EMPTY_ROOT), (note.size, note.root), *consistency)


def _grown(kept: Head, shown: Head, start: int, hashes: list[bytes]) -> Head:
    """The longer of the two heads, once the shorter is proven to be its prefix."""
    old, new = (kept, shown) if kept[0] <= shown[0] else (shown, kept)
    if start != old[0]:
        raise Refused("proof_other_head", "the proof speaks of another head than the one this connector keeps")
    if not verify_consistency(old[0], new[0], old[1], new[1], hashes):
        raise Refused("proof_not_consistent", "the log is not the one this connector has seen before: it was rolled back or forked")
    return new


def _holds_verdict(body: bytes, payload_digest: str) -> None:
    try:
        row = canon.loads(body)
    except Malformed as error:
        raise Refused("proof_malformed", error.what) from None
    if not isinstance(row, dict) or row.get("kind") != "verdict" or not isinstance(row.get("payload_digest"), str):
        raise Refused("proof_wrong_row", "the proof is about a row that is not a verdict")
    if not canon.same(row["payload_digest"], payload_digest):
        raise Refused("proof_wrong_row", "the proof is about another verdict")


def _shape(proof: Any) -> tuple[int, bytes, bytes, checkpoint.Note, list[bytes], tuple[int, list[bytes]]]:
    try:
        _fields(proof, "row", "note", "inclusion", "consistency")
        row, growth = proof["row"], proof["consistency"]
        _fields(row, "seq", "body", "mac")
        _fields(growth, "from", "hashes")
        return (_count(row["seq"], 1), _text(row["body"]).encode("ascii"), _hash(row["mac"]), checkpoint.parse(_text(proof["note"])),
                _hashes(proof["inclusion"]), (_count(growth["from"], 0), _hashes(growth["hashes"])))  # fmt: skip
    except (Malformed, UnicodeEncodeError):
        raise Refused("proof_malformed", "the proof is not well formed") from None


def _fields(value: Any, *names: str) -> None:
    if not isinstance(value, dict) or set(value) != set(names):
        raise Malformed("missing or unknown fields")


def _count(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= MAX_SEQ:
        raise Malformed("not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("not a text")
    return value


def _hash(value: Any) -> bytes:
    if not isinstance(value, str) or len(value) != 64 or value.strip("0123456789abcdef"):
        raise Malformed("not 32 bytes in lower-case hex")
    return bytes.fromhex(value)


def _hashes(value: Any) -> list[bytes]:
    if not isinstance(value, list) or len(value) > 130:
        raise Malformed("not a list of hashes")
    return [_hash(item) for item in value]
