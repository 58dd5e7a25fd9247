"""The emergency brake: the owner's password, or a recovery code, alone stops everything, from any machine. Thawing takes the administrator
and a code.

MUST: deny what waits, revoke what was approved and has not run, end mode off and every easing, and let nothing new be approved, in one
transaction with its audit rows.
MUST: hear a recovery code whoever floods the door: it has 80 bits, so its tries need no bound, and costs no hash.
MUST NOT: approve, show or change anything else. MUST NOT: tell an unknown email from a wrong password.
"""

from typing import Any

from ony_core import canon, states
from ony_core.clock import Clock
from ony_core.errors import Malformed, Refused
from ony_core.server import confirmed, factors
from ony_core.server.desk import Desk
from ony_core.server.keyring import Keyring
from ony_core.server.login import account, failed, log_of, plain, put_off, told
from ony_core.server.message import Request, Response, answer, problem
from ony_core.server.passwords import Doorkeeper
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org


class Freezer:
    """door: shared with the login, so that there is one count of tries and one queue of hashes."""

    def __init__(self, store: Store, keyring: Keyring, desk: Desk, clock: Clock, door: Doorkeeper | None = None) -> None:
        self._store, self._keyring, self._desk, self._clock = store, keyring, desk, clock
        self._door = door or Doorkeeper(clock)

    async def freeze(self, request: Request) -> Response:
        """{"email","password"}, or a recovery code in its place -> {"frozen": true}, also where it is frozen already."""
        wish = _texts(request, ("email", "password"))
        found = self._store.read(lambda tx: account(tx, wish["email"]))
        try:
            right = await self._spent(found, wish["password"]) or await self._held(found, wish, request.peer)
        except Refused as refused:
            told(self._store, self._door, refused, "freeze", found)
            return put_off(refused)
        if not right or found is None:
            await self._store.write(lambda tx: failed(tx, found, "freeze"))
            return problem(403, "wrong_password", "this email and password do not belong together")
        stopped = await self._store.write(lambda tx: _frozen(tx.org(found.org_id), found, self._clock.wall()))
        await self._desk.settled(found.org_id, stopped)
        return answer({"frozen": True, "stopped": len(stopped)})

    async def _spent(self, found: rows.User | None, code: str) -> bool:
        """A recovery code of theirs, used up. Looked for as long where there is no such account."""
        if not factors.shaped(code):
            return False
        return await self._store.write(lambda tx: factors.spent(log_of(tx, found), found.id if found else "", code))

    async def _held(self, found: rows.User | None, wish: dict[str, str], peer: str) -> bool:
        stored = self._store.read(lambda tx: tx.org(found.org_id).password(found.id)) if found else ""
        return await self._door.check(plain(wish["email"]), stored, wish["password"], peer)

    async def thaw(self, request: Request) -> Response:
        """Local socket: {"email","code"}."""
        wish = _texts(request, ("email", "code"))
        return await self._store.write(lambda tx: self._thawed(tx, wish))

    def _thawed(self, tx: Tx, wish: dict[str, str]) -> Response:
        found = confirmed.by_code(tx, self._keyring, wish["email"], wish["code"], self._clock)
        if isinstance(found, Response):
            return found
        org, user = found
        org.freeze(None)
        org.audit("thawed", user_id=user.id)
        return answer({"frozen": False})


def _frozen(org: Org, user: rows.User, now: int) -> list[rows.Handoff]:
    """Everything that could still run, stopped; what was stopped."""
    org.freeze(now)
    org.drop_loose_modes()
    org.bump_policy()
    org.audit("frozen", user_id=user.id)
    waiting = [org.step(row, "deny", reason="frozen", decided_at=now) for row in org.waiting()]
    return waiting + [org.step(row, "revoke", reason="frozen") for row in org.in_state(states.APPROVED)]


def _texts(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    value: Any = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != set(names) or not all(isinstance(part, str) for part in value.values()):
        raise Malformed("the body is not an object of the expected fields")
    return value
