"""The connector as a witness of the audit log: which head it keeps, and what a verdict's proof must show before the verdict counts.

MUST: no proof, no release. MUST: a kept head only grows, and is durable before the verdict is used. A failed proof is a SECURITY ERROR.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ony_core import chain, checkpoint, notes
from ony_core.connector import restored
from ony_core.errors import Malformed, OnyError, Refused
from ony_core.handoff import Head
from ony_core.model import Approver

Fetch = Callable[[int, int], Any]  # (from, to) -> {"note", "hashes"} of the server


class Heads:
    """The kept head of one log. origin: the log's name, pinned at enrolment; verify: its Ed25519 key."""

    def __init__(self, folder: Path, origin: str, verify: checkpoint.Verify) -> None:
        self._folder, self._origin, self._verify = folder, origin, verify
        self._lock = threading.Lock()

    def newest(self) -> Head | None:
        """What a handoff shows the server. OnyError where the kept head is damaged: it is never treated as none."""
        kept = notes.read_head(self._folder, self._origin)
        return Head(kept.size, kept.root.hex()) if kept else None

    def accept(self, proof: Any, payload_digest: str, fetch: Fetch) -> None:
        """Checks the proof beside a verdict and keeps the longer head. Refused("proof_…").

        fetch mends one case: other holds ended in the meantime, so the kept head is another than the one the proof was made for.
        """
        if proof is None:
            raise Refused("proof_missing", "the verdict came without a proof that it was logged")
        with self._lock:
            kept = notes.read_head(self._folder, self._origin)
            head = (kept.size, kept.root) if kept else None
            try:
                chain.check_proof(proof, payload_digest, self._origin, head, self._verify)
            except Refused as refused:
                if refused.reason != "proof_other_head" or head is None:
                    raise
                chain.check_proof(_mended(proof, head[0], fetch), payload_digest, self._origin, head, self._verify)
            self._keep(proof["note"])

    def follow(self, ask: Callable[[str], Any], connector_id: str, approvers: Mapping[str, Approver], verify: checkpoint.Verify) -> bool:
        """Whether the kept head was replaced because a restore was declared for exactly it. Refused("restore_…") for a bad declaration."""
        with self._lock:
            kept = self.newest()
            if kept is None:
                return False
            restored.follow(self._folder, self._origin, connector_id, kept, ask, approvers, verify, self._verify)
        return True

    def _keep(self, note: str) -> None:
        try:
            notes.write_head(self._folder, note)
        except OnyError as error:
            raise Refused("proof_fork", error.what, error.hint) from None


def _mended(proof: dict[str, Any], kept: int, fetch: Fetch) -> dict[str, Any]:
    """The same proof with the growth between the kept head and its own, asked for just now."""
    try:
        shown = checkpoint.parse(proof["note"]).size
        old, new = sorted((kept, shown))
        hashes = fetch(old, new)["hashes"] if old and old != new else []
    except (Malformed, TypeError, KeyError):
        raise Refused("proof_malformed", "the server's consistency proof is not well formed") from None
    return {**proof, "consistency": {"from": old, "hashes": hashes}}
