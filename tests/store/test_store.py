"""Transactions: what is answered is on the disk, a refusal undoes only itself, and doubt stops every later write."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ony_core.errors import OnyError, Refused
from ony_core.store import Store, StoreUnavailable
from tests.store.world import Clock, open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    made = open_store(tmp_path, clock)
    yield made
    made.close()


def beside(folder: Path) -> sqlite3.Connection:
    """What another process sees: committed rows only."""
    return sqlite3.connect(f"file:{folder / 'ony.db'}?mode=ro", uri=True)


def commits_seen_by(folder: Path) -> int:
    """The WAL's commit frames, by its own format (sqlite.org/fileformat2.html#walformat): each holds the database size after the commit."""
    data = (folder / "ony.db-wal").read_bytes()
    page = int.from_bytes(data[8:12], "big")
    salt = data[16:24]
    count = 0
    for start in range(32, len(data) - page, page + 24):
        header = data[start : start + 24]
        count += header[8:16] == salt and int.from_bytes(header[4:8], "big") > 0
    return count


def test_what_a_write_returns_is_what_another_process_then_reads(store, tmp_path):
    store.write_now(lambda tx: tx.set_meta("server_id", "ab"))
    assert beside(tmp_path).execute("SELECT value FROM meta").fetchall() == [("ab",)]


def test_a_refused_piece_of_work_is_undone_and_told_and_its_neighbours_stand(store):
    def half_done(tx):
        tx.set_meta("half", "done")
        raise Refused("wrong_state")

    async def together():
        works = [
            store.write(lambda tx: tx.set_meta("before", "1")),
            store.write(half_done),
            store.write(lambda tx: tx.set_meta("after", "1")),
        ]
        return await asyncio.gather(*works, return_exceptions=True)

    answers = asyncio.run(together())
    assert (answers[0], answers[2]) == (None, None)
    assert isinstance(answers[1], Refused)
    assert answers[1].reason == "wrong_state"
    assert [store.read(lambda tx, name=name: tx.meta(name)) for name in ("before", "half", "after")] == ["1", None, "1"]


def test_writes_that_arrive_together_share_one_commit(store, tmp_path):
    store.write_now(lambda tx: tx.set_meta("first", "1"))
    held, known = threading.Event(), commits_seen_by(tmp_path)

    async def many():
        stopper = asyncio.ensure_future(store.write(lambda tx: held.wait(5)))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(store.write(lambda tx, n=n: tx.set_meta(f"n{n}", "x"))) for n in range(100)]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(stopper, *rest)

    asyncio.run(many())
    assert commits_seen_by(tmp_path) - known <= 2, "one for whatever stood in front, one for the hundred behind it"
    assert store.read(lambda tx: tx.meta("n99")) == "x"


def test_reading_cannot_write(store):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.read(lambda tx: tx.set_meta("server_id", "forged"))
    assert store.read(lambda tx: tx.meta("server_id")) is None


def test_every_commit_waits_for_the_disk(store):
    asked = ("journal_mode", "synchronous", "foreign_keys", "fullfsync")
    found = store.write_now(lambda tx: [tx._db.execute(f"PRAGMA {name}").fetchone()[0] for name in asked])
    assert dict(zip(asked, found, strict=True)) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "fullfsync": 1}


def test_a_second_server_on_the_same_folder_is_refused(store, tmp_path, clock):
    with pytest.raises(OnyError, match="another server"):
        Store.open(tmp_path / "ony.db", clock)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path, clock):
    Store.open(tmp_path / "ony.db", clock).close()
    with sqlite3.connect(tmp_path / "ony.db") as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(OnyError, match="newer Ony"):
        Store.open(tmp_path / "ony.db", clock)
    with sqlite3.connect(tmp_path / "ony.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look like one" * 20, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_file_that_is_no_database_is_refused_with_a_hint(tmp_path, clock, content):
    (tmp_path / "ony.db").write_bytes(content)
    with pytest.raises(OnyError):
        Store.open(tmp_path / "ony.db", clock)


def test_an_opening_that_failed_leaves_no_lock_behind(tmp_path, clock):
    (tmp_path / "ony.db").write_bytes(b"nonsense" * 500)
    with pytest.raises(OnyError):
        Store.open(tmp_path / "ony.db", clock)
    (tmp_path / "ony.db").unlink()
    Store.open(tmp_path / "ony.db", clock).close()


def test_the_database_and_its_lock_are_for_the_owner_alone(store, tmp_path):
    store.write_now(lambda tx: tx.set_meta("server_id", "ab"))
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "ony.db": "0o600", "ony.db-wal": "0o600", "ony.db-shm": "0o600", "server.lock": "0o600",
    }  # fmt: skip


def test_a_write_after_the_end_is_refused_and_never_left_waiting(tmp_path, clock):
    store = open_store(tmp_path, clock)
    store.close()
    with pytest.raises(StoreUnavailable):
        asyncio.run(asyncio.wait_for(store.write(lambda tx: None), 5))


