"""A command that is handed an agent's settings or Ony's own files counts as writing them, unless it surely only reads."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive, leash
from ony_core.model import ToolCall
from ony_core.taxonomy.tables import Program

ROWS: dict[str, tuple[str, bool]] = {
    "a program that nobody knows": ("frob .claude/settings.json", True),
    "as its second word": ("frob x ~/.ony/key", True),
    "another file": ("frob x.json", False),
    "a word in quotes": ("frob 'edit .claude/settings.json'", False),
    "behind an equals sign": ("frob --out=.claude/settings.json", True),
    "behind a name": ("frob of=.claude/settings.json", True),
    "on a short flag": ("frob -o.claude/settings.json", True),
    "on a flag with one dash and an equals sign": ("frob -out=.claude/settings.json", True),
    "a long flag of that name": ("frob --.claude", False),
    "a flag alone": ("frob -o", False),
    "one that only reads": ("cat .claude/settings.json", False),
    "the same by its path": ("/bin/cat .claude/settings.json", False),
    "git that looks": ("git diff .claude/settings.json", False),
    "git that moves": ("git checkout .claude/settings.json", True),
    "git that moves, behind a flag": ("git --no-pager checkout .claude/settings.json", True),
    "git with a moving word as a later operand": ("git log a b checkout .claude/settings.json", False),
    "a reader with a flag that writes": ("jq . -o .claude/settings.json", False),
}  # fmt: skip


@pytest.mark.parametrize(("command", "written"), ROWS.values(), ids=ROWS.keys())
def test_whether_it_counts_as_writing(command: str, written: bool) -> None:
    facts = derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace())
    found = [fact for fact in facts if fact.kind == "file" and fact.verb == ("write",) and set(fact.traits) & leash.GUARDED]
    assert bool(found) is written
    assert all("modify" in fact.traits for fact in found)


GRAMMARS = {
    "it reads": (Program("frob"), False),
    "it takes text": (Program("frob", operands="text"), False),
    "it takes nothing": (Program("frob", operands="none"), False),
    "it writes": (Program("frob", operands="write"), True),
    "it has a handler": (Program("frob", handler="copy"), True),
    "it runs another": (Program("frob", wraps=0), True),
    "it runs another behind a word": (Program("frob", wraps=1), True),
}


@pytest.mark.parametrize(("program", "judged_elsewhere"), GRAMMARS.values(), ids=GRAMMARS.keys())
def test_a_program_with_a_grammar_of_its_own_is_judged_there(program: Program, judged_elsewhere: bool) -> None:
    from ony_core.facts.words import Word

    assert leash._only_reads(program, [Word("frob"), Word("x")]) is judged_elsewhere
    assert not leash._only_reads(None, [Word("frob")])


PATHS = {"a": ["a"], "a=b=c": ["a=b=c", "b=c"], "--a=b": ["b"], "--a": [], "-ab": ["b"], "-a=b": ["b"], "-a": [], "-": []}


@pytest.mark.parametrize(("text", "found"), PATHS.items())
def test_the_paths_that_a_word_may_hold(text: str, found: list[str]) -> None:
    assert leash._paths_in(text) == found
