"""GET /v1/openapi.json: what this server answers, as OpenAPI 3.1, made from the route table, so that the two cannot differ.

MUST describe every route of the table. SHAPES adds what the table does not know: the fields of JSON bodies and queries. A route without a
shape is described all the same, with any object for a body.
"""

import re
from functools import cached_property
from typing import Any

from ony_core import __version__, canon
from ony_core.model import KINDS
from ony_core.server.doors import BROWSER, Route
from ony_core.server.message import Request, Response
from ony_core.server.routes import TABLE

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "maxLength": 1024}
_BOOLEAN: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_MODE: Schema = {"enum": ["on", "away", "here", "off"]}
_WORDS: dict[str, Schema] = {
    "id": {"type": "string", "pattern": "^[a-z]{3,4}_[0-9a-f]{32}$"},
    "nonce": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "step": {"type": "string", "enum": ["start", "gate", "choice", "code", "status"]},
}


def _like(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _object(fields: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": fields, "required": sorted(set(fields) - set(optional)), "additionalProperties": False}


_REQUEST_ID, _SESSION = _like("req_[0-9a-f]{32}"), _like("sess_[0-9a-f]{32}")
_NULL: Schema = {"type": "null"}
_HEAD: Schema = {"oneOf": [_NULL, _object({"size": {"type": "integer", "minimum": 0}, "root": _like("[0-9a-f]{64}")})]}
_FACT: Schema = {"type": "object", "required": ["kind", "args"], "properties": {"kind": {"enum": sorted(KINDS)}, "args": _COUNT}}
_EVENT: Schema = {"oneOf": [
    _object({"type": {"const": "heartbeat"}}),
    _object({"type": {"const": "used"}, "request_id": _REQUEST_ID}, ("request_id",)),
    _object({"type": {"enum": ["refused", "mismatch"]}, "request_id": _REQUEST_ID, "reason": _like("[a-z][a-z0-9_]{0,39}")},
            ("request_id", "reason")),
    _object({"type": {"const": "passes"}, "session": _SESSION, "family": _like("[a-z][a-z0-9_.]{0,39}"), "hour": _COUNT, "passes": _COUNT},
            ("session", "family")),
]}  # fmt: skip

_WHOM: Schema = {"enum": ["everybody", "approvers"]}
_ROLE: Schema = {"enum": ["viewer", "member", "admin"]}
_BY: dict[str, Schema] = {"by": _TEXT, "code": _TEXT}

# handler -> the fields of its JSON body, all of them required but those of OPTIONAL
SHAPES: dict[str, dict[str, Schema]] = {
    "connectors.enroll": {
        "code": _like("ony(-[A-Z2-7]{4}){8}"), "name": _like("[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}"), "version": _like("[0-9A-Za-z.+-]{1,40}"),
        "protocol": {"const": 1},
    },
    "connectors.open": {
        "request_id": _REQUEST_ID, "agent": _TEXT, "agent_session_id": _SESSION, "tool": _TEXT, "mode": _MODE, "project": _TEXT,
        "facts": {"type": "array", "items": _FACT, "minItems": 1, "maxItems": 64}, "request_digest": _like("hmac-sha256:[0-9a-f]{64}"),
        "facts_digest": _like("sha256:[0-9a-f]{64}"), "head": _HEAD,
    },
    "payloads.attach": {"text": {"type": "string", "maxLength": 16 * 1024}},
    "connectors.claim": {"nonce": _like("[0-9a-f]{64}"), "payload_digest": _like("sha256:[0-9a-f]{64}")},
    "connectors.decide": {"decision": {"enum": ["approve", "deny"]}, "code": _TEXT},
    "connectors.modes": {
        "session": _like("(sess_[0-9a-f]{32})?"), "mode": _MODE, "code": {"type": ["string", "null"]},
        "minutes": {"oneOf": [_NULL, {"type": "integer", "minimum": 1, "maximum": 525_600}]},
    },
    "connectors.events": {"events": {"type": "array", "maxItems": 200, "items": _EVENT}},
    "freezer.freeze": {"email": _TEXT, "password": _TEXT},
    "freezer.thaw": {"email": _TEXT, "code": _TEXT},
    "admin.phone": {"email": _TEXT, "number": _like(r"\+[1-9][0-9]{6,14}"), "verified": _BOOLEAN, **_BY},
    "admin.enroll_code": {"email": _TEXT},
    "login.password": {"email": _TEXT, "password": _TEXT, "org": _TEXT},
    "login.totp": {"code": _TEXT},
    "login.recovery": {"code": _TEXT},
    "login.enrol": {},
    "login.enrolled": {"code": _TEXT},
    "login.accept": {"code": _TEXT, "name": _TEXT, "password": _TEXT},
    "login.logout": {},
    "account.profile": {"name": _TEXT, "timezone": _TEXT},
    "account.confirm": {"password": _TEXT, "code": _TEXT},
    "account.password": {"old": _TEXT, "new": _TEXT},
    "account.new_totp": {},
    "account.totp_confirmed": {"code": _TEXT},
    "account.recovery_codes": {},
    "account.end_session": {},
    "account.end_others": {},
    "team.role": {"role": _ROLE},
    "team.disable": {},
    "team.enable": {},
    "team.reset": {},
    "team.end_sessions": {},
    "team.invite": {"email": _TEXT, "role": _ROLE},
    "team.withdraw": {},
    "payloads.show": {},
    "team.second_factor": {"of": _WHOM},
    "team.local_second_factor": {"of": _WHOM, **_BY},
    "team.local_invite": {"email": _TEXT, "role": _ROLE, "org": _TEXT, **_BY},
    "team.local_role": {"role": _ROLE, **_BY},
    "team.local_reset": _BY,
    "team.local_disable": {},
    "team.local_enable": _BY,
    "numbers.add": {"number": _like(r"\+[1-9][0-9]{6,14}"), **_BY},
    "numbers.call": {},
    "numbers.verify": {"code": _TEXT},
    "devices.rename_device": {"label": _TEXT},
    "devices.revoke_device": {},
    "devices.rename_connector": {"name": _like("[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")},
    "devices.revoke_connector": {},
    "devices.enroll_code": {},
    "devices.approve_code": {"code": _like("ony(-[A-Z2-7]{4}){8}")},
    "admin.enroll_approve": {"email": _TEXT, "code": _like("ony(-[A-Z2-7]{4}){8}")},
    "keys.rotate": {"key": {"enum": ["master", "verdict", "audit"]}, "email": _TEXT, "code": _TEXT},
    "keys.renew_totp": {"email": _TEXT, "code": _TEXT},
    "upkeep.delete": {"email": _TEXT, "code": _TEXT},
    "upkeep.declare_restore": {"email": _TEXT, "code": _TEXT},
}  # fmt: skip
OPTIONAL: dict[str, tuple[str, ...]] = {
    "admin.phone": tuple(_BY), "numbers.add": tuple(_BY),
    "login.password": ("org",), "team.local_invite": ("org", *_BY), "team.local_role": tuple(_BY),
    "team.local_second_factor": tuple(_BY), "team.local_reset": tuple(_BY), "team.local_enable": tuple(_BY),
}  # fmt: skip
_TIME: Schema = {"type": "string", "format": "date-time"}
QUERIES: dict[str, dict[str, Schema]] = {
    "history.handoffs": {
        **dict.fromkeys(("state", "risk", "action", "connector", "session", "decided_by", "before"), _TEXT), "from": _TIME, "to": _TIME,
        "limit": {"type": "integer", "minimum": 1, "maximum": 200},
    },
    "connectors.look": {"wait": {"type": "integer", "minimum": 0, "maximum": 25}},
    "upkeep.lost": {"size": {"type": "integer", "minimum": 1, "maximum": 10**16 - 1}, "root": _like("[0-9a-f]{64}")},
    "connectors.consistency": {word: {"type": "integer", "minimum": 0, "maximum": 2**63 - 1} for word in ("from", "to")},
}  # fmt: skip
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "connector": [{"connector": []}],
    **{who: [{"session": []}] for who in BROWSER if who != "visitor"},
}
_ERROR: Schema = {
    "type": "object", "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["code", "message", "hint"], "properties": {
        "code": _TEXT, "message": _TEXT, "hint": _TEXT}}},
}  # fmt: skip
_EMPTY = frozenset({"connectors.events", "login.logout", "account.end_session", "team.withdraw"})  # answered 204
_SAYS_WHY = frozenset({"probes.ready"})  # its 503 is its answer
_PLAIN = {"probes.health": "text/plain", "metrics.show": "text/plain", "telephone.webhook": "application/xml"}


