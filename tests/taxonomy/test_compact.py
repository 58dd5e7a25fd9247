"""The compact copy says what the TOML files say, to the letter; one that is stale is passed by, one that is damaged refused."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ony_core.errors import OnyError
from ony_core.taxonomy import compact, reading, tables
from ony_core.taxonomy.tables import Tables

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = list(reading.sources())
OF = reading.digest(FILES)
COPY = reading.copy_of(FILES)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the shipped families and nothing else."""
    for name, text in FILES:
        (tmp_path / name).write_bytes(text)
    monkeypatch.setattr(reading.resources, "files", lambda _: tmp_path)
    return tmp_path


def in_order(found: Any) -> Any:
    """Dictionaries as lists of pairs: equal only if they are in the same order, too."""
    if isinstance(found, dict):
        return [(key, in_order(value)) for key, value in found.items()]
    return [in_order(part) for part in found] if isinstance(found, list | tuple) else found


def test_the_tables_of_a_copy_are_those_of_the_files_to_the_letter() -> None:
    copied = reading.opened(COPY, OF)
    assert copied is not None
    made, read = tables.assembled(copied), tables.build(reading.documents())
    assert made == read
    for part in ("rules", "programs", "names", "words", "traits", "targets"):
        assert in_order(getattr(made, part)) == in_order(getattr(read, part)), part


def test_a_copy_holds_every_word_of_the_files_but_the_examples() -> None:
    assert in_order(reading.opened(COPY, OF)) == in_order(reading.bare(reading.documents()))
    assert b'"holds":' not in COPY and b'"passes":' not in COPY


def test_the_same_files_give_the_same_bytes() -> None:
    """Sets and seeds of hashes leave no trace in it."""
    text = "from ony_core.taxonomy import reading; import sys; sys.stdout.buffer.write(reading.copy_of(list(reading.sources())))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, cwd=ROOT, env={"PYTHONHASHSEED": "7"})
    assert done.stdout == COPY


def test_a_copy_that_is_there_is_taken(folder: Path) -> None:
    assert reading.copied() is None
    (folder / reading.COPY).write_bytes(COPY)
    assert reading.copied() == reading.opened(COPY, OF)


def changed(folder: Path) -> None:
    (folder / "30_git.toml").write_bytes((folder / "30_git.toml").read_bytes() + b"\n")


STALE = {
    "a family was changed": changed,
    "one was added": lambda folder: (folder / "99_zzz.toml").write_text(""),
    "one was removed": lambda folder: (folder / "99_windows.toml").unlink(),
    "one was renamed": lambda folder: (folder / "99_windows.toml").rename(folder / "99_x.toml"),
}


@pytest.mark.parametrize("edit", STALE.values(), ids=STALE.keys())
def test_a_stale_copy_is_passed_by(edit: Any, folder: Path) -> None:
    (folder / reading.COPY).write_bytes(COPY)
    edit(folder)
    assert reading.copied() is None


def test_what_is_read_instead_of_a_stale_copy_is_the_changed_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / reading.COPY).write_bytes(COPY)
    git = folder / "30_git.toml"
    git.write_text(git.read_text("utf-8").replace('title = "Force-push to {branch}"', 'title = "Push hard to {branch}"'), "utf-8")
    read = tables.tables.__wrapped__()
    assert any(rule.title == "Push hard to {branch}" for rule in read.all_rules)


def forged() -> bytes:
    """A whole copy of no families, bound to nothing: its own digest is right."""
    return f"{reading.FORM} {'0' * 64} {hashlib.sha256(b'').hexdigest()}\n".encode()


DAMAGED = {
    "empty": b"",
    "a zero byte": b"\0",
    "cut short": COPY[: len(COPY) // 2],
    "its head alone": COPY.partition(b"\n")[0] + b"\n",
    "the last byte is missing": COPY[:-1],
    "something behind it": COPY + b"\n",
    "a risk was lowered": COPY.replace(b'"risk":"critical"', b'"risk":"none"', 1),
    "no head": COPY.partition(b"\n")[2],
    "another form": COPY.replace(b"ony-tables/1", b"ony-tables/2", 1),
    "letters that are none": b"\xff\xfe" + COPY,
    "JSON of something else": json.dumps({}).encode(),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_copy_is_refused_and_no_smaller_tables_are_made_of_it(text: bytes, folder: Path) -> None:
    (folder / reading.COPY).write_bytes(text)
    with pytest.raises(OnyError, match="compact tables") as refused:
        tables.tables.__wrapped__()
    assert "remove that file" in str(refused.value.hint)


def test_a_copy_of_no_families_is_passed_by_where_there_are_some(folder: Path) -> None:
    (folder / reading.COPY).write_bytes(forged())
    assert reading.copied() is None


def test_what_the_loader_refuses_is_not_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "__file__", str(folder / "compact.py"))
    assert compact.main() == 0
    assert (folder / reading.COPY).read_bytes() == COPY
    (folder / reading.COPY).unlink()
    (folder / "99_zzz.toml").write_text('[[rule]]\nkey = "a"\nrisk = "low"\ntitle = "x"\nverbs = ["two  blanks"]\n')
    with pytest.raises(OnyError, match="joined by one blank"):
        compact.main()
    assert not list(folder.glob("compact*"))


def test_programs_that_share_a_grammar_have_names_of_their_own() -> None:
    known: Tables = tables.tables()
    assert all(program.name == name for name, program in known.programs.items())
    assert len(known.programs) == len(list(known.programs)) and "no such program" not in known.programs
