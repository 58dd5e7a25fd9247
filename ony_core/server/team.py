"""The people of an organisation: who is in, with which role, and who is asked to join.

MUST: leave an organisation at least one active administrator, and, once it has one, an approver: without any, nobody's code would be asked.
MUST: end the sessions of whoever gets another role, and sessions, devices and connectors of whoever is disabled, in the same transaction;
and with either the enrolment codes that are still open, or a machine would come in after its owner was shown out.
MUST: on the local socket, where nobody has logged in, ask an approver's code for what gives something: an invitation, a role.
MUST NOT: keep or log an invitation's code; it is shown once.
"""

import base64
import re
from collections.abc import Callable
from typing import Any

from ony_core.clock import Clock, new_id, rfc3339
from ony_core.server import confirmed, factors
from ony_core.server.devices import revoke_connector, revoke_device
from ony_core.server.keyring import Keyring
from ony_core.server.login import invitation_digest, plain
from ony_core.server.message import Request, Response, answer, fields, one_line, problem
from ony_core.server.sessions import Caller
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org

ROLES = ("viewer", "member", "admin")
INVITED_S, RESET_S = 72 * 3600, 3600
MOST_INVITED = 100
LOCAL = "local"  # who did it, in the log: whoever may use the socket
LONGEST_EMAIL = 255
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\Z")
_LAST = (409, "last_admin", "an organisation keeps at least one active administrator", "make somebody else administrator first")