def described(table: tuple[Route, ...] = TABLE) -> Schema:
    """The whole document."""
    paths: dict[str, Schema] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ony", "version": __version__, "description": "x-ony-who: who may call; owner-local is the admin socket alone."},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _ERROR},
            "securitySchemes": {
                "connector": {"type": "http", "scheme": "bearer"},
                "metrics": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-ony"},
            },
        },
    }


class OpenApi:
    async def show(self, request: Request) -> Response:
        return Response(200, self._document)

    @cached_property
    def _document(self) -> bytes:
        return canon.dumps(described())


def _operation(route: Route) -> Schema:
    words = re.findall(r"\{([a-z]+)\}", route.path)
    where: list[Schema] = [{"name": word, "in": "path", "required": True, "schema": _WORDS.get(word, _WORDS["id"])} for word in words]
    queries = QUERIES.get(route.handler, {}).items()
    where += [
        {"name": name, "in": "query", "required": route.handler == "connectors.consistency", "schema": schema} for name, schema in queries
    ]
    found: Schema = {
        "operationId": f"{route.method.lower()} {route.handler}",
        "tags": [route.part],
        "x-ony-who": route.who,
        "x-ony-fresh": route.fresh,
        "parameters": where,
        "responses": _responses(route),
    }
    security = [{"metrics": []}] if route.part == "metrics" else _SECURITY.get(route.who)
    if security:
        found["security"] = security
    if route.method == "POST":
        found["requestBody"] = {"required": True, "content": {_takes(route): {"schema": _body(route)}}}
    return found


def _responses(route: Route) -> Schema:
    done: Schema = {"description": "done"}
    if route.handler not in _EMPTY:
        done["content"] = {_PLAIN.get(route.handler, "application/json"): {}}
    refused: Schema = {} if route.handler in _SAYS_WHY else {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {"2XX": done, "default": {"description": "refused", "content": {"application/json": refused}}}


def _takes(route: Route) -> str:
    return "application/x-www-form-urlencoded" if route.who == "provider" else "application/json"


def _body(route: Route) -> Schema:
    fields = SHAPES.get(route.handler)
    return {"type": "object"} if fields is None else _object(fields, OPTIONAL.get(route.handler, ()))
