"""The six-digit code of a user, checked and used up inside the caller's transaction.

MUST: burn the time step in the transaction of what the code allows, so that one code never allows two things, over all channels.
MUST: count wrong codes per user and channel; five in a row close that channel for 15 minutes, and only that channel.
MUST: close it for twice as long after each further five of an approval code: twenty guesses an hour, by an agent that has a connector's
token and a year, would be even odds. A login's stays at 15 minutes, or whoever has the password locks its owner out for hours.
MUST NOT: tell a wrong code from one that was used before.
"""

from collections.abc import Callable

from ony_core import totp
from ony_core.clock import Clock
from ony_core.server.keyring import Keyring
from ony_core.store.org import Org

RIGHT, WRONG, CLOSED = "right", "wrong_code", "closed"
FAILURES = 5
CLOSED_S, LONGEST_S = 15 * 60, 8 * 3600


def check(org: Org, keyring: Keyring, user_id: str, channel: str, code: str, clock: Clock, purpose: str = "approval") -> str:
    """RIGHT (and used up), WRONG, or CLOSED. A user without a secret of this purpose has no right code."""
    longest = LONGEST_S if purpose == "approval" else CLOSED_S
    return counted(org, user_id, channel, clock, lambda: _burnt(org, keyring, user_id, code, clock.wall(), purpose), longest)


def counted(org: Org, user_id: str, channel: str, clock: Clock, burnt: Callable[[], bool], longest: int = CLOSED_S) -> str:
    """burnt: uses the code up, if it is right; not asked while the channel is closed. longest: seconds for which it may be."""
    now = clock.wall()
    failures, closed_until = org.code_failures(user_id, channel)
    if closed_until > now:
        return CLOSED
    if burnt():
        org.set_code_failures(user_id, channel, 0, None)
        return RIGHT
    fives, closes = (failures + 1) // FAILURES, (failures + 1) % FAILURES == 0
    until = now + min(CLOSED_S * 2 ** min(fives - 1, 10), longest) if closes else None
    org.set_code_failures(user_id, channel, failures + 1, until)
    org.audit("code", user_id=user_id, channel=channel, result="closed" if closes else "wrong")
    return CLOSED if closes else WRONG


def _burnt(org: Org, keyring: Keyring, user_id: str, code: str, now: int, purpose: str) -> bool:
    kept = org.totp(user_id, purpose)
    if kept is None:
        return False
    secret = keyring.unseal(kept.secret_sealed, f"totp.{purpose}", org.id, user_id).decode("ascii")
    step = totp.matching_step(secret, code, now, kept.last_step)
    return step is not None and org.burn_step(user_id, purpose, step)
