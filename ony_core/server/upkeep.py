"""Looking after what a server holds: retention, export and deletion of an organisation, and the declaration that a restore was meant.

MUST: ask an approver's code for a deletion and for a declaration. MUST NOT: let retention or deletion touch the log.
MUST: declare to a connector only a head that this log really cannot hold, each by its own size and root, and write that into the log, so
that a declaration can be used for nothing else and no second time.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from typing import Any

from ony_core import canon, verdict
from ony_core.clock import Clock, rfc3339
from ony_core.errors import Malformed, OnyError
from ony_core.server import confirmed
from ony_core.server.keyring import OVERLAP_S, Keyring
from ony_core.server.message import Request, Response, answer, problem
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org
from ony_core.store.upkeep import CHUNK

EVERY_S = 3600
DECLARED_S = 7 * 24 * 3600  # how long after a declaration connectors are told
DAY_S = 24 * 3600
_LOST = re.compile(r"size=([1-9][0-9]{0,15})&root=([0-9a-f]{64})\Z", re.ASCII)

log = logging.getLogger("ony.upkeep")


class Upkeep:
    """config: [payload] and [policy] say how long things are kept."""

    def __init__(self, store: Store, keyring: Keyring, config: Any, clock: Clock) -> None:
        self._store, self._keyring, self._config, self._clock = store, keyring, config, clock

    # ---------------------------------------------------------------- retention

    async def run(self) -> None:
        """Runs until cancelled: once at the start, then each hour."""
        while True:
            try:
                await self.sweep()
            except OnyError as error:
                log.error("retention failed: %s", error)
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> None:
        """What is older than it is kept goes, in pieces small enough that no decision waits behind one; replaced keys stop signing."""
        now = self._clock.wall()
        if await self._store.write(lambda tx: tx.retire_server_keys(now - OVERLAP_S)):
            self._store.read(self._keyring.load)
        payloads, history = (now - days * DAY_S for days in (self._config.payload.retention_days, self._config.policy.history_days))
        for org_id in self._store.read(lambda tx: tx.org_ids()):
            await self._store.write(lambda tx, org_id=org_id: _scrub(tx.org(org_id), payloads, history, now))  # type: ignore[misc]
            while await self._store.write(lambda tx, org_id=org_id: tx.org(org_id).scrub_history(history)) == CHUNK:  # type: ignore[misc]
                await asyncio.sleep(0)

    # ---------------------------------------------------------------- export and deletion

    async def export(self, request: Request, org_id: str) -> Response:
        """Every row of the organisation but the log's, without secrets."""
        found = self._store.read(lambda tx: tx.org(org_id).exported() if org_id in tx.org_ids() else None)
        if found is None:
            return problem(404, "unknown_organisation", "there is no such organisation", "`ony admin org list` shows them")
        return answer({"format": "ony-org/1", "org_id": org_id, "exported_at": rfc3339(self._clock.wall()), "tables": found})

    async def organisations(self, request: Request) -> Response:
        return answer({"organisations": self._store.read(lambda tx: [_shown(tx.org(org_id)) for org_id in tx.org_ids()])})

    async def delete(self, request: Request, org_id: str) -> Response:
        """{"email","code"} of one of its approvers. Names, phones, requests and connectors go; the log stays, which knows ids alone."""
        wish = _texts(request)
        return await self._store.write(lambda tx: self._deleted(tx, org_id, wish))

    def _deleted(self, tx: Tx, org_id: str, wish: dict[str, str]) -> Response:
        found = confirmed.by_code(tx, self._keyring, wish["email"], wish["code"], self._clock)
        if isinstance(found, Response):
            return found
        org, user = found
        if org.id != org_id:
            return problem(404, "unknown_organisation", "that is not the organisation of whoever confirms it")
        org.audit("org_deleted", user_id=user.id)
        org.erase(self._clock.wall())
        return answer({"deleted": org_id})

    # ---------------------------------------------------------------- a restore that was meant

    async def declare_restore(self, request: Request) -> Response:
        """{"email","code"} -> {"until"}: for a week connectors that have seen more of the log are told that it is lost."""
        wish = _texts(request)
        return await self._store.write(lambda tx: self._declared(tx, wish))

    def _declared(self, tx: Tx, wish: dict[str, str]) -> Response:
        found = confirmed.by_code(tx, self._keyring, wish["email"], wish["code"], self._clock)
        if isinstance(found, Response):
            return found
        org, user = found
        org.declare_restored(self._clock.wall(), user.id)
        seq = org.audit("restore_declared", user_id=user.id)
        return answer({"declared": org.id, "row": seq, "until": rfc3339(self._clock.wall() + DECLARED_S)})

    async def lost(self, request: Request, connector: rows.Connector) -> Response:
        """?size=&root= of the head this connector keeps -> the signed statement that it is lost. 409 where it is not, or nobody said so."""
        match = _LOST.match(request.query)
        if match is None:
            raise Malformed("size and root of the kept head are needed")
        size, root = int(match[1]), bytes.fromhex(match[2])
        return await self._store.write(lambda tx: self._lost(tx.org(connector.org_id), connector, size, root))

    def _lost(self, org: Org, connector: rows.Connector, size: int, root: bytes) -> Response:
        declared, now = org.restored()[0], self._clock.wall()
        if not declared <= now <= declared + DECLARED_S:
            return problem(409, "not_declared", "no restore was declared", "the administrator runs `ony admin audit declare-restore`")
        ours, newest = org.checkpoint_at(size), org.checkpoint_at(org.size())
        device = next((d for d in org.devices(connector.user_id) if d.state == "active" and d.active_from <= now), None)
        if newest is None or device is None or (ours is not None and hmac.compare_digest(ours[0], root)):
            return problem(409, "not_lost", "this log holds that head, or nobody can vouch for its loss")
        org.audit("head_lost", connector_id=connector.id, size=size, root="sha256:" + root.hex(), device_id=device.id)
        org.forget_head(connector.id)
        statement = self._keyring.statement("restore", {
            "org_id": org.id, "connector_id": connector.id, "lost_size": size, "lost_root": root.hex(), "note": newest[1],
            "device_id": device.id, "declared_at": rfc3339(declared),
        })  # fmt: skip
        decision_key = self._keyring.unseal(device.decision_key_sealed, "device.decision_key", org.id, device.id)
        key = verdict.connector_key(decision_key, connector.id)
        signature = hmac.new(key, b"ony/restore/v1\n" + statement["payload"].encode("ascii"), hashlib.sha256).hexdigest()
        return answer({**statement, "signature": "hmac-sha256:" + signature})


def _scrub(org: Org, payloads: int, history: int, now: int) -> None:
    org.scrub_payloads(payloads)
    org.scrub_rest(history, now)


def _shown(org: Org) -> dict[str, Any]:
    row = org.row()
    return {"org_id": org.id, "name": row.name if row else "", "created_at": rfc3339(row.created_at if row else 0),
            "frozen": bool(row and row.frozen_at is not None), "log_rows": org.size()}  # fmt: skip


def _texts(request: Request) -> dict[str, str]:
    value: Any = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != {"email", "code"} or not all(isinstance(part, str) for part in value.values()):
        raise Malformed("the body is not an object of the expected fields")
    return value
