"""A change on the local socket that takes an approver's code: whose it is, and whether the code is right.

MUST: run inside the transaction of the change, so that the code is burnt with it.
"""

from ony_core.clock import Clock
from ony_core.server import codes
from ony_core.server.admin import the_user
from ony_core.server.keyring import Keyring
from ony_core.server.message import Response, problem
from ony_core.store import Tx, rows
from ony_core.store.org import Org

CHANNEL = "admin"
_SAID = {codes.WRONG: "the code is wrong or was used before", codes.CLOSED: "too many wrong codes: this way is closed for 15 minutes"}


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
