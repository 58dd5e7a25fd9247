"""A desk at work in a process that is killed (SIGKILL) at a named point.

The points lie in the harness alone: the functions of the product are wrapped from outside, and it knows nothing of it. Each answer
that somebody has heard is printed as a line `["state", "request id"]` before the next thing is asked.
"""

import asyncio
import functools
import inspect
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

from ony_core import chain
from ony_core.errors import Refused
from ony_core.server.audit import Log
from ony_core.server.desk import Desk
from ony_core.store import Store
from ony_core.store.org import Org
from tests.server.world import COMMIT, PUSH, Bell, Hall, Person

POINTS: dict[str, tuple[Any, str, str]] = {
    "before BEGIN": (Store, "_begin", "before"),
    "after BEGIN": (Store, "_begin", "after"),
    "before a piece of work": (Store, "_attempt", "before"),
    "after a piece of work": (Store, "_attempt", "after"),
    "before the handoff's row": (Org, "add_handoff", "before"),
    "after the handoff's row": (Org, "add_handoff", "after"),
    "before the provider is asked": (Bell, "ring", "before"),
    "after the provider was asked": (Bell, "ring", "after"),
    "after the digits were burnt": (Org, "burn_step", "after"),
    "before the verdict's row": (Org, "add_verdict", "before"),
    "after the verdict's row": (Org, "add_verdict", "after"),
    "before a step": (Org, "step", "before"),
    "after a step": (Org, "step", "after"),
    "before the claim's row": (Org, "claim_verdict", "before"),
    "after the claim's row": (Org, "claim_verdict", "after"),
    "between an audit row and its tree": (chain, "append_nodes", "before"),
    "after an audit row": (Log, "append", "after"),
    "before the checkpoint": (Log, "checkpoint", "before"),
    "in the checkpoint, before its note": (Log, "_note", "before"),
    "after the checkpoint, before COMMIT": (Log, "checkpoint", "after"),
    "after COMMIT, before the answer": (Store, "_transaction", "after"),
    "after the answer, before others are told": (Desk, "_changed", "before"),
    "when time has run out": (Desk, "sweep_once", "before"),
}


def install(point: str, number: int) -> None:
    """From now on the process dies at the `number`-th passage of the point."""
    owner, name, when = POINTS[point]
    left = iter(range(number - 1, -1, -1))

    def passed(moment: str) -> None:
        if moment == when and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, _wrapped(getattr(owner, name), passed))


def _wrapped(real: Any, passed: Any) -> Any:
    @functools.wraps(real)
    def plain(*args, **kwargs):
        passed("before")
        value = real(*args, **kwargs)
        passed("after")
        return value

    @functools.wraps(real)
    async def waiting(*args, **kwargs):
        passed("before")
        value = await real(*args, **kwargs)
        passed("after")
        return value

    return waiting if inspect.iscoroutinefunction(real) else plain


class Work:
    """Two organisations, one desk. say: called with each answer somebody has heard, (state, request id)."""

    def __init__(self, hall: Hall, seed: int, say: Any) -> None:
        self.hall, self.dice, self.say = hall, random.Random(seed), say
        self.people = [hall.owner, Person(hall, hall.new_org(), "other@example.com")]
        for person in self.people:
            hall.store.write_now(lambda tx, org_id=person.org_id: tx.org(org_id).audit("genesis"))

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            self.hall.clock.pass_(31)
            person = self.dice.choice(self.people)
            asked = await self.asks(person)
            await self.dice.choice((self.yes, self.yes, self.yes, self.no, self.cancels, self.waits))(person, asked)

    async def asks(self, person: Person) -> Any:
        asked = self.hall.request(self.dice.choice((PUSH, COMMIT)), session=f"sess_{self.dice.getrandbits(60):032x}")
        row = await self.hall.desk.open(person.connector, asked.body)
        self.say(row.state, row.id)
        await self.hall.settle()
        return asked

    async def decides(self, person: Person, asked: Any, decision: str, code: str | None) -> bool:
        outcome = await self.hall.desk.decide(person.org_id, asked.request_id, device_id=person.device_id, decision=decision, code=code,
                                              channel="voice")  # fmt: skip
        assert outcome in ("approved", "denied", "too_late"), outcome  # too late: its ring could not be stored
        if outcome != "too_late":
            self.say(outcome, asked.request_id)
        return outcome == "approved"

    async def yes(self, person: Person, asked: Any) -> None:
        if not await self.decides(person, asked, "approve", person.code()):
            return
        if self.dice.random() < 0.2:  # nobody fetches it: it lapses
            self.hall.clock.pass_(200)
            await self.hall.desk.sweep_once()
            return
        kept = self.hall.read(person.org_id, lambda org: org.verdict(asked.request_id))
        await self.hall.desk.claim(person.connector, asked.request_id, "ab" * 32, kept.payload_digest)
        self.say("used", asked.request_id)
        try:
            await self.hall.desk.claim(person.connector, asked.request_id, "cd" * 32, kept.payload_digest)
        except Refused as refused:
            assert refused.reason == "already_used"
        else:
            self.say("used", asked.request_id)

    async def no(self, person: Person, asked: Any) -> None:
        await self.decides(person, asked, "deny", None)

    async def cancels(self, person: Person, asked: Any) -> None:
        row = await self.hall.desk.cancel(person.connector, asked.request_id)
        self.say(row.state, row.id)

    async def waits(self, person: Person, asked: Any) -> None:
        self.hall.clock.pass_(301)
        await self.hall.desk.sweep_once()


def main(folder: str, seed: str, point: str, number: str) -> None:
    hall = Hall(Path(folder), seed=f"{seed} {point}")
    work = Work(hall, int(seed), lambda state, name: print(json.dumps([state, name]), flush=True))
    print(json.dumps(["ready", ""]), flush=True)
    install(point, int(number))
    asyncio.run(work.run(100))

