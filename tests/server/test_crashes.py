"""kill -9 at named points: whatever was answered is on the disk, the log verifies, and the next start goes on from there."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ony_core.server import keyring
from ony_core.server.desk import Desk
from ony_core.states import WAITING
from ony_core.store import Store
from tests.server import invariants
from tests.server.crashing import POINTS
from tests.server.world import Hall
from tests.store.world import NOON, Clock

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 25


def killed(folder: Path, seed: int, point: str, number: int) -> list[invariants.Ack]:
    """What was answered before the end."""
    done = subprocess.run([sys.executable, "-m", "tests.server.crashing", str(folder), str(seed), point, str(number)], cwd=ROOT,
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == -signal.SIGKILL, f"{point} was not passed {number} times: {done.stderr[-800:]}"
    first, *heard = (tuple(json.loads(line)) for line in done.stdout.splitlines() if line.endswith("]"))
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
