"""What has been asked and decided, as people may read it: filtered, page by page, each decision with whose it was.

MUST NOT: show a raw call, a digest key or a phone number; facts and titles are what has left the agent's machine anyway.
"""

import re
from typing import Any
from urllib.parse import unquote

from ony_core import canon, states
from ony_core.clock import rfc3339, seconds_of
from ony_core.errors import Malformed
from ony_core.model import RISKS
from ony_core.server import modes
from ony_core.server.message import Request, Response, answer
from ony_core.server.sessions import Caller
from ony_core.store import Store, rows
from ony_core.store.org import Org
from ony_core.taxonomy import overlay

PAGE, LONGEST_PAGE = 50, 200
_ID = re.compile(r"[a-z]{3,4}_[0-9a-f]{32}\Z", re.ASCII)
_ACTION = re.compile(r"[a-z][a-z0-9_.]{0,79}\Z", re.ASCII)
_COUNT = re.compile(r"[1-9][0-9]{0,2}\Z", re.ASCII)


class History:
    """One method per route; everything here only reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handoffs(self, request: Request, caller: Caller) -> Response:
        """?state= risk= action= connector= session= decided_by= from= to= before= limit=: newest first; `next` is the next `before`.
        A page may have fewer, or none, and a `next` all the same: only so many are looked through for one.
        """
        wish = _filters(request.query)
        limit = wish.pop("limit", PAGE)
        found = self._store.read(lambda tx: _page(tx.org(caller.user.org_id), limit, wish))
        return answer(found)

    async def handoff(self, request: Request, caller: Caller, request_id: str) -> Response:
        return answer(self._store.read(lambda tx: _whole(tx.org(caller.user.org_id), request_id)))

    async def policies(self, request: Request, caller: Caller) -> Response:
        found = self._store.read(lambda tx: tx.org(caller.user.org_id).overlay())
        return answer({"rules": [overlay.to_wire(overlay.from_row(row)) for row in found]})

    async def modes(self, request: Request, caller: Caller) -> Response:
        def read(org: Org) -> list[dict[str, Any]]:
            return [{"connector_id": one.id, **modes.wire(mode)} for one in org.connectors() for mode in org.modes(one.id)]

        return answer({"modes": self._store.read(lambda tx: read(tx.org(caller.user.org_id)))})


def _page(org: Org, limit: int, wish: dict[str, Any]) -> dict[str, Any]:
    found = org.history(limit + 1, **wish)
    names = _Names(org)
    from_there = {name: wish[name] for name in ("before", "since", "until") if name in wish}
    after = found[limit - 1].id if len(found) > limit else org.history_looked_to(**from_there)
    return {"handoffs": [names.shown(row) for row in found[:limit]], "next": after}


def _whole(org: Org, request_id: str) -> dict[str, Any]:
    row, verdict = org.handoff(request_id), org.verdict(request_id)
    if row is None:
        raise Malformed("there is no such request")
    calls = [{"device_id": c.device_id, "step": c.step, "status": c.status, "at": rfc3339(c.created_at)} for c in org.calls(row.id)]
    return {
        **_Names(org).shown(row), "facts": canon.loads(row.facts.encode()), "titles": list(row.titles), "facts_digest": row.facts_digest,
        "request_digest": row.request_digest, "calls": calls, "verdict": verdict.envelope() if verdict else None,
        "claimed_at": rfc3339(verdict.claimed_at) if verdict and verdict.claimed_at else None,
    }  # fmt: skip


class _Names:
    """Whose device decided, whose connector asked: looked up once a page."""

    def __init__(self, org: Org) -> None:
        self._devices = {one.id: one for one in org.devices()}
        self._connectors = {one.id: one for one in org.connectors()}

    def shown(self, row: rows.Handoff) -> dict[str, Any]:
        device, connector = self._devices.get(row.decided_by or ""), self._connectors.get(row.connector_id)
        by = {"device_id": device.id, "label": device.label, "user_id": device.user_id} if device else None
        return {
            "request_id": row.id, "state": row.state, "reason": row.reason, "action": row.action, "actions": list(row.actions),
            "risk": row.risk, "title": row.title, "word": row.word, "project": row.project, "agent": row.agent, "tool": row.tool,
            "mode": row.mode, "session": row.session, "connector_id": row.connector_id, "connector": connector.name if connector else "",
            "created_at": rfc3339(row.created_at), "deadline": rfc3339(row.deadline_at),
            "decided_at": rfc3339(row.decided_at) if row.decided_at else None, "decided_by": by,
        }  # fmt: skip


def _filters(query: str) -> dict[str, Any]:
    """The query as arguments of Org.history. Malformed for anything that is not a filter."""
    found: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, _, text = part.partition("=")
        if name not in _READ or name in found:
            raise Malformed("the query is not well formed")
        found[_NAMES.get(name, name)] = _READ[name](unquote(text))
    return found


def _word(allowed: frozenset[str] | re.Pattern[str]) -> Any:
    def read(text: str) -> str:
        if not (text in allowed if isinstance(allowed, frozenset) else allowed.match(text)):
            raise Malformed("a filter is not well formed")
        return text

    return read


def _time(text: str) -> int:
    try:
        return seconds_of(text)
    except ValueError:
        raise Malformed("a time looks like 2026-06-30T14:22:07Z") from None


def _limit(text: str) -> int:
    if not _COUNT.match(text) or int(text) > LONGEST_PAGE:
        raise Malformed(f"limit is 1 to {LONGEST_PAGE}")
    return int(text)


_READ = {
    "state": _word(frozenset(states.STATES)), "risk": _word(frozenset(RISKS)), "action": _word(_ACTION), "connector": _word(_ID),
    "session": _word(_ID), "decided_by": _word(_ID), "before": _word(_ID), "from": _time, "to": _time, "limit": _limit,
}  # fmt: skip
_NAMES = {"from": "since", "to": "until", "connector": "connector_id", "decided_by": "decided_by"}
