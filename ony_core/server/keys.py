"""Replacing keys while the server runs: the master key, the two signing keys, and a user's approval secret.

MUST: ask an approver's code for each, in the transaction of the change where it is one, and write it into the log.
MUST: let a secret that replaces a lost one count at once only with a second proof, a recovery code; without, after a day.
MUST: show a new approval secret once, to the local socket alone.
The audit log's own key is for life (docs/audit-format.md); a connector's token is replaced by enrolling again, the telephone provider's by
a restart with the new one, while webhooks signed with `voice.old_signing_key` still count.
"""

import asyncio
from pathlib import Path
from typing import Any

from ony_core import canon, totp
from ony_core.clock import Clock, rfc3339
from ony_core.errors import Malformed, Refused
from ony_core.server import codes, confirmed, factors, keyring
from ony_core.server.keyring import OVERLAP_S, PURPOSES, Keyring
from ony_core.server.login import the_user
from ony_core.server.message import Request, Response, answer, problem
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org

MASTER = "master"
LOST_WAIT_S = 24 * 3600  # as long as a phone that was added later has to wait


class Keys:
    """data: the folder of master.key."""

    def __init__(self, data: Path, store: Store, ring: Keyring, clock: Clock) -> None:
        self._data, self._store, self._keyring, self._clock = data, store, ring, clock
        self._one = asyncio.Lock()

    async def rotate(self, request: Request) -> Response:
        """{"key": master | verdict | audit, "email", "code"} -> {"rotated", "until"}: until when the old one is accepted too."""
        wish = _texts(request, {"key", "email", "code"})
        if wish["key"] not in (MASTER, *PURPOSES):
            return problem(400, "unknown_key", "there is no such key", "master, verdict or audit")
        async with self._one:
            refused = await self._store.write(lambda tx: self._begun(tx, wish))
            if refused is not None:
                return refused
            if wish["key"] == MASTER:
                many = await asyncio.to_thread(keyring.rotate_master, self._data, self._store, self._keyring, self._clock)
                return answer({"rotated": MASTER, "sealed_anew": many, "until": None})
            self._store.read(self._keyring.load)
            return answer({"rotated": wish["key"], "sealed_anew": 0, "until": rfc3339(self._clock.wall() + OVERLAP_S)})

    def _begun(self, tx: Tx, wish: dict[str, str]) -> Response | None:
        found = confirmed.by_code(tx, self._keyring, wish["email"], wish["code"], self._clock)
        if isinstance(found, Response):
            return found
        org, user = found
        if wish["key"] != MASTER:
            try:
                keyring.rotate_signing(tx, self._keyring, wish["key"], self._clock)
            except Refused as refused:
                return problem(409, refused.reason, refused.what, refused.hint)
        org.audit("key_rotated", key=wish["key"], user_id=user.id)
        return None

    async def renew_totp(self, request: Request) -> Response:
        """{"email","code"} -> {"totp_secret","otpauth_uri"}: a new approval secret of whoever confirms it with the present one."""
        wish = _texts(request, {"email", "code"})
        return await self._store.write(lambda tx: self._renewed(tx, wish))

    def _renewed(self, tx: Tx, wish: dict[str, str]) -> Response:
        found = confirmed.by_code(tx, self._keyring, wish["email"], wish["code"], self._clock)
        if isinstance(found, Response):
            return found
        return answer(renewed(*found, self._keyring, self._clock, lost=False))


def renewed(org: Org, user: rows.User, ring: Keyring, clock: Clock, lost: bool, wait_s: int = 0) -> dict[str, Any]:
    """A new approval secret in place of the present one, with its row in the log. lost: nobody could show a code of the present one.
    wait_s: for so long no code of it counts: the steps until then are burnt already.
    """
    secret = totp.new_secret(clock.random(20))
    sealed = ring.seal(secret.encode(), "totp.approval", org.id, user.id, clock)
    if not org.renew_totp(user.id, "approval", sealed):
        raise Refused("no_secret", "this user has no approval secret", "`ony admin phone` makes the first one")
    active_from = clock.wall() + wait_s
    if wait_s:
        org.burn_step(user.id, "approval", active_from // totp.STEP_S)
    org.audit("totp_renewed", user_id=user.id, lost=lost, active_from=rfc3339(active_from))
    return {"totp_secret": secret, "otpauth_uri": totp.provisioning_uri(secret, user.email), "active_from": rfc3339(active_from)}


def renewed_lost(tx: Tx, ring: Keyring, email: str, proof: str, clock: Clock) -> dict[str, Any] | str:
    """Where no code can be shown: at once with a recovery code, else after a day, which is time to see it in the log and to stop it.
    codes.WRONG, codes.CLOSED: what the recovery code came to.
    """
    found = the_user(tx, email)
    if found is None:
        raise Refused("unknown_user", "no user has this email, or there are several", "say whose secret it is with --email")
    org, user = found
    result = factors.recover(org, user.id, proof, clock) if proof else codes.RIGHT
    if result != codes.RIGHT:
        return result
    return renewed(org, user, ring, clock, lost=True, wait_s=0 if proof else LOST_WAIT_S)


def _texts(request: Request, names: set[str]) -> dict[str, str]:
    value: Any = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != names or not all(isinstance(part, str) for part in value.values()):
        raise Malformed("the body is not an object of the expected fields")
    return value
