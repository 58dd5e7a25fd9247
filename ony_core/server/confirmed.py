"""A change on the local socket that takes an approver's code: whose it is, and whether the code is right.

MUST: run inside the transaction of the change, so that the code is burnt with it.
MUST: ask for it as soon as anybody in the organisation has an approval secret; revoking phones does not unlock the door again.
"""

from ony_core.clock import Clock
from ony_core.server import codes, factors
from ony_core.server.keyring import Keyring
from ony_core.server.login import the_user
from ony_core.server.message import Response, problem
from ony_core.store import Tx, rows
from ony_core.store.org import Org

CHANNEL, SESSION = "admin", "session"  # wrong codes on the local socket, and those that people in a session have typed
CODE_LENGTH = 6
_SAID = {codes.WRONG: "the code is wrong or was used before",
         codes.CLOSED: "too many wrong codes: this way is closed for 15 minutes or longer"}


def by_code(tx: Tx, keyring: Keyring, email: str, code: str, clock: Clock) -> tuple[Org, rows.User] | Response:
    """The organisation and the user who confirmed, or the problem to answer with. email: "" = the only user."""
    found = the_user(tx, email)
    if found is None:
        return problem(404, "unknown_user", "no user has this email, or there are several", "say who confirms it with --email")
    org, user = found
    result = codes.check(org, keyring, user.id, CHANNEL, code, clock)
    if result != codes.RIGHT:
        return problem(403, result, _SAID[result], "use the six digits that your authenticator shows now")
    return org, user


def by_approver(
    org: Org, keyring: Keyring, by: str, code: str, clock: Clock, *, recovery: bool = False, channel: str = CHANNEL
) -> str | Response:
    """The user id of the approver whose six digits confirmed it; "" by a recovery code, or where nobody can confirm anything yet.

    by: the approver's address, "" = the only one. recovery: a recovery code will do. Only ever on the local socket: whoever has phished a
    login makes new recovery codes, and must not become an approver by them. channel: where wrong codes are counted; a member in a session
    must not close the way by which the approver thaws.
    """
    approvers = [user for user in org.approvers() if by in ("", user.email)]
    if not org.approvers():
        return ""
    if not code:
        return problem(403, "code_needed", "this needs an approver's six-digit code", "give it when asked")
    if len(approvers) != 1:
        return problem(404, "unknown_approver", "no approver has this address, or there are several", "say who confirms it with --by")
    recovers = recovery and len(code) > CODE_LENGTH
    if recovers:
        result = factors.recover(org, approvers[0].id, code, clock)  # which leaves a row of its own
    else:
        result = codes.check(org, keyring, approvers[0].id, channel, code, clock)
    if result != codes.RIGHT:
        return problem(403, result, _SAID[result], "use the six digits that your authenticator shows now")
    if recovers:
        return ""
    org.audit("code", user_id=approvers[0].id, channel=channel, result="right")  # what it confirmed says by whose hand, not by whose code
    return approvers[0].id