class Team:
    """One method per route. Those for sessions get the caller; those of the local socket find the organisation by the user's address."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock) -> None:
        self._store, self._keyring, self._clock = store, keyring, clock

    # ---------------------------------------------------------------- sessions

    async def users(self, request: Request, caller: Caller) -> Response:
        return answer({"users": self._store.read(lambda tx: [shown(user) for user in tx.org(caller.user.org_id).users()])})

    async def role(self, request: Request, caller: Caller, user_id: str) -> Response:
        """{"role"}."""
        role = fields(request, {"role": str})["role"]
        return await self._store.write(caller.within(lambda tx: _role(tx.org(caller.user.org_id), user_id, role, caller.user.id)))

    async def disable(self, request: Request, caller: Caller, user_id: str) -> Response:
        fields(request, {})
        return await self._store.write(caller.within(lambda tx: _disable(tx.org(caller.user.org_id), user_id, caller.user.id)))

    async def enable(self, request: Request, caller: Caller, user_id: str) -> Response:
        fields(request, {})
        return await self._store.write(caller.within(lambda tx: _enable(tx.org(caller.user.org_id), user_id, caller.user.id)))

    async def end_sessions(self, request: Request, caller: Caller, user_id: str) -> Response:
        fields(request, {})
        return await self._store.write(caller.within(lambda tx: _end_sessions(tx.org(caller.user.org_id), user_id, caller.user.id)))

    async def invitations(self, request: Request, caller: Caller) -> Response:
        found = self._store.read(lambda tx: tx.org(caller.user.org_id).invitations())
        return answer({"invitations": [_invitation(one) for one in found]})

    async def invite(self, request: Request, caller: Caller) -> Response:
        """{"email","role"} -> {"invitation_id","code","expires_at"}: the code is shown this once, and carried to the person by hand."""
        wish = fields(request, {"email": str, "role": str})
        return await self._store.write(
            caller.within(lambda tx: self._invited(tx.org(caller.user.org_id), wish["email"], wish["role"], caller.user.id))
        )

    async def reset(self, request: Request, caller: Caller, user_id: str) -> Response:
        """A one-time code for somebody who lost password or second factor."""
        fields(request, {})
        return await self._store.write(caller.within(lambda tx: self._reset(tx.org(caller.user.org_id), user_id, caller.user.id)))

    async def withdraw(self, request: Request, caller: Caller, invitation_id: str) -> Response:
        fields(request, {})
        return await self._store.write(caller.within(lambda tx: _withdraw(tx.org(caller.user.org_id), invitation_id, caller.user.id)))

    async def second_factor(self, request: Request, caller: Caller) -> Response:
        """{"of": everybody | approvers}: of whom a second factor is asked at login; of administrators it always is."""
        whom = fields(request, {"of": str})["of"]
        return await self._store.write(caller.within(lambda tx: _asked_of(tx.org(caller.user.org_id), whom, caller.user.id)))

    # ---------------------------------------------------------------- the local socket

    async def local_users(self, request: Request) -> Response:
        found = self._store.read(lambda tx: [shown(user) for org_id in tx.org_ids() for user in tx.org(org_id).users()])
        return answer({"users": found})

    async def local_invite(self, request: Request) -> Response:
        """{"email","role","org"?,"by"?,"code"?}."""
        wish = fields(request, {"email": str, "role": str}, {"org": "", "by": "", "code": ""})

        def invited(tx: Tx) -> Response:
            found = [org_id for org_id in tx.org_ids() if wish["org"] in ("", org_id)]
            if len(found) != 1:
                return problem(404, "unknown_org", "there is no such organisation, or there are several", "name it with --org")
            org = tx.org(found[0])
            return self._by_approver(org, wish, lambda: self._invited(org, wish["email"], wish["role"], LOCAL))

        return await self._store.write(invited)

    async def local_role(self, request: Request, user_id: str) -> Response:
        """{"role","by"?,"code"?}."""
        wish = fields(request, {"role": str}, {"by": "", "code": ""})
        return await self._locally(user_id, lambda org: self._by_approver(org, wish, lambda: _role(org, user_id, wish["role"], LOCAL)))

    async def local_reset(self, request: Request, user_id: str) -> Response:
        """{"by"?,"code"?}."""
        wish = fields(request, {}, {"by": "", "code": ""})
        return await self._locally(user_id, lambda org: self._by_approver(org, wish, lambda: self._reset(org, user_id, LOCAL)))

    async def local_disable(self, request: Request, user_id: str) -> Response:
        fields(request, {})
        return await self._locally(user_id, lambda org: _disable(org, user_id, LOCAL))

    async def local_enable(self, request: Request, user_id: str) -> Response:
        """{"by"?,"code"?}."""
        wish = fields(request, {}, {"by": "", "code": ""})
        return await self._locally(user_id, lambda org: self._by_approver(org, wish, lambda: _enable(org, user_id, LOCAL)))

    async def local_second_factor(self, request: Request, org_id: str) -> Response:
        """{"of","by"?,"code"?}."""
        wish = fields(request, {"of": str}, {"by": "", "code": ""})

        def asked(tx: Tx) -> Response:
            if org_id not in tx.org_ids():
                return problem(404, "unknown_org", "there is no such organisation", "`ony admin org list` shows them")
            org = tx.org(org_id)
            return self._by_approver(org, wish, lambda: _asked_of(org, wish["of"], LOCAL))

        return await self._store.write(asked)

    async def _locally(self, user_id: str, change: Callable[[Org], Response]) -> Response:
        def found(tx: Tx) -> Response:
            orgs = [org for org in map(tx.org, tx.org_ids()) if org.user(user_id)]
            return change(orgs[0]) if orgs else problem(404, "unknown_user", "there is no such user", "`ony admin user list` shows them")

        return await self._store.write(found)

    def _by_approver(self, org: Org, wish: dict[str, Any], change: Callable[[], Response]) -> Response:
        found = confirmed.by_approver(org, self._keyring, wish["by"], wish["code"], self._clock, recovery=True)
        return found if isinstance(found, Response) else change()

    # ---------------------------------------------------------------- inside the transaction

    def _invited(self, org: Org, email: str, role: str, by: str) -> Response:
        if not _EMAIL.match(plain(email)) or not one_line(plain(email), LONGEST_EMAIL) or role not in ROLES:
            return problem(400, "bad_invitation", "that is not an email address or not a role", f"roles: {', '.join(ROLES)}")
        if org.user_by_email(plain(email)) is not None:
            return problem(409, "is_in", "somebody with this address is in already", "`reset` is for lost passwords")
        return self._sent(org, plain(email), role, by, 0, INVITED_S)

    def _reset(self, org: Org, user_id: str, by: str) -> Response:
        user = org.user(user_id)
        if user is None or user.state != "active":
            return problem(409, "not_active", "this user is disabled", "enable them first")
        return self._sent(org, user.email, user.role, by, 1, RESET_S)

    def _sent(self, org: Org, email: str, role: str, by: str, reset: int, seconds: int) -> Response:
        if len(org.invitations()) >= MOST_INVITED:
            return problem(409, "too_many", f"there are {MOST_INVITED} open invitations", "withdraw some first")
        text, now = base64.b32encode(self._clock.random(16)).decode("ascii").rstrip("="), self._clock.wall()
        made = rows.Invitation(invitation_digest(text), new_id("inv", self._clock), org.id, email, role, reset, now, now + seconds)
        org.add_invitation(made)
        org.audit("reset" if reset else "invited", invitation_id=made.id, role=role, by=by, expires_at=rfc3339(made.expires_at))
        return answer({**_invitation(made), "code": "-".join(text[i : i + 5] for i in range(0, len(text), 5)).lower()}, 201)


def shown(user: rows.User) -> dict[str, Any]:
    return {"user_id": user.id, "email": user.email, "name": user.name, "role": user.role, "timezone": user.timezone, "state": user.state,
            "created_at": rfc3339(user.created_at)}  # fmt: skip


def _invitation(one: rows.Invitation) -> dict[str, Any]:
    return {"invitation_id": one.id, "email": one.email, "role": one.role, "reset": bool(one.reset), "expires_at": rfc3339(one.expires_at)}


def _role(org: Org, user_id: str, role: str, by: str) -> Response:
    user = org.user(user_id)
    if user is None or role not in ROLES:
        return problem(400, "bad_role", "there is no such role", f"roles: {', '.join(ROLES)}")
    if role != "admin" and _is_last_admin(org, user):
        return problem(*_LAST)
    if user.role != role:
        org.change_user(user.id, role=role)
        org.end_sessions(user.id)
        org.close_enroll_codes(user.id)
        org.audit("user_role", user_id=user.id, role=role, before=user.role, by=by)
    return answer({"user_id": user.id, "role": role})


def _asked_of(org: Org, whom: str, by: str) -> Response:
    if whom not in (factors.EVERYBODY, factors.APPROVERS):
        return problem(400, "bad_setting", "a second factor is asked of everybody or of approvers", "administrators always need one")
    return answer({"of": whom, "ended": factors.ask_of(org, whom, by)})


def _disable(org: Org, user_id: str, by: str) -> Response:
    """Sessions, devices and connectors go with the user; enabling brings none of them back."""
    user = org.user(user_id)
    if user is None or _is_last_admin(org, user):
        return problem(*_LAST)
    if [one.id for one in org.approvers()] == [user.id]:
        return problem(
            409, "last_approver", "nobody else here has an approval secret", "let another phone join first; to stop all, `ony freeze`"
        )
    org.change_user(user.id, state="disabled")
    ended = org.end_sessions(user.id)
    org.close_enroll_codes(user.id)
    for device in org.devices(user.id):
        revoke_device(org, device.id, by)
    for connector in org.connectors():
        if connector.user_id == user.id:
            revoke_connector(org, connector.id, by)
    org.audit("user_disabled", user_id=user.id, by=by, sessions=ended)
    return answer({"user_id": user.id, "state": "disabled"})


def _enable(org: Org, user_id: str, by: str) -> Response:
    if org.change_user(user_id, state="active"):
        org.audit("user_enabled", user_id=user_id, by=by)
    return answer({"user_id": user_id, "state": "active"})


def _end_sessions(org: Org, user_id: str, by: str) -> Response:
    ended = org.end_sessions(user_id)
    org.audit("sessions_ended", user_id=user_id, sessions=ended, reason="ended_by_admin", by=by)
    return answer({"ended": ended})


def _withdraw(org: Org, invitation_id: str, by: str) -> Response:
    if org.withdraw_invitation(invitation_id):
        org.audit("invitation_withdrawn", invitation_id=invitation_id, by=by)
    return Response(204)


def _is_last_admin(org: Org, user: rows.User) -> bool:
    admins = [one.id for one in org.users() if one.role == "admin" and one.state == "active"]
    return admins == [user.id]
