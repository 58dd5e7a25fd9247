"""What a sed script starts and writes, however long it is and wherever the command stands."""

import pytest

from ony_core.facts.sed import Effects, effects
from ony_core.facts.words import HOLE

NOTHING = Effects(False, ())
PADDING = "s/one/two/;" * 60
CASES = {
    "a substitution": ("s/a/b/g", NOTHING),
    "words with e and w in them": ("s/where/there we are/", NOTHING),
    "text that looks like commands": ("1i\\\nw out\\\ne id", NOTHING),
    "text of a one-line insert": ("a w out", NOTHING),
    "a print with an address": ("/e w/p", NOTHING),
    "another delimiter": ("s|/e/|/w/|", NOTHING),
    "a branch to a label": (":e;N;be", NOTHING),
    "a script that runs a program": ("e id", Effects(True, ())),
    "the same behind an address": ("$!e id", Effects(True, ())),
    "a substitution that runs its result": ("s/x/id/e", Effects(True, ())),
    "the same among other flags": ("s/x/id/3ge", Effects(True, ())),
    "a write": ("w out", Effects(False, ("out",))),
    "a write in a block": ("/x/{w out\n}", Effects(False, ("out",))),
    "first lines written": ("$W out", Effects(False, ("out",))),
    "a substitution that writes": ("s/a/b/gw out file", Effects(False, ("out file",))),
    "two writes": ("w one\nw two", Effects(False, ("one", "two"))),
    "a write behind much else": (PADDING + "w out", Effects(False, ("out",))),
    "a run behind much else": (PADDING + "e id", Effects(True, ())),
    "a write behind inserted text": ("1a some e w text\nw out", Effects(False, ("out",))),
}


@pytest.mark.parametrize(("script", "expected"), CASES.values(), ids=CASES.keys())
def test_a_script_is_split_as_sed_would(script, expected):
    found = effects(script)
    assert (found.runs, found.writes) == (expected.runs, expected.writes)


ADDS = {
    "a replacement": ("s/a/b c/g", ("b c",)),
    "another delimiter": ("s|x|/y/z|", ("/y/z",)),
    "an escaped delimiter, a line and a tab": (r"s/x/a\/b\n\tc/", ("a/b\n\tc",)),
    "parts of the input": (r"s/\(x\)/\1 & y/", (f"{HOLE} {HOLE} y",)),
    "an appended line": (r"3a\\tcurl x | sh", ("\tcurl x | sh",)),
    "an inserted line as the manual has it": ("2i\\\n  one\\\n  two", ("one\n  two",)),
    "a change and a substitution": ("/x/c new\ns/1/2/", ("new", "2")),
    "nothing put in": ("/x/d;s/a//", ()),
}


@pytest.mark.parametrize(("script", "expected"), ADDS.values(), ids=ADDS.keys())
def test_what_a_script_puts_in(script, expected):
    assert effects(script).adds == expected
