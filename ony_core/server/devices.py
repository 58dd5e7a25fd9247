"""Devices and connectors as people see and look after them: list, rename, revoke, enrol.

MUST: revoke with effect on the next claim, and let the next bundle say so. MUST: show a phone number masked.
MUST NOT: show a token, a key or a number; an enrolment code is shown once.
"""

import base64
import hashlib
import re
from typing import Any

from ony_core.clock import Clock, rfc3339
from ony_core.errors import Refused
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response, answer, fields, one_line, problem
from ony_core.server.sessions import Caller
from ony_core.store import Store, rows
from ony_core.store.org import Org

ENROLL_S = 15 * 60
NOT_OURS = (403, "bad_code", "this is not a code that a machine made for this server", "look at its first and last letters, or enrol again")
_CODE = re.compile(r"ONY[A-Z2-7]{32}\Z", re.ASCII)
LONGEST_LABEL = 40
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}\Z", re.ASCII)


class Devices:
    """One method per route; the route table has seen to it that a member reaches nobody else's."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock) -> None:
        self._store, self._keyring, self._clock = store, keyring, clock

    async def devices(self, request: Request, caller: Caller) -> Response:
        found = self._store.read(lambda tx: tx.org(caller.user.org_id).devices())
        return answer({"devices": [shown_device(one) for one in found]})

    async def rename_device(self, request: Request, caller: Caller, device_id: str) -> Response:
        """{"label"}: what agents' owners and connectors see beside a decision."""
        label = fields(request, {"label": str})["label"]
        if not label or not one_line(label, LONGEST_LABEL):
            return problem(400, "bad_label", "a label has 1 to 40 characters on one line")
        await self._store.write(caller.within(lambda tx: _rename_device(tx.org(caller.user.org_id), device_id, label, caller.user.id)))
        return answer({"device_id": device_id, "label": label})

    async def revoke_device(self, request: Request, caller: Caller, device_id: str) -> Response:
        fields(request, {})
        await self._store.write(caller.within(lambda tx: revoke_device(tx.org(caller.user.org_id), device_id, caller.user.id)))
        return answer({"device_id": device_id, "state": "revoked"})

    async def connectors(self, request: Request, caller: Caller) -> Response:
        found = self._store.read(lambda tx: tx.org(caller.user.org_id).connectors())
        return answer({"connectors": [shown_connector(one) for one in found]})

    async def rename_connector(self, request: Request, caller: Caller, connector_id: str) -> Response:
        """{"name"}."""
        name = fields(request, {"name": str})["name"]
        if not _NAME.match(name):
            return problem(400, "bad_name", "a name has 1 to 40 letters, digits, dots, dashes or spaces")
        await self._store.write(caller.within(lambda tx: _rename_connector(tx.org(caller.user.org_id), connector_id, name, caller.user.id)))
        return answer({"connector_id": connector_id, "name": name})

    async def revoke_connector(self, request: Request, caller: Caller, connector_id: str) -> Response:
        fields(request, {})
        await self._store.write(caller.within(lambda tx: revoke_connector(tx.org(caller.user.org_id), connector_id, caller.user.id)))
        return answer({"connector_id": connector_id, "state": "revoked"})

    async def enroll_code(self, request: Request, caller: Caller) -> Response:
        """{} -> {"code","expires_at"}: for a machine whose calls ring the caller."""
        fields(request, {})
        text, digest = enroll_code(self._keyring, self._clock)
        expires = self._clock.wall() + ENROLL_S
        await self._store.write(caller.within(lambda tx: add_enroll_code(tx.org(caller.user.org_id), caller.user, digest, expires)))
        return answer({"code": text, "expires_at": rfc3339(expires)}, 201)

    async def approve_code(self, request: Request, caller: Caller) -> Response:
        """{"code"} that a machine shows -> {"expires_at"}: from now on that code enrols it, once, and its calls ring the caller."""
        digest = shown_code(self._keyring, fields(request, {"code": str})["code"])
        if not digest:
            return problem(*NOT_OURS)
        expires = self._clock.wall() + ENROLL_S
        await self._store.write(caller.within(lambda tx: add_enroll_code(tx.org(caller.user.org_id), caller.user, digest, expires)))
        return answer({"expires_at": rfc3339(expires)}, 201)


def fingerprint(public: bytes) -> str:
    """The first 80 bits of SHA-256(server key), as the second half of a one-time code carries them."""
    return base64.b32encode(hashlib.sha256(public).digest()[:10]).decode("ascii")


def enroll_code(keyring: Keyring, clock: Clock) -> tuple[str, bytes]:
    """A one-time code as people type it, and the digest that is kept. It carries the server key's fingerprint."""
    text = base64.b32encode(clock.random(10)).decode("ascii") + fingerprint(keyring.verdict_public)
    return "ony-" + "-".join(text[i : i + 4] for i in range(0, len(text), 4)), hashlib.sha256(f"ONY{text}".encode("ascii")).digest()


def shown_code(keyring: Keyring, code: str) -> bytes:
    """The digest of a code that a machine made for itself; b"" for one that was not made for this server's key: somebody is in between."""
    text = re.sub(r"[\s-]", "", code).upper()
    ours = _CODE.match(text) is not None and text.endswith(fingerprint(keyring.verdict_public))
    return hashlib.sha256(text.encode("ascii")).digest() if ours else b""


def add_enroll_code(org: Org, user: rows.User, digest: bytes, expires: int) -> None:
    if not org.add_enroll_code(digest, user.id, expires):
        raise Refused("known_code", "this code was approved before", "let the machine show another one")
    org.audit("enroll_code", user_id=user.id, expires_at=rfc3339(expires))


def masked(number: str) -> str:
    """+15550100123 -> +1•••0123."""
    return f"{number[:2]}•••{number[-4:]}"


def revoke_device(org: Org, device_id: str, by: str) -> bool:
    if not org.revoke_device(device_id):
        return False
    org.bump_policy()
    org.audit("device_revoked", device_id=device_id, by=by)
    return True


def revoke_connector(org: Org, connector_id: str, by: str) -> bool:
    if not org.revoke_connector(connector_id):
        return False
    org.audit("connector_revoked", connector_id=connector_id, by=by)
    return True


def shown_device(device: rows.Device) -> dict[str, Any]:
    return {"device_id": device.id, "user_id": device.user_id, "kind": device.kind, "label": device.label, "state": device.state,
            "active_from": rfc3339(device.active_from), "created_at": rfc3339(device.created_at)}  # fmt: skip


def shown_connector(connector: rows.Connector) -> dict[str, Any]:
    seen = rfc3339(connector.seen_at) if connector.seen_at else None
    return {"connector_id": connector.id, "user_id": connector.user_id, "name": connector.name, "state": connector.state, "seen_at": seen}


def _rename_device(org: Org, device_id: str, label: str, by: str) -> None:
    if org.rename_device(device_id, label):
        org.bump_policy()
        org.audit("device_renamed", device_id=device_id, by=by)


def _rename_connector(org: Org, connector_id: str, name: str, by: str) -> None:
    if org.rename_connector(connector_id, name):
        org.audit("connector_renamed", connector_id=connector_id, by=by)
