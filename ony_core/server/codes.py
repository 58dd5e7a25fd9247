"""The six-digit code of a user, checked and used up inside the caller's transaction.

MUST: burn the time step in the transaction of what the code allows, so that one code never allows two things, over all channels.
MUST: count wrong codes per user and channel; five in a row close that channel for 15 minutes, and only that channel.
MUST NOT: tell a wrong code from one that was used before.
"""

from ony_core import totp
from ony_core.clock import Clock
from ony_core.server.keyring import Keyring
from ony_core.store.org import Org

RIGHT, WRONG, CLOSED = "right", "wrong_code", "closed"
FAILURES = 5
CLOSED_S = 15 * 60


def check(org: Org, keyring: Keyring, user_id: str, channel: str, code: str, clock: Clock) -> str:
    """RIGHT (and used up), WRONG, or CLOSED. A user without an approval secret has no right code."""
    now = clock.wall()
    failures, closed_until = org.code_failures(user_id, channel)
    if closed_until > now:
        return CLOSED
    if _burnt(org, keyring, user_id, code, now):
        org.set_code_failures(user_id, channel, 0, None)
        return RIGHT
    closes = failures + 1 >= FAILURES
    org.set_code_failures(user_id, channel, 0 if closes else failures + 1, now + CLOSED_S if closes else None)
    org.audit("code", user_id=user_id, channel=channel, result="closed" if closes else "wrong")
    return CLOSED if closes else WRONG


def _burnt(org: Org, keyring: Keyring, user_id: str, code: str, now: int) -> bool:
    kept = org.totp(user_id, "approval")
    if kept is None:
        return False
    secret = keyring.unseal(kept.secret_sealed, "totp.approval", org.id, user_id).decode("ascii")
    step = totp.matching_step(secret, code, now, kept.last_step)
    return step is not None and org.burn_step(user_id, "approval", step)
