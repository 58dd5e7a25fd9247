"""What a connector may ask over HTTPS: /v1. Shapes in, shapes out; every decision is the desk's.

MUST: give a one-time code one enrolment, and hand out a token that is stored as a digest only.
MUST: show a connector nothing of another connector's requests; an id that is not its own is unknown to it.
MUST: take from a connector's allowance what it has us write down, before it is written.
MUST NOT: believe a mode, a risk or a title a connector sends.
"""

import hashlib
import re
from functools import partial
from typing import Any

from ony_core import canon, endorse, handoff, states, verdict
from ony_core.clock import Clock, new_id, rfc3339
from ony_core.errors import Malformed, Refused
from ony_core.model import MODES
from ony_core.server import modes
from ony_core.server.allowance import EVENT, ROWS, Allowance
from ony_core.server.desk import Desk
from ony_core.server.devices import fingerprint
from ony_core.server.keyring import Keyring
from ony_core.server.message import Parked, Request, Response, answer, problem
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org
from ony_core.taxonomy import overlay

WAIT_S = 25
MAX_EVENTS = 200
_CODE = re.compile(r"ONY[A-Z2-7]{32}\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}\Z", re.ASCII)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}\Z", re.ASCII)
_FAMILY = re.compile(r"[a-z][a-z0-9_.]{0,39}\Z", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,40}\Z", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}\Z", re.ASCII)
_NONCE = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_POLICY = ("code_required", "decision_deadline", "verdict_ttl", "on_no_verdict")
_REFUSALS = {
    "unknown_request": (404, "there is no such request"),
    "connector_revoked": (403, "this connector has been revoked"),
    "id_reused": (409, "this request id stands for another request"),
    "too_many_waiting": (429, "too many requests of this connector wait for a decision"),
    "too_much": (429, "this connector has had too much written down: wait a while"),
    "too_many_modes": (429, "too many sessions of this connector have a mode of their own"),
    "org_busy": (503, "too many connectors of this organisation are waiting"),
    "already_used": (409, "this verdict has been used"),
    "revoked": (409, "this verdict has been taken back"),
    "revoked_device": (409, "the device that approved has been revoked"),
    "expired": (409, "this verdict has expired"),
    "wrong_verdict": (409, "there is no such approved verdict"),
    "wrong_state": (409, "the request has moved on"),
    "unknown_size": (404, "this log has no checkpoint of that size"),
    "frozen": (409, "everything is frozen: no mode steps down before `ony admin thaw`"),
    "bad_minutes": (400, "minutes must be at least 1"),
}


