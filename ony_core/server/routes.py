"""One table: which path, whose handler, and who may call it. What is not in it is 404.

MUST let nothing through to a connector's route without the token of an active connector, and nothing to the administrator's routes but
from the local socket, whose peers the listener has checked.
MUST NOT say in an answer more than the error's own words, which hold nothing of the request; and to the network nothing of what went
wrong inside (paths, tables, files): that stands in the log, and in the administrator's answers.
"""

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ony_core.errors import Malformed, OnyError, Refused
from ony_core.server import doors
from ony_core.server.doors import BROWSER, Route, Who
from ony_core.server.message import Known, Parked, Request, Response, answer, problem, with_headers
from ony_core.server.meter import Family, Meter
from ony_core.server.sessions import FULL, Sessions
from ony_core.store import Store, StoreUnavailable, rows

TABLE = (
    Route("GET", "/healthz", "probes.health", "anyone"),
    Route("GET", "/readyz", "probes.ready", "anyone"),
    Route("GET", "/metrics", "metrics.show", "anyone"),
    Route("GET", "/v1/openapi.json", "openapi.show", "anyone"),
    Route("GET", "/v1/server-key", "connectors.server_key", "anyone"),
    Route("POST", "/v1/enroll", "connectors.enroll", "anyone"),
    Route("GET", "/v1/bundle", "connectors.bundle", "connector"),
    Route("POST", "/v1/handoffs", "connectors.open", "connector"),
    Route("GET", "/v1/handoffs/{id}", "connectors.look", "connector"),
    Route("POST", "/v1/handoffs/{id}/claim", "connectors.claim", "connector"),
    Route("POST", "/v1/handoffs/{id}/cancel", "connectors.cancel", "connector"),
    Route("POST", "/v1/handoffs/{id}/decide", "connectors.decide", "connector"),
    Route("POST", "/v1/handoffs/{id}/payload", "payloads.attach", "connector"),
    Route("POST", "/v1/modes", "connectors.modes", "connector"),
    Route("POST", "/v1/events", "connectors.events", "connector"),
    Route("GET", "/v1/audit/consistency", "connectors.consistency", "connector"),
    Route("POST", "/v1/login", "login.password", "visitor"),
    Route("POST", "/v1/login/totp", "login.totp", "half"),
    Route("POST", "/v1/login/recovery", "login.recovery", "half"),
    Route("POST", "/v1/login/enrol", "login.enrol", "half"),
    Route("POST", "/v1/login/enrol/confirm", "login.enrolled", "half"),
    Route("POST", "/v1/invitations/accept", "login.accept", "visitor"),
    Route("POST", "/v1/logout", "login.logout", "viewer"),
    Route("GET", "/v1/me", "account.me", "viewer"),
    Route("POST", "/v1/me/profile", "account.profile", "viewer"),
    Route("POST", "/v1/me/confirm", "account.confirm", "viewer"),
    Route("POST", "/v1/me/password", "account.password", "viewer", fresh=True),
    Route("POST", "/v1/me/totp", "account.new_totp", "viewer", fresh=True),
    Route("POST", "/v1/me/totp/confirm", "account.totp_confirmed", "viewer", fresh=True),
    Route("POST", "/v1/me/recovery-codes", "account.recovery_codes", "viewer", fresh=True),
    Route("GET", "/v1/me/sessions", "account.sessions", "viewer"),
    Route("POST", "/v1/me/sessions/{session}/end", "account.end_session", "viewer"),
    Route("POST", "/v1/me/sessions/end-others", "account.end_others", "viewer"),
    Route("GET", "/v1/users", "team.users", "viewer"),
    Route("POST", "/v1/users/{user}/role", "team.role", "admin", fresh=True),
    Route("POST", "/v1/users/{user}/disable", "team.disable", "admin", fresh=True),
    Route("POST", "/v1/users/{user}/enable", "team.enable", "admin", fresh=True),
    Route("POST", "/v1/users/{user}/reset", "team.reset", "admin", fresh=True),
    Route("POST", "/v1/users/{user}/end-sessions", "team.end_sessions", "admin", fresh=True),
    Route("POST", "/v1/second-factor", "team.second_factor", "admin", fresh=True),
    Route("GET", "/v1/invitations", "team.invitations", "admin"),
    Route("POST", "/v1/invitations", "team.invite", "admin", fresh=True),
    Route("POST", "/v1/invitations/{invitation}/withdraw", "team.withdraw", "admin", fresh=True),
    Route("GET", "/v1/devices", "devices.devices", "viewer"),
    Route("POST", "/v1/devices", "numbers.add", "member", fresh=True),
    Route("POST", "/v1/devices/{device}/call", "numbers.call", "member", fresh=True, own=True),
    Route("POST", "/v1/devices/{device}/verify", "numbers.verify", "member", fresh=True, own=True),
    Route("POST", "/v1/devices/{device}/rename", "devices.rename_device", "member", fresh=True, own=True),
    Route("POST", "/v1/devices/{device}/revoke", "devices.revoke_device", "member", fresh=True, own=True),
    Route("GET", "/v1/connectors", "devices.connectors", "viewer"),
    Route("POST", "/v1/connectors/enroll-code", "devices.enroll_code", "member", fresh=True),
    Route("POST", "/v1/connectors/approve", "devices.approve_code", "member", fresh=True),
    Route("POST", "/v1/connectors/{connector}/rename", "devices.rename_connector", "member", own=True),
    Route("POST", "/v1/connectors/{connector}/revoke", "devices.revoke_connector", "member", fresh=True, own=True),
    Route("GET", "/v1/history", "history.handoffs", "viewer"),
    Route("GET", "/v1/history/{request}", "history.handoff", "viewer"),
    Route("POST", "/v1/history/{request}/payload", "payloads.show", "member"),
    Route("GET", "/v1/policies", "history.policies", "viewer"),
    Route("GET", "/v1/modes", "history.modes", "viewer"),
    Route("GET", "/v1/audit/restore", "upkeep.lost", "connector"),
    Route("POST", "/v1/freeze", "freezer.freeze", "anyone"),
    Route("POST", "/admin/thaw", "freezer.thaw", "owner-local"),
    Route("POST", "/v1/voice/{nonce}/{step}", "telephone.webhook", "provider"),
    Route("POST", "/admin/phone", "admin.phone", "owner-local"),
    Route("POST", "/admin/enroll-code", "admin.enroll_code", "owner-local"),
    Route("POST", "/admin/enroll-approve", "admin.enroll_approve", "owner-local"),
    Route("GET", "/admin/users", "team.local_users", "owner-local"),
    Route("POST", "/admin/users/invite", "team.local_invite", "owner-local"),
    Route("POST", "/admin/users/{id}/role", "team.local_role", "owner-local"),
    Route("POST", "/admin/users/{id}/reset", "team.local_reset", "owner-local"),
    Route("POST", "/admin/users/{id}/disable", "team.local_disable", "owner-local"),
    Route("POST", "/admin/users/{id}/enable", "team.local_enable", "owner-local"),
    Route("GET", "/admin/devices", "admin.devices", "owner-local"),
    Route("POST", "/admin/devices/{id}/revoke", "admin.revoke_device", "owner-local"),
    Route("GET", "/admin/connectors", "admin.connectors", "owner-local"),
    Route("POST", "/admin/connectors/{id}/revoke", "admin.revoke_connector", "owner-local"),
    Route("GET", "/admin/policy", "policies.listed", "owner-local"),
    Route("POST", "/admin/policy", "policies.set", "owner-local"),
    Route("POST", "/admin/policy/{id}/remove", "policies.remove", "owner-local"),
    Route("GET", "/admin/status", "admin.status", "owner-local"),
    Route("GET", "/admin/orgs", "upkeep.organisations", "owner-local"),
    Route("GET", "/admin/orgs/{id}/export", "upkeep.export", "owner-local"),
    Route("POST", "/admin/orgs/{id}/second-factor", "team.local_second_factor", "owner-local"),
    Route("POST", "/admin/orgs/{id}/delete", "upkeep.delete", "owner-local"),
    Route("POST", "/admin/keys/rotate", "keys.rotate", "owner-local"),
    Route("POST", "/admin/totp/renew", "keys.renew_totp", "owner-local"),
    Route("POST", "/admin/audit/declare-restore", "upkeep.declare_restore", "owner-local"),
)
PUBLIC: tuple[Who, ...] = ("anyone", "connector", "provider", *BROWSER)
LOCAL: tuple[Who, ...] = ("owner-local",)

