"""Looking after a server: what `ony admin` asks over the local socket in the data folder, and the making of a new server.

MUST: be reachable through that socket alone, whose peers the listener checks by their credentials.
MUST: show a TOTP secret once, when it is made: a second phone of the same user gets none.
MUST NOT: put a phone number into an audit row or a listing; people see it masked.
"""

import base64
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from ony_core import auditkey, canon, totp
from ony_core.clock import Clock, new_id, rfc3339
from ony_core.errors import Malformed, OnyError, UsageError
from ony_core.server import keyring as keys
from ony_core.server import passwords
from ony_core.server.audit import Log
from ony_core.server.connectors import fingerprint, origin
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response, answer, problem
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org

DATABASE, AUDIT_KEY = "ony.db", "audit.key"
ENROLL_S = 15 * 60
PASSWORD_LENGTHS = (12, passwords.MAX_BYTES)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\Z")


def initialise(data: Path, org: str, email: str, password: str, clock: Clock) -> dict[str, str]:
    """A new server in an empty folder: {"org_id","user_id","verification_key"}. OnyError if there is one already."""
    _insist_on(org, email, password)
    _prepare(data)
    store = Store.open(data / DATABASE, clock)
    try:
        keyring = keys.create(data, store, clock)
        org_id, user_id = new_id("org", clock), new_id("usr", clock)
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
    return Log(data / AUDIT_KEY, lambda org_id: f"ony/{server_id}/{org_id}", keyring.sign_audit, clock, keyring.audit_public)


class Admin:
    """One method per route of the local socket."""

    def __init__(self, store: Store, keyring: Keyring, config: Any, clock: Clock) -> None:
        self._store, self._keyring, self._clock = store, keyring, clock

    async def phone(self, request: Request) -> Response:
        """{"email","number","verified"} -> {"device_id","totp_secret","otpauth_uri"}; the secret is null from the second phone on."""
        wish = _body(request, {"email": str, "number": str, "verified": bool})
        if not _E164.match(wish["number"]):
            return problem(400, "bad_number", "that is not a phone number", "write it like +15550100123")
        if not wish["verified"]:
            return problem(400, "not_verified", "a number is used only once its owner has shown that it is theirs",
                           "call it yourself, then say so with --verified")  # fmt: skip
        return await self._store.write(lambda tx: self._add_phone(tx, wish["email"], wish["number"]))

    def _add_phone(self, tx: Tx, email: str, number: str) -> Response:
        found = the_user(tx, email)
        if found is None:
            return problem(404, "unknown_user", "no user has this email", "`ony admin init` made the first one")
        org, user = found
        device_id, now = new_id("dev", self._clock), self._clock.wall()
        seal = self._keyring.seal
        org.add_device(rows.Device(
            device_id, org.id, user.id, "voice", masked(number), seal(number.encode(), "device.address", org.id, device_id, self._clock),
            seal(self._clock.random(32), "device.decision_key", org.id, device_id, self._clock), "active", now, now,
        ))  # fmt: skip
        secret = self._first_secret(org, user)
        org.bump_policy()
        org.audit("device_added", device_id=device_id, user_id=user.id, device_kind="voice")
        uri = totp.provisioning_uri(secret, user.email) if secret else None
        return answer({"device_id": device_id, "totp_secret": secret, "otpauth_uri": uri}, 201)

    def _first_secret(self, org: Org, user: rows.User) -> str | None:
        if org.totp(user.id, "approval") is not None:
            return None
        secret = totp.new_secret(self._clock.random(20))
        org.add_totp(user.id, "approval", self._keyring.seal(secret.encode(), "totp.approval", org.id, user.id, self._clock))
        return secret

    async def enroll_code(self, request: Request) -> Response:
        """{"email"} ("" = the only user) -> {"code","expires_at"}: the code carries the server key's fingerprint."""
        wish = _body(request, {"email": str})
        secret = base64.b32encode(self._clock.random(10)).decode("ascii")
        text = secret + fingerprint(self._keyring.verdict_public)
        expires = self._clock.wall() + ENROLL_S
        made = await self._store.write(lambda tx: _add_code(tx, wish["email"], "ONY" + text, expires))
        if not made:
            return problem(404, "unknown_user", "no user has this email, or there are several", "say whose connector it is with --email")
        grouped = "-".join(text[i : i + 4] for i in range(0, len(text), 4))
        return answer({"code": f"ony-{grouped}", "expires_at": rfc3339(expires)}, 201)

    async def devices(self, request: Request) -> Response:
        return answer({"devices": self._store.read(lambda tx: [_shown(d) for org in _orgs(tx) for d in org.devices()])})

    async def revoke_device(self, request: Request, device_id: str) -> Response:
        done = await self._store.write(lambda tx: any(_revoke_device(org, device_id) for org in _orgs(tx)))
        return answer({"revoked": device_id}) if done else problem(404, "unknown_device", "there is no such active device")

    async def connectors(self, request: Request) -> Response:
        return answer({"connectors": self._store.read(lambda tx: [_seen(c) for org in _orgs(tx) for c in org.connectors()])})

    async def revoke_connector(self, request: Request, connector_id: str) -> Response:
        done = await self._store.write(lambda tx: any(_revoke_connector(org, connector_id) for org in _orgs(tx)))
        return answer({"revoked": connector_id}) if done else problem(404, "unknown_connector", "there is no such active connector")

    async def status(self, request: Request) -> Response:
        waiting = self._store.read(lambda tx: sum(len(org.waiting()) for org in _orgs(tx)))
        return answer({"waiting": waiting, "latched": self._store.latched})


