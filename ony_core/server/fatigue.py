"""What keeps an agent from wearing its owner out: one ring for identical waiting calls, a budget an hour, and a pause after two noes.

An owner who is rung too often learns to press 1. (OWASP Transaction Authorization; MFA fatigue.)

A call that got a yes was wanted, so only the others count.

MUST: only ever deny or keep silent; nothing here can approve. MUST: count in the transaction that admits the request.
MUST NOT: let one session use more than half of what its user can be rung, so that a noisy agent cannot silence another.
"""

from ony_core import states
from ony_core.store import rows
from ony_core.store.org import Org

HOUR_S = 3600
SAME = 3  # rings an hour without a yes for the same action on the same target by the same session
NOES = 2  # in a row, of one session: denied by a person, or not answered
PAUSE_S = 15 * 60
SILENT = {"no_decision", "nobody_reached"}
_BY_PERSON = "by_"


def copies(waiting: list[rows.Handoff], row: rows.Handoff) -> list[rows.Handoff]:
    """Of its connector's waiting requests the others for exactly this call. In mode here every request is shown by itself."""
    return [one for one in waiting if _copy(one, row) and row.mode != "here"]


def over_budget(org: Org, row: rows.Handoff, an_hour: int, now: int) -> bool:
    """Whether the phone has rung enough for this in the last hour. an_hour: rings of one user, over all connectors."""
    rung = _rings(org, row, now - HOUR_S)
    session = [one for one in rung if (one.connector_id, one.session) == (row.connector_id, row.session)]
    same = [one for one in session if one.facts_digest == row.facts_digest]
    return len(rung) >= an_hour or len(session) >= max(1, an_hour // 2) or len(same) >= SAME


def tired(org: Org, row: rows.Handoff, now: int) -> bool:
    """Whether the last requests of a session, this one included, were all noes; then the session is paused from now on."""
    last = org.settled_last(row.connector_id, row.session, now - HOUR_S, NOES)
    if len(last) < NOES or not all(_no(one) for one in last) or org.paused_by(row.connector_id, row.session):
        return False
    org.pause(row.connector_id, row.session, now + PAUSE_S, "two_noes")
    org.audit("pause", connector_id=row.connector_id, session=row.session, seconds=PAUSE_S, reason="two_noes")
    return True


def _rings(org: Org, row: rows.Handoff, since: int) -> list[rows.Handoff]:
    """What the row's user was rung for since then, and what will still ring: a flood must not queue up what it may not ring at once."""
    users = {one.id: one.user_id for one in org.connectors()}
    user_id = users[row.connector_id]
    own = {one for one, user in users.items() if user == user_id}
    waiting = [one for one in org.waiting() if one.connector_id in own and one.mode != "here" and one.id != row.id]
    rung = org.rung_since(user_id, since)
    return [*rung, *(one for one in waiting if one.id not in {known.id for known in rung})]


def _copy(one: rows.Handoff, row: rows.Handoff) -> bool:
    """The digest holds call, folder, session and everything read to understand it."""
    return one.id != row.id and (one.request_digest, one.session) == (row.request_digest, row.session)


def _no(row: rows.Handoff) -> bool:
    if row.state == states.DENIED:
        return row.reason.startswith(_BY_PERSON)
    return row.state in (states.EXPIRED, states.FAILED) and row.reason in SILENT
