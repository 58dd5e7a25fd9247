"""Power is cut after every single write: under synchronous=FULL nothing that was answered is missing and the log verifies; under NORMAL,
which looks the same until power is cut, this very test finds decisions lost. That shows that it can.
"""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from ony_core.store import store as store_module
from tests.server import invariants
from tests.server.crashing import Work
from tests.server.world import Hall
from tests.store.disk import Disk

STEPS = 12


class Run:
    """A desk at work on a disk that is written down. acked: (number of changes by then, state, request id)."""

    def __init__(self, folder: Path, monkeypatch, synchronous: str) -> None:
        self.folder, self.disk = folder, Disk(synchronous)
        monkeypatch.setattr(store_module, "_connect", self.disk.connect)
        self.acked: list[tuple[int, str, str]] = []
        hall = Hall(folder, seed=synchronous)
        work = Work(hall, 7, lambda state, name: self.acked.append((len(self.disk.log), state, name)))
        hall.store.write_now(lambda tx: tx._db.execute("PRAGMA wal_autocheckpoint = 25").fetchone())  # so that the WAL starts anew too
        self.began = len(self.disk.log)
        asyncio.run(work.run(STEPS))
        self.ended = len(self.disk.log)
        hall.close()

    def cut(self, upto: int, into: Path, dice: random.Random | None) -> None:
        """AssertionError where something that was answered by then is missing."""
        self.disk.image(upto, into, dice)
        shutil.copy(self.folder / "audit.key", into)
        invariants.judge(into, [(state, name) for moment, state, name in self.acked if moment <= upto])
        shutil.rmtree(into)


def test_nothing_that_was_answered_is_lost_when_power_is_cut(tmp_path, monkeypatch, soak):
    (tmp_path / "data").mkdir()
    run = Run(tmp_path / "data", monkeypatch, "FULL")
    monkeypatch.undo()
    moments = range(run.began, run.ended + 1, 1 if soak else 9)
    assert len(run.acked) > STEPS and any(change[0] == "ony.db" and change[1] == "sync" for change in run.disk.log[run.began :])
    for moment in moments:
        for number, dice in enumerate((None, *(random.Random(f"{moment} {n}") for n in range(25 if soak else 1)))):
            run.cut(moment, tmp_path / f"{moment}-{number}", dice)


def test_under_synchronous_normal_the_same_test_finds_a_loss(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    run = Run(tmp_path / "data", monkeypatch, "NORMAL")
    monkeypatch.undo()
    moments = sorted({moment for moment, _, _ in run.acked})
    lost = 0
    for moment in moments:
        try:
            run.cut(moment, tmp_path / f"{moment}", None)
        except AssertionError as error:
            assert "I2" in str(error), "what NORMAL loses are whole commits"
            lost += 1
    assert lost >= len(moments) / 4, "a checkpoint in between saves what was answered before it"


def test_the_disk_that_forgets_keeps_what_was_synced_and_loses_the_rest(tmp_path):
    """The model itself, by hand."""
    disk = Disk()
    disk.log += [("f", "write", 0, b"a" * 1024), ("f", "sync"), ("f", "write", 512, b"b" * 512), ("g", "write", 0, b"c")]
    disk.image(4, tmp_path / "x")
    assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()} == {"f": b"a" * 1024, "g": b""}
    seen = set()
    for n in range(20):
        disk.image(3, tmp_path / str(n), random.Random(n))
        seen.add((tmp_path / str(n) / "f").read_bytes())
    assert seen == {b"a" * 1024, b"a" * 512 + b"b" * 512}


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_the_store_runs_on_that_disk_as_on_any(tmp_path, monkeypatch, synchronous):
    run = Run(tmp_path, monkeypatch, synchronous)
    monkeypatch.undo()
    invariants.judge(tmp_path, [(state, name) for _, state, name in run.acked])
