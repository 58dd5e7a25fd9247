"""Looking after a server: what `ony admin` asks over the local socket in the data folder, and the making of a new server.

MUST: be reachable through that socket alone, whose peers the listener checks by their credentials.
MUST: show a TOTP secret once, when it is made: a second phone of the same user gets none.
MUST NOT: put a phone number into an audit row or a listing; people see it masked.
"""

import os
import re
from pathlib import Path
from typing import Any

from ony_core import auditkey, canon, totp
from ony_core.clock import Clock, new_id, rfc3339
from ony_core.errors import Malformed, OnyError, UsageError
from ony_core.server import confirmed, devices, passwords, phones, strength
from ony_core.server import keyring as keys
from ony_core.server.audit import Log
from ony_core.server.connectors import origin
from ony_core.server.keyring import Keyring
from ony_core.server.login import orgs_of as _orgs
from ony_core.server.login import plain, the_user
from ony_core.server.message import Request, Response, answer, fields, problem
from ony_core.server.numbers import Numbers
from ony_core.store import Store, Tx, rows

DATABASE, AUDIT_KEY = "ony.db", "audit.key"
_WHOSE = (404, "unknown_user", "no user has this email, or there are several", "say whose connector it is with --email")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\Z")


def initialise(data: Path, org: str, email: str, password: str, clock: Clock) -> dict[str, str]:
    """A new server in an empty folder: {"org_id","user_id","verification_key"}. OnyError if there is one already."""
    _insist_on(org, email, password)
    _prepare(data)
    store = Store.open(data / DATABASE, clock)
    try:
        keyring = keys.create(data, store, clock)
        org_id, user_id, email = new_id("org", clock), new_id("usr", clock), plain(email)
        store.write_now(lambda tx: tx.set_meta("server_id", clock.random(16).hex()))
        verification_key = auditkey.create_key(data / AUDIT_KEY, org_id)
        store.attach(audit_log(data, store, keyring, clock))
        hashed = passwords.hashed(password, clock.random(16))
        store.write_now(lambda tx: _first(tx, org_id, org, user_id, email, hashed))
    finally:
        store.close()
    return {"org_id": org_id, "user_id": user_id, "verification_key": verification_key}


def audit_log(data: Path, store: Store, keyring: Keyring, clock: Clock) -> Log:
    server_id = store.read(lambda tx: tx.meta("server_id"))
    if server_id is None:
        raise OnyError("the database has no server id", "it was not made by `ony admin init`, or restore a backup")
    return Log(data / AUDIT_KEY, lambda org_id: f"ony/{server_id}/{org_id}", keyring.sign_audit, clock, lambda: keyring.audit_public)


