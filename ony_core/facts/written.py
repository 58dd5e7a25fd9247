"""What readers and converters write beside what they are for: `pandoc -o ~/.profile`, `ffmpeg … FILE`. The table `written` lists, by the
name a program is called by, the flags that name such a file; "last" for the last word of the line; a number for that operand; "-i *" where
a flag says that all operands are rewritten.

MUST: judge such a file by its path alone, whatever the program says it makes. One of the project or of a temporary folder is what these
programs are for, and no fact.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ony_core.facts import files, paths
from ony_core.facts.escapes import spellings
from ony_core.facts.words import UNKNOWN, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_USUAL = frozenset({"project", "tmp", "sink", "outside", "home"})


def look(shell: "Shell", argv: list[Word]) -> None:
    known = tables().words["written"].get(argv[0].text.rpartition("/")[2], ())
    for word in _named(argv, known) if known else ():
        if word.known and not paths.traits_of(shell.call, shell.cwd, word) <= _USUAL:
            files.write_file(shell, word, UNKNOWN)


def _named(argv: list[Word], known: list[str]) -> Iterator[Word]:
    operands: list[Word] = []
    flags: set[str] = set()
    for at, word in enumerate(argv[1:], 1):
        found = spellings(word, argv[at + 1 : at + 2])
        flags.update(flag for flag, _, _ in found)
        yield from (value for flag, value, _ in found if flag in known)
        if word.text[:1] != "-":
            operands.append(word)
    if "last" in known and len(argv) > 2:
        yield argv[-1]
    yield from (operands[int(place)] for place in known if place.isdigit() and int(place) < len(operands))
    if any(place.removesuffix(" *") in flags for place in known if place.endswith(" *")):
        yield from operands
