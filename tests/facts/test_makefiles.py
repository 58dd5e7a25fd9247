"""Bounds of what is read of a makefile: each that is reached holds the call, and one step below it passes."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import makefiles, understand
from ony_core.facts.place import Unknown
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess


def answer(text: str, files: dict[str, bytes] | None = None, place: type[DictPlace] = DictPlace) -> str:
    shop = place({"/project/Makefile": text.encode(), **(files or {})})
    return gate(assess(understand(ToolCall("claude-code", "s", "Bash", {"command": "make"}, "/project"), shop).facts), "on")


def recipes(count: int) -> str:
    return "\n".join(f"t{number}: t{number + 1}\n\techo a" for number in range(count))


def nested(count: int) -> str:
    """Each variable is the next one twice."""
    lines = [f"A{number} = $(A{number + 1})$(A{number + 1})" for number in range(count)]
    return "\n".join([*lines, f"A{count} = a", "all:", "\techo $(A0)"])


@pytest.mark.parametrize(
    ("below", "above"),
    [
        (recipes(makefiles.MOST_RECIPES), recipes(makefiles.MOST_RECIPES + 1)),
        ("include a.mk\n" * makefiles.MOST_INCLUDES, "include a.mk\n" * (makefiles.MOST_INCLUDES + 1)),
        ("all:\n\techo " + "a" * (makefiles.LONGEST - 6), "all:\n\techo " + "a" * (makefiles.LONGEST - 5)),
        (nested(4), "X = " + "$(Y)" * 300 + "\nY = " + "a" * 300 + "\nall:\n\techo $(X)"),
    ],
)
def test_what_is_not_read_any_more_is_held(below: str, above: str) -> None:
    assert answer(below) == "pass"
    assert answer(above) == "hold"


def test_a_variable_of_itself_ends() -> None:
    assert answer("A = $(A)$(A)\nall:\n\techo $(A)") == "pass"
    assert answer("A = $(A)\nall:\n\t$(A) rm") == "hold"


@pytest.mark.parametrize("why", [Unknown.UNREADABLE, Unknown.NOT_REGULAR, Unknown.TOO_BIG, Unknown.LATE])
def test_what_cannot_be_read_is_held(why: Unknown) -> None:
    class Refusing(DictPlace):
        def read(self, path: str, limit: int) -> bytes | Unknown:
            return why if path == "/project/rules.mk" else super().read(path, limit)

    assert answer("include rules.mk\nall:\n\techo a\n", place=Refusing) == "hold"
    assert answer("include other.mk\nall:\n\techo a\n", place=Refusing) == "pass"


def test_a_makefile_that_is_a_program_is_none() -> None:
    assert answer("include rules.mk\nall:\n\techo a\n", {"/project/rules.mk": b"\x7fELF\0\0"}) == "pass"
