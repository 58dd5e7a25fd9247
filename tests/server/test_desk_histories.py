"""Random lives of many requests, with restarts and clocks that jump, judged afterwards from what was answered and what is on the disk.

Held to: no claim without a yes that was right at its time; at most one claim a verdict; no final state ever changes; a decision that was
answered is never lost; every verdict has exactly one row in a log that verifies.
"""

import asyncio
import random

import pytest

from ony_core import auditkey, auditlog, states
from ony_core.errors import Refused
from ony_core.states import EVENTS, FINAL
from ony_core.verify import verify
from tests.server.world import COMMIT, PUSH, Hall
from tests.store.world import BOOTED, NOON

DONE_BY = {"approved": "approved", "denied": "denied", "revoked": "revoked"}


class History:
    """One run. Whatever the desk answers is written down; `judge` compares it with the database."""

    def __init__(self, hall: Hall, seed: int) -> None:
        self.hall, self.dice = hall, random.Random(seed)
        self.asked: list = []
        self.seen: dict[str, str] = {}
        self.claims: dict[str, int] = {}
        self.restarted = 0.0
        self.yes: dict[str, float] = {}  # request_id -> boot seconds of its approval

    async def run(self, steps: int) -> None:
        moves = [self.asks, self.asks, self.decides, self.decides, self.decides, self.claims_it, self.claims_it, self.cancels,
                 self.time_passes, self.clock_jumps, self.restarts, self.repeats]  # fmt: skip
        for _ in range(steps):
            await self.dice.choice(moves)()
            self.look()

    async def asks(self) -> None:
        request = self.hall.request(self.dice.choice((PUSH, COMMIT)), session=f"sess_{len(self.asked) % 5:032x}")
        try:
            await self.hall.desk.open(self.hall.owner.connector, request.body)
        except Refused as refused:
            assert refused.reason == "too_many_waiting"
            return
        self.asked.append(request)
        await self.hall.settle()

    async def repeats(self) -> None:
        if self.asked:
            request = self.dice.choice(self.asked)
            row = await self.hall.desk.open(self.hall.owner.connector, request.body)
            assert row.state == self.hall.state(request)

    async def decides(self) -> None:
        if not self.asked:
            return
        self.hall.clock.pass_(self.dice.choice((0, 10)))
        request, decision = self.dice.choice(self.asked), self.dice.choice(("approve", "approve", "deny"))
        code = self.dice.choice((None, "000000", self.hall.owner.code(), self.hall.owner.code(-1)))
        before = self.hall.row(request)
        outcome = await self.hall.presses(request, decision, code, self.dice.choice(("voice", "here")))
        assert outcome in ("approved", "denied", "revoked", "code_needed", "wrong_code", "closed", "too_late")
        if outcome in DONE_BY:
            assert self.hall.state(request) == DONE_BY[outcome], "what is answered is on the disk"
        if outcome == "approved":
            assert (decision, before.state) == ("approve", "ringing")
            assert before.risk == "medium" or code not in (None, "000000")
            assert self.in_time(request.boot, 300)
            self.yes[request.request_id] = self.hall.clock.boot()
            self.asked.extend([request] * 3)  # likelier to be claimed, taken back or decided again

    async def claims_it(self) -> None:
        if not self.asked:
            return
        request = self.dice.choice(self.asked)
        if await self.hall.claims(request) == "used":
            self.claims[request.request_id] = self.claims.get(request.request_id, 0) + 1
            assert self.in_time(self.yes[request.request_id], 120), "no claim without a yes, and none of an old one"

    def in_time(self, since: float, seconds: int) -> bool:
        """By the boot clock. A restart has only the wall clock to go by, but gives nobody more than a whole new span."""
        return self.hall.clock.boot() < max(since, self.restarted) + seconds

    async def cancels(self) -> None:
        if self.asked and self.dice.random() < 0.3:
            await self.hall.desk.cancel(self.hall.owner.connector, self.dice.choice(self.asked).request_id)

    async def time_passes(self) -> None:
        self.hall.clock.pass_(self.dice.choice((1, 30, 31, 60, 121, 301)))
        if self.dice.random() < 0.7:
            await self.hall.desk.sweep_once()

    async def clock_jumps(self) -> None:
        """The wall clock is off by up to an hour; the boot clock never is."""
        clock = self.hall.clock
        clock.now = NOON + int(clock.up - BOOTED) + self.dice.choice((-3600, -60, 0, 60, 3600))

    async def restarts(self) -> None:
        if self.dice.random() < 0.3:
            self.hall.restart()
            self.restarted = self.hall.clock.boot()

    def look(self) -> None:
        for request in self.asked:
            now, before = self.hall.state(request), self.seen.get(request.request_id, "pending")
            assert now == before or before not in FINAL, f"{before} became {now}"
            self.seen[request.request_id] = now

    def judge(self) -> None:
        used = {request.request_id for request in self.asked if self.hall.state(request) == "used"}
        assert self.claims == dict.fromkeys(used, 1)
        logged = self.hall.logged()
        assert self._lives(logged) == self.seen, "the log tells the same lives, in steps the table has"
        told = sorted((row["request_id"], row["payload_digest"]) for row in logged if row["kind"] == "verdict")
        verdicts = [self.hall.read(self.hall.org_id, lambda org, name=name: org.verdict(name)) for name in self.seen]
        assert told == sorted((kept.request_id, kept.payload_digest) for kept in verdicts if kept)

    def _lives(self, logged: list) -> dict[str, str]:
        lives: dict[str, str] = {}
        for row in logged:
            if row["kind"] == "handoff":
                lives[row["request_id"]] = states.PENDING
            if row["kind"] == "step":
                after = EVENTS[lives[row["request_id"]], row["event"]]
                assert after == row["state"]
                lives[row["request_id"]] = after
        return lives


def verified(hall: Hall) -> str:
    """What the offline verifier says of the log, from the files alone."""
    key = auditkey.read_keys(hall.folder / "audit.key")[hall.org_id]
    with auditlog.database(hall.folder) as db:
        return verify(auditlog.log_of(db, hall.org_id), key).result


@pytest.mark.parametrize("seed", range(8))
def test_a_random_history_keeps_every_promise(tmp_path, soak, seed):
    for more in range(40 if soak else 1):
        folder = tmp_path / str(more)
        folder.mkdir()
        hall = Hall(folder)
        history = History(hall, seed * 1000 + more)
        try:
            asyncio.run(history.run(90))
            history.judge()
        finally:
            hall.close()
        assert history.seen
        assert verified(hall).startswith("OK")
