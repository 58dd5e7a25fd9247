"""Names that may leave the machine: of a declared kind, in that kind's pattern, not a secret, and known before the session.

MUST: every other name leaves as "unlisted".
"""

from typing import TYPE_CHECKING

from ony_core.facts.secrets import looks_secret
from ony_core.facts.words import Word
from ony_core.model import UNLISTED, Target
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.argv import Line
    from ony_core.facts.call import Call


def targets_of(call: "Call", line: "Line") -> tuple[Target, ...]:
    """The targets that the program's table points at."""
    found: list[Target] = []
    for flag, kind in line.program.targets.items():
        word = line.value(flag)
        if word is not None:
            found.append(target(call, kind, word.text))
    return tuple(dict.fromkeys(found))


def target(call: "Call", kind: str, name: str) -> Target:
    if kind == "branch" and name in tables().words["names"]["protected_branches"]:
        return Target(kind, name)  # a word of the tables, whoever said it
    fits = tables().targets[kind].fullmatch(name) is not None
    return Target(kind, name if fits and not looks_secret(name) and call.place.known(kind, name) else UNLISTED)


def taught(call: "Call", program: str, words: list[Word]) -> tuple[Target, ...]:
    """What an organisation's own rules say of a program: the most of its leading words that they name. What their pattern
    does not take (a flag, a word that only the run will know) ends the leading words.
    """
    leading = [program, *(word.text for word in words[:2])]
    names = (" ".join(leading[:many]) for many in range(len(leading), 0, -1))
    return next(((found,) for found in (target(call, "taught", name) for name in names) if found.name != UNLISTED), ())
