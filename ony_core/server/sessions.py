"""Sessions of people: the cookie, what it proves, and for how long. ASVS 5.0 chapter 7, RFC 6265bis section 4.1.3.

MUST: make a token of 256 random bits, keep its SHA-256 only, and give another one at every step up (login, second factor, confirmation).
MUST: end a session after 15 minutes of silence (30 for who administers nothing), after 12 hours whatever happens, and with its user.
MUST: count a clock that went back as no proof of youth.
MUST: send the cookie as __Host-, Secure, HttpOnly, SameSite=Strict; over plain http to this machine itself only, under another name.
MUST: let no page of another origin change anything: Origin must be ours, and Sec-Fetch-Site, where it is sent, same-origin.
"""

import contextlib
import hashlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ony_core.clock import Clock, new_id
from ony_core.server.message import Request
from ony_core.store import Store, StoreUnavailable, Tx, rows
from ony_core.store.org import Org

T = TypeVar("T")
HALF, FULL = "half", "full"
IDLE_S = {"admin": 15 * 60, "member": 30 * 60, "viewer": 30 * 60}
ABSOLUTE_S = 12 * 3600
HALF_S = 10 * 60  # for the second factor, once the password held
FRESH_S = 5 * 60  # how long a confirmation opens sensitive routes
SEEN_S = 60  # how exactly the last request is remembered: a commit each time would cost more than it tells
SLACK_S = 60  # clocks are set back a little now and then
_TOKEN = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. fresh: password and second factor were shown within the last minutes. still: the door's question once more, inside a
    transaction; it raises the door's refusal.
    """

    session: rows.Session
    user: rows.User
    fresh: bool
    still: "Callable[[Tx, Caller], None] | None" = None

    def within(self, work: Callable[[Tx], T]) -> Callable[[Tx], T]:
        """`work`, which is done only if the door would let the caller pass in that very transaction: a role may have been taken away, or
        the session ended, since the request came in.
        """
        still = self.still
        if still is None:
            raise ValueError("this caller has not passed a door")

        def checked(tx: Tx) -> T:
            still(tx, self)
            return work(tx)

        return checked


class Sessions:
    """secure: people reach this server over TLS, its own or a proxy's. public_url: the address they see."""

    def __init__(self, store: Store, clock: Clock, *, public_url: str, secure: bool) -> None:
        self._store, self._clock, self._public, self._secure = store, clock, public_url.rstrip("/").lower(), secure
        self._name = "__Host-ony" if secure else "ony-local"

    # ---------------------------------------------------------------- who asks

    def private(self, request: Request) -> bool:
        """Whether nobody in between reads along: TLS, or no wire at all."""
        return self._secure or _loopback(request.peer)

    def own_origin(self, request: Request) -> bool:
        """Whether a page of this server sent it. The Host header has passed the list of our own names by now."""
        here = f"{'https' if self._secure else 'http'}://{request.header('host').lower()}"
        return request.header("sec-fetch-site") in ("", "same-origin") and request.header("origin") in {here, self._public} - {""}

    def caller(self, request: Request) -> Caller | None:
        """The session of the cookie, if it lives. Malformed for a repeated Cookie header."""
        digest = self._digest(request)
        return None if digest is None else self._store.read(lambda tx: self.of(tx, digest))

    def of(self, tx: Tx, digest: bytes) -> Caller | None:
        """The live session with this token digest, and its active user."""
        session = tx.session_by_token(digest)
        user = tx.org(session.org_id).user(session.user_id) if session else None
        if session is None or user is None or user.state != "active" or not self.lives(session, user):
            return None
        return Caller(session, user, session.level == FULL and self._within(session.confirmed_at, FRESH_S))

    def lives(self, session: rows.Session, user: rows.User) -> bool:
        if session.level == HALF:
            return self._within(session.created_at, HALF_S)
        return self._within(session.created_at, ABSOLUTE_S) and self._within(session.seen_at, IDLE_S[user.role])

    def same(self, tx: Tx, caller: Caller) -> Caller | None:
        """The caller again, inside the transaction of what is asked for: the session may have ended since the door."""
        return self.of(tx, caller.session.token_digest)

    async def seen(self, caller: Caller) -> None:
        """Silence starts anew. A database that cannot be written makes sessions shorter, never longer."""
        session = caller.session
        if self._clock.wall() - session.seen_at >= SEEN_S:
            with contextlib.suppress(StoreUnavailable):
                await self._store.write(lambda tx: tx.org(session.org_id).saw_session(session.id))

    # ---------------------------------------------------------------- begin, step up, end

    def begun(self, org: Org, user: rows.User, level: str, agent: str) -> tuple[rows.Session, str]:
        """A new session and its token. Those of the user that have run out are cleared away with it."""
        for old in org.sessions(user.id):
            if not self.lives(old, user):
                org.end_session(user.id, old.id)
        now = self._clock.wall()
        return self._kept(org, rows.Session(b"", new_id("ses", self._clock), org.id, user.id, level, now, now, now, _plain(agent)))

    def raised(self, org: Org, session: rows.Session) -> tuple[rows.Session, str]:
        """The same session, full and confirmed now, under another token; the one before is worth nothing."""
        org.end_session(session.user_id, session.id)
        now = self._clock.wall()
        return self._kept(org, replace(session, level=FULL, seen_at=now, confirmed_at=now))

    def cookie(self, token: str) -> tuple[str, str]:
        """The header that gives a token to the browser; "" takes it away."""
        attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self._secure else "") + ("" if token else "; Max-Age=0")
        return ("Set-Cookie", f"{self._name}={token}{attributes}")

    def _kept(self, org: Org, session: rows.Session) -> tuple[rows.Session, str]:
        token = self._clock.random(32).hex()
        kept = replace(session, token_digest=hashlib.sha256(token.encode("ascii")).digest())
        org.add_session(kept)
        return kept, token

    def _digest(self, request: Request) -> bytes | None:
        pairs = [part.strip().partition("=") for part in request.header("cookie").split(";")]
        found = [value for name, _, value in pairs if name == self._name]
        if len(found) != 1 or not _TOKEN.match(found[0]):
            return None
        return hashlib.sha256(found[0].encode("ascii")).digest()

    def _within(self, since: int, seconds: int) -> bool:
        return -SLACK_S <= self._clock.wall() - since < seconds


def _loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _plain(agent: str) -> str:
    """What a browser calls itself, for the list of sessions."""
    return "".join(c if c.isascii() and c.isprintable() else " " for c in agent)[:120]
