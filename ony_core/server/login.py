"""Coming in: password, second factor, invitation; and going out.

MUST: cost and answer an unknown account what a known one costs and is answered: the same hash, the same commit, the same words.
MUST: give a whole session only after the second factor, where the account has one or must have one.
MUST: check a code, raise the session and write the audit row in one transaction.
MUST NOT: let a second account with the same address, in another organisation, take the place of the first.
"""

import hashlib
import logging
import re
from typing import Any

from ony_core.clock import Clock, new_id
from ony_core.errors import Refused
from ony_core.server import codes, factors, passwords, strength
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response, answer, fields, one_line, problem, with_headers
from ony_core.server.passwords import Doorkeeper
from ony_core.server.sessions import FULL, HALF, Caller, Sessions
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org

LONGEST_NAME = 80
_INVITED = re.compile(r"[A-Z2-7]{26}\Z", re.ASCII)
_BUSY = {"too_many_tries": (429, 30), "busy": (503, 2), "too_long": (400, 0)}
_NOT_INVITED = (403, "bad_code", "this invitation is unknown, used or has run out", "ask for a new one")
_SAID = {codes.WRONG: "the code is wrong or was used before", codes.CLOSED: "too many wrong codes: this way is closed for 15 minutes"}

log = logging.getLogger("ony.login")


