"""An organisation's own rules on top of the taxonomy: set, listed and removed by the owner, each change confirmed by an approver's code.

MUST: burn the code in the transaction of the change and its audit row. MUST: take no rule that the overlay would never apply.
"""

from typing import Any

from ony_core import canon
from ony_core.clock import Clock, new_id
from ony_core.errors import Malformed, UsageError
from ony_core.server import confirmed
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response, answer, problem
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org
from ony_core.taxonomy import overlay

MOST = 200  # rules of one organisation: every bundle carries them all


class Policies:
    """One method per route of the local socket."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock) -> None:
        self._store, self._keyring, self._clock = store, keyring, clock

    async def listed(self, request: Request) -> Response:
        def read(tx: Tx) -> list[dict[str, str]]:
            return [overlay.to_wire(overlay.from_row(row)) for org_id in tx.org_ids() for row in tx.org(org_id).overlay()]

        return answer({"rules": self._store.read(read)})

    async def set(self, request: Request) -> Response:
        """{"email","code","match","project","risk","recipe"} -> the rule with its id."""
        wish = _body(request, ("email", "code", "match", "project", "risk", "recipe"))
        try:
            one = overlay.lesson(new_id("pol", self._clock), wish["match"], wish["project"], wish["risk"], wish["recipe"])
        except UsageError as error:
            return problem(400, "bad_rule", error.what, error.hint)
        return await self._store.write(lambda tx: self._confirmed(tx, wish, lambda org, user: _add(org, user, one)))

    async def remove(self, request: Request, identity: str) -> Response:
        """{"email","code"}. Taking a raising rule away lowers a risk, so it needs the code like any other change."""
        wish = _body(request, ("email", "code"))
        return await self._store.write(lambda tx: self._confirmed(tx, wish, lambda org, user: _drop(org, user, identity)))

    def _confirmed(self, tx: Tx, wish: dict[str, str], change: Any) -> Response:
        found = confirmed.by_code(tx, self._keyring, wish["email"], wish["code"], self._clock)
        changed: Response = found if isinstance(found, Response) else change(*found)
        return changed


def _add(org: Org, user: rows.User, one: overlay.Lesson) -> Response:
    if len(org.overlay()) >= MOST:
        return problem(409, "too_many_rules", f"an organisation may have {MOST} rules", "remove one first: `ony admin policy list`")
    org.add_overlay(rows.Overlay(one.id, one.project, overlay.to_row(one), one.risk))
    return _noted(org, user, "policy_set", one, 201)


def _drop(org: Org, user: rows.User, identity: str) -> Response:
    known = next((row for row in org.overlay() if row.id == identity), None)
    if known is None or not org.drop_overlay(identity):
        return problem(404, "unknown_rule", "there is no such rule", "`ony admin policy list` shows them")
    return _noted(org, user, "policy_removed", overlay.from_row(known), 200)


def _noted(org: Org, user: rows.User, event: str, one: overlay.Lesson, status: int) -> Response:
    """The log holds the rule's digest, as `list` and the answer show the rule it is of."""
    said = overlay.to_wire(one)
    org.bump_policy()
    org.audit(event, user_id=user.id, rule_id=one.id, risk=one.risk, rule_digest=canon.sha256(canon.dumps(said)))
    return answer(said, status)


def _body(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    value = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != set(names) or not all(isinstance(part, str) for part in value.values()):
        raise Malformed("the body is not an object of the expected fields")
    return value