class Log:
    """An audit log whose checkpoint meets trouble: a damaged key file, or what nobody thought of."""

    def __init__(self, trouble: BaseException) -> None:
        self.trouble = trouble

    def append(self, db, org_id, kind, body) -> int:
        return 1

    def checkpoint(self, db, org_ids) -> None:
        raise self.trouble


@pytest.mark.parametrize(
    "trouble", [OnyError("the audit key file is damaged"), sqlite3.OperationalError("disk I/O error"), KeyError("what")]
)
def test_what_cannot_be_logged_is_not_written_whatever_the_trouble(tmp_path, clock, trouble):
    """Also the trouble nobody thought of: an answer that never comes would leave the phone and the agent hanging."""
    store = Store.open(tmp_path / "ony.db", clock)
    store.attach(Log(trouble))

    def work(tx):
        tx.set_meta("verdict", "approved")
        tx.org("org_" + "0" * 32).audit("verdict")

    with pytest.raises(StoreUnavailable):
        asyncio.run(asyncio.wait_for(store.write(work), 5))
    assert store.read(lambda tx: tx.meta("verdict")) is None
    store.close()


def test_a_full_disk_is_told_in_the_stores_own_words_and_is_over_when_there_is_space_again(store):
    """SQLite's own limit (pragma max_page_count) stands for the disk; see below for the kernel's."""
    store.write_now(lambda tx: tx._db.execute("PRAGMA max_page_count = 80").fetchone())
    with pytest.raises(StoreUnavailable):
        store.write_now(lambda tx: tx.set_meta("big", "x" * 1_000_000))
    assert store.read(lambda tx: tx.meta("big")) is None
    store.write_now(lambda tx: tx._db.execute("PRAGMA max_page_count = 100000").fetchone())
    store.write_now(lambda tx: tx.set_meta("big", "x" * 1_000_000))
    assert store.read(lambda tx: tx.meta("big")) is not None


DISK_FULL = """
import resource, sys
from pathlib import Path
from ony_core.store import Store, StoreUnavailable
from tests.store.world import Clock, open_store
NAMES = ("acknowledged", "while full", "after", "after a restart")
folder = Path(sys.argv[1])
store = open_store(folder, Clock())
store.write_now(lambda tx: tx.set_meta("acknowledged", "yes"))
full = (folder / "ony.db-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
def outcome(name):
    try:
        store.write_now(lambda tx: tx.set_meta(name, "yes"))
        return "written"
    except StoreUnavailable:
        return "refused"
print(outcome("while full"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(outcome("after"), "latched" if store.latched else "open")
store.close()
store = open_store(folder, Clock())
print(outcome("after a restart"), [store.read(lambda tx, n=n: tx.meta(n)) for n in NAMES])
"""


def test_a_commit_whose_outcome_is_unknown_stops_every_later_write_until_a_restart(tmp_path):
    """A real file-size limit of the kernel (setrlimit(2)) makes the COMMIT fail, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["refused", "refused latched", "written ['yes', None, None, 'yes']"], done.stderr


NO_SPACE = """
import sys
from pathlib import Path
from ony_core.store import Store, StoreUnavailable
from tests.store.world import Clock, open_store
folder = Path(sys.argv[1])
store = open_store(folder, Clock())
store.write_now(lambda tx: tx.set_meta("acknowledged", "yes"))
ballast = open(folder / "ballast", "wb", buffering=0)
try:
    while ballast.write(bytes(512)):
        pass
except OSError:
    ballast.close()
def outcome(name):
    try:
        store.write_now(lambda tx: tx.set_meta(name, "yes" * 3000))
        return "written"
    except StoreUnavailable:
        return "refused"
print(outcome("while full"), outcome("still full"), store.latched or "open")
(folder / "ballast").unlink()
print(outcome("after"))
store.close()
store = open_store(folder, Clock())
print([bool(store.read(lambda tx, n=n: tx.meta(n))) for n in ("acknowledged", "while full", "still full", "after")])
"""
SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=600k tmpfs "$0" && exec "$@"')


def test_a_commit_that_found_no_space_is_undone_and_the_next_one_with_space_succeeds(tmp_path):
    """On a file system of the kernel's own, of 600 KiB, in a mount namespace that ends with the process."""
    if subprocess.run([*SMALL_DISK, str(tmp_path), "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no mount namespaces to its users")
    done = subprocess.run(
        [*SMALL_DISK, str(tmp_path), sys.executable, "-c", NO_SPACE, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["refused refused open", "written", "[True, False, False, True]"], done.stderr


KILLED = """
import sys
from pathlib import Path
from tests.store.world import Clock, open_store
store, n = open_store(Path(sys.argv[1]), Clock()), 0
while True:
    store.write_now(lambda tx: tx.set_meta("last", str(n)))
    print(n, flush=True)
    n += 1
"""


def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed(tmp_path, clock, soak):
    for _ in range(25 if soak else 2):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        seen = [int(child.stdout.readline()) for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
        seen += [int(line) for line in child.stdout.read().split("\n")[:-1]]
        child.wait()
        child.stdout.close()
        store = open_store(tmp_path, clock)
        assert int(store.read(lambda tx: tx.meta("last"))) >= seen[-1]
        store.close()