class Connectors:
    """One method per route; the route table has checked the token already. config: [policy] goes into the bundle.

    allowance: shared with whatever else connectors have written down.
    """

    def __init__(self, store: Store, keyring: Keyring, desk: Desk, config: Any, clock: Clock, allowance: Allowance) -> None:
        self._store, self._keyring, self._desk, self._policy, self._clock = store, keyring, desk, config.policy, clock
        self._attach, self._allowance = bool(config.payload.attach), allowance

    # ---------------------------------------------------------------- enrolment and bundle

    async def server_key(self, request: Request) -> Response:
        """For a machine that is about to show a code of its own. Whoever approves that code compares the key without knowing it."""
        return answer({"server_key": "ed25519:" + self._keyring.verdict_public.hex()})

    async def enroll(self, request: Request) -> Response:
        wish = _body(request, {"code": str, "name": str, "version": str, "protocol": int})
        code = re.sub(r"[\s-]", "", wish["code"]).upper()
        if wish["protocol"] != 1:
            return problem(400, "unknown_protocol", "this server speaks protocol 1", "update Ony on the other side")
        if not _CODE.match(code) or not _NAME.match(wish["name"]) or not _VERSION.match(wish["version"]):
            return problem(400, "malformed", "the code, the name or the version is not well formed")
        token = "con_" + self._clock.random(32).hex()
        made = await self._store.write(lambda tx: self._enrolled(tx, code, wish["name"], wish["version"], token))
        if made is None:
            return problem(403, "bad_code", "this one-time code is unknown, used or expired", "make a new one with `ony admin enroll-code`")
        return answer(made, 201)

    def _enrolled(self, tx: Tx, code: str, name: str, version: str, token: str) -> dict[str, Any] | None:
        digest = hashlib.sha256(code.encode("ascii")).digest()
        known = tx.enroll_code(digest)
        owner = tx.org(known.org_id).user(known.user_id) if known else None
        if known is None or owner is None or owner.state != "active" or not tx.org(known.org_id).use_enroll_code(digest):
            return None
        org, connector_id = tx.org(known.org_id), new_id("con", self._clock)
        org.add_connector(connector_id, known.user_id, name, hashlib.sha256(token.encode("ascii")).digest(), version)
        org.audit("connector_enrolled", connector_id=connector_id, user_id=known.user_id)
        connector = org.connector(connector_id)
        if connector is None:
            raise Refused("wrong_org")
        return {
            "connector_id": connector_id, "org_id": org.id, "user_id": known.user_id, "token": token,
            "server_key": "ed25519:" + self._keyring.verdict_public.hex(), "audit_key": "ed25519:" + self._keyring.audit_public.hex(),
            "fingerprint": fingerprint(self._keyring.verdict_public), "origin": origin(tx, org.id),
            "approvers": [self._approver(org, device, connector_id) for device in org.devices(known.user_id)],
            "bundle": self._bundle(org, connector),
        }  # fmt: skip

    def _approver(self, org: Org, device: rows.Device, connector_id: str) -> dict[str, str]:
        return {"device_id": device.id, "label": device.label, "state": device.state, "key": self._key(org, device, connector_id).hex()}

    def _key(self, org: Org, device: rows.Device, connector_id: str) -> bytes:
        decision_key = self._keyring.unseal(device.decision_key_sealed, "device.decision_key", org.id, device.id)
        return verdict.connector_key(decision_key, connector_id)

    def _listed(self, org: Org, device: rows.Device, connector: rows.Connector) -> dict[str, Any]:
        """An approver's state; with an endorsement where it joined after the connector, which can pin it by that alone."""
        said: dict[str, Any] = {"device_id": device.id, "label": device.label, "state": device.state}
        endorser = org.device(device.endorsed_by) if device.endorsed_by else None
        if endorser is not None and device.endorsed_at is not None and device.endorsed_at >= connector.created_at:
            said["endorsement"] = endorse.made(
                connector.id, device.id, self._key(org, device, connector.id), endorser.id, rfc3339(device.endorsed_at),
                self._key(org, endorser, connector.id),
            )  # fmt: skip
        return said

    async def bundle(self, request: Request, connector: rows.Connector) -> Response:
        """ETag: what the bundle says and the hour, so that a connector has one that is never older than an hour."""
        body = self._store.read(lambda tx: self._bundle_body(tx.org(connector.org_id), connector))
        hour = str(self._clock.wall() // 3600)
        told = {**body, "issued_at": hour, "keys": self._keyring.statements}
        etag = '"' + hashlib.sha256(canon.dumps(told)).hexdigest()[:32] + '"'
        if request.header("if-none-match") == etag:
            return Response(304, headers=(("ETag", etag),))
        found = answer({**self._keyring.statement("bundle", body), "keys": self._keyring.statements})
        return Response(200, found.body, found.content_type, (("ETag", etag),))

    def _bundle(self, org: Org, connector: rows.Connector) -> dict[str, str]:
        return self._keyring.statement("bundle", self._bundle_body(org, connector))

    def _bundle_body(self, org: Org, connector: rows.Connector) -> dict[str, Any]:
        organisation = org.row()
        return {
            "org_id": org.id, "connector_id": connector.id, "version": organisation.policy_version if organisation else 0,
            "issued_at": rfc3339(self._clock.wall()),
            "approvers": [self._listed(org, device, connector) for device in org.devices(connector.user_id)],
            "policy": {**{name: getattr(self._policy, name) for name in _POLICY}, "attach": self._attach},
            "modes": [modes.wire(mode) for mode in org.modes(connector.id)],
            "overlay": [overlay.to_wire(overlay.from_row(row)) for row in org.overlay()],
            "server_keys": ["ed25519:" + self._keyring.verdict_public.hex()],
        }  # fmt: skip

    # ---------------------------------------------------------------- handoffs

    async def open(self, request: Request, connector: rows.Connector) -> Response:
        try:
            self._allowance.take(connector.id, len(request.body) + ROWS)
            row = await self._desk.open(connector, request.body)
        except Refused as refused:
            return _refusal(refused)
        return answer(
            {"request_id": row.id, "state": row.state, "action": row.action, "actions": list(row.actions), "risk": row.risk,
             "title": row.title, "word": row.word, "created_at": rfc3339(row.created_at), "deadline": rfc3339(row.deadline_at)},
            201,
        )  # fmt: skip

    async def look(self, request: Request, connector: rows.Connector, request_id: str) -> Response | Parked:
        """The state, after at most ?wait= seconds; with the verdict and its proof once there is one."""
        seconds = _query(request, {"wait"}).get("wait", 0)
        seen = partial(self._seen, connector.org_id, connector.id, request_id)
        try:
            row = self._desk.look(connector.org_id, connector.id, request_id)
            if row.state in states.WAITING and seconds:
                return self._desk.waiting.enter(row.org_id, row.id, min(seconds, WAIT_S), seen)
        except Refused as refused:
            return _refusal(refused)
        return await seen()

    async def _seen(self, org_id: str, connector_id: str, request_id: str) -> Response:
        try:
            row = self._desk.look(org_id, connector_id, request_id)
        except Refused as refused:
            return _refusal(refused)
        return answer(self._store.read(lambda tx: self._state(tx.org(org_id), row)))

    def _state(self, org: Org, row: rows.Handoff) -> dict[str, Any]:
        found = org.verdict(row.id)
        device = org.device(row.decided_by) if row.decided_by else None
        head = (row.head_size, row.head_root) if row.head_root is not None else None
        return {
            "request_id": row.id, "state": row.state, "reason": row.reason,
            "decided_by": {"device_id": device.id, "label": device.label} if device else None,
            "verdict": found.envelope() if found else None, "proof": org.proof(found.audit_seq, head) if found else None,
        }  # fmt: skip

    async def claim(self, request: Request, connector: rows.Connector, request_id: str) -> Response:
        wish = _body(request, {"nonce": str, "payload_digest": str})
        if not _NONCE.match(wish["nonce"]) or not handoff.DIGEST.match(wish["payload_digest"]):
            return problem(400, "malformed", "the nonce or the digest is not well formed")
        try:
            return answer(await self._desk.claim(connector, request_id, wish["nonce"], wish["payload_digest"]))
        except Refused as refused:
            return _refusal(refused)

    async def cancel(self, request: Request, connector: rows.Connector, request_id: str) -> Response:
        try:
            row = await self._desk.cancel(connector, request_id)
        except Refused as refused:
            return _refusal(refused)
        return answer({"request_id": row.id, "state": row.state})

    async def decide(self, request: Request, connector: rows.Connector, request_id: str) -> Response:
        """Mode here: the owner answers on the connector's own screen, always with the code."""
        wish = _body(request, {"decision": str, "code": str})
        row = self._store.read(lambda tx: tx.org(connector.org_id).handoff(request_id))
        if row is None or row.connector_id != connector.id:
            return _refusal(Refused("unknown_request"))
        if row.mode != "here" or wish["decision"] not in ("approve", "deny"):
            return problem(
                409, "not_here", "this request is not answered on this computer", "it is in mode here only that `ony approve` works"
            )
        device = self._store.read(lambda tx: _first_active(tx.org(connector.org_id), connector.user_id, self._clock.wall()))
        if device is None:
            return problem(409, "no_device", "no active device belongs to this connector's user", "enrol a phone with `ony admin phone`")
        outcome = await self._desk.decide(
            connector.org_id, request_id, device_id=device.id, decision=wish["decision"], code=wish["code"] or None, channel="here"
        )
        return answer({"outcome": outcome})

    # ---------------------------------------------------------------- modes, events, log

    async def modes(self, request: Request, connector: rows.Connector) -> Response:
        wish = _mode_wish(request)
        try:
            self._allowance.take(connector.id, ROWS)
            result = await self._store.write(lambda tx: modes.change(tx.org(connector.org_id), self._keyring, connector, wish, self._clock))
        except Refused as refused:
            return _refusal(refused)
        if isinstance(result, str):
            return problem(403, result, _CODE_WORDS[result], "add --code with the six digits of your authenticator")
        return answer(result)

    async def events(self, request: Request, connector: rows.Connector) -> Response:
        """Closed words, ids and numbers; one that is not is a 400 for the whole batch, so that nothing is half heard."""
        listed = _body(request, {"events": list})["events"]
        if len(listed) > MAX_EVENTS:
            raise Malformed("too many events at once")
        checked = [_event(event) for event in listed]
        try:
            self._allowance.take(connector.id, EVENT * sum(event["type"] != "heartbeat" for event in checked))
            await self._store.write(lambda tx: _note(tx.org(connector.org_id), connector, checked, self._clock.wall() // 3600))
        except Refused as refused:
            return _refusal(refused)
        return Response(204)

    async def consistency(self, request: Request, connector: rows.Connector) -> Response:
        sizes = _query(request, {"from", "to"})
        if set(sizes) != {"from", "to"}:
            return problem(400, "malformed", "from and to are needed, both numbers of rows")
        try:
            return answer(self._store.read(lambda tx: tx.org(connector.org_id).consistency(sizes["from"], sizes["to"])))
        except Refused as refused:
            return _refusal(refused)


def origin(tx: Tx, org_id: str) -> str:
    """The audit log's own name: random, never a host name."""
    return f"ony/{tx.meta('server_id')}/{org_id}"


_CODE_WORDS = {
    "code_needed": "stepping down needs the owner's six-digit code",
    "wrong_code": "the code is wrong or was used before",
    "closed": "too many wrong codes: this way is closed for 15 minutes or longer",
}


def _first_active(org: Org, user_id: str, now: int) -> rows.Device | None:
    return next((d for d in org.devices(user_id) if d.state == "active" and d.active_from <= now), None)


def _body(request: Request, shape: dict[str, type]) -> dict[str, Any]:
    """The JSON object of exactly this shape. Malformed otherwise, without a word of its content."""
    value = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != set(shape) or any(type(value[name]) is not kind for name, kind in shape.items()):
        raise Malformed("the body is not an object of the expected fields")
    return value


def _mode_wish(request: Request) -> dict[str, Any]:
    value = canon.loads(request.body)
    if not isinstance(value, dict) or set(value) != {"session", "mode", "minutes", "code"}:
        raise Malformed("the body is not an object of the expected fields")
    session, mode, minutes, code = value["session"], value["mode"], value["minutes"], value["code"]
    named = isinstance(session, str) and (session == "" or (handoff.ID.match(session) is not None and session.startswith("sess_")))
    timed = minutes is None or (type(minutes) is int and minutes <= 525_600)
    if not named or mode not in MODES or not timed or not (code is None or isinstance(code, str)):
        raise Malformed("a mode's session, name, minutes or code is not well formed")
    return value


def _query(request: Request, names: set[str]) -> dict[str, int]:
    """?a=1&b=2 with each name at most once and decimal values."""
    found: dict[str, int] = {}
    for part in filter(None, request.query.split("&")):
        name, _, text = part.partition("=")
        if name not in names or name in found or not _DIGITS.match(text):
            raise Malformed("the query is not well formed")
        found[name] = int(text)
    return found


def _event(value: Any) -> dict[str, Any]:
    fields = {
        "heartbeat": {}, "used": {"request_id": handoff.ID}, "refused": {"request_id": handoff.ID, "reason": _WORD},
        "mismatch": {"request_id": handoff.ID, "reason": _WORD}, "passes": {"session": handoff.ID, "family": _FAMILY},
    }  # fmt: skip
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in fields:
        raise Malformed("an event has an unknown type")
    numbers = {"hour", "passes"} if kind == "passes" else set()
    patterns: dict[str, re.Pattern[str]] = fields[kind]
    if set(value) - {"type"} - numbers - set(patterns) or not numbers <= set(value):
        raise Malformed("an event has missing or unknown fields")
    if any(type(value[name]) is not int or not 0 <= value[name] < 1 << 31 for name in numbers):
        raise Malformed("an event's numbers are not numbers")
    if any(not isinstance(value[name], str) or not pattern.match(value[name]) for name, pattern in patterns.items() if name in value):
        raise Malformed("an event's words are not words")
    return dict(value)


def _note(org: Org, connector: rows.Connector, events: list[dict[str, Any]], hour: int) -> None:
    """hour: the present one. Counts of one to come are of this one: what lies ahead would never be old enough to be removed."""
    org.saw_connector(connector.id)
    for event in events:
        if event["type"] == "passes":
            org.count_passes(connector.id, event.get("session", ""), min(event["hour"], hour), event.get("family", ""), event["passes"])
        elif event["type"] != "heartbeat":
            row = org.handoff(event.get("request_id", ""))
            if row is not None and row.connector_id != connector.id:
                raise Refused("unknown_request")
            org.audit(event["type"], connector_id=connector.id, request_id=event.get("request_id", ""), reason=event.get("reason", ""))


def _refusal(refused: Refused) -> Response:
    status, message = _REFUSALS.get(refused.reason, (409, refused.what))
    return problem(status, refused.reason, message)
