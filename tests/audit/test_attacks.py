"""Every attack that was measured against the format, in a database and in an export: which result, and the first row it names."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ony_core import auditlog, notes
from ony_core.errors import OnyError
from ony_core.merkle import EMPTY_ROOT
from ony_core.verify import verify
from tests.audit.world import ORG, ORIGIN, World, check_database, check_export, digest, first, resealed

Attack = Callable[[World], None]


def edit_a_row(world: World) -> None:
    body = world.db.execute("SELECT body FROM audit WHERE seq = 10").fetchone()[0]
    world.unlocked().execute("UPDATE audit SET body = ? WHERE seq = 10", (body.replace(b"verdict", b"verdicT"),))


def edit_a_mac(world: World) -> None:
    world.unlocked().execute("UPDATE audit SET mac = zeroblob(32) WHERE seq = 10")


def delete_a_row(world: World) -> None:
    world.unlocked().execute("DELETE FROM audit WHERE seq = 10")


def delete_the_first_rows(world: World) -> None:
    world.unlocked().execute("DELETE FROM audit WHERE seq <= 3")


def swap_two_rows(world: World) -> None:
    db = world.unlocked()
    for old, new in ((10, 99), (11, 10), (99, 11)):
        db.execute("UPDATE audit SET seq = ? WHERE seq = ?", (new, old))


def insert_a_row(world: World) -> None:
    world.unlocked().execute("INSERT INTO audit SELECT org_id, 24, body, mac FROM audit WHERE seq = 23")


def cut_the_tail(world: World) -> None:
    world.unlocked().execute("DELETE FROM audit WHERE seq > 20")


def cut_tail_and_checkpoints(world: World) -> None:
    cut_the_tail(world)
    world.db.execute("DELETE FROM checkpoint WHERE size > 20")


def cut_the_newest_checkpoints(world: World) -> None:
    world.unlocked().execute("DELETE FROM checkpoint WHERE size > 16")


def drop_a_middle_checkpoint(world: World) -> None:
    world.unlocked().execute("DELETE FROM checkpoint WHERE size = 13")


def drop_the_first_checkpoint(world: World) -> None:
    world.unlocked().execute("DELETE FROM checkpoint WHERE size = 2")


def drop_all_checkpoints(world: World) -> None:
    world.unlocked().execute("DELETE FROM checkpoint")


def edit_a_checkpoint(world: World) -> None:
    world.unlocked().execute("UPDATE checkpoint SET note = replace(note, 'time 2026', 'time 2025') WHERE size = 13")


def move_a_checkpoint(world: World) -> None:
    world.unlocked().execute("UPDATE checkpoint SET size = 12 WHERE size = 13")


def roll_back_to_an_older_copy(world: World) -> None:
    db = world.unlocked()
    db.execute("DELETE FROM audit WHERE seq > 13")
    db.execute("DELETE FROM checkpoint WHERE size > 13")


def empty_the_log(world: World) -> None:
    db = world.unlocked()
    db.execute("DELETE FROM audit")
    db.execute("DELETE FROM checkpoint")


def change_row_nine_with_the_stolen_key(world: World) -> None:
    world.unlocked().execute("UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'verdict', 'refusal') AS BLOB) WHERE seq = 9")
    resealed(world, world.key)


def rewrite_under_another_key(world: World) -> None:
    resealed(world, bytes(32))


def change_a_row_with_the_key_and_forget_the_checkpoints(world: World) -> None:
    kept = world.db.execute("SELECT org_id, size, root, note FROM checkpoint").fetchall()
    change_row_nine_with_the_stolen_key(world)
    world.db.execute("DELETE FROM checkpoint")
    world.db.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", kept)


ATTACKS: list[tuple[Attack, tuple[str, int | None], tuple[str, int | None]]] = [
    # attack, result with nothing outside, result with the heads of two connectors (8 and 23 rows)
    (edit_a_row, ("EDITED", 10), ("EDITED", 10)),
    (edit_a_mac, ("EDITED", 10), ("EDITED", 10)),
    (delete_a_row, ("MISSING", 10), ("MISSING", 10)),
    (delete_the_first_rows, ("MISSING", 1), ("MISSING", 1)),
    (swap_two_rows, ("EDITED", 10), ("EDITED", 10)),
    (insert_a_row, ("EDITED", 24), ("EDITED", 24)),
    (cut_the_tail, ("TRUNCATED", 21), ("TRUNCATED", 21)),
    (cut_tail_and_checkpoints, ("OK-UNANCHORED", None), ("ROLLBACK", 21)),
    (cut_the_newest_checkpoints, ("MISSING", 17), ("MISSING", 17)),
    (drop_a_middle_checkpoint, ("MISSING", 13), ("MISSING", 13)),
    (drop_the_first_checkpoint, ("MISSING", 2), ("MISSING", 2)),
    (drop_all_checkpoints, ("MISSING", 1), ("MISSING", 1)),
    (edit_a_checkpoint, ("EDITED", 13), ("EDITED", 13)),
    (roll_back_to_an_older_copy, ("OK-UNANCHORED", None), ("ROLLBACK", 14)),
    (empty_the_log, ("TRUNCATED", 1), ("ROLLBACK", 1)),
    (change_row_nine_with_the_stolen_key, ("OK-UNANCHORED", None), ("FORK", 23)),
    (change_a_row_with_the_key_and_forget_the_checkpoints, ("FORK", 11), ("FORK", 11)),
    (rewrite_under_another_key, ("KEY", 1), ("KEY", 1)),
]


@pytest.mark.parametrize("medium", ["database", "export"])
@pytest.mark.parametrize(("attack", "alone", "witnessed"), ATTACKS, ids=[a[0].__name__ for a in ATTACKS])
def test_each_attack_has_its_own_result_and_first_row(world, attack, alone, witnessed, medium):
    heads = [world.head(8, "connector a"), world.head(23, "connector b")]
    attack(world)
    seen = _both(world, medium, heads)
    assert (first(seen[0]), first(seen[1])) == (alone, witnessed)


def _both(world: World, medium: str, heads: list[notes.Head]):
    if medium == "database":
        return check_database(world), check_database(world, *heads)
    data = world.export()
    return check_export(data, world.key), check_export(data, world.key, *heads)


@pytest.mark.parametrize("medium", ["database", "export"])
def test_an_untouched_log_is_ok_with_a_head_outside_and_unanchored_without(world, medium):
    alone, witnessed = _both(world, medium, [world.head(8), world.head(23)])
    assert (alone.result, witnessed.result) == ("OK-UNANCHORED", "OK")
    assert (witnessed.rows, witnessed.checkpoints, witnessed.last_good, witnessed.agreeing.size) == (23, 9, 23, 23)
    assert (witnessed.first_time, witnessed.last_time) == ("2026-06-30T14:22:08Z", "2026-06-30T14:22:38Z")
    assert (alone.exit_code(strict=False), alone.exit_code(strict=True), witnessed.exit_code(strict=True)) == (0, 3, 0)


def test_a_moved_checkpoint_is_not_the_one_that_was_sealed(world):
    move_a_checkpoint(world)
    assert first(check_database(world)) == ("EDITED", 12)


def test_a_split_view_shows_when_two_connectors_compare_heads(tmp_path):
    """Connector b was shown another fifth row; both logs hold together on their own."""
    one = World(tmp_path / "one", key=b"k" * 32).grown(4)
    two = World(tmp_path / "two", key=b"k" * 32).grown(4)
    one.commit(tag=0), two.commit(tag=7)
    assert check_database(one, one.head(4), one.head(5)).result == "OK"
    report = check_database(one, one.head(4), two.head(5, "connector b"))
    assert first(report) == ("FORK", 5)
    assert "the change lies in rows 5 to 5" in report.findings[0].what
    assert (report.agreeing.size, report.disagreeing.source) == (4, "connector b")


def test_a_fork_names_the_stretch_between_the_last_agreeing_and_the_first_disagreeing_head(world):
    heads = [world.head(8), world.head(11), world.head(23)]
    change_row_nine_with_the_stolen_key(world)
    report = check_database(world, *heads)
    assert first(report) == ("FORK", 11)
    assert "rows 9 to 11" in report.findings[0].what
    assert report.to_json()["disagreeing_head"]["note"] == heads[1].note


def test_an_edit_says_what_was_expected_and_how_much_still_holds(world):
    edit_a_row(world)
    told = check_database(world).to_json()
    assert (told["first_bad_seq"], told["last_good_seq"], told["later_good_rows"]) == (10, 9, 13)
    assert len(told["expected"]) == 64 and told["expected"] != told["found"]
    assert told["findings"][0]["kind"] == "verdicT"


def test_the_wrong_key_is_no_evidence_of_an_edit(world):
    report = check_database(world, key=b"x" * 32)
    assert first(report) == ("KEY", 1)
    assert report.findings[0].details["found"] == check_database(world).key_id


def test_an_intruder_cannot_dress_an_edit_of_the_first_row_up_as_key_trouble(world):
    db = world.unlocked()
    db.execute("UPDATE audit SET body = x'7b7d' WHERE seq = 1")
    db.execute("UPDATE checkpoint SET note = replace(note, ' key ', ' key 0') WHERE size < 23")
    assert first(check_database(world)) == ("EDITED", 1)


def test_another_server_id_in_the_database_is_another_log(world):
    world.db.execute("UPDATE meta SET value = ?", ("77" * 16,))
    assert first(check_database(world)) == ("KEY", 1)


def test_a_head_that_the_server_itself_noted_is_a_promise_too(world):
    db = world.unlocked()
    db.execute("PRAGMA foreign_keys = OFF")
    root = world.head(23).root
    db.execute("INSERT INTO head VALUES (?, 'con_a', 23, ?, 0)", (ORG, root))
    assert check_database(world).result == "OK-UNANCHORED"
    cut_tail_and_checkpoints(world)
    assert first(check_database(world)) == ("TRUNCATED", 21)


def test_heads_of_other_logs_are_left_out_and_do_not_make_it_ok(world, tmp_path):
    head = world.head(23)
    report = check_database(world, notes.Head("ony/" + "00" * 16 + "/" + ORG, 23, head.root, head.note))
    assert report.result == "OK-UNANCHORED" and "other log" in report.notes[0]


def test_a_head_of_an_empty_log_anchors_nothing(world):
    assert check_database(world, notes.Head(ORIGIN, 0, EMPTY_ROOT, world.note(2), "forged")).result == "OK-UNANCHORED"


def test_a_witness_that_disagrees_is_said_to_be_sealed_or_not(world):
    for note, said in ((world.note(8), "sealed by the same key"), ("", "not sealed by this key")):
        report = check_database(world, notes.Head(ORIGIN, 8, bytes(32), note, "connector b"))
        assert first(report) == ("FORK", 8) and said in report.findings[0].what


@pytest.mark.parametrize("cut", range(24))
@pytest.mark.parametrize("size", [2, 8, 13, 23])
def test_a_clean_cut_is_seen_exactly_when_a_head_lies_beyond_it(world, cut, size):
    head = world.head(size)
    db = world.unlocked()
    db.execute("DELETE FROM audit WHERE seq > ?", (cut,))
    db.execute("DELETE FROM checkpoint WHERE size > ?", (cut,))
    covered = cut in (0, 2, 4, 5, 8, 11, 13, 16, 20, 23)
    result = check_database(world, head).result
    if not covered:
        assert result == "MISSING"
    else:
        assert result == ("ROLLBACK" if size > cut else "OK")


def test_rows_in_the_wrong_order_are_reordered(world):
    lines = world.export().splitlines(keepends=True)
    rows = [i for i, line in enumerate(lines) if line.startswith(b'{"seq"')]
    lines.insert(rows[5], lines[rows[2]])
    assert first(check_export(b"".join(lines), world.key)) == ("REORDERED", 6)


def test_a_checkpoint_out_of_its_place_is_reordered(world):
    lines = world.export().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b"\\n8\\n" in line)
    early = [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]
    late = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
    assert first(check_export(b"".join(early), world.key)) == ("REORDERED", 8)
    assert first(check_export(b"".join(late), world.key)) == ("REORDERED", 8)


def test_a_copy_without_the_write_ahead_file_is_shorter_and_the_head_says_so(world, tmp_path):
    """Deleting ony.db-wal of a running server loses commits; only a head kept outside can know."""
    world.db.execute("PRAGMA wal_autocheckpoint = 0")
    stale = _copy(world, tmp_path)
    world.commit(2)
    assert check_database(world, world.head(25)).result == "OK"
    assert first(check_database(stale, world.head(25), key=world.key)) == ("ROLLBACK", 24)


def test_a_later_rewrite_keeps_the_verdict_digest_from_being_swapped(world):
    """The digest of a payload is inside the MACed bytes."""
    body = world.db.execute("SELECT body FROM audit WHERE seq = 7").fetchone()[0]
    assert digest(7).encode() in body
    world.unlocked().execute("UPDATE audit SET body = ? WHERE seq = 7", (body.replace(digest(7).encode(), digest(8).encode()),))
    assert first(check_database(world)) == ("EDITED", 7)


def test_reading_a_bare_copy_leaves_nothing_beside_it(world, tmp_path):
    stale = _copy(world, tmp_path)
    assert check_database(stale, world.head(23), key=world.key).result == "OK"
    assert [p.name for p in stale.folder.iterdir()] == ["ony.db"]


def test_a_server_that_starts_during_the_read_ends_it(world, tmp_path):
    stale = _copy(world, tmp_path)
    with pytest.raises(OnyError, match="started while"), auditlog.database(stale.folder):
        other = sqlite3.connect(stale.folder / "ony.db")
        other.execute("INSERT INTO meta VALUES ('note', 'x')")
        other.commit()


def test_the_log_is_read_as_of_one_moment_while_the_server_writes(world):
    with auditlog.database(world.folder) as db:
        log = auditlog.log_of(db, ORG)
        world.commit(3)
        assert verify(log, world.key, [world.head(23)]).rows == 23
    assert check_database(world, world.head(23)).rows == 26


def _copy(world: World, tmp_path: Path) -> World:
    """What an auditor gets: ony.db alone."""
    world.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = World.__new__(World)
    copy.folder = tmp_path / "copy"
    copy.folder.mkdir()
    shutil.copy(world.folder / "ony.db", copy.folder)
    return copy