class Login:
    """One method per route; a half session proves the password, a whole one the second factor too."""

    def __init__(self, store: Store, keyring: Keyring, sessions: Sessions, door: Doorkeeper, clock: Clock) -> None:
        self._store, self._keyring, self._sessions, self._door, self._clock = store, keyring, sessions, door, clock

    async def password(self, request: Request) -> Response:
        """{"email","password","org"?} -> {"next"}: "totp" and "enrol" are steps that are still missing, "" is in."""
        wish = fields(request, {"email": str, "password": str}, {"org": ""})
        found = self._store.read(lambda tx: account(tx, wish["email"], wish["org"]))
        stored = self._store.read(lambda tx: tx.org(found.org_id).password(found.id)) if found else ""
        try:
            right = await self._door.check(plain(wish["email"]), stored, wish["password"], request.peer)
            newer = await self._door.hashed(wish["password"]) if right and passwords.outdated(stored) else ""
        except Refused as refused:
            reason = refused.reason
            log.warning("a login from %s was put off: %s", request.peer, reason)
            told(self._store, self._door, refused, "login", found)
            return put_off(refused)
        if not right or found is None:
            await self._store.write(lambda tx: failed(tx, found, "login"))
            return problem(403, "wrong_password", "this email and password do not belong together")
        return await self._store.write(lambda tx: self._entered(tx, found, stored, newer, request.header("user-agent")))

    def _entered(self, tx: Tx, found: rows.User, stored: str, newer: str, agent: str) -> Response:
        org = tx.org(found.org_id)
        user = org.user(found.id)
        if user is None or user.state != "active" or org.password(user.id) != stored:
            return problem(403, "wrong_password", "this email and password do not belong together")
        if newer:
            org.change_user(user.id, password=newer)
        following = "totp" if org.totp(user.id, factors.LOGIN) else "enrol" if factors.required(org, user) else ""
        session, token = self._sessions.begun(org, user, HALF if following else FULL, agent)
        org.audit("login", user_id=user.id, session_id=session.id, result=following or "in")
        return with_headers(answer({"next": following}), self._sessions.cookie(token))

    async def totp(self, request: Request, caller: Caller) -> Response:
        """{"code"}: six digits of the login's own authenticator entry."""
        code = fields(request, {"code": str})["code"]

        def check(org: Org) -> str:
            return codes.check(org, self._keyring, caller.user.id, factors.LOGIN, code, self._clock, purpose=factors.LOGIN)

        return await self._store.write(lambda tx: self._raised(tx, caller, check))

    async def recovery(self, request: Request, caller: Caller) -> Response:
        """{"code"}: one of the ten, in the place of the second factor."""
        code = fields(request, {"code": str})["code"]
        return await self._store.write(
            lambda tx: self._raised(tx, caller, lambda org: factors.recover(org, caller.user.id, code, self._clock))
        )

    async def enrol(self, request: Request, caller: Caller) -> Response:
        """{} -> {"totp_secret","otpauth_uri"}, for an account that has no second factor yet."""
        fields(request, {})
        return await self._store.write(lambda tx: self._offered(tx, caller))

    async def enrolled(self, request: Request, caller: Caller) -> Response:
        """{"code"} of the new entry -> in, and {"recovery_codes"}, shown this once."""
        code = fields(request, {"code": str})["code"]
        return await self._store.write(lambda tx: self._proven(tx, caller, code))

    async def logout(self, request: Request, caller: Caller) -> Response:
        fields(request, {})
        await self._store.write(lambda tx: end(tx.org(caller.user.org_id), caller.user, caller.session.id, "logout"))
        return with_headers(Response(204), self._sessions.cookie(""))

    async def accept(self, request: Request) -> Response:
        """{"code","name","password"} -> {"email"}: a new account, or a new password for one that was lost. Then comes the login."""
        wish = fields(request, {"code": str, "name": str, "password": str})
        digest = invitation_digest(wish["code"])
        found = self._store.read(lambda tx: _invited(tx, digest))
        if found is None:
            return problem(*_NOT_INVITED)
        if not one_line(wish["name"], LONGEST_NAME):
            return problem(400, "bad_name", "a name has at most 80 characters on one line")
        invitation, organisation = found
        weak = strength.trouble(wish["password"], (invitation.email, wish["name"], organisation))
        if weak:
            return problem(400, "weak_password", weak, "longer is better; any characters will do")
        try:
            hashed = await self._door.hashed(wish["password"])
        except Refused as refused:
            return put_off(refused)
        return await self._store.write(lambda tx: self._joined(tx, invitation, wish["name"], hashed))

    # ---------------------------------------------------------------- inside the transaction

    def _raised(self, tx: Tx, caller: Caller, check: Any) -> Response:
        now, org = self._sessions.same(tx, caller), tx.org(caller.user.org_id)
        if now is None or org.totp(caller.user.id, factors.LOGIN) is None:
            return problem(409, "wrong_step", "this login has no such step now", "begin again with the password")
        result = check(org)
        if result != codes.RIGHT:
            return wrong_code(result)
        session, token = self._sessions.raised(org, now.session)
        org.audit("login", user_id=now.user.id, session_id=session.id, result="in")
        left = org.recovery_codes_left(now.user.id)
        return with_headers(answer({"next": "", "recovery_codes_left": left}), self._sessions.cookie(token))

    def _offered(self, tx: Tx, caller: Caller) -> Response:
        now, org = self._sessions.same(tx, caller), tx.org(caller.user.org_id)
        if now is None or org.totp(caller.user.id, factors.LOGIN) is not None:
            return problem(409, "wrong_step", "this login has no such step now", "begin again with the password")
        return answer(factors.begin(org, self._keyring, now.user, self._clock), 201)

    def _proven(self, tx: Tx, caller: Caller, code: str) -> Response:
        now, org = self._sessions.same(tx, caller), tx.org(caller.user.org_id)
        if now is None or org.totp(caller.user.id, factors.LOGIN) is not None:
            return problem(409, "wrong_step", "this login has no such step now", "begin again with the password")
        result = factors.prove(org, self._keyring, now.user, code, self._clock)
        if result != codes.RIGHT:
            return wrong_code(result)
        session, token = self._sessions.raised(org, now.session)
        org.audit("login", user_id=now.user.id, session_id=session.id, result="in")
        made = factors.new_recovery_codes(org, now.user, self._clock)
        return with_headers(answer({"next": "", "recovery_codes": made}), self._sessions.cookie(token))

    def _joined(self, tx: Tx, invitation: rows.Invitation, name: str, hashed: str) -> Response:
        org = tx.org(invitation.org_id)
        known = org.user_by_email(invitation.email)
        if bool(known) != bool(invitation.reset) or not org.use_invitation(invitation.digest):
            return problem(*_NOT_INVITED)
        if known is None:
            user_id = new_id("usr", self._clock)
            org.add_user(user_id, invitation.email, invitation.role, hashed, name)
            org.audit("user_added", user_id=user_id, role=invitation.role, invitation_id=invitation.id)
        else:
            org.change_user(known.id, password=hashed)
            org.drop_totp(known.id, factors.LOGIN)
            org.set_recovery_codes(known.id, [])
            ended = org.end_sessions(known.id)
            org.close_enroll_codes(known.id)
            org.audit("login_reset", user_id=known.id, invitation_id=invitation.id, sessions=ended)
        return answer({"email": invitation.email}, 201)


