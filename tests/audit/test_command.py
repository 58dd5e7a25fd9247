"""`ony audit` as people and scripts run it: exits, --json, text, and the standard library alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ony_core import auditkey, notes
from ony_core.cli import main
from tests.audit.test_attacks import cut_tail_and_checkpoints, cut_the_tail, delete_a_row, edit_a_row, rewrite_under_another_key
from tests.audit.world import ORG, OTHER, World

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "result",
    "first_bad_seq",
    "expected",
    "found",
    "last_good_seq",
    "agreeing_head",
    "disagreeing_head",
    "rows_checked",
    "seconds",
    "key_id",
    "notes",
}


@pytest.fixture
def heads(world, tmp_path) -> Path:
    folder = tmp_path / "heads"
    folder.mkdir()
    notes.write_head(folder, world.note(23))
    return folder


def _verify(capsys, *words: str) -> tuple[int, dict]:
    code = main(["audit", "verify", "--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("attack", "code", "result"),
    [
        (None, 0, "OK"),
        (edit_a_row, 10, "EDITED"),
        (delete_a_row, 11, "MISSING"),
        (cut_the_tail, 12, "TRUNCATED"),
        (cut_tail_and_checkpoints, 13, "ROLLBACK"),
        (rewrite_under_another_key, 15, "KEY"),
    ],
)
@pytest.mark.parametrize("medium", ["data", "export"])
def test_each_result_has_its_exit_code_and_the_same_fields(world, heads, tmp_path, capsys, attack, code, result, medium):
    if attack:
        attack(world)
    where = ["--data", world.folder]
    if medium == "export":
        assert main(["audit", "export", "--data", str(world.folder), "--out", str(tmp_path / "x.jsonl")]) == 0
        where = ["--export", tmp_path / "x.jsonl", "--key", world.folder / "audit.key"]
    seen, told = _verify(capsys, *where, "--witness", heads, "--strict")
    assert (seen, told["result"]) == (code, result) and told.keys() >= FIELDS
    assert (told["first_bad_seq"] is None) == (code == 0)


def test_a_fork_exits_14_and_prints_both_sides(world, heads, tmp_path, capsys):
    other = World(tmp_path / "other", key=world.key).grown(20, 3)
    assert main(["audit", "verify", "--data", str(other.folder), "--witness", str(heads)]) == 14
    told = capsys.readouterr().out
    assert told.startswith("FORK") and "the change lies in rows 1 to 23" in told and notes.read_head(heads, other.head(23).origin).root
    assert world.note(23).splitlines()[2] in told


def test_without_a_witness_it_warns_and_strict_makes_it_3(world, capsys):
    assert main(["audit", "verify", "--data", str(world.folder)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("OK-UNANCHORED") and "truncation and rollback cannot be excluded" in told and "Ed25519 lines" in told
    assert main(["audit", "verify", "--data", str(world.folder), "--strict"]) == 3


def test_the_printed_key_alone_is_enough_on_another_machine(world, heads, tmp_path, capsys):
    (tmp_path / "key.txt").write_text(auditkey.to_text(world.key) + "\n")
    world.db.close()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in os.listdir(world.folder):
        if name.startswith("ony.db"):
            shutil.copy(world.folder / name, copy)
    assert _verify(capsys, "--data", copy, "--key", tmp_path / "key.txt", "--witness", heads)[1]["result"] == "OK"
    assert main(["audit", "verify", "--data", str(copy)]) == 1
    assert "pass --key" in capsys.readouterr().err


def test_two_organisations_are_both_checked_and_the_worse_one_speaks(world, heads, capsys):
    auditkey.create_key(world.folder / "audit.key", OTHER)
    world.log.append(world.db, OTHER, "genesis", {})
    world.log.checkpoint(world.db, [OTHER])
    code, told = _verify(capsys, "--data", world.folder, "--witness", heads)
    assert (code, told["result"], told["other_logs"][0]["result"]) == (0, "OK-UNANCHORED", "OK")
    world.unlocked().execute("UPDATE audit SET mac = zeroblob(32) WHERE org_id = ? AND seq = 9", (ORG,))
    code, told = _verify(capsys, "--data", world.folder, "--witness", heads)
    assert (code, told["first_bad_seq"]) == (10, 9) and told["origin"].endswith(ORG)
    assert _verify(capsys, "--data", world.folder, "--org", OTHER)[0] == 0
    assert main(["audit", "list", "--data", str(world.folder)]) == 2
    assert "--org" in capsys.readouterr().err


def test_an_organisation_without_a_key_in_the_file_is_key_trouble(world, capsys):
    world.unlocked().execute("UPDATE audit SET org_id = ? WHERE seq = 1", (OTHER,))
    code, told = _verify(capsys, "--data", world.folder, "--org", OTHER)
    assert (code, told["result"]) == (15, "KEY")


def test_a_log_whose_every_row_vanished_is_not_passed_over(world, heads, capsys):
    world.unlocked().execute("DELETE FROM audit")
    world.db.execute("DELETE FROM checkpoint")
    code, told = _verify(capsys, "--data", world.folder)
    assert (code, told["result"], told["first_bad_seq"]) == (12, "TRUNCATED", 1)
    assert _verify(capsys, "--data", world.folder, "--witness", heads)[1]["first_bad_seq"] == 1


@pytest.mark.parametrize("first", [2, 9, 21, 23])
def test_a_partial_export_verifies_from_its_own_beginning_and_says_that_it_is_one(world, heads, tmp_path, capsys, first):
    path = tmp_path / "part.jsonl"
    assert main(["audit", "export", "--data", str(world.folder), "--from", str(first), "--out", str(path)]) == 0
    code, told = _verify(capsys, "--export", path, "--key", world.folder / "audit.key", "--witness", heads)
    assert (code, told["result"], told["rows_checked"], told["agreeing_head"]["size"]) == (0, "OK-UNANCHORED", 24 - first, 23)
    assert any("part of the log" in note for note in told["notes"])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0].replace(b'"previous_mac":"', b'"previous_mac":"' + b"0" * 64 + b'","x":"') + b"".join(lines[1:]))
    assert main(["audit", "verify", "--export", str(path), "--key", str(world.folder / "audit.key")]) == 18


def test_list_and_show_read_what_verify_reads(world, capsys):
    assert main(["audit", "list", "--data", str(world.folder), "--json", "--from", "20", "--limit", "3"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["seq"] for row in rows] == [20, 21, 22] and rows[0]["kind"] == "verdict"
    assert main(["audit", "list", "--data", str(world.folder), "--kind", "login"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["audit", "list", "--data", str(world.folder)]) == 0
    seen = capsys.readouterr()
    assert len(seen.out.splitlines()) == 23 and "audit verify" in seen.err
    assert main(["audit", "show", "9", "--data", str(world.folder), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["seq"], row["checkpoint"]) == (9, world.note(11))
    assert main(["audit", "show", "99", "--data", str(world.folder)]) == 1


def test_a_listing_cannot_write_to_the_terminal_what_a_row_holds(world, capsys):
    for body in (b'{"kind":"\\u001b[2J","at":"\\u001b]0;x"}', b"\x1b[2J", b"[1]"):
        world.unlocked().execute("UPDATE audit SET body = ? WHERE seq = 3", (body,))
        assert main(["audit", "list", "--data", str(world.folder)]) == 0
        assert main(["audit", "show", "3", "--data", str(world.folder)]) == 0
        assert main(["audit", "verify", "--data", str(world.folder)]) == 10
        assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["verify", "--data", "absent"], 1),
        (["verify", "--export", "absent", "--key", "absent"], 1),
        (["verify", "--data", "a", "--export", "b"], 2),
        (["verify"], 1),
        ([], 2),
        (["verify", "--export", "schema.sql"], 1),
        (["export", "--from", "0"], 2),
        (["list", "--from", "x"], 2),
    ],
)
def test_a_wrong_call_is_one_line_on_stderr(words, code, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["audit", *words]) == code
    seen = capsys.readouterr()
    assert seen.err.startswith("ony: ") and len(seen.err.splitlines()) == 1 and "Traceback" not in seen.err


def test_what_is_no_database_and_what_is_no_export(world, tmp_path, capsys):
    (tmp_path / "ony.db").write_bytes(b"not a database" * 400)
    assert main(["audit", "verify", "--data", str(tmp_path), "--key", str(world.folder / "audit.key")]) == 1
    (tmp_path / "x.jsonl").write_bytes(b'{"format":"ony-audit/3"}\n')
    assert main(["audit", "verify", "--export", str(tmp_path / "x.jsonl"), "--key", str(world.folder / "audit.key")]) == 18
    (tmp_path / "key").write_text("ony-audit-AAAA")
    assert main(["audit", "verify", "--data", str(world.folder), "--key", str(tmp_path / "key")]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["verify", "list", "show", "export"])
def test_every_verb_explains_itself_with_an_example(verb, capsys):
    with pytest.raises(SystemExit):
        main(["audit", verb, "--help"])
    assert f"example:\n  ony audit {verb}" in capsys.readouterr().out


def test_an_export_never_overwrites_a_file(world, tmp_path):
    path = tmp_path / "kept"
    path.write_text("kept")
    assert main(["audit", "export", "--data", str(world.folder), "--out", str(path)]) == 1
    assert path.read_text() == "kept"


def test_verifying_needs_the_standard_library_alone(world, heads):
    script = (
        "import sys\nfrom ony_core.cli import main\n"
        "code = main(['audit', 'verify', '--data', sys.argv[1], '--witness', sys.argv[2]])\n"
        "top = {name.partition('.')[0] for name in sys.modules} - {'__main__', 'ony_core'}\n"
        "print(sorted(name for name in top - sys.stdlib_module_names if not name.startswith('__editable__')))\nsys.exit(code)"
    )
    run = [sys.executable, "-S", "-c", script, str(world.folder), str(heads)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stdout + done.stderr


def test_memory_does_not_grow_with_the_log(tmp_path):
    """Ten times the rows, the same peak (measured by the allocator, so the two runs are comparable)."""
    peaks = []
    for rows in (300, 3000):
        world = World(tmp_path / str(rows))
        for _ in range(rows // 50):
            world.commit(50)
        script = (
            "import sys, tracemalloc\nfrom pathlib import Path\n"
            "from ony_core import auditlog, auditkey\nfrom ony_core.verify import verify\n"
            "folder, org = Path(sys.argv[1]), sys.argv[2]\nkey = auditkey.read_keys(folder / 'audit.key')[org]\n"
            "with auditlog.database(folder) as db:\n    log = auditlog.log_of(db, org)\n"
            "    tracemalloc.start()\n    report = verify(log, key)\n"
            "    print(report.rows, tracemalloc.get_traced_memory()[1])"
        )
        done = subprocess.run([sys.executable, "-c", script, str(world.folder), ORG], capture_output=True, text=True, cwd=ROOT, timeout=60)
        count, peak = map(int, done.stdout.split())
        assert count == rows
        peaks.append(peak)
    assert peaks[1] < peaks[0] * 1.5, peaks
