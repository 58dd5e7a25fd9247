"""The life of a handoff, as one table.

    pending -> ringing -> approved -> used | unused | revoked
    pending, ringing -> denied | expired | cancelled | failed

The theory: a handoff is born `pending` when a connector holds a call. It is `ringing` once a channel has been asked to reach a
person (mode `here` rings on the connector's own screen). A person's yes makes it `approved`, which is not final: it can be revoked
by any approver until the connector claims it (`used`), and it lapses to `unused` when its verdict expires unclaimed. Everything
else is final, and no final state ever becomes another: a no stays a no. What the table does not list is refused; nothing that
affects a transition may live elsewhere.
"""

from ony_core.errors import Refused

PENDING, RINGING, APPROVED = "pending", "ringing", "approved"
USED, UNUSED, REVOKED = "used", "unused", "revoked"
DENIED, EXPIRED, CANCELLED, FAILED = "denied", "expired", "cancelled", "failed"

STATES = (PENDING, RINGING, APPROVED, USED, UNUSED, REVOKED, DENIED, EXPIRED, CANCELLED, FAILED)
FINAL = frozenset({USED, UNUSED, REVOKED, DENIED, EXPIRED, CANCELLED, FAILED})
WAITING = frozenset({PENDING, RINGING})

EVENTS = {
    (PENDING, "ring"): RINGING,
    (RINGING, "ring"): RINGING,  # the next step of the ladder
    (RINGING, "consent"): RINGING,  # the first yes of a two-person action
    (RINGING, "approve"): APPROVED,
    (PENDING, "deny"): DENIED,
    (RINGING, "deny"): DENIED,
    (PENDING, "expire"): EXPIRED,
    (RINGING, "expire"): EXPIRED,
    (PENDING, "cancel"): CANCELLED,
    (RINGING, "cancel"): CANCELLED,
    (PENDING, "fail"): FAILED,
    (RINGING, "fail"): FAILED,
    (APPROVED, "claim"): USED,
    (APPROVED, "lapse"): UNUSED,
    (APPROVED, "revoke"): REVOKED,
}


def after(state: str, event: str) -> str:
    """The state that `event` leads to. Refused("wrong_state") where the table has no such step."""
    try:
        return EVENTS[state, event]
    except KeyError:
        raise Refused("wrong_state", f"a handoff that is {state} cannot {event}") from None
