"""Copies and migrations: whole or not at all, private, never over another file; a step that fails or is killed leaves the old database."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ony_core.errors import OnyError
from ony_core.store import copies, migrations
from ony_core.store.store import VERSION
from tests.store.world import Clock, add_org, open_store

ROOT = Path(__file__).resolve().parents[2]
STEP = "CREATE TABLE later (a INTEGER) STRICT; INSERT INTO later VALUES (7); ALTER TABLE org ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';"


@pytest.fixture
def store(tmp_path):
    made = open_store(tmp_path, Clock())
    made.write_now(lambda tx: tx.set_meta("server_id", "5e" * 16))
    yield made
    made.close()


def content(path: Path) -> list:
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        return list(db.iterdump())
    finally:
        db.close()


# ---------------------------------------------------------------- copies


def test_a_copy_of_a_running_server_is_one_private_file_that_holds_what_was_committed(store, tmp_path):
    mine = add_org(store, tmp_path, 1)
    copies.copy(tmp_path / "ony.db", tmp_path / "copy.db")
    assert stat.S_IMODE(os.stat(tmp_path / "copy.db").st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"], "no journal, nothing half made"
    assert copies.check(tmp_path / "copy.db", VERSION) == VERSION
    assert any(mine.email in line for line in content(tmp_path / "copy.db"))


def test_a_copy_is_of_one_moment_while_the_server_writes_on(store, tmp_path):
    store.write_now(lambda tx: [tx.set_meta(name, "0") for name in ("left", "right")])
    done = threading.Event()

    def writes():
        for n in range(300):
            store.write_now(lambda tx, n=n: [tx.set_meta(name, str(n)) for name in ("left", "right")])
        done.set()

    writer = threading.Thread(target=writes)
    writer.start()
    for n in range(5):
        copies.copy(tmp_path / "ony.db", tmp_path / f"{n}.db")
        db = sqlite3.connect(tmp_path / f"{n}.db")
        left, right = (db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone() for name in ("left", "right"))
        db.close()
        assert left == right
    writer.join()
    assert done.is_set()


@pytest.mark.parametrize("there", ["a file", "a link to nowhere"])
def test_a_copy_never_goes_over_another_file(store, tmp_path, there):
    target = tmp_path / "copy.db"
    target.write_text("precious") if there == "a file" else target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OnyError, match="exists already"):
        copies.copy(tmp_path / "ony.db", target)
    assert not (tmp_path / "elsewhere").exists() and (there != "a file" or target.read_text() == "precious")


def test_a_copy_that_cannot_be_written_leaves_nothing_behind(store, tmp_path):
    with pytest.raises(OnyError, match="cannot be made"):
        copies.copy(tmp_path / "ony.db", tmp_path / "missing" / "copy.db")
    with pytest.raises(OnyError):
        copies.copy(tmp_path / "no.db", tmp_path / "copy.db")
    assert not [path for path in tmp_path.iterdir() if "copy" in path.name]


def test_every_damaged_copy_is_refused(store, tmp_path):
    copies.copy(tmp_path / "ony.db", tmp_path / "copy.db")
    whole = (tmp_path / "copy.db").read_bytes()
    wrong = {"empty": b"", "nonsense": b"nonsense" * 999, "cut": whole[: len(whole) // 2], "header": b"X" + whole[1:],
             "a page": whole[:8192] + b"\xff" * 4096 + whole[12288:]}  # fmt: skip
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(OnyError):
            copies.check(tmp_path / name, VERSION)
    with pytest.raises(OnyError, match="newer"):
        copies.check(tmp_path / "copy.db", 0)


# ---------------------------------------------------------------- migrations


def prepared(tmp_path) -> sqlite3.Connection:
    store = open_store(tmp_path, Clock())
    store.write_now(lambda tx: tx.set_meta("server_id", "5e" * 16))
    add_org(store, tmp_path, 1)
    store.close()
    return sqlite3.connect(tmp_path / "ony.db", isolation_level=None)


def test_an_older_database_is_brought_forward_and_kept_beside(tmp_path):
    db = prepared(tmp_path)
    before = content(tmp_path / "ony.db")
    kept = migrations.migrate(db, tmp_path / "ony.db", (STEP, "INSERT INTO later VALUES (8);"))
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    assert db.execute("SELECT a FROM later").fetchall() == [(7,), (8,)] and db.execute("SELECT colour FROM org").fetchone() == ("red",)
    assert kept == tmp_path / "ony.db.v1" and content(kept) == before and stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    assert migrations.migrate(db, tmp_path / "ony.db", (STEP, "")) is None, "once"
    db.close()


@pytest.mark.parametrize("bad", ["nonsense;", "INSERT INTO later VALUES ('x');", "DELETE FROM user;", "SELECT RAISE(ABORT, 'no');"])
def test_a_step_that_fails_changes_nothing(tmp_path, bad):
    db = prepared(tmp_path)
    before = content(tmp_path / "ony.db")
    for _ in range(2):
        with pytest.raises(OnyError, match="nothing was changed"):
            migrations.migrate(db, tmp_path / "ony.db", (STEP, bad))
    db.close()
    assert content(tmp_path / "ony.db") == before


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from ony_core.store import copies, migrations
path, when = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
db = sqlite3.connect(path, isolation_level=None)
db.create_function("die", 0, die)
if when == "in the copy":
    copies.synced_folder = die
if when == "before the copy":
    copies._copied = die
migrations.migrate(db, path, (sys.argv[3] + ("SELECT die();" if when == "in the step" else ""),))
"""


@pytest.mark.parametrize("when", ["before the copy", "in the copy", "in the step"])
def test_a_migration_that_is_killed_is_begun_again_as_if_it_had_not_been(tmp_path, when):
    prepared(tmp_path).close()
    before = content(tmp_path / "ony.db")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "ony.db"), when, STEP], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    db = sqlite3.connect(tmp_path / "ony.db", isolation_level=None)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    migrations.migrate(db, tmp_path / "ony.db", (STEP,))
    db.close()
    assert content(tmp_path / "ony.db.v1") == before


def test_the_store_itself_migrates_when_it_opens(tmp_path, monkeypatch):
    prepared(tmp_path).close()
    monkeypatch.setattr(migrations, "STEPS", (STEP,))
    monkeypatch.setattr("ony_core.store.store.VERSION", 2)
    store = open_store(tmp_path, Clock())
    assert store.read(lambda tx: tx._db.execute("SELECT a FROM later").fetchall()) == [(7,)]
    store.close()
    monkeypatch.undo()
    with pytest.raises(OnyError, match="newer Ony"):
        open_store(tmp_path, Clock())
