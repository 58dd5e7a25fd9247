"""Any history of commits, rollbacks, restarts and kills leaves a log that verifies, and that every head ever given out agrees with."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ony_core import notes
from tests.audit.world import ORG, ORIGIN, World, check_database, check_export, digest

ROOT = Path(__file__).resolve().parents[2]
STEPS = st.lists(st.tuples(st.sampled_from(["commit", "undo", "restart"]), st.integers(1, 9)), max_size=12)


@given(STEPS, st.integers(0, 10_000), st.sampled_from(["body", "mac"]))
def test_any_history_verifies_and_any_edit_in_it_is_named(steps, where, column):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "data")
        rows, heads = [], []
        for step, count in steps:
            if step == "commit":
                rows += [digest(len(rows) + n + 1) for n in range(count)]
                heads.append(world.commit(count).head(len(rows)))
            elif step == "undo":
                world.db.execute("BEGIN")
                for _ in range(count):
                    world.log.append(world.db, ORG, "verdict", {})
                world.log.checkpoint(world.db, [ORG])
                world.db.execute("ROLLBACK")
            else:
                world.log = world.fresh_log()
        report = check_database(world, *heads)
        assert (report.result, report.rows) == ("OK" if heads else "TRUNCATED", len(rows))
        assert check_export(world.export(), world.key, *heads).to_json() == report.to_json()
        if rows:
            seq = where % len(rows) + 1
            flipped = bytearray(world.db.execute(f"SELECT {column} FROM audit WHERE seq = ?", (seq,)).fetchone()[0])
            flipped[where % len(flipped)] ^= 1 + where % 255
            world.unlocked().execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (bytes(flipped), seq))
            found = check_database(world, *heads).findings[0]
            assert (found.result, found.seq) == ("EDITED", seq)
        world.db.close()


WRITER = """
import sqlite3, sys
from pathlib import Path
from tests.audit.world import ORG, SIGNING, Clock, origin_of
from ony_core.server.audit import Log
folder = Path(sys.argv[1])
db = sqlite3.connect(folder / "ony.db", isolation_level=None)
db.execute("PRAGMA synchronous = FULL")
log = Log(folder / "audit.key", origin_of, SIGNING.sign, Clock())
print("ready", flush=True)
while True:
    db.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        size = log.append(db, ORG, "verdict", {})
    log.checkpoint(db, [ORG])
    root, note = db.execute("SELECT root, note FROM checkpoint WHERE size = ?", (size,)).fetchone()
    db.execute("COMMIT")
    print(size, root.hex(), note.encode().hex(), flush=True)
"""


def test_a_killed_server_never_loses_a_row_it_has_spoken_of(tmp_path, soak):
    """SIGKILL at a random moment; whatever was printed was committed before, so its head must agree. The next start writes on."""
    world = World(tmp_path / "data").grown(2)
    world.db.close()
    seed, spoken = random.Random(11), 0
    for _ in range(200 if soak else 5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(world.folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        lines = [writer.stdout.readline() for _ in range(1 + seed.randrange(12))]
        writer.kill()
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        heads = []
        for line in lines[1:]:
            if line.endswith("\n"):
                size, root, note = line.split()
                heads.append(notes.Head(ORIGIN, int(size), bytes.fromhex(root), bytes.fromhex(note).decode(), "the writer"))
        report = check_database(world, *heads)
        assert not report.findings, report.findings
        spoken = max([spoken, *(head.size for head in heads)])
        assert report.rows >= spoken
