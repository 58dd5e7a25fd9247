"""What people look after themselves: password, second factor, recovery codes, their own sessions.

MUST: end every other session when password or second factor change, and give the one that stays another token.
MUST: ask password and second factor anew before what the route table calls fresh; that proof lasts five minutes.
MUST NOT: let a known session alone change what the next login is checked against.
"""

from functools import cache
from typing import Any
from zoneinfo import available_timezones

from ony_core.clock import Clock, rfc3339
from ony_core.errors import Refused
from ony_core.server import codes, factors, strength
from ony_core.server.keyring import Keyring
from ony_core.server.login import LONGEST_NAME, end, put_off, told, wrong_code
from ony_core.server.message import Request, Response, answer, fields, one_line, problem, with_headers
from ony_core.server.passwords import Doorkeeper
from ony_core.server.sessions import Caller, Sessions
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org

_GONE = ("no_session", "this session has ended", "log in again")


class Account:
    """One method per route; each is about the caller and nobody else."""

    def __init__(self, store: Store, keyring: Keyring, sessions: Sessions, door: Doorkeeper, clock: Clock) -> None:
        self._store, self._keyring, self._sessions, self._door, self._clock = store, keyring, sessions, door, clock

    async def me(self, request: Request, caller: Caller) -> Response:
        return answer(self._store.read(lambda tx: self._shown(tx.org(caller.user.org_id), caller)))

    async def profile(self, request: Request, caller: Caller) -> Response:
        """{"name","timezone"}."""
        wish = fields(request, {"name": str, "timezone": str})
        if not one_line(wish["name"], LONGEST_NAME) or wish["timezone"] not in _zones():
            return problem(400, "bad_profile", "the name or the time zone is not one", "a time zone looks like Europe/Berlin")
        await self._store.write(caller.within(lambda tx: tx.org(caller.user.org_id).change_user(caller.user.id, **wish)))
        return answer(wish)

    async def confirm(self, request: Request, caller: Caller) -> Response:
        """{"password","code"}: shown anew; code: "" for an account without a second factor."""
        wish = fields(request, {"password": str, "code": str})
        try:
            stored = await self._held(request, caller, wish["password"])
        except Refused as refused:
            return self._no(refused, caller)
        return await self._store.write(caller.within(lambda tx: self._confirmed(tx, caller, stored, wish["code"])))

    async def password(self, request: Request, caller: Caller) -> Response:
        """{"old","new"}."""
        wish = fields(request, {"old": str, "new": str})
        organisation = self._store.read(lambda tx: tx.org(caller.user.org_id).row())
        weak = strength.trouble(wish["new"], (caller.user.email, caller.user.name, organisation.name if organisation else ""))
        if weak:
            return problem(400, "weak_password", weak, "longer is better; any characters will do")
        try:
            stored = await self._held(request, caller, wish["old"])
            hashed = await self._door.hashed(wish["new"])
        except Refused as refused:
            return self._no(refused, caller)
        return await self._store.write(caller.within(lambda tx: self._changed(tx, caller, stored, hashed)))

    async def new_totp(self, request: Request, caller: Caller) -> Response:
        """{} -> {"totp_secret","otpauth_uri"}: in use once a code of it was shown to `totp_confirmed`."""
        fields(request, {})
        made = await self._store.write(
            caller.within(lambda tx: factors.begin(tx.org(caller.user.org_id), self._keyring, caller.user, self._clock))
        )
        return answer(made, 201)

    async def totp_confirmed(self, request: Request, caller: Caller) -> Response:
        """{"code"} -> {"recovery_codes"}: new ones, shown this once."""
        code = fields(request, {"code": str})["code"]
        return await self._store.write(caller.within(lambda tx: self._proven(tx, caller, code)))

    async def recovery_codes(self, request: Request, caller: Caller) -> Response:
        """{} -> {"recovery_codes"}: ten new ones; the ones before work no longer."""
        fields(request, {})
        made = await self._store.write(
            caller.within(lambda tx: factors.new_recovery_codes(tx.org(caller.user.org_id), caller.user, self._clock))
        )
        return answer({"recovery_codes": made}, 201)

    async def sessions(self, request: Request, caller: Caller) -> Response:
        found = self._store.read(lambda tx: tx.org(caller.user.org_id).sessions(caller.user.id))
        return answer({"sessions": [_session(one, caller) for one in found if self._sessions.lives(one, caller.user)]})

    async def end_session(self, request: Request, caller: Caller, session_id: str) -> Response:
        fields(request, {})
        await self._store.write(caller.within(lambda tx: end(tx.org(caller.user.org_id), caller.user, session_id, "ended_by_user")))
        return Response(204)

    async def end_others(self, request: Request, caller: Caller) -> Response:
        fields(request, {})
        many = await self._store.write(caller.within(lambda tx: _others(tx.org(caller.user.org_id), caller, "ended_by_user")))
        return answer({"ended": many})

    # ---------------------------------------------------------------- inside

    async def _held(self, request: Request, caller: Caller, password: str) -> str:
        """The stored hash that the password holds against. Refused: wrong_password, and the door's own."""
        stored = self._store.read(lambda tx: tx.org(caller.user.org_id).password(caller.user.id))
        if not await self._door.check(f"{caller.user.email} {caller.user.id}", stored, password, request.peer):
            await self._store.write(
                lambda tx: tx.org(caller.user.org_id).audit("confirmation", user_id=caller.user.id, result="wrong_password")
            )
            raise Refused("wrong_password", "that is not your password")
        return stored

    def _no(self, refused: Refused, caller: Caller) -> Response:
        if refused.reason == "wrong_password":
            return problem(403, refused.reason, refused.what)
        told(self._store, self._door, refused, "confirmation", caller.user)
        return put_off(refused)

    def _confirmed(self, tx: Tx, caller: Caller, stored: str, code: str) -> Response:
        now, org = self._standing(tx, caller, stored), tx.org(caller.user.org_id)
        if now is None:
            return problem(401, *_GONE)
        if org.totp(now.user.id, factors.LOGIN) is not None:
            result = codes.check(org, self._keyring, now.user.id, factors.LOGIN, code, self._clock, purpose=factors.LOGIN)
            if result != codes.RIGHT:
                return wrong_code(result)
        org.audit("confirmation", user_id=now.user.id, session_id=now.session.id, result="fresh")
        return self._renewed(org, now, {"fresh": True})

    def _changed(self, tx: Tx, caller: Caller, stored: str, hashed: str) -> Response:
        now, org = self._standing(tx, caller, stored), tx.org(caller.user.org_id)
        if now is None:
            return problem(401, *_GONE)
        org.change_user(now.user.id, password=hashed)
        org.close_enroll_codes(now.user.id)
        org.audit("password_changed", user_id=now.user.id)
        return self._renewed(org, now, {"ended": _others(org, now, "password_changed")})

    def _proven(self, tx: Tx, caller: Caller, code: str) -> Response:
        now, org = self._sessions.same(tx, caller), tx.org(caller.user.org_id)
        if now is None:
            return problem(401, *_GONE)
        result = factors.prove(org, self._keyring, now.user, code, self._clock)
        if result != codes.RIGHT:
            return wrong_code(result)
        _others(org, now, "second_factor")
        return self._renewed(org, now, {"recovery_codes": factors.new_recovery_codes(org, now.user, self._clock)})

    def _standing(self, tx: Tx, caller: Caller, stored: str) -> Caller | None:
        """The caller, if session and password are still those that were looked at before the hash."""
        now = self._sessions.same(tx, caller)
        return now if now and tx.org(now.user.org_id).password(now.user.id) == stored else None

    def _renewed(self, org: Org, caller: Caller, said: dict[str, Any]) -> Response:
        _, token = self._sessions.raised(org, caller.session)
        return with_headers(answer(said), self._sessions.cookie(token))

    def _shown(self, org: Org, caller: Caller) -> dict[str, Any]:
        user, organisation = caller.user, org.row()
        return {
            "user_id": user.id, "email": user.email, "name": user.name, "role": user.role, "timezone": user.timezone,
            "org": {"org_id": org.id, "name": organisation.name if organisation else "",
                    "frozen": bool(organisation and organisation.frozen_at is not None)},
            "second_factor": org.totp(user.id, factors.LOGIN) is not None, "approver": org.totp(user.id, "approval") is not None,
            "recovery_codes_left": org.recovery_codes_left(user.id), "fresh": caller.fresh, "session_id": caller.session.id,
        }  # fmt: skip


@cache
def _zones() -> frozenset[str]:
    """Read once: it walks a folder tree."""
    return frozenset(available_timezones()) | {"UTC"}


def _others(org: Org, caller: Caller, reason: str) -> int:
    many = org.end_sessions(caller.user.id, but=caller.session.id)
    if many:
        org.audit("sessions_ended", user_id=caller.user.id, sessions=many, reason=reason)
    return many


def _session(session: rows.Session, caller: Caller) -> dict[str, Any]:
    return {"session_id": session.id, "agent": session.agent, "created_at": rfc3339(session.created_at),
            "seen_at": rfc3339(session.seen_at), "current": session.id == caller.session.id}  # fmt: skip
