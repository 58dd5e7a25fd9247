"""kill -9 at named points: whatever was answered is on the disk, the log verifies, and the next start goes on from there."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ony_core import taxonomy
from ony_core.server import keyring
from ony_core.server.desk import Desk
from ony_core.states import WAITING
from ony_core.store import Store
from tests.server import crashing, invariants
from tests.server.crashing import POINTS
from tests.server.world import PUSH, Hall
from tests.store.world import NOON, Clock

ROUNDS = 25


def killed(folder: Path, seed: int, point: str, number: int) -> list[invariants.Ack]:
    """What was answered before the end. A fork: the tables that the desk reads are in memory already."""
    said = folder / "said"
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o600), 1)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            crashing.main(str(folder), str(seed), point, str(number))
        finally:
            os._exit(3)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"{point} was not passed {number} times"
    first, *heard = (tuple(json.loads(line)) for line in said.read_text().splitlines() if line.endswith("]"))
    assert first == ("ready", "")
    return heard


async def started_again(folder: Path) -> None:
    """A new server on the folder, an hour later: nothing waits for ever, and it can write."""
    clock = Clock("after")
    clock.now = NOON + 10 * 3600
    hall = Hall.__new__(Hall)
    hall.folder, hall.clock = folder, clock
    hall.store = Store.open(folder / "ony.db", clock)
    try:
        hall.keyring = keyring.Keyring.open(folder, hall.store)
        hall.store.attach(hall._log())
        hall.store.read(lambda tx: [tx.org(org_id).require_log() for org_id in tx.org_ids()])
        desk = Desk(hall.store, hall.keyring, SimpleNamespace(policy=SimpleNamespace(decision_deadline=300, verdict_ttl=120)), clock)
        desk.resume()
        clock.up += 1
        await desk.sweep_once()
        left = hall.store.read(lambda tx: [row.state for row, _ in tx.unsettled()])
        assert not WAITING & set(left) and "approved" not in left
    finally:
        hall.store.close()


@pytest.fixture(scope="module", autouse=True)
def tables():
    taxonomy.assess(PUSH)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(tmp_path, point, soak):
    dice = random.Random(point)
    for seed in range(ROUNDS if soak else 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        number = dice.randint(1, 8) if "sweep" in POINTS[point][1] or "claim" in POINTS[point][1] else dice.randint(1, 30)
        heard = killed(folder, seed, point, number)
        invariants.judge(folder, heard)
        asyncio.run(started_again(folder))
        invariants.judge(folder, heard)
