"""Who may pass: the one place where roles, freshness, ownership and foreign ids are judged, from the row of the route table alone.

MUST: refuse by the table before a handler runs, in this order: no private line, another origin, no session, a session of the wrong kind,
the role, staleness, an id that is not the organisation's, an id that is not the caller's.
MUST: ask the same again inside the transaction of whatever is changed.
MUST: answer an id of another organisation with the very bytes that answer an id of nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ony_core.server.message import Request, Response, problem
from ony_core.server.sessions import FULL, HALF, Caller, Sessions
from ony_core.store import Tx
from ony_core.store.org import Org

Who = Literal["anyone", "connector", "provider", "owner-local", "visitor", "half", "viewer", "member", "admin"]
ROLES: tuple[Who, ...] = ("viewer", "member", "admin")
BROWSER: tuple[Who, ...] = ("visitor", "half", *ROLES)  # routes that set or read the session's cookie

# word of a path -> the row it names, asked of the caller's own organisation
FINDERS: Mapping[str, Callable[[Org, Caller, str], Any]] = {
    "user": lambda org, caller, name: org.user(name),
    "device": lambda org, caller, name: org.device(name),
    "connector": lambda org, caller, name: org.connector(name),
    "invitation": lambda org, caller, name: org.invitation(name),
    "request": lambda org, caller, name: org.handoff(name),
    "session": lambda org, caller, name: next((one for one in org.sessions(caller.user.id) if one.id == name), None),
}
NOT_HERE = problem(404, "not_found", "there is nothing of this name")


@dataclass(frozen=True, slots=True)
class Route:
    """handler: "part.method". A connector's method gets the request and the connector's row, one for sessions the request and the caller;
    then the path's {words}.

    fresh: password and second factor were shown within five minutes. own: a member reaches only what belongs to them.
    """

    method: str
    path: str
    handler: str
    who: Who
    fresh: bool = False
    own: bool = False

    @property
    def part(self) -> str:
        return self.handler.partition(".")[0]


def stranger(request: Request, sessions: Sessions) -> Response | None:
    """Why a request for a browser's route is turned away whoever sends it."""
    if not sessions.private(request):
        return problem(403, "not_private", "this is for TLS, or for this machine itself", "reach the server by its https address")
    if request.method != "GET" and not sessions.own_origin(request):
        return problem(403, "foreign_origin", "this was not sent by a page of this server", "send an Origin header with its own address")
    return None


def refused(route: Route, caller: Caller | None) -> Response | None:
    """Why this caller may not ask for this route at all."""
    if caller is None:
        return problem(401, "no_session", "this needs a session", "log in")
    if route.who == "half":
        return None if caller.session.level == HALF else problem(409, "wrong_step", "this login has no such step now", "it is complete")
    if caller.session.level != FULL:
        return problem(401, "second_factor", "this login is not complete", "give the second factor")
    if ROLES.index(caller.user.role) < ROLES.index(route.who):
        return problem(403, "role", "your role does not allow this", "ask an administrator")
    if route.fresh and not caller.fresh:
        return problem(403, "not_fresh", "this needs your password and second factor anew", "POST /v1/me/confirm")
    return None


def missing(route: Route, caller: Caller, words: Mapping[str, str], tx: Tx) -> Response | None:
    """Why the things that the path names are not for this caller."""
    found = [FINDERS[word](tx.org(caller.user.org_id), caller, name) for word, name in words.items()]
    if None in found:
        return NOT_HERE
    if route.own and caller.user.role != "admin" and any(row.user_id != caller.user.id for row in found):
        return problem(403, "not_yours", "this belongs to somebody else", "ask them or an administrator")
    return None


class Shut(Exception):
    """The door was open when the request came in, and is shut in the transaction in which it would have changed something."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def still_open(route: Route, words: Mapping[str, str], sessions: Sessions, tx: Tx, caller: Caller) -> None:
    """Asks everything again of the rows of this transaction. Shut."""
    now = sessions.same(tx, caller)
    no = refused(route, now)
    if no is None and now is not None:
        no = missing(route, now, words, tx)
    if no is not None:
        raise Shut(no)
