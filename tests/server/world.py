"""A desk without a network: real store, keyring, log and desk; the outside world is one channel that does as it is told, and one person."""

import asyncio
import contextlib
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyotp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ony_core import auditkey, handoff, verdict
from ony_core.clock import new_id
from ony_core.errors import Refused
from ony_core.model import Approver, Fact, Pending
from ony_core.server import keyring
from ony_core.server.audit import Log
from ony_core.server.desk import Desk
from ony_core.server.message import Response
from ony_core.states import WAITING
from ony_core.store import Store, rows
from tests.store.world import Clock

PUSH = (Fact("command", "git", ("push",)),)  # high
COMMIT = (Fact("command", "git", ("commit",)),)  # medium
SERVER_ID = "5e" * 16
WRONG = "000000"


class Bell:
    """The outside world's end of a channel. reaches: whether somebody's phone rings; trouble: what goes wrong instead."""

    name = "bell"

    def __init__(self, reaches: bool = True, trouble: Exception | None = None) -> None:
        self.reaches, self.trouble = reaches, trouble
        self.desk: Desk | None = None
        self.rung: list[str] = []
        self.stopped: list[str] = []

    async def ring(self, org_id: str, row: rows.Handoff) -> bool:
        if self.trouble:
            raise self.trouble
        if self.reaches:
            assert self.desk is not None
            await self.desk.ringing(org_id, row.id)
            self.rung.append(row.id)
        return self.reaches

    async def stop(self, org_id: str, row: rows.Handoff) -> None:
        self.stopped.append(row.id)


async def waited(desk: Desk, connector: rows.Connector, request_id: str, seconds: float) -> rows.Handoff:
    """As a connector that waits: the handoff once it is no longer waiting, or as it stands after `seconds`."""
    row, called = desk.look(connector.org_id, connector.id, request_id), asyncio.Event()
    if row.state not in WAITING or not seconds:
        return row
    place = desk.waiting.enter(row.org_id, row.id, seconds, _unasked)
    place.wake = called.set
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(called.wait(), seconds)
    finally:
        place.leave()
    return desk.look(connector.org_id, connector.id, request_id)


async def _unasked() -> Response:
    raise AssertionError("the connection asks for the answer, and here is none")


class Person:
    """A user with a phone, an authenticator and one enrolled connector."""

    def __init__(self, hall: "Hall", org_id: str, email: str) -> None:
        self.hall, self.org_id = hall, org_id
        clock, keys = hall.clock, hall.keyring
        self.user_id, self.device_id, self.connector_id = (new_id(kind, clock) for kind in ("usr", "dev", "con"))
        self.secret = pyotp.random_base32()
        self.decision_key = clock.random(32)
        sealed = keys.seal(self.secret.encode(), "totp.approval", org_id, self.user_id, clock)
        key = keys.seal(self.decision_key, "device.decision_key", org_id, self.device_id, clock)
        device = rows.Device(
            self.device_id, org_id, self.user_id, "voice", "Phone", b"sealed", key, "active", clock.wall() - 7200, clock.wall() - 7200
        )

        def fill(tx: Any) -> None:
            org = tx.org(org_id)
            org.add_user(self.user_id, email, "member", "")
            org.add_totp(self.user_id, "approval", sealed)
            org.add_device(device)
            org.add_connector(self.connector_id, self.user_id, "laptop", clock.random(32), "0.2.0")

        hall.store.write_now(fill)
        self.connector = hall.read(org_id, lambda org: org.connector(self.connector_id))

    def code(self, steps: int = 0) -> str:
        return pyotp.TOTP(self.secret).at(self.hall.clock.now + 30 * steps)

    def checks(self, request: "Asked", row: rows.Handoff) -> verdict.Verdict:
        """As this person's connector checks the verdict of a request it holds pending."""
        kept = self.hall.read(self.org_id, lambda org: org.verdict(row.id))
        approver = Approver(self.device_id, verdict.connector_key(self.decision_key, self.connector_id))
        pending = Pending(row.id, request.request_digest, row.facts_digest, self.connector_id, request.session, row.actions, row.risk,
                          request.boot, 300, request.wall)  # fmt: skip
        clock = self.hall.clock
        return verdict.check(kept.envelope(), pending, {self.device_id: approver}, self.hall.server_holds, clock.boot(), clock.wall())


class Asked(SimpleNamespace):
    """A request as its connector remembers it."""


