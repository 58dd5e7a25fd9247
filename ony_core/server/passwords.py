"""Passwords at the door: checked with the same work for everybody, slowly enough for guessers, never so often that the server stands still.

Numbers: OWASP Password Storage Cheat Sheet (PBKDF2-HMAC-SHA256, 600,000), ASVS 5.0 6.3.1 (throttling without a permanent lock-out).

MUST: cost an unknown account exactly what a known one costs. MUST: run at most two hashes at a time, off the event loop.
MUST: count a try as failed until it has held, so that tries at the same time are not all the fifth.
MUST NOT let one address lock another out: failures are counted by account and address together; each address and the whole have a bound.
MUST NOT: hold or log a password, or say which of email and password was wrong.
"""

import asyncio
import base64
import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ony_core.clock import Clock
from ony_core.errors import Refused
from ony_core.server.framing import network_of

ITERATIONS = 600_000
MAX_BYTES = 1024  # longer ones are refused before any hashing
FREE_FAILURES, FIRST_WAIT_S, LONGEST_WAIT_S = 5, 30, 15 * 60
PER_ADDRESS, PER_SERVER, WINDOW_S = 30, 300, 60
HASHES, QUEUE = 2, 8
T = TypeVar("T")
REMEMBERED = 10_000  # accounts and addresses; the longest untouched is forgotten first


def hashed(password: str, salt: bytes) -> str:
    """pbkdf2-sha256$600000$salt$hash."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    return f"pbkdf2-sha256${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def holds(stored: str, password: str) -> bool:
    """Whether the password is the one that was stored. An empty or odd `stored` holds for nothing, at the usual cost."""
    name, _, rest = stored.partition("$")
    rounds, _, tail = rest.partition("$")
    salt, _, wanted = tail.partition("$")
    known = name == "pbkdf2-sha256" and rounds.isdigit() and bool(wanted)
    grain, many = (base64.b64decode(salt), int(rounds)) if known else (b"\0" * 16, ITERATIONS)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), grain, many)
    return hmac.compare_digest(base64.b64encode(digest).decode(), wanted) and known


def outdated(stored: str) -> bool:
    """Whether a hash was made with fewer rounds than are made today."""
    return not stored.startswith(f"pbkdf2-sha256${ITERATIONS}$")


@dataclass(slots=True)
class _Account:
    failures: int = 0
    closed_until: float = 0


@dataclass(slots=True)
class _Told:
    untold: int = 0
    silent_until: float = 0


@dataclass(slots=True)
class _Window:
    """When the tries of the last minute were."""

    tries: deque[float] = field(default_factory=deque)

    def full(self, now: float, most: int) -> bool:
        while self.tries and self.tries[0] <= now - WINDOW_S:
            self.tries.popleft()
        return len(self.tries) >= most


class Doorkeeper:
    """Every password that arrives over the network passes here. Times are of the boot clock: a clock set back opens nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._addresses: OrderedDict[str, _Window] = OrderedDict()
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._server = _Window()
        self._hashing = asyncio.Semaphore(HASHES)
        self._queued = 0

    async def check(self, account: str, stored: str, password: str, peer: str) -> bool:
        """stored: the account's hash, "" where there is none. Refused: too_long, too_many_tries (wait a while), busy (ask again)."""
        if len(password.encode("utf-8", "replace")) > MAX_BYTES:
            raise Refused("too_long", "a password has at most 1,024 bytes")
        key = hashlib.sha256(f"{account}|{network_of(peer)}".encode("utf-8", "replace")).hexdigest()  # a name may be 60 KB long
        self._admit(key, network_of(peer))
        right = await self._in_turn(holds, stored, password)
        if right:
            self._accounts.pop(key, None)
        return right

    def worth_telling(self, account: str) -> int:
        """A try was put off: how many of this account are to be told now, the first of each quarter of an hour with those before it. 0: not
        yet, so that who asks again and again does not fill the log.
        """
        now, found = self._clock.boot(), _of(self._told, account, _Told)
        found.untold += 1
        if found.silent_until > now:
            return 0
        many, found.untold, found.silent_until = found.untold, 0, now + LONGEST_WAIT_S
        return many

    async def hashed(self, password: str) -> str:
        """A hash to store, made in the same queue. Refused: busy."""
        return await self._in_turn(hashed, password, self._clock.random(16))

    def _admit(self, account: str, address: str) -> None:
        now = self._clock.boot()
        if self._closed(account, address, now):
            raise Refused("too_many_tries", "too many tries: wait a while")
        found, near = _of(self._accounts, account, _Account), _of(self._addresses, address, _Window)
        near.tries.append(now)
        self._server.tries.append(now)
        found.failures += 1
        if found.failures >= FREE_FAILURES:
            wait = FIRST_WAIT_S * 2 ** min(found.failures - FREE_FAILURES, 10)
            found.closed_until = now + min(wait, LONGEST_WAIT_S)

    def _closed(self, account: str, address: str, now: float) -> bool:
        """Remembers nothing: a flood of tries that cost us nothing would push out the failures that count."""
        found, near = self._accounts.get(account), self._addresses.get(address)
        closed = found is not None and found.closed_until > now
        return closed or (near is not None and near.full(now, PER_ADDRESS)) or self._server.full(now, PER_SERVER)

    async def _in_turn(self, work: Callable[..., T], *given: Any) -> T:
        if self._queued >= QUEUE:
            raise Refused("busy", "the server is checking other passwords")
        self._queued += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(work, *given)
        finally:
            self._queued -= 1


def _of(table: "OrderedDict[str, T]", key: str, kind: type[T]) -> T:
    found = table.pop(key, None) or kind()
    table[key] = found
    while len(table) > REMEMBERED:
        table.popitem(last=False)
    return found
