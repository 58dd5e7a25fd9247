"""The desk: the only place where a handoff changes state. It assesses, rings, takes decisions, signs, gives claims, and lets time run out.

MUST: derive action, risk and title from the facts alone, and know nothing the connector says about them.
MUST: write a decision, its verdict and their audit rows in one transaction, and answer only after its COMMIT.
MUST: ask the code for high and critical whatever the policy says; policy may ask it for more, never for less.
MUST: give one claim a verdict, and none for a revoked device, a revoked or expired verdict, or a frozen organisation.
MUST: let deadlines run on the boot clock; a wall clock that jumps back gives nobody more time.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ony_core import canon, handoff, states, taxonomy, verdict
from ony_core.clock import Clock, rfc3339
from ony_core.errors import OnyError, Refused
from ony_core.model import RISKS, Assessment, at_least, level
from ony_core.server import codes, fatigue, modes
from ony_core.server.keyring import Keyring
from ony_core.server.meter import Family, Meter
from ony_core.server.waiting import WaitingRoom
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org
from ony_core.taxonomy import overlay

SWEEP_S = 0.25
PAUSE_S = 3600
EASE_S = 15 * 60
MAX_WAITING = 16  # of one connector at the same time; a flood rings nobody

HELD = Family("ony_handoffs_total", "counter", "Calls that were held, by the risk the server derived.", {"risk": frozenset(RISKS)})
SETTLED = Family("ony_handoffs_settled_total", "counter", "Held calls, by the state they came to.", {"state": frozenset(states.STATES)})

log = logging.getLogger("ony.desk")


class Channel(Protocol):
    """A way to reach a person."""

    name: str

    async def ring(self, org_id: str, handoff: rows.Handoff) -> bool: ...

    async def stop(self, org_id: str, handoff: rows.Handoff) -> None: ...


@dataclass(frozen=True, slots=True)
class End:
    """When time runs out for a request, and what happens then. boot: seconds of the boot clock; event: expire | lapse."""

    boot: float
    org_id: str
    event: str


class Desk:
    """config: the whole configuration; its [policy] part is read here. channels: added before the first handoff."""

    def __init__(self, store: Store, keyring: Keyring, config: Any, clock: Clock) -> None:
        self._store, self._keyring, self._policy, self._clock = store, keyring, config.policy, clock
        self.channels: list[Channel] = []
        self.meter = Meter()  # the server's own, where there is a server
        self.waiting = WaitingRoom()
        self._ends: dict[str, End] = {}  # request_id -> when it expires or lapses
        self._leading: set[str] = set()  # whose ring identical requests may share
        self._tasks: set[asyncio.Task[None]] = set()

    # ---------------------------------------------------------------- a call is held

    async def open(self, connector: rows.Connector, body: bytes) -> rows.Handoff:
        """The handoff of a request, new or, for a repeated one, as it stands. Malformed, or Refused: id_reused, too_many_waiting."""
        request = handoff.request_from_wire(body)
        boot = self._clock.boot()
        fresh, row, shares = await self._store.write(lambda tx: self._admit(tx, connector, request))
        if row is None:
            raise Refused("id_reused", "this request id stands for another request")
        if fresh:
            self.meter.count(HELD, row.risk)
        if fresh and row.state in states.WAITING:
            self._ends[row.id] = End(boot + self._policy.decision_deadline, row.org_id, "expire")
            if not shares:
                self._spawn(self._ring(row))
        return row

    def _admit(self, tx: Tx, connector: rows.Connector, request: handoff.Request) -> tuple[bool, rows.Handoff | None, bool]:
        """Whether it is new, the handoff (None: the id stands for another), and whether it shares the ring of an identical one."""
        org = tx.org(connector.org_id)
        known = org.handoff(request.request_id)
        if known is not None:
            same = known.connector_id == connector.id and canon.same(known.body_digest, request.body_digest)
            if not same:
                org.audit("id_reused", request_id=request.request_id, connector_id=connector.id)
            return False, known if same else None, False
        waiting = org.waiting(connector.id)
        if len(waiting) >= MAX_WAITING:
            raise Refused("too_many_waiting")
        row = self._new(org, connector, request)
        org.add_handoff(row)
        if request.head is not None:
            _keep(org, connector, request.head)
        shares = bool(fatigue.copies(waiting, row))
        return True, self._stopped(org, row, shares), shares

    def _new(self, org: Org, connector: rows.Connector, request: handoff.Request) -> rows.Handoff:
        lessons = taxonomy.of_project(tuple(overlay.from_row(row) for row in org.overlay()), request.project)
        assessed, now = taxonomy.assess(request.facts, lessons), self._clock.wall()
        head = request.head
        return rows.Handoff(
            id=request.request_id, org_id=org.id, connector_id=connector.id, session=request.session, agent=request.agent,
            tool=request.tool, mode=modes.current(org, connector.id, request.session), project=request.project,
            facts=request.facts_text, facts_digest=request.facts_digest,
            request_digest=request.request_digest, body_digest=request.body_digest, action=assessed.lead.key,
            actions_json=canon.dumps(list(assessed.keys)).decode("ascii"), risk=assessed.risk, title=assessed.lead.title,
            titles_json=canon.dumps(_titles(assessed)).decode("ascii"), word=f"{10 + int.from_bytes(self._clock.random(4), 'big') % 90}",
            state=states.PENDING, version=1, reason="", created_at=now, deadline_at=now + self._policy.decision_deadline, decided_at=None,
            decided_by=None, head_size=head.size if head else 0, head_root=bytes.fromhex(head.root) if head else None,
        )  # fmt: skip

    def _stopped(self, org: Org, row: rows.Handoff, shares: bool) -> rows.Handoff:
        """The handoff as it stands after what needs no phone call: a pause, a freeze, nobody to ring."""
        organisation = org.row()
        if organisation is None or organisation.frozen_at is not None:
            return org.step(row, "deny", reason="frozen", decided_at=self._clock.wall())
        paused = org.paused_by(row.connector_id, row.session)
        if paused == "owner" or (paused and row.mode != "here"):  # mode here rings nobody, so tiredness does not count there
            return org.step(row, "deny", reason="paused", decided_at=self._clock.wall())
        if row.mode != "here" and not shares and fatigue.over_budget(org, row, self._policy.calls_per_hour, self._clock.wall()):
            return org.step(row, "deny", reason="over_budget", decided_at=self._clock.wall())
        if row.mode != "here" and not self.channels:
            return org.step(row, "fail", reason="no_channel")
        return org.step(row, "ring") if row.mode == "here" else row

    async def _ring(self, row: rows.Handoff) -> None:
        """Ask each channel; if none can reach anybody, say so at once instead of letting the agent wait."""
        if row.mode == "here":
            return
        self._leading.add(row.id)
        rung = await self._all(channel.ring(row.org_id, row) for channel in self.channels)
        if True not in rung:
            await self.unreached(row.org_id, row.id)

    async def _all(self, works: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
        """What each channel answers; trouble in one keeps nobody from the others and undoes nothing that is committed."""
        answers = await asyncio.gather(*works, return_exceptions=True)
        for trouble in (answer for answer in answers if isinstance(answer, Exception)):
            log.error("a channel failed: %s", type(trouble).__name__)
        return answers

    async def unreached(self, org_id: str, request_id: str) -> None:
        """A channel that had said it would ring could reach nobody after all."""
        await self._step(org_id, request_id, "fail", reason="nobody_reached")

    async def ringing(self, org_id: str, request_id: str) -> None:
        """A channel is about to reach somebody. Refused("wrong_state") where nobody waits any more."""
        await self._store.write(lambda tx: self._stepped(tx.org(org_id), request_id, "ring"))

    # ---------------------------------------------------------------- a person decides

    async def decide(self, org_id: str, request_id: str, *, device_id: str, decision: str, code: str | None, channel: str) -> str:
        """approved | denied | revoked | code_needed | wrong_code | closed | too_late."""
        outcome, row = await self._store.write(lambda tx: self._decide(tx.org(org_id), request_id, device_id, decision, code, channel))
        log.info("decision by %s: %s", channel, outcome)
        if outcome == "approved":
            self._let_lapse(row)
        await self._changed(org_id, row, outcome in ("approved", "denied", "revoked"))
        return outcome

    async def pause(self, org_id: str, request_id: str, *, device_id: str, seconds: int = PAUSE_S) -> str:
        """Deny this request, and every further one of its session for a while, without a call. paused | too_late."""
        outcome, row = await self._store.write(lambda tx: self._pause(tx.org(org_id), request_id, device_id, seconds))
        await self._changed(org_id, row, outcome == "paused")
        return outcome

    async def ease(self, org_id: str, request_id: str, *, device_id: str, code: str | None) -> str:
        """Mode away, key 3: approve, and let the session's low-risk steps pass for 15 minutes. As `decide`."""
        outcome, row = await self._store.write(lambda tx: self._ease(tx.org(org_id), request_id, device_id, code))
        if outcome == "approved":
            self._let_lapse(row)
        await self._changed(org_id, row, outcome == "approved")
        return outcome

    def _decide(
        self, org: Org, request_id: str, device_id: str, decision: str, code: str | None, channel: str, insist: bool = False
    ) -> tuple[str, rows.Handoff]:
        """insist: ask the code whatever the risk."""
        row, device = _there(org.handoff(request_id)), self._device(org, request_id, device_id)
        if decision == "deny":
            return self._deny(org, row, device, channel)
        if decision != "approve":
            raise Refused("unknown_decision")
        if row.state != states.RINGING or self._late(row):
            return "too_late", row
        if (insist or self._needs_code(row)) and not code:
            return "code_needed", row
        if code:
            result = codes.check(org, self._keyring, device.user_id, channel, code, self._clock)
            if result != codes.RIGHT:
                return result, row
        return "approved", self._sign(org, row, device, "approve", "approve", bool(code), channel)

    def _deny(self, org: Org, row: rows.Handoff, device: rows.Device, channel: str) -> tuple[str, rows.Handoff]:
        if row.state == states.APPROVED:
            return "revoked", org.step(row, "revoke", reason="taken_back", decided_by=device.id)
        if row.state not in states.WAITING:
            return "too_late", row
        signed = self._sign(org, row, device, "deny", "deny", False, channel)
        fatigue.tired(org, signed, self._clock.wall())
        return "denied", signed

    def _sign(self, org: Org, row: rows.Handoff, device: rows.Device, event: str, decision: str, code: bool, channel: str) -> rows.Handoff:
        now = self._clock.wall()
        stepped = org.step(row, event, reason=f"by_{channel}", decided_at=now, decided_by=device.id)
        decision_key = self._keyring.unseal(device.decision_key_sealed, "device.decision_key", org.id, device.id)
        expires = now + self._policy.verdict_ttl
        text = verdict.payload(
            request_id=row.id, request_digest=row.request_digest, facts_digest=row.facts_digest, connector_id=row.connector_id,
            session=row.session, action=row.action, actions=row.actions, risk=row.risk, decision=decision, device_id=device.id,
            code_verified=code, issued_at=now, expires_at=expires,
        )  # fmt: skip
        envelope = verdict.seal(text, verdict.connector_key(decision_key, row.connector_id), self._keyring.sign_verdict)
        org.add_verdict(row, device.id, decision, envelope, now, expires)
        return stepped

    def _pause(self, org: Org, request_id: str, device_id: str, seconds: int) -> tuple[str, rows.Handoff]:
        row, device = _there(org.handoff(request_id)), self._device(org, request_id, device_id)
        outcome, stepped = self._deny(org, row, device, "voice")
        org.pause(row.connector_id, row.session, self._clock.wall() + seconds, "owner")
        org.audit("pause", connector_id=row.connector_id, session=row.session, seconds=seconds, device_id=device.id)
        return ("paused" if outcome != "too_late" else outcome), stepped

    def _ease(self, org: Org, request_id: str, device_id: str, code: str | None) -> tuple[str, rows.Handoff]:
        outcome, row = self._decide(org, request_id, device_id, "approve", code, "voice", insist=True)
        mode = org.mode_or_default(row.connector_id, row.session)
        if outcome == "approved" and mode is not None and mode.mode == "away":
            until = self._clock.wall() + EASE_S
            org.set_mode(rows.Mode(row.connector_id, row.session, "away", mode.until, until))
            org.audit("mode", connector_id=row.connector_id, session=row.session, mode="away", eased_until=rfc3339(until))
        return outcome, row

    def _needs_code(self, row: rows.Handoff) -> bool:
        return at_least(row.risk, "high") or at_least(row.risk, self._policy.code_required) or row.mode == "here"

    def _device(self, org: Org, request_id: str, device_id: str) -> rows.Device:
        """The device, if it may decide this request: active now, and its owner is the one whose connector asks."""
        device, row = org.device(device_id), _there(org.handoff(request_id))
        connector = org.connector(row.connector_id)
        if device is None or connector is None or device.user_id != connector.user_id:
            raise Refused("unknown_device")
        if device.state != "active" or device.active_from > self._clock.wall():
            raise Refused("revoked_device")
        return device

    def _late(self, row: rows.Handoff) -> bool:
        return self._over(row.id) or self._clock.wall() >= row.deadline_at

    def _over(self, request_id: str) -> bool:
        """By the boot clock. Called in the writer's thread too: one look at the table, which the event loop alone changes."""
        end = self._ends.get(request_id)
        return end is not None and end.boot <= self._clock.boot()

    # ---------------------------------------------------------------- the connector claims, cancels, looks

    async def claim(self, connector: rows.Connector, request_id: str, nonce: str, payload_digest: str) -> dict[str, str]:
        """The signed claim of an approved verdict, once. Refused: unknown_request, wrong_verdict, already_used, revoked, expired, …"""
        answer, row = await self._store.write(
            lambda tx: self._claim(tx.org(connector.org_id), connector, request_id, nonce, payload_digest)
        )
        await self._changed(connector.org_id, row, True)
        if isinstance(answer, str):
            raise Refused(answer)
        return answer

    def _claim(
        self, org: Org, connector: rows.Connector, request_id: str, nonce: str, payload_digest: str
    ) -> tuple[dict[str, str] | str, rows.Handoff]:
        row, found, organisation = _asked(org, connector.id, request_id), org.verdict(request_id), org.row()
        if found is None or found.decision != "approve" or not canon.same(found.payload_digest, payload_digest):
            raise Refused("wrong_verdict")
        device = org.device(found.device_id)
        if row.state == states.APPROVED and (device is None or device.state != "active"):
            return "revoked_device", org.step(row, "revoke", reason="revoked_device")
        if row.state == states.APPROVED and (organisation is None or organisation.frozen_at is not None):
            return "revoked", org.step(row, "revoke", reason="frozen")
        if row.state == states.APPROVED and (self._over(row.id) or self._clock.wall() >= found.expires_at):
            return "expired", org.step(row, "lapse", reason="expired")
        if row.state != states.APPROVED:
            return {states.USED: "already_used", states.REVOKED: "revoked", states.UNUSED: "expired"}.get(row.state, "wrong_state"), row
        statement = self._keyring.statement(
            "claim",
            {"request_id": row.id, "connector_id": connector.id, "nonce": nonce, "payload_digest": payload_digest,
             "claimed_at": rfc3339(self._clock.wall())},
        )  # fmt: skip
        if not org.claim_verdict(row.id, nonce, statement["payload"]):
            raise Refused("already_used")
        return statement, org.step(row, "claim")

    async def cancel(self, connector: rows.Connector, request_id: str) -> rows.Handoff:
        """The call is no longer wanted: stop ringing, or take an unclaimed approval back. A settled handoff stays as it is."""
        row = await self._store.write(lambda tx: self._cancel(tx.org(connector.org_id), connector, request_id))
        await self._changed(connector.org_id, row, True)
        return row

    def _cancel(self, org: Org, connector: rows.Connector, request_id: str) -> rows.Handoff:
        row = _asked(org, connector.id, request_id)
        if row.state in states.WAITING:
            return org.step(row, "cancel", reason="by_connector")
        return org.step(row, "revoke", reason="by_connector") if row.state == states.APPROVED else row

    def look(self, org_id: str, connector_id: str, request_id: str) -> rows.Handoff:
        """The handoff as it stands. Refused: unknown_request, connector_revoked. Who wants to wait for its end enters the waiting room."""
        return self._store.read(lambda tx: _asked(tx.org(org_id), connector_id, request_id))

    # ---------------------------------------------------------------- time

    def resume(self) -> None:
        """After a start: what is unsettled ends when it would have, and never later than a new one; nothing rings again by itself."""
        now, boot = self._clock.wall(), self._clock.boot()
        for row, expires_at in self._store.read(lambda tx: tx.unsettled()):
            if row.state in states.WAITING:
                event, left, most = "expire", row.deadline_at - now, self._policy.decision_deadline
            else:
                event, left, most = "lapse", (expires_at or 0) - now, self._policy.verdict_ttl
            self._ends[row.id] = End(boot + min(max(0, left), most), row.org_id, event)

    async def sweep(self) -> None:
        """Runs until cancelled: expires what nobody answered, lapses what nobody claimed."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep_once()
            except OnyError as error:  # the store says no: nothing can be approved meanwhile either
                log.error("the sweep failed: %s", error)

    async def sweep_once(self) -> None:
        boot = self._clock.boot()
        for request_id, end in [(key, end) for key, end in self._ends.items() if end.boot <= boot]:
            await self._step(end.org_id, request_id, end.event, reason="no_decision" if end.event == "expire" else "not_claimed")
            if self._ends.get(request_id) is end:
                del self._ends[request_id]

    def _let_lapse(self, row: rows.Handoff) -> None:
        self._ends[row.id] = End(self._clock.boot() + self._policy.verdict_ttl, row.org_id, "lapse")

    async def _step(self, org_id: str, request_id: str, event: str, reason: str) -> None:
        """A step that may find the handoff settled already; then it changes nothing."""
        try:
            row = await self._store.write(lambda tx: self._stepped(tx.org(org_id), request_id, event, reason=reason))
        except Refused:
            return
        await self._changed(org_id, row, True)

    def _stepped(self, org: Org, request_id: str, event: str, **changes: Any) -> rows.Handoff:
        row = org.step(_there(org.handoff(request_id)), event, **changes)
        if event in ("expire", "fail"):
            fatigue.tired(org, row, self._clock.wall())
        return row

    async def settled(self, org_id: str, stopped: Iterable[rows.Handoff]) -> None:
        """Tells everybody what somebody else has stepped to its end."""
        for row in stopped:
            await self._changed(org_id, row, True)

    async def _changed(self, org_id: str, row: rows.Handoff, settled: bool) -> None:
        """After the COMMIT: wake who waits, and stop what still rings."""
        if not settled:
            return
        self.meter.count(SETTLED, row.state)
        self.waiting.call(row.id)
        if row.state in states.FINAL:
            self._ends.pop(row.id, None)
        await self._all(channel.stop(org_id, row) for channel in self.channels)
        await self._pass_on(org_id, row)

    async def _pass_on(self, org_id: str, row: rows.Handoff) -> None:
        """What the end of a request means for those that shared its ring: a decision was for one call; without one, the next rings."""
        if row.id not in self._leading:
            return
        self._leading.discard(row.id)
        copies = fatigue.copies(self._store.read(lambda tx: tx.org(org_id).waiting(row.connector_id)), row)
        if row.state == states.CANCELLED and copies:
            self._spawn(self._ring(copies[0]))
            return
        reason = "approved_once" if row.state == states.APPROVED else "shared_no"
        for copy in copies:
            await self._step(org_id, copy.id, "deny", reason=reason)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("ringing failed: %s", type(task.exception()).__name__)


def _keep(org: Org, connector: rows.Connector, head: handoff.Head) -> None:
    """A head is a witness only where this log has held it: what a token alone can say must not make the log look forged, or a backup of
    it impossible to restore. Another one is itself worth a row: this connector was shown another log, or lies.
    """
    ours, root = org.checkpoint_at(head.size), bytes.fromhex(head.root)
    if ours is not None and ours[0] == root:
        org.keep_head(connector.id, head.size, root)
    elif head.size:
        org.audit("head_unknown", connector_id=connector.id, size=head.size, root="sha256:" + head.root)


def _titles(assessed: Assessment) -> list[str]:
    """What is said: each held action, riskiest first, each sentence once. Where none is high, all that are as risky as the call."""
    floor = "high" if at_least(assessed.risk, "high") else assessed.risk
    said = sorted((a for a in assessed.actions if at_least(a.risk, floor)), key=lambda a: -level(a.risk))
    return list(dict.fromkeys(a.title for a in said))


def _asked(org: Org, connector_id: str, request_id: str) -> rows.Handoff:
    """The connector's own request. Refused, also where the connector was revoked since its token was looked at."""
    row, now = org.handoff(request_id), org.connector(connector_id)
    if now is None or now.state != "active":
        raise Refused("connector_revoked")
    if row is None or row.connector_id != connector_id:
        raise Refused("unknown_request")
    return row


def _there(row: rows.Handoff | None) -> rows.Handoff:
    if row is None:
        raise Refused("unknown_request")
    return row
