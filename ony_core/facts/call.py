"""The notebook of one tool call while it is being understood: the facts found so far, the files it would make, and the limits.

MUST: every limit that is reached leaves an opaque fact behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ony_core.facts.place import Place
from ony_core.facts.words import Made, Word
from ony_core.model import Fact, Target
from ony_core.taxonomy.tables import tables


class Call:
    """What one call does, growing while its parts are walked."""

    MAX_DEEP = 12
    MAX_TEXT = 1 << 17  # characters of shell text: Linux starts no shell with a longer argument (MAX_ARG_STRLEN)
    MAX_FACTS = 256
    MAX_TRANSFERS = 500  # copies, moves and links: each is held against all files the call has touched
    MAX_LOOKS = 40_000  # nodes that are looked at beside those that are walked
    MAX_PARSING = 700  # reports of progress, one for about a hundred steps of the parser
    MAX_READS = 8000  # pieces of text that the parser asks for: a script of the longest size takes 2,500, whatever it is

    def __init__(self, place: Place, steps: int = 6000) -> None:
        self.place = place
        self.facts: dict[Fact, None] = {}
        self.made: dict[str, Made] = {}
        self.links: dict[str, str] = {}  # links that this call makes -> where they lead; those of earlier calls are on the disk
        self.gate_named = False  # whether a search for processes named Ony's own
        self.consumers: list[tuple[Any, Any]] = []
        self.also: frozenset[str] = frozenset()  # traits that the surroundings lend to every fact: "as_root", "remote"
        self.reading: set[str] = set()
        self.seen: list[tuple[int, list[Word]]] | None = None  # for people: each command with how deep it stands; never part of a fact
        self._steps = steps
        self._deep = 0
        self._transfers = self.MAX_TRANSFERS
        self._parsing = self.MAX_PARSING
        self.left_to_read = self.MAX_READS
        self._looks = self.MAX_LOOKS

    def spend(self) -> bool:
        self._steps -= 1
        return self._steps > 0

    def transfers(self) -> bool:
        self._transfers -= 1
        return self._transfers >= 0

    def looks(self) -> bool:
        self._looks -= 1
        return self._looks > 0

    def tired(self, wrong: bool) -> bool:
        """Asked by the parser as it goes: whether it shall give up. A text that is no shell is critical anyway, so it is left sooner."""
        self._parsing -= 20 if wrong else 1
        return self._parsing < 0 or self.left_to_read < 0

    def note(self, argv: list[Word]) -> None:
        if self.seen is not None:
            self.seen.append((self._deep, argv))

    @contextmanager
    def deeper(self) -> Iterator[bool]:
        """One level of look-through; False when the bound is reached."""
        self._deep += 1
        try:
            yield self._deep <= self.MAX_DEEP
        finally:
            self._deep -= 1

    @contextmanager
    def lending(self, *traits: str) -> Iterator[None]:
        before = self.also
        self.also = before | set(traits)
        try:
            yield
        finally:
            self.also = before

    def add(
        self,
        kind: str,
        program: str = "",
        verb: tuple[str, ...] = (),
        flags: Any = (),
        args: int = 0,
        targets: tuple[Target, ...] = (),
        traits: Any = (),
    ) -> None:
        flags = tuple(sorted(tables().flags(program).intersection(flags))) if flags else ()
        self.take(Fact(kind, program, verb, flags, args, targets, tuple(sorted(self.also | set(traits)))))

    def take(self, fact: Fact) -> None:
        """A fact that is ready, within the bound."""
        if len(self.facts) >= self.MAX_FACTS and fact not in self.facts:
            fact = Fact("opaque", traits=("too_deep",))
        self.facts[fact] = None

    def opaque(self, reason: str) -> None:
        self.add("opaque", traits=(reason,))
