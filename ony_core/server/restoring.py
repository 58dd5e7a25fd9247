"""A backup put back, by `ony admin restore` on a server that does not run.

MUST: verify the whole log of every organisation, and that the keys of this folder are the backup's, before anything is put in place.
MUST: let nothing that was valid at the time of the backup be valid twice: open requests are denied, unused approvals revoked, codes burnt,
sessions ended. MUST: keep what stood there before, and say so in the log.
A restore rolls the log back, and connectors that have seen more will refuse it until `ony admin audit declare-restore`.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ony_core import auditkey, auditlog, states, totp
from ony_core.clock import Clock, rfc3339
from ony_core.errors import OnyError
from ony_core.server.admin import AUDIT_KEY, DATABASE, audit_log
from ony_core.server.keyring import MASTER_FILE, Keyring
from ony_core.store import Store, Tx, copies
from ony_core.store.store import VERSION, only_one
from ony_core.verify import verify

STAGE = "restoring"


def restore(backup: Path, data: Path, clock: Clock) -> dict[str, Any]:
    """{"kept","rows","last_time"}: where the database before is kept ("" if there was none), and what the log holds. OnyError."""
    _require(data)
    lock, stage = only_one(data / DATABASE), data / STAGE
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(mode=0o700)
        copies.taken(backup, stage / DATABASE)
        copies.check(stage / DATABASE, VERSION)
        rows, last = _verified(stage, data / AUDIT_KEY)
        _settle(stage, data, clock)
        kept = copies.place(stage / DATABASE, data / DATABASE, f"{DATABASE}.before-{rfc3339(clock.wall()).replace(':', '')}")
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(lock)
    return {"kept": str(kept or ""), "rows": rows, "last_time": last}


def _require(data: Path) -> None:
    for name in (MASTER_FILE, AUDIT_KEY):
        if not (data / name).is_file():
            raise OnyError(f"there is no {name} in {data}", "backups hold no keys: put it there from where you keep it, with mode 600")


def _verified(stage: Path, key_file: Path) -> tuple[int, str]:
    """(rows, time of the newest) over all logs, each of which verifies."""
    keys, rows, last = auditkey.read_keys(key_file), 0, ""
    with auditlog.database(stage) as db:
        for org_id in auditlog.organisations(db):
            if org_id not in keys:
                raise OnyError("the backup holds an organisation whose audit key is not here", f"put the {AUDIT_KEY} of that server back")
            report = verify(auditlog.log_of(db, org_id), keys[org_id])
            if not report.result.startswith("OK"):
                raise OnyError(f"the log in the backup does not verify ({report.result})", "`ony audit verify` on a copy says where")
            rows, last = rows + report.rows, max(last, report.last_time)
    return rows, last


def _settle(stage: Path, data: Path, clock: Clock) -> None:
    store = Store.open(stage / DATABASE, clock)
    try:
        store.attach(audit_log(data, store, Keyring.open(data, store), clock))
        store.write_now(lambda tx: _settled(tx, clock))
    finally:
        store.close()


def _settled(tx: Tx, clock: Clock) -> None:
    for org_id in tx.org_ids():
        org = tx.org(org_id)
        org.audit("restored", size=org.size())
        for row in org.waiting():
            org.step(row, "deny", reason="restored", decided_at=clock.wall())
        for row in org.in_state(states.APPROVED):
            org.step(row, "revoke", reason="restored")
        org.drop_loose_modes()
        org.settle_after_restore(clock.wall() // totp.STEP_S)
