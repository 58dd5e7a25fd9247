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
from dataclasses import dataclass
from typing import Any, Literal

from ony_core.errors import Malformed, OnyError, Refused
from ony_core.server.message import Request, Response, answer, problem
from ony_core.server.meter import Family, Meter
from ony_core.store import Store, StoreUnavailable, rows

Who = Literal["anyone", "connector", "provider", "owner-local"]


@dataclass(frozen=True, slots=True)
class Route:
    """handler: "part.method". Where who is connector, the method gets the request and the connector's row; then the path's {words}."""

    method: str
    path: str
    handler: str
    who: Who

    @property
    def part(self) -> str:
        return self.handler.partition(".")[0]


TABLE = (
    Route("GET", "/healthz", "probes.health", "anyone"),
    Route("GET", "/readyz", "probes.ready", "anyone"),
    Route("GET", "/metrics", "metrics.show", "anyone"),
    Route("GET", "/v1/openapi.json", "openapi.show", "anyone"),
    Route("POST", "/v1/enroll", "connectors.enroll", "anyone"),
    Route("GET", "/v1/bundle", "connectors.bundle", "connector"),
    Route("POST", "/v1/handoffs", "connectors.open", "connector"),
    Route("GET", "/v1/handoffs/{id}", "connectors.look", "connector"),
    Route("POST", "/v1/handoffs/{id}/claim", "connectors.claim", "connector"),
    Route("POST", "/v1/handoffs/{id}/cancel", "connectors.cancel", "connector"),
    Route("POST", "/v1/handoffs/{id}/decide", "connectors.decide", "connector"),
    Route("POST", "/v1/modes", "connectors.modes", "connector"),
    Route("POST", "/v1/events", "connectors.events", "connector"),
    Route("GET", "/v1/audit/consistency", "connectors.consistency", "connector"),
    Route("POST", "/v1/freeze", "freezer.freeze", "anyone"),
    Route("POST", "/admin/thaw", "freezer.thaw", "owner-local"),
    Route("POST", "/v1/voice/{nonce}/{step}", "telephone.webhook", "provider"),
    Route("POST", "/admin/phone", "admin.phone", "owner-local"),
    Route("POST", "/admin/enroll-code", "admin.enroll_code", "owner-local"),
    Route("GET", "/admin/devices", "admin.devices", "owner-local"),
    Route("POST", "/admin/devices/{id}/revoke", "admin.revoke_device", "owner-local"),
    Route("GET", "/admin/connectors", "admin.connectors", "owner-local"),
    Route("POST", "/admin/connectors/{id}/revoke", "admin.revoke_connector", "owner-local"),
    Route("GET", "/admin/policy", "policies.listed", "owner-local"),
    Route("POST", "/admin/policy", "policies.set", "owner-local"),
    Route("POST", "/admin/policy/{id}/remove", "policies.remove", "owner-local"),
    Route("GET", "/admin/status", "admin.status", "owner-local"),
)
PUBLIC: tuple[Who, ...] = ("anyone", "connector", "provider")
LOCAL: tuple[Who, ...] = ("owner-local",)

_WORDS = {"id": r"([a-z]{3,4}_[0-9a-f]{32})", "nonce": r"[0-9a-f]{64}", "step": r"[a-z]{1,10}"}
_BEARER = re.compile(r"Bearer ([A-Za-z0-9_.-]{20,200})\Z", re.ASCII)

REQUESTS = Family(
    "ony_http_requests_total", "counter", "Requests answered, by route and class of status.",
    {"route": frozenset(route.path for route in TABLE), "status": frozenset({"2xx", "3xx", "4xx", "5xx"})},
)  # fmt: skip

log = logging.getLogger("ony.http")


class Router:
    """The part of TABLE that one listener serves. parts: name -> object with the methods; a part that is None has no routes."""

    def __init__(self, store: Store, parts: Mapping[str, Any], whose: tuple[Who, ...], meter: Meter | None = None) -> None:
        self._store, self._local, self._meter = store, "owner-local" in whose, meter or Meter()
        served = [route for route in TABLE if route.who in whose and parts[route.part] is not None]
        self._routes = [(route, _pattern(route.path), _method(route, parts)) for route in served]

    async def answer(self, request: Request) -> Response:
        """The handler's answer, or a problem in its stead. Only what nobody foresaw is raised."""
        response = await self._answered(request)
        path = next((route.path for route, pattern, _ in self._routes if pattern.fullmatch(request.path)), "")
        self._meter.count(REQUESTS, path, f"{response.status // 100}xx")
        return response

    async def _answered(self, request: Request) -> Response:
        try:
            return await self._routed(request)
        except StoreUnavailable as error:
            return self._trouble(503, "store_unavailable", error)
        except Malformed as error:
            return problem(400, "malformed", error.what, error.hint)
        except Refused as error:
            return problem(409, error.reason, error.what, error.hint)
        except OnyError as error:
            return self._trouble(500, "failed", error)

    def trusted(self, request: Request) -> bool:
        """Whether it carries an active connector's token."""
        try:
            connector = self._connector(request)
        except Malformed:
            return False
        return connector is not None and connector.state == "active"

    def _trouble(self, status: int, code: str, error: OnyError) -> Response:
        log.error("a request failed: %s", error)
        if self._local:
            return problem(status, code, error.what, error.hint)
        return problem(status, code, "the server cannot do this now", "its log says why")

    async def _routed(self, request: Request) -> Response:
        fitting = [(route, match, method) for route, pattern, method in self._routes if (match := pattern.fullmatch(request.path))]
        if not fitting:
            return problem(404, "unknown_path", "there is nothing at this address")
        found = next((item for item in fitting if item[0].method == request.method), None)
        if found is None:
            allowed = ", ".join(sorted(route.method for route, _, _ in fitting))
            return _with(problem(405, "method", "this address takes another method"), ("Allow", allowed))
        route, match, method = found
        if request.body and route.who != "provider" and not _is_json(request):
            return problem(415, "not_json", "the body must be JSON", "send Content-Type: application/json")
        if route.who != "connector":
            return await method(request, *match.groups())
        connector = self._connector(request)
        if connector is None:
            return _with(problem(401, "unknown_token", "this needs the token of an enrolled connector", "run `ony enroll`"),
                         ("WWW-Authenticate", "Bearer"))  # fmt: skip
        if connector.state != "active":
            return problem(403, "connector_revoked", "this connector has been revoked", "enrol it again")
        return await method(request, connector, *match.groups())

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


def _method(route: Route, parts: Mapping[str, Any]) -> Callable[..., Awaitable[Response]]:
    method: Callable[..., Awaitable[Response]] = getattr(parts[route.part], route.handler.partition(".")[2])
    return method


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{([a-z]+)\}", lambda word: _WORDS[word[1]], path), re.ASCII)


def _is_json(request: Request) -> bool:
    kind, _, parameters = request.header("content-type").lower().partition(";")
    return kind.strip() == "application/json" and parameters.strip() in ("", "charset=utf-8")


def _with(response: Response, header: tuple[str, str]) -> Response:
    return Response(response.status, response.body, response.content_type, (*response.headers, header))