def masked(number: str) -> str:
    """+15550100123 -> +1•••0123."""
    return f"{number[:2]}•••{number[-4:]}"


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
    if not _EMAIL.match(email):
        raise UsageError("that is not an email address", "give it with --email")
    if not PASSWORD_LENGTHS[0] <= len(password) or len(password.encode()) > PASSWORD_LENGTHS[1]:
        raise UsageError(f"the password must have at least {PASSWORD_LENGTHS[0]} characters", "longer is better; any characters will do")


def _orgs(tx: Tx) -> list[Org]:
    return [tx.org(org_id) for org_id in tx.org_ids()]


def the_user(tx: Tx, email: str) -> tuple[Org, rows.User] | None:
    """The one user with this email; with no email, the one user there is."""
    found = [(org, user) for org in _orgs(tx) for user in org.users() if email in ("", user.email)]
    return found[0] if len(found) == 1 else None


def _add_code(tx: Tx, email: str, code: str, expires: int) -> bool:
    found = the_user(tx, email)
    if found is None:
        return False
    org, user = found
    org.add_enroll_code(hashlib.sha256(code.encode("ascii")).digest(), user.id, expires)
    org.audit("enroll_code", user_id=user.id, expires_at=rfc3339(expires))
    return True


def _revoke_device(org: Org, device_id: str) -> bool:
    if not org.revoke_device(device_id):
        return False
    org.bump_policy()
    org.audit("device_revoked", device_id=device_id)
    return True


def _revoke_connector(org: Org, connector_id: str) -> bool:
    if not org.revoke_connector(connector_id):
        return False
    org.audit("connector_revoked", connector_id=connector_id)
    return True


def _shown(device: rows.Device) -> dict[str, Any]:
    return {"device_id": device.id, "user_id": device.user_id, "kind": device.kind, "label": device.label, "state": device.state,
            "created_at": rfc3339(device.created_at)}  # fmt: skip


def _seen(connector: rows.Connector) -> dict[str, Any]:
    seen = rfc3339(connector.seen_at) if connector.seen_at else None
    return {"connector_id": connector.id, "user_id": connector.user_id, "name": connector.name, "state": connector.state, "seen_at": seen}


def _body(request: Request, shape: dict[str, type]) -> dict[str, Any]:
    value = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != set(shape) or any(type(value[name]) is not kind for name, kind in shape.items()):
        raise Malformed("the body is not an object of the expected fields")
    return value
