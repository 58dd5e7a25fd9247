"""Following a server that was restored from a backup: the one way in which a kept head is ever replaced by a smaller one.

MUST: do so only for a statement that names exactly the kept head, signed by the server's key and by the key of a pinned approver who is
active. MUST: keep the lost head beside the new one for whoever looks into it, and never delete it.
MUST NOT: follow anything else, whoever asks; a head that cannot be extended is a SECURITY ERROR until then.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ony_core import canon, checkpoint, notes
from ony_core.connector.statement import Verify, opened
from ony_core.errors import Malformed, Refused
from ony_core.handoff import Head
from ony_core.model import Approver

_FIELDS = frozenset({"v", "type", "org_id", "connector_id", "lost_size", "lost_root", "note", "device_id", "declared_at"})
Ask = Callable[[str], Any]  # path -> JSON


def follow(folder: Path, origin: str, connector_id: str, kept: Head, ask: Ask, approvers: Mapping[str, Approver], verify: Verify,
           verify_log: checkpoint.Verify) -> None:  # fmt: skip
    """Replaces the kept head by the declared one. Refused("restore_…") where the statement does not hold; OnyError from `ask`."""
    signed = ask(f"/v1/audit/restore?size={kept.size}&root={kept.root}")
    body = opened("restore", signed, _FIELDS, verify)
    if (body["connector_id"], body["lost_size"], body["lost_root"]) != (connector_id, kept.size, kept.root):
        raise Refused("restore_other_head", "the server declares another head lost than the one this connector keeps")
    _vouched(signed, body, approvers)
    try:
        note = checkpoint.parse(body["note"])
    except Malformed as error:
        raise Refused("restore_malformed", error.what) from None
    if note.origin != origin or not checkpoint.signed_by(note, verify_log):
        raise Refused("restore_bad_note", "the checkpoint that the server goes on from is not signed for this log")
    notes.replace_head(folder, body["note"])


def _vouched(signed: Any, body: dict[str, Any], approvers: Mapping[str, Approver]) -> None:
    approver = approvers.get(body["device_id"]) if isinstance(body["device_id"], str) else None
    if approver is None or approver.state != "active":
        raise Refused("restore_unpinned_approver", "the restore is declared by an approver this connector does not know")
    message = b"ony/restore/v1\n" + signed["payload"].encode("ascii")
    wanted = "hmac-sha256:" + hmac.new(approver.key, message, hashlib.sha256).hexdigest()
    if not isinstance(signed.get("signature"), str) or not canon.same(wanted, signed["signature"]):
        raise Refused("restore_bad_signature", "the approver's signature on the restore does not hold")
