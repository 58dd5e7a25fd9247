"""No byte of a log is without effect: one flipped bit anywhere is never OK, and the row it names is the one that holds it."""

import random
import shutil
import sqlite3

import pytest

from ony_core import auditlog
from ony_core.auditlog import Broken
from ony_core.errors import OnyError
from ony_core.verify import verify
from tests.audit.world import ORG, World, check_export

ROWS = 60


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "data").grown(*[5] * (ROWS // 5))


def _positions(length: int, soak: bool) -> list[int]:
    """Every byte in a soak; otherwise a fixed sample that differs in stride from every line length."""
    return list(range(length)) if soak else list(range(3, length, 37))


def test_a_flipped_bit_anywhere_in_an_export_is_never_ok(world, soak):
    data, key, head = world.export(), world.key, world.head(ROWS)
    row_of = _rows_by_byte(data)
    assert check_export(data, key, head).result == "OK"
    for at in _positions(len(data), soak):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        try:
            report = check_export(bytes(flipped), key, head)
        except OnyError as refused:
            assert refused.code == 18 and row_of[at] == 0
            continue
        assert report.findings, f"bit {at % 8} of byte {at} went unseen"
        assert abs(report.findings[0].seq - row_of[at]) <= 1, f"byte {at}: row {row_of[at]}, reported {report.findings[0]}"


def _rows_by_byte(data: bytes) -> list[int]:
    """The row each byte belongs to; a checkpoint belongs to the row it covers, the header to row 0."""
    row, rows = 0, []
    for line in data.splitlines(keepends=True):
        row += line.startswith(b'{"seq"')
        rows += [row] * len(line)
    return rows


@pytest.mark.parametrize("column", ["body", "mac"])
def test_a_flipped_bit_in_any_row_of_the_database_names_that_row(world, column, soak):
    db = world.unlocked()
    rows = db.execute(f"SELECT seq, {column} FROM audit ORDER BY seq").fetchall()
    for seq, value in rows:
        for at in _positions(len(value), soak):
            flipped = bytearray(value)
            flipped[at] ^= 1 << (at % 8)
            db.execute("BEGIN")
            db.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (bytes(flipped), seq))
            report = verify(auditlog.log_of(db, ORG), world.key)
            db.execute("ROLLBACK")
            assert (report.result, report.findings[0].seq) == ("EDITED", seq)


def test_a_flipped_bit_in_the_database_file_is_ok_only_where_no_row_and_no_checkpoint_changed(world, tmp_path, soak):
    world.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(world.folder / "ony.db", folder)
    data, head, key = (folder / "ony.db").read_bytes(), world.head(ROWS), world.key
    pristine, _ = _read(folder, key, head)
    for at in random.Random(7).sample(range(len(data)), 6000 if soak else 250):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        (folder / "ony.db").write_bytes(flipped)
        try:
            items, report = _read(folder, key, head)
        except OnyError:
            continue
        assert report.findings or items == pristine, f"byte {at} changed what is read and went unseen"


def _read(folder, key, head):
    seen = []

    def noted(items):
        for item in items:
            seen.append(item)
            yield item

    with auditlog.database(folder) as db:
        log = auditlog.log_of(db, ORG)
        log.lines = noted(log.lines)
        return seen, verify(log, key, [head])


@pytest.mark.parametrize("medium", ["row", "middle of a line"])
def test_an_export_that_was_cut_is_never_ok(world, medium):
    data, key, head = world.export(), world.key, world.head(ROWS)
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    for end in ends[:-1]:
        report = check_export(data[: end + (9 if medium != "row" else 0)], key, head)
        assert "TRUNCATED" in {found.result for found in report.findings} and report.findings[0].result in ("TRUNCATED", "MISSING")


def test_nothing_may_follow_the_last_line(world):
    data = world.export()
    for more in (b"\n", b"{}\n", data.splitlines(keepends=True)[-1], b"x"):
        assert check_export(data + more, world.key, world.head(ROWS)).result == "FORMAT"


def test_a_row_without_a_number_is_a_finding_and_no_fault():
    db = sqlite3.connect(":memory:")  # a damaged file can hold what a STRICT table cannot
    db.executescript("CREATE TABLE audit (org_id, seq, body, mac); CREATE TABLE checkpoint (org_id, size, root, note)")
    db.execute("INSERT INTO checkpoint VALUES (?, 1, ?, 'note')", (ORG, b"r" * 32))
    db.execute("INSERT INTO audit VALUES (?, NULL, ?, ?)", (ORG, b"{}", b"m" * 32))
    with pytest.raises(Broken, match="wrong type"):
        list(auditlog._from_database(db, ORG))