class Hall:
    """seed: of everything random here. policy: the [policy] settings that differ from the defaults. Leave with `close`."""

    def __init__(self, folder: Path, seed: str = "test", **policy: Any) -> None:
        self.folder, self.clock = folder, Clock(seed)
        self.config = SimpleNamespace(policy=SimpleNamespace(
            **{"code_required": "high", "decision_deadline": 300, "verdict_ttl": 120, "on_no_verdict": "deny", "calls_per_hour": 1000,
               **policy}), payload=SimpleNamespace(attach=False, retention_days=30))  # fmt: skip
        self.store = Store.open(folder / "ony.db", self.clock)
        self.keyring = keyring.create(folder, self.store, self.clock)
        self.store.write_now(lambda tx: tx.set_meta("server_id", SERVER_ID))
        self.store.attach(self._log())
        self.org_id = self.new_org()
        self.owner = Person(self, self.org_id, "owner@example.com")
        self.bell = Bell()
        self.open_desk(self.bell)

    def _log(self) -> Log:
        keys = self.keyring
        return Log(self.folder / "audit.key", lambda org: f"ony/{SERVER_ID}/{org}", keys.sign_audit, self.clock, keys.audit_public)

    def new_org(self) -> str:
        org_id = new_id("org", self.clock)
        auditkey.create_key(self.folder / "audit.key", org_id)
        self.store.write_now(lambda tx: tx.add_org(org_id, "Test") and None)
        return org_id

    def open_desk(self, *channels: Bell) -> Desk:
        self.desk = Desk(self.store, self.keyring, self.config, self.clock)
        for channel in channels:
            channel.desk = self.desk
            self.desk.channels.append(channel)
        return self.desk

    def restart(self) -> None:
        """The same folder, in a new server. What stood only in memory is gone."""
        self.store.close()
        self.store = Store.open(self.folder / "ony.db", self.clock)
        self.keyring = keyring.Keyring.open(self.folder, self.store)
        self.store.attach(self._log())
        self.open_desk(self.bell)
        self.desk.resume()

    def close(self) -> None:
        self.store.close()

    def server_holds(self, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.keyring.verdict_public).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def read(self, org_id: str, work: Any) -> Any:
        return self.store.read(lambda tx: work(tx.org(org_id)))

    def write(self, work: Any) -> Any:
        return self.store.write_now(lambda tx: work(tx.org(self.org_id)))

    # ---------------------------------------------------------------- a request and what happens to it

    def request(self, facts: tuple[Fact, ...] = PUSH, session: str = "sess_" + "1" * 32, **changes: Any) -> Asked:
        clock = self.clock
        asked = Asked(request_id=new_id("req", clock), session=session, request_digest="hmac-sha256:" + clock.random(32).hex(), facts=facts,
                      boot=clock.boot(), wall=clock.wall(), head=None, project="prod-api")  # fmt: skip
        vars(asked).update(changes)
        asked.body = handoff.request_to_wire(asked.request_id, asked.session, "claude-code", "Bash", "on", asked.project, asked.facts,
                                             asked.request_digest, asked.head)  # fmt: skip
        return asked

    async def held(self, facts: tuple[Fact, ...] = PUSH, **changes: Any) -> Asked:
        """A request that rings."""
        asked = self.request(facts, **changes)
        await self.desk.open(self.owner.connector, asked.body)
        await self.settle()
        assert self.state(asked) == "ringing"
        return asked

    async def settle(self) -> None:
        """Until the desk has done what it began by itself."""
        while self.desk._tasks:
            await asyncio.wait(set(self.desk._tasks))
        await asyncio.sleep(0)

    async def presses(self, asked: Asked, decision: str = "approve", code: str | None = None, channel: str = "voice") -> str:
        return await self.desk.decide(
            self.org_id, asked.request_id, device_id=self.owner.device_id, decision=decision, code=code, channel=channel
        )

    async def approved(self, facts: tuple[Fact, ...] = PUSH, **changes: Any) -> Asked:
        asked = await self.held(facts, **changes)
        assert await self.presses(asked, code=self.owner.code()) == "approved"
        return asked

    async def claims(self, asked: Asked, connector: rows.Connector | None = None, digest: str = "") -> str:
        """ "used", or the reason of the refusal."""
        kept = self.read(self.org_id, lambda org: org.verdict(asked.request_id))
        try:
            await self.desk.claim(
                connector or self.owner.connector,
                asked.request_id,
                "ab" * 32,
                digest or (kept.payload_digest if kept else "sha256:" + "0" * 64),
            )
        except Refused as refused:
            return refused.reason
        return "used"

    def row(self, asked: Asked) -> rows.Handoff:
        return self.read(self.org_id, lambda org: org.handoff(asked.request_id))

    def state(self, asked: Asked) -> str:
        return self.row(asked).state

    def kinds(self) -> list[str]:
        """The kinds of the rows of the log, oldest first."""
        return [row["kind"] for row in self.logged()]

    def logged(self) -> list[dict[str, Any]]:
        from ony_core import canon

        found = self.store.read(
            lambda tx: tx._db.execute("SELECT body FROM audit WHERE org_id = ? ORDER BY seq", (self.org_id,)).fetchall()
        )
        return [canon.loads(body) for (body,) in found]


async def brought_to(hall: Hall, state: str) -> Asked:
    """A request whose life ended in this state."""
    if state == "failed":
        hall.bell.reaches = False
        asked = hall.request()
        await hall.desk.open(hall.owner.connector, asked.body)
        await hall.settle()
    elif state in ("used", "unused", "revoked"):
        asked = await hall.approved()
    else:
        asked = await hall.held()
    if state == "denied":
        await hall.presses(asked, "deny")
    if state == "revoked":
        await hall.presses(asked, "deny")
    if state == "cancelled":
        await hall.desk.cancel(hall.owner.connector, asked.request_id)
    if state == "used":
        await hall.claims(asked)
    if state == "expired":
        hall.clock.pass_(300)
        await hall.desk.sweep_once()
    if state == "unused":
        hall.clock.pass_(120)
        await hall.desk.sweep_once()
    assert hall.state(asked) == state
    return asked


def running(test: Any) -> Any:
    """The test is a coroutine; it runs to its end on a loop of its own."""

    @wraps(test)
    def run(*args, **kwargs):
        return asyncio.run(test(*args, **kwargs))

    return run
