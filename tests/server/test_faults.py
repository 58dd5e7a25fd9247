"""The disk fills up, fails, or is held by somebody else; the clock jumps: nothing is approved that is not stored, nothing that was answered
is lost, and the server goes on where it safely can.
"""

import asyncio
import random
import shutil
import sqlite3
import time
from pathlib import Path

import apsw
import pytest

from ony_core.errors import OnyError, Refused
from ony_core.store import StoreUnavailable
from ony_core.store import store as store_module
from tests.server import invariants
from tests.server.crashing import Work
from tests.server.world import Hall, brought_to, running
from tests.store.disk import Disk

ROUNDS = 25
FAULTS = {
    "the disk is full": ("write", apsw.FullError),
    "a write fails": ("write", apsw.IOError),
    "a sync fails": ("sync", apsw.IOError),
}


class Failing:
    """Raises at the n-th matching operation, and at every one after it while it lasts."""

    def __init__(self, what: str, error: type[apsw.Error], after: int = 0) -> None:
        self.what, self.error, self.left = what, error, after

    def __call__(self, name: str, what: str) -> None:
        if what == self.what and name.endswith(("-wal", ".db")):
            self.left -= 1
            if self.left < 0:
                raise self.error("injected")


def fine(name: str, what: str) -> None:
    """No trouble."""


@pytest.fixture
def disk(monkeypatch):
    made = Disk()
    monkeypatch.setattr(store_module, "_connect", made.connect)
    return made