class Admin:
    """One method per route of the local socket."""

    def __init__(self, store: Store, keyring: Keyring, config: Any, clock: Clock, numbers: Numbers | None = None) -> None:
        self._store, self._keyring, self._clock, self._numbers = store, keyring, clock, numbers

    async def phone(self, request: Request) -> Response:
        """{"email","number","verified","by"?,"code"?} -> {"device_id","totp_secret","otpauth_uri"}; the secret is null on a second phone.

        code: an approver's, once there is one: a new phone is another one that may decide.
        """
        wish = fields(request, {"email": str, "number": str, "verified": bool}, {"by": "", "code": ""})
        if not phones.E164.match(wish["number"]):
            return problem(400, "bad_number", "that is not a phone number", "write it like +15550100123")
        if not wish["verified"]:
            return problem(400, "not_verified", "a number is used only once its owner has shown that it is theirs",
                           "call it yourself, then say so with --verified")  # fmt: skip
        said, joined = await self._store.write(lambda tx: self._add_phone(tx, wish))
        if joined is not None and self._numbers is not None:
            self._numbers.announce(joined)
        return said

    def _add_phone(self, tx: Tx, wish: dict[str, Any]) -> tuple[Response, rows.Device | None]:
        found, number = the_user(tx, wish["email"]), wish["number"]
        if found is None:
            return problem(404, "unknown_user", "no user has this email", "`ony admin init` made the first one"), None
        org, user = found
        by = confirmed.by_approver(org, self._keyring, wish["by"], wish["code"], self._clock, recovery=True)
        if isinstance(by, Response):
            return by, None
        device = phones.join(org, self._keyring, user, number, by, self._clock)
        secret = phones.first_secret(org, self._keyring, user, self._clock)
        uri = totp.provisioning_uri(secret, user.email) if secret else None
        return answer({"device_id": device.id, "totp_secret": secret, "otpauth_uri": uri}, 201), device

    async def enroll_code(self, request: Request) -> Response:
        """{"email"} ("" = the only user) -> {"code","expires_at"}: the code carries the server key's fingerprint."""
        wish = _body(request, {"email": str})
        text, digest = devices.enroll_code(self._keyring, self._clock)
        expires = self._clock.wall() + devices.ENROLL_S

        if not await self._store.write(lambda tx: _add_code(tx, wish["email"], digest, expires)):
            return problem(*_WHOSE)
        return answer({"code": text, "expires_at": rfc3339(expires)}, 201)

    async def enroll_approve(self, request: Request) -> Response:
        """{"email","code"} that a machine shows -> {"expires_at"}: from now on that code enrols it, once."""
        wish = _body(request, {"email": str, "code": str})
        digest, expires = devices.shown_code(self._keyring, wish["code"]), self._clock.wall() + devices.ENROLL_S
        if not digest:
            return problem(*devices.NOT_OURS)
        if not await self._store.write(lambda tx: _add_code(tx, wish["email"], digest, expires)):
            return problem(*_WHOSE)
        return answer({"expires_at": rfc3339(expires)}, 201)

    async def devices(self, request: Request) -> Response:
        return answer({"devices": self._store.read(lambda tx: [devices.shown_device(d) for org in _orgs(tx) for d in org.devices()])})

    async def revoke_device(self, request: Request, device_id: str) -> Response:
        done = await self._store.write(lambda tx: any(devices.revoke_device(org, device_id, "local") for org in _orgs(tx)))
        return answer({"revoked": device_id}) if done else problem(404, "unknown_device", "there is no such active device")

    async def connectors(self, request: Request) -> Response:
        return answer(
            {"connectors": self._store.read(lambda tx: [devices.shown_connector(c) for org in _orgs(tx) for c in org.connectors()])}
        )

    async def revoke_connector(self, request: Request, connector_id: str) -> Response:
        done = await self._store.write(lambda tx: any(devices.revoke_connector(org, connector_id, "local") for org in _orgs(tx)))
        return answer({"revoked": connector_id}) if done else problem(404, "unknown_connector", "there is no such active connector")

    async def status(self, request: Request) -> Response:
        waiting = self._store.read(lambda tx: sum(len(org.waiting()) for org in _orgs(tx)))
        return answer({"waiting": waiting, "latched": self._store.latched})


def _first(tx: Tx, org_id: str, name: str, user_id: str, email: str, hashed: str) -> None:
    org = tx.add_org(org_id, name)
    org.add_user(user_id, email, "admin", hashed)
    org.audit("genesis", origin=origin(tx, org_id))
    org.audit("user_added", user_id=user_id, role="admin")


def _prepare(data: Path) -> None:
    """A folder for the owner alone. One that somebody uses for other things keeps its mode, and its secrets to itself."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = os.listdir(data)
    if {DATABASE, keys.MASTER_FILE, AUDIT_KEY} & set(names):
        raise OnyError("this data folder holds a server already", "choose another folder, or use it with `ony serve`")
    if names and data.stat().st_mode & 0o077:
        raise OnyError("the data folder is not empty and others can look into it", f"choose an empty one, or chmod 700 {data}")
    os.chmod(data, 0o700)


def _insist_on(org: str, email: str, password: str) -> None:
    if not 0 < len(org) <= 80 or not org.isprintable():
        raise UsageError("the organisation needs a name of at most 80 characters", "give it with --org")
    if not _EMAIL.match(email) or not email.isprintable():
        raise UsageError("that is not an email address", "give it with --email")
    if weak := strength.trouble(password, (org, email)):
        raise UsageError(weak, "longer is better; any characters will do")


def _add_code(tx: Tx, email: str, digest: bytes, expires: int) -> bool:
    found = the_user(tx, email)
    if found is not None:
        devices.add_enroll_code(*found, digest, expires)
    return found is not None


def _body(request: Request, shape: dict[str, type]) -> dict[str, Any]:
    value = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != set(shape) or any(type(value[name]) is not kind for name, kind in shape.items()):
        raise Malformed("the body is not an object of the expected fields")
    return value
