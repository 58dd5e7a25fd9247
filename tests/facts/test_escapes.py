"""The words with which an ordinary program starts a command: how they are spelt, what keeps a session from opening, whose list counts."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive, escapes
from ony_core.facts.words import Word
from ony_core.model import ToolCall
from ony_core.taxonomy.tables import tables

QUIETS = {
    "a flag": ("--batch", ["--batch"], True),
    "a flag with its value": ("--batch=1", ["--batch"], True),
    "another flag": ("--verbose", ["--batch"], False),
    "an operand": ("file", ["--batch"], False),
    "an operand where any counts": ("file", ["--batch", "*"], True),
    "a flag where any operand counts": ("--verbose", ["*"], False),
    "a star where none counts": ("*", ["--batch"], False),
    "nothing counts": ("file", [], False),
}


@pytest.mark.parametrize(("text", "quiet", "found"), QUIETS.values(), ids=QUIETS.keys())
def test_what_keeps_a_session_from_opening(text: str, quiet: list[str], found: bool) -> None:
    assert escapes._quiets(text, quiet) is found


SPELLINGS = {
    "an operand": ("a", ["b"], []),
    "a dash": ("-", ["b"], []),
    "a long flag": ("--do", ["b", "c"], [("--do", "b", 2)]),
    "with nothing behind it": ("--do", [], [("--do", "", 0)]),
    "with its value": ("--do=x=y", ["b"], [("--do=x=y", "b", 1), ("--do", "x=y", 0)]),
    "a short flag": ("-d", ["b"], [("-d", "b", 1)]),
    "with its value on it": ("-dx", ["b"], [("-dx", "b", 1), ("-d", "x", 0)]),
    "with an equals sign": ("-d=x", ["b"], [("-d=x", "b", 1), ("-d", "x", 0), ("-d", "=x", 0)]),
    "with a colon": ("-do:x:y", ["b"], [("-do:x:y", "b", 1), ("-do", "x:y", 0), ("-d", "o:x:y", 0)]),
    "a long one with a colon": ("--do:x", ["b"], [("--do:x", "b", 1)]),
    "a colon behind an equals sign": ("-d=x:y", ["b"], [("-d=x:y", "b", 1), ("-d", "x:y", 0), ("-d", "=x:y", 0)]),
    "a plus": ("+d", ["b"], [("+d", "b", 1)]),
    "a plus with more": ("+dx", ["b"], [("+dx", "b", 1), ("+d", "x", 0)]),
    "a slash": ("/d", ["b"], [("/d", "b", 1)]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "after", "found"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_the_ways_to_read_a_word(text: str, after: list[str], found: list[tuple[str, str, int]]) -> None:
    words = [Word(word) for word in after]
    assert [(key, value.text, taken) for key, value, taken in escapes.spellings(Word(text), words)] == found


def test_one_list_may_take_in_another() -> None:
    lists = tables().words["escapes"]
    name, like = next((name, found["like"]) for name, found in lists.items() if "like" in found)
    assert escapes.listed(name, "no-such").items() >= lists[like].items()
    assert escapes.listed("no-such", "no-such") == {}
    plain = next(name for name, found in lists.items() if "like" not in found)
    assert escapes.listed("no-such", plain) == lists[plain] == escapes.listed(plain, "no-such")


@pytest.mark.parametrize(("recipe", "found"), {
    "all:\\n\\trm -rf /etc": True, "all:; rm -rf /etc": True, "all:\\n\\t-@rm -rf /etc": True, "X=$(shell rm -rf /etc)": True,
    "X=rm -rf /etc": False, "rm -rf /etc": False, "all:\\n\\techo rm -rf /etc": False}.items())  # fmt: skip
def test_a_makefile_in_an_argument(recipe: str, found: bool) -> None:
    command = f"make --eval=$'{recipe}' -n" if "$(" not in recipe else f"make --eval='{recipe}'"
    facts = derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace())
    assert any(fact.kind == "file" and fact.verb == ("delete",) for fact in facts) is found