@pytest.fixture
def hall(tmp_path, disk):
    made = Hall(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_yes_that_cannot_be_stored_is_no_yes(hall, disk, fault):
    @running
    async def press():
        asked = await hall.held()
        hall.clock.pass_(30)
        code = hall.owner.code()
        disk.trouble = Failing(*FAULTS[fault])
        with pytest.raises(StoreUnavailable):
            await hall.presses(asked, code=code)
        with pytest.raises((StoreUnavailable, Refused)):
            await hall.desk.claim(hall.owner.connector, asked.request_id, "ab" * 32, "sha256:" + "0" * 64)
        disk.trouble = fine
        assert hall.state(asked) == "ringing" and hall.read(hall.org_id, lambda org: org.verdict(asked.request_id)) is None
        if hall.store.latched:
            with pytest.raises(StoreUnavailable):
                await hall.presses(asked, code=code)
            hall.restart()
        assert await hall.presses(asked, code=code) == "approved", "the code was not used up by the attempt that failed"
        assert await hall.claims(asked) == "used"

    press()


def test_after_a_failed_sync_nothing_is_believed_until_a_restart_has_read_the_disk(hall, disk):
    """After an fsync error the kernel may have dropped what it could not write (fsyncgate): trying again would prove nothing."""
    disk.trouble = Failing("sync", apsw.IOError)
    with pytest.raises(StoreUnavailable):
        hall.store.write_now(lambda tx: tx.set_meta("a", "1"))
    disk.trouble = fine
    assert hall.store.latched
    with pytest.raises(StoreUnavailable, match="not known"):
        hall.store.write_now(lambda tx: tx.set_meta("a", "2"))
    hall.restart()
    hall.store.write_now(lambda tx: tx.set_meta("a", "3"))


def test_a_full_disk_is_over_when_there_is_space_again(hall, disk):
    disk.trouble = Failing("write", apsw.FullError)
    with pytest.raises(StoreUnavailable):
        hall.store.write_now(lambda tx: tx.set_meta("a", "1"))
    disk.trouble = fine
    assert not hall.store.latched
    hall.store.write_now(lambda tx: tx.set_meta("a", "2"))


@pytest.mark.parametrize("fault", FAULTS)
def test_work_in_the_middle_of_which_the_disk_fails(tmp_path, disk, fault, soak):
    for seed in range(ROUNDS if soak else 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        hall, heard, dice = Hall(folder, seed=f"{fault} {seed}"), [], random.Random(f"{fault} {seed}")
        work = Work(hall, seed, lambda state, name, heard=heard: heard.append((state, name)))
        disk.trouble = Failing(*FAULTS[fault], after=dice.randint(0, 200))
        with pytest.raises((StoreUnavailable, Refused, OnyError)):
            asyncio.run(work.run(200))
        disk.trouble = fine
        if hall.store.latched:
            hall.restart()
        asyncio.run(work.run(3))
        hall.close()
        invariants.judge(folder, heard)


def test_while_somebody_else_holds_the_database_a_yes_is_refused_in_time_and_nobody_piles_up(tmp_path):
    """Another program holds the write lock for longer than the store waits."""
    hall = Hall(tmp_path)
    hall.store.write_now(lambda tx: tx._db.execute("PRAGMA busy_timeout = 300").fetchone())

    @running
    async def press():
        asked = [await hall.held(session=f"sess_{n:032x}") for n in range(12)]
        hall.clock.pass_(30)
        other = sqlite3.connect(tmp_path / "ony.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        said = await asyncio.gather(*(hall.presses(one, "deny") for one in asked), return_exceptions=True)
        assert all(isinstance(one, StoreUnavailable) for one in said), said
        assert time.monotonic() - began < 3, "one wait for each batch, not for each request"
        other.execute("ROLLBACK")
        other.close()
        assert not hall.store.latched and {hall.state(one) for one in asked} == {"ringing"}
        assert await hall.presses(asked[0], code=hall.owner.code()) == "approved"

    press()
    hall.close()
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("jump", [-3600, 3600])
@pytest.mark.parametrize("state", ["ringing", "approved"])
def test_a_clock_that_jumps_an_hour_gives_nobody_more_time(tmp_path, jump, state, soak):
    """Also over a restart, and in the middle of either wait."""
    for seed in range(ROUNDS if soak else 1):
        folder = Path(tmp_path, str(seed))
        folder.mkdir()
        hall, dice = Hall(folder, seed=str(seed)), random.Random(seed)

        @running
        async def live(hall=hall, dice=dice):
            asked = await (hall.held() if state == "ringing" else hall.approved())
            limit = 300 if state == "ringing" else 120
            hall.clock.pass_(dice.randint(0, limit - 40))
            hall.clock.now += jump
            if dice.random() < 0.3:
                hall.restart()
                hall.clock.pass_(limit)  # a restart has the wall clock alone, and gives no more than a whole new span
            hall.clock.pass_(limit)
            await hall.desk.sweep_once()
            assert hall.state(asked) == {"ringing": "expired", "approved": "unused"}[state]
            hall.clock.now -= jump
            assert await hall.presses(asked, code=hall.owner.code()) == "too_late"
            assert await hall.claims(asked) != "used"
            return asked

        live()
        hall.close()
        invariants.judge(folder, [])


def test_every_end_of_a_request_is_one_that_the_judge_accepts(tmp_path):
    """The judge is not a wall: each state passes it, and a change of one row in the database does not."""
    hall = Hall(tmp_path)

    @running
    async def live():
        return [(state, (await brought_to(hall, state)).request_id) for state in ("used", "denied", "expired", "cancelled", "revoked")]

    heard = live()
    hall.close()
    invariants.judge(tmp_path, heard)
    for statement in ("UPDATE handoff SET state = 'approved' WHERE state = 'denied'", "DELETE FROM verdict WHERE decision = 'deny'",
                      "UPDATE verdict SET claimed_at = 1 WHERE claimed_at IS NULL"):  # fmt: skip
        broken = tmp_path / "broken"
        shutil.copytree(tmp_path, broken, ignore=lambda *_: ["broken", "admin.sock"])
        with sqlite3.connect(broken / "ony.db") as db:
            db.execute(statement)
        db.close()
        with pytest.raises(AssertionError):
            invariants.judge(broken, heard)
        shutil.rmtree(broken)
