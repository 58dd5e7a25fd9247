"""How the words after a program are read, on small tables made for it: flags and their spellings, values, verbs, operands.

A row is (program, words, what is understood): `verb`, `flags`, `values` as flag=value, `operands`, `traits`, each as words, and `blind`.
"""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from ony_core.facts import argv
from ony_core.facts.words import HOLE, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import Tables, build

TABLES = """
[traits]
t = "t"

[program.flat]  # no verbs
values = ["-o", "--out", "--output", "-fplugin"]
recursive = ["-r", "--recursive"]
flags = ["--hard", "--handle"]
batch = ["-q"]
spell = { "-R" = "--recursive", "--rec" = "--recursive" }

[program.odd]  # flags of its own kind
values = ["-name", "-x"]
help = ["-help", "+", "--version", "-H"]

[program.long]  # one dash before long flags
single_dash = true
values = ["-target"]
help = ["-help", "-h"]
spell = { "-destroy-all" = "-destroy" }

[program.verbs]
values = ["-C"]
verb_values = { "push" = ["-o", "--opt"] }
spell = { "push -f" = "--force", "-f" = "--file" }

[program.open]
open = true

[program.deep]

[program.last]
verbs = "last"

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["flat"]
flags = ["--force"]
all_flags = ["--all"]
not_flags = ["--dry-run"]

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["odd"]
flags = ["-delete"]

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["long"]
flags = ["-destroy"]

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["verbs"]
verbs = ["push", "push *", "remote add", "run:*", "stash * drop"]

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["open"]
verbs = ["get", "get all", "set", "set *"]
takes = ["get"]

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["deep"]
verbs = ["a b c d e f g h"]

[[rule]]
key = "a"
risk = "low"
title = "A"
program = ["last"]
verbs = ["group list", "group delete", "other delete", "show*", "whole", "whole again"]

[[rule]]
key = "b"
risk = "low"
title = "B"
flags = ["--any"]
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    made = build([("small.toml", tomllib.loads(TABLES))])
    monkeypatch.setattr(argv, "tables", lambda: made)
    argv._child.cache_clear()
    yield made
    argv._child.cache_clear()


def understood(line: argv.Line) -> dict[str, Any]:
    found: dict[str, Any] = {
        "verb": " ".join(line.verb),
        "flags": " ".join(sorted(line.flags)),
        "values": " ".join(f"{flag}={word.text}" for flag, word in line.values),
        "operands": " ".join(word.text for word in line.operands),
        "traits": " ".join(sorted(line.traits)),
        "blind": None if line.blind is None else " ".join(line.blind),
    }
    return {name: value for name, value in found.items() if value not in ("", None) or (name == "blind" and value is not None)}


ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # operands and flags
    "nothing": ("flat", "", {}),
    "operands": ("flat", "a b", {"operands": "a b"}),
    "a dash alone is an operand": ("flat", "- + a", {"operands": "- + a"}),
    "a plus is an operand where help has none": ("flat", "+x", {"operands": "+x"}),
    "two dashes end the flags": ("flat", "-q -- --force -r", {"flags": "-q", "operands": "--force -r"}),
    "two dashes before a verb do not end it": ("verbs", "-- push --any", {"verb": "push", "flags": "--any"}),
    "two dashes after it do": ("verbs", "push -- --any", {"verb": f"push {UNLISTED}", "operands": "--any"}),
    "what only the run will know": ("flat", f"a{HOLE}", {"operands": f"a{HOLE}", "traits": "unknown_word"}),
    # long flags
    "a long flag": ("flat", "--force", {"flags": "--force"}),
    "one that every program has": ("flat", "--an", {"flags": "--any"}),
    "its beginning": ("flat", "--fo", {"flags": "--force"}),
    "a beginning of several is all of them": ("flat", "--ha", {"flags": "--handle --hard"}),
    "three letters are a beginning": ("flat", "--d", {"flags": "--dry-run"}),
    "a beginning of help": ("flat", "--he", {"flags": "--help", "traits": "help"}),
    "a whole flag is no beginning": ("flat", "--out x", {"flags": "--out", "values": "--out=x"}),
    "a beginning of one that takes a value": ("flat", "--outp x", {"flags": "--output", "values": "--output=x"}),
    "an unknown one takes none": ("flat", "--zzz x", {"flags": "--zzz", "operands": "x"}),
    "with its value": ("flat", "--out=a=b", {"flags": "--out", "values": "--out=a=b"}),
    "any may have a value": ("flat", "--force=hard", {"flags": "--force", "values": "--force=hard"}),
    "one that is switched off": ("flat", "--force=false --all=0 --hard=no", {"values": "--force=false --all=0 --hard=no"}),
    "a value that says no": ("flat", "--out=false", {"flags": "--out", "values": "--out=false"}),
    "no word left for its value": ("flat", "a --out", {"flags": "--out", "operands": "a"}),
    "a flag may be a value": ("flat", "--out --force", {"flags": "--out", "values": "--out=--force"}),
    "help": ("flat", "--help", {"flags": "--help", "traits": "help"}),
    "version": ("flat", "--version", {"flags": "--version", "traits": "help"}),
    "another spelling": ("flat", "--rec", {"flags": "--recursive"}),
    # short flags
    "a cluster": ("flat", "-rq", {"flags": "-q -r"}),
    "a spelling in a cluster": ("flat", "-qR", {"flags": "--recursive -q"}),
    "a value behind it": ("flat", "-o x y", {"flags": "-o", "values": "-o=x", "operands": "y"}),
    "a value within": ("flat", "-ox", {"flags": "-o", "values": "-o=x"}),
    "a value after an equals sign": ("flat", "-o=x", {"flags": "-o", "values": "-o=x"}),
    "a value at the end of a cluster": ("flat", "-ro x", {"flags": "-o -r", "values": "-o=x"}),
    "letters after one that takes a value are the value": ("flat", "-orq x", {"flags": "-o", "values": "-o=rq", "operands": "x"}),
    "no word for the value": ("flat", "-ro", {"flags": "-o -r"}),
    "a long flag with one dash": ("flat", "-fplugin=x y", {"flags": "-fplugin", "values": "-fplugin=x", "operands": "y"}),
    "an equals sign in a cluster": ("flat", "-ab=c", {"flags": "-= -a -b -c"}),
    # flags of a program's own kind
    "an odd flag that is asked for": ("odd", "-delete", {"flags": "-delete"}),
    "one that takes a value": ("odd", "-name x", {"flags": "-name", "values": "-name=x"}),
    "with no word left": ("odd", "-name", {"flags": "-name"}),
    "its help": ("odd", "-help", {"flags": "-help", "traits": "help"}),
    "help of one letter": ("odd", "-H", {"flags": "-H", "traits": "help"}),
    "that letter in a cluster": ("odd", "-aH", {"flags": "-H -a", "traits": "help"}),
    "a plus starts a flag where help has one": ("odd", "+xy + z", {"flags": "+x +y", "operands": "+ z"}),
    "a short one with a value": ("odd", "-xy", {"flags": "-x", "values": "-x=y"}),
    # one dash before long flags
    "one dash": ("long", "-destroy a", {"flags": "-destroy", "operands": "a"}),
    "one dash and a value": ("long", "-target=x", {"flags": "-target", "values": "-target=x"}),
    "one dash and a word": ("long", "-target x", {"flags": "-target", "values": "-target=x"}),
    "two dashes too": ("long", "--destroy", {"flags": "--destroy"}),
    "a beginning with one dash": ("long", "-des", {"flags": "-destroy"}),
    "another spelling with one dash": ("long", "-destroy-all", {"flags": "-destroy"}),
    "a single letter is short": ("long", "-h", {"flags": "-h", "traits": "help"}),
    "two letters are long": ("long", "-he", {"flags": "-help", "traits": "help"}),
    "and unknown ones stay whole": ("long", "-ab x", {"flags": "-ab", "operands": "x"}),
    # verbs
    "a verb": ("verbs", "push", {"verb": "push"}),
    "no verb": ("verbs", "--any", {"flags": "--any"}),
    "an unknown verb": ("verbs", "pull x", {"verb": UNLISTED, "operands": "pull x"}),
    "a word that the verb takes": ("verbs", "push x y", {"verb": f"push {UNLISTED}", "operands": "x y"}),
    "a verb of two words": ("verbs", "remote add x", {"verb": "remote add", "operands": "x"}),
    "its second word is unknown": ("verbs", "remote rm", {"verb": f"remote {UNLISTED}", "operands": "rm"}),
    "a pattern": ("verbs", "run:x y", {"verb": "run:*", "operands": "y"}),
    "a verb that goes on after any word": ("verbs", "stash x drop", {"verb": f"stash {UNLISTED} drop", "operands": "x"}),
    "a flag's value is no verb": ("verbs", "-C push remote", {"verb": "remote", "flags": "-C", "values": "-C=push"}),
    "a flag of one verb": ("verbs", "push -o x --opt y", {"verb": "push", "flags": "--opt -o", "values": "-o=x --opt=y"}),
    "is not one of another": ("verbs", "remote -o x", {"verb": f"remote {UNLISTED}", "flags": "-o", "operands": "x"}),
    "nor of none": ("verbs", "-o push", {"verb": "push", "flags": "-o"}),
    "a spelling of one verb": ("verbs", "push -f", {"verb": "push", "flags": "--force"}),
    "elsewhere": ("verbs", "remote -f", {"verb": "remote", "flags": "--file"}),
    "before the verb": ("verbs", "-f push", {"verb": "push", "flags": "--file"}),
    "help is a flag": ("verbs", "push help", {"verb": f"push {UNLISTED}", "operands": "help"}),
    # a verb that only the run will know
    "the first": ("verbs", f"{HOLE} x", {"verb": UNLISTED, "operands": f"{HOLE} x", "traits": "unknown_word", "blind": ""}),
    "the second": ("verbs", f"remote {HOLE}", {"verb": f"remote {UNLISTED}", "operands": HOLE, "traits": "unknown_word",
                   "blind": "remote"}),
    "an operand behind it": ("verbs", f"remote add {HOLE}", {"verb": "remote add", "operands": HOLE, "traits": "unknown_word"}),
    "two of them": ("verbs", f"stash {HOLE} {HOLE}", {"verb": f"stash {UNLISTED} {UNLISTED}", "operands": f"{HOLE} {HOLE}",
                    "traits": "unknown_word", "blind": "stash"}),
    # open programs
    "a whole verb ends": ("open", "get x all", {"verb": "get", "operands": "x all"}),
    "unless it goes on": ("open", "get all", {"verb": "get all"}),
    "a verb that takes any word goes on": ("open", "set x", {"verb": f"set {UNLISTED}", "operands": "x"}),
    "no word is no verb": ("open", "x get", {"verb": UNLISTED, "operands": "x get"}),
    # the longest verb
    "six words are enough": ("deep", "a b c d e f g h i", {"verb": "a b c d e f", "operands": "i"}),
    # verbs that stand last
    "groups and an action": ("last", "group delete x", {"verb": "group delete", "operands": "x"}),
    "unknown groups before it": ("last", "p q delete", {"verb": f"{UNLISTED} delete", "operands": "p q"}),
    "an operand between": ("last", "group x delete", {"verb": f"group {UNLISTED} delete", "operands": "x"}),
    "words after the action are operands": ("last", "delete x list", {"verb": "delete", "operands": "x list"}),
    "an action may follow an action": ("last", "list delete", {"verb": "list delete"}),
    "a pattern as an action": ("last", "show-it x list", {"verb": "show*", "operands": "x list"}),
    "a group is no action": ("last", "group x y", {"verb": f"group {UNLISTED}", "operands": "x y"}),
    "a group that is an action goes on": ("last", "whole x again", {"verb": f"whole {UNLISTED} again", "operands": "x"}),
    "help stands last": ("last", "group help", {"verb": f"group {UNLISTED}", "operands": "help", "traits": "help"}),
    "and only there": ("last", "help group", {"verb": f"{UNLISTED} group", "operands": "help"}),
}  # fmt: skip


@pytest.mark.parametrize(("program", "words", "found"), ROWS.values(), ids=ROWS.keys())
def test_a_line_is_read_by_its_table(program: str, words: str, found: dict[str, Any], small: Tables) -> None:
    line, rest = argv.read(small.programs[program], [Word(word) for word in words.split(" ") if word])
    assert understood(line) == found
    assert rest == []


STOPS = {
    "at the first operand": ("flat", "-q a -r b", 0, "-q", "", "a -r b"),
    "at the second": ("flat", "a -r b c", 1, "-r", "a", "b c"),
    "there are fewer": ("flat", "a -r", 1, "-r", "a", ""),
    "a value is no operand": ("flat", "-o x a", 0, "-o", "", "a"),
    "after two dashes": ("flat", "-- -x a", 0, "", "", "-x a"),
    "never": ("flat", "a b", -1, "", "a b", ""),
}  # fmt: skip


@pytest.mark.parametrize(("program", "words", "stop", "flags", "operands", "rest"), STOPS.values(), ids=STOPS.keys())
def test_the_command_behind_a_programs_own_words(
    program: str, words: str, stop: int, flags: str, operands: str, rest: str, small: Tables
) -> None:
    line, left = argv.read(small.programs[program], [Word(word) for word in words.split()], stop)
    assert " ".join(sorted(line.flags)) == flags
    assert (" ".join(w.text for w in line.operands), " ".join(w.text for w in left)) == (operands, rest)


def test_the_values_of_flags(small: Tables) -> None:
    line, _ = argv.read(small.programs["flat"], [Word(word) for word in ("-o", "a", "--out", "b", "-o", "c")])
    assert [word.text for word in line.all("-o")] == ["a", "c"] and line.all("-x") == []
    last = line.value("-o", "--out")
    assert last is not None and last.text == "c"
    assert line.value("-x") is None


def test_a_part_of_a_word_keeps_its_history(small: Tables) -> None:
    words = [Word("-ox", taints=frozenset({"secret"})), Word("--out=y", glob=True), Word("-fplugin=z", quoted=True)]
    line, _ = argv.read(small.programs["flat"], words)
    assert [(w.taints, w.glob, w.quoted) for _, w in line.values] == [
        (frozenset({"secret"}), False, False), (frozenset(), True, False), (frozenset(), False, True)]  # fmt: skip