def plain(email: str) -> str:
    """An address as it is kept and looked for: people write capitals where none matter."""
    return email.strip().lower()


def account(tx: Tx, email: str, org_id: str = "") -> rows.User | None:
    """The active user with this address: of one organisation, or of all the account that is oldest."""
    return next((user for user in tx.accounts(plain(email)) if org_id in ("", user.org_id)), None)


def orgs_of(tx: Tx) -> list[Org]:
    return [tx.org(org_id) for org_id in tx.org_ids()]


def the_user(tx: Tx, email: str) -> tuple[Org, rows.User] | None:
    """The one active user with this email; with no email, the one there is. Who is disabled confirms nothing and is given nothing."""
    found = [(org, user) for org in orgs_of(tx) for user in org.users() if user.state == "active" and plain(email) in ("", user.email)]
    return found[0] if len(found) == 1 else None


def end(org: Org, user: rows.User, session_id: str, reason: str) -> bool:
    """One session of a user, over."""
    done = org.end_session(user.id, session_id)
    if done:
        org.audit("session_ended", user_id=user.id, session_id=session_id, reason=reason)
    return done


def invitation_digest(code: str) -> bytes:
    """Of what people type: the digest that is kept. An odd text gets the digest of nothing."""
    text = re.sub(r"[\s-]", "", code).upper()
    return hashlib.sha256(text.encode("ascii")).digest() if _INVITED.match(text) else b""


def told(store: Store, door: Doorkeeper, refused: Refused, kind: str, found: rows.User | None) -> None:
    """Tries that the door put off stand in the audit log: one row an account and quarter of an hour, all unknown accounts being one.
    Nobody waits for that row, or its commit would tell a known account from an unknown one.
    """
    many = door.worth_telling(f"{kind} {found.id if found else ''}") if refused.reason == "too_many_tries" else 0
    if many:
        store.write_later(lambda tx: log_of(tx, found).audit(kind, user_id=found.id if found else None, result="put_off", tries=many))


def put_off(refused: Refused) -> Response:
    """The door's answer to a flood."""
    status, seconds = _BUSY[refused.reason]
    said = problem(status, refused.reason, refused.what)
    return with_headers(said, ("Retry-After", str(seconds))) if seconds else said


def wrong_code(result: str) -> Response:
    return problem(403, result, _SAID[result], "use the six digits that your authenticator shows now")


def failed(tx: Tx, found: rows.User | None, kind: str) -> None:
    """A wrong password: a row and a commit, whether the account is known or not."""
    log_of(tx, found).audit(kind, user_id=found.id if found else None, result="wrong_password")


def log_of(tx: Tx, found: rows.User | None) -> Org:
    """An unknown account's try stands in the log of the organisation that runs the server, which is the oldest one."""
    return tx.org(found.org_id if found else tx.org_ids()[0])


def _invited(tx: Tx, digest: bytes) -> tuple[rows.Invitation, str] | None:
    found = tx.invitation(digest)
    organisation = tx.org(found.org_id).row() if found else None
    return (found, organisation.name) if found and organisation else None