_ID = r"([a-z]{3,4}_[0-9a-f]{32})"
_WORDS = {"nonce": r"[0-9a-f]{64}", "step": r"[a-z]{1,10}"}  # every other word of a path is an id
Handler = Callable[..., Awaitable[Response | Parked]]
Found = tuple[Route, Handler, tuple[str, ...]]  # and the values of the path's words
_BEARER = re.compile(r"Bearer ([A-Za-z0-9_.-]{20,200})\Z", re.ASCII)

REQUESTS = Family(
    "ony_http_requests_total", "counter", "Requests answered, by route and class of status.",
    {"route": frozenset(route.path for route in TABLE), "status": frozenset({"2xx", "3xx", "4xx", "5xx"})},
)  # fmt: skip

log = logging.getLogger("ony.http")


class Router:
    """The part of TABLE that one listener serves. parts: name -> object with the methods; a part that is None has no routes."""

    def __init__(
        self,
        store: Store,
        parts: Mapping[str, Any],
        whose: tuple[Who, ...],
        meter: Meter | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        if sessions is None and "visitor" in whose:
            raise ValueError("routes for people need their sessions")
        self._store, self._local, self._meter, self._sessions = store, "owner-local" in whose, meter or Meter(), sessions
        served = [route for route in TABLE if route.who in whose and parts.get(route.part) is not None]
        self._exact: dict[str, list[Found]] = {}
        self._shaped: list[tuple[re.Pattern[str], Found]] = []
        for route in served:
            if "{" in route.path:
                self._shaped.append((_pattern(route.path), (route, _method(route, parts), ())))
            else:
                self._exact.setdefault(route.path, []).append((route, _method(route, parts), ()))

    async def answer(self, request: Request) -> Response | Parked:
        """The handler's answer, or a problem in its stead. Only what nobody foresaw is raised."""
        fitting = self._fitting(request.path)
        return await self._counted(fitting[0][0].path if fitting else "", partial(self._routed, request, fitting))

    async def _counted(self, path: str, work: Callable[[], Awaitable[Response | Parked]]) -> Response | Parked:
        response = await self._answered(work)
        if isinstance(response, Parked):
            response.answer = partial(self._counted, path, response.answer)
        else:
            self._meter.count(REQUESTS, path, f"{response.status // 100}xx")
        return response

    async def _answered(self, work: Callable[[], Awaitable[Response | Parked]]) -> Response | Parked:
        try:
            return await work()
        except doors.Shut as shut:
            return shut.response
        except StoreUnavailable as error:
            return self._trouble(503, "store_unavailable", error)
        except Malformed as error:
            return problem(400, "malformed", error.what, error.hint)
        except Refused as error:
            return problem(409, error.reason, error.what, error.hint)
        except OnyError as error:
            return self._trouble(500, "failed", error)

    def trusted(self, request: Request) -> Known | None:
        """Whose it is, if it carries an active connector's token, or a whole session."""
        try:
            connector = self._connector(request)
            caller = self._sessions.caller(request) if self._sessions and connector is None else None
        except Malformed:
            return None
        if connector is not None:
            return Known(connector.org_id, person=False) if connector.state == "active" else None
        return Known(caller.user.id, person=True) if caller is not None and caller.session.level == FULL else None

    def _trouble(self, status: int, code: str, error: OnyError) -> Response:
        log.error("a request failed: %s", error)
        if self._local:
            return problem(status, code, error.what, error.hint)
        return problem(status, code, "the server cannot do this now", "its log says why")

    def _fitting(self, path: str) -> "list[Found]":
        """What the table has at this path, whatever the method. No route with words in its path fits a path of another."""
        shaped = ((match, found) for pattern, found in self._shaped if (match := pattern.fullmatch(path)))
        return self._exact.get(path) or [(route, method, match.groups()) for match, (route, method, _) in shaped]

    async def _routed(self, request: Request, fitting: "list[Found]") -> Response | Parked:
        if not fitting:
            return problem(404, "unknown_path", "there is nothing at this address")
        found = next((item for item in fitting if item[0].method == request.method), None)
        if found is None:
            allowed = ", ".join(sorted(route.method for route, _, _ in fitting))
            return with_headers(problem(405, "method", "this address takes another method"), ("Allow", allowed))
        route, method, words = found
        said = bool(request.body) or (route.who in BROWSER and route.method == "POST")  # no form of another page says that it is JSON
        if said and route.who != "provider" and not _is_json(request):
            return problem(415, "not_json", "the body must be JSON", "send Content-Type: application/json")
        if route.who in BROWSER and self._sessions is not None:
            return await self._for_people(route, request, method, words, self._sessions)
        if route.who != "connector":
            return await method(request, *words)
        connector = self._connector(request)
        if connector is None:
            return with_headers(problem(401, "unknown_token", "this needs the token of an enrolled connector", "run `ony enroll`"),
                         ("WWW-Authenticate", "Bearer"))  # fmt: skip
        if connector.state != "active":
            return problem(403, "connector_revoked", "this connector has been revoked", "enrol it again")
        return await method(request, connector, *words)

    async def _for_people(
        self, route: Route, request: Request, method: Handler, values: tuple[str, ...], sessions: Sessions
    ) -> Response | Parked:
        """What doors.py lets through. A refusal of somebody who is in is worth a line in the log."""
        if (no := doors.stranger(request, sessions)) is not None or route.who == "visitor":
            return no or await method(request)
        caller = sessions.caller(request)
        no = doors.refused(route, caller)
        if no is None and caller is not None:
            passed, words = caller, dict(zip(re.findall(r"\{([a-z]+)\}", route.path), values, strict=True))
            no = self._store.read(lambda tx: doors.missing(route, passed, words, tx))
            caller = replace(caller, still=partial(doors.still_open, route, words, sessions))
        if caller is None or no is not None:
            log.warning("a request for people's routes was refused to %s", request.peer)
            return no or doors.NOT_HERE
        await sessions.seen(caller)
        return await method(request, caller, *values)

    def _connector(self, request: Request) -> rows.Connector | None:
        match = _BEARER.match(request.header("authorization"))
        if match is None:
            return None
        digest = hashlib.sha256(match[1].encode("ascii")).digest()
        return self._store.read(lambda tx: tx.connector_by_token(digest))


class Probes:
    """What a supervisor or a load balancer asks. No secrets, no names, no numbers."""

    def __init__(self, store: Store, voice: bool) -> None:
        self._store, self._voice = store, voice

    async def health(self, request: Request) -> Response:
        """The process answers."""
        return Response(200, b"ok", "text/plain")

    async def ready(self, request: Request) -> Response:
        """200, or 503 with why every held call is denied now. `missing` does not stop the server: without a phone one can be enrolled."""
        reasons = ["store_latched"] if self._store.latched else []
        reasons += [] if self._voice else ["no_voice_provider"]
        missing = [] if self._store.read(_has_phone) else ["no_active_phone"]
        return answer({"ready": not reasons, "reasons": reasons, "missing": missing}, 503 if reasons else 200)


def _has_phone(tx: Any) -> bool:
    return any(device.state == "active" for org_id in tx.org_ids() for device in tx.org(org_id).devices())


def _method(route: Route, parts: Mapping[str, Any]) -> Handler:
    method: Handler = getattr(parts[route.part], route.handler.partition(".")[2])
    return method


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{([a-z]+)\}", lambda word: _WORDS.get(word[1], _ID), path), re.ASCII)


def _is_json(request: Request) -> bool:
    kind, _, parameters = request.header("content-type").lower().partition(";")
    return kind.strip() == "application/json" and parameters.strip() in ("", "charset=utf-8")
