"""Finds calls that tell a broken core from the whole one: `python -m tests.witness [--only=FILE] PART … < candidates`.

For each mutant (`tests.mutants`) of the parts: does any call of the book or example of the tables notice it? If not, does a candidate, one
call a line as the book writes them? What is found is printed as entries of the book, to be judged by a person before it goes in, and then
the mutants nobody noticed. A quicker and stricter measure than `tests.mutation`, whose other tests it does not ask.

`--only=FILE` tries just the mutants that FILE, an earlier output of this or of `tests.mutation`, tells as left, and the candidates alone.
"""

import gc
import itertools
import mmap
import os
import struct
import sys
from collections import defaultdict
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from ony_core.taxonomy import reading
from tests import mutation_run
from tests.facts import book
from tests.mutants import Mutant, broken, mutants
from tests.mutation_run import Subject
from tests.taxonomy import judging

ROOT = Path(__file__).resolve().parent.parent
ASKED = 600  # calls asked about one mutant
FAULT = "a fault"
Live = dict[str, list[FunctionType]]


class Known(NamedTuple):
    """A call and what it means in the unbroken core."""

    call: str
    meaning: tuple[str, ...]
    new: bool


def said(call: str) -> tuple[str, ...]:
    try:
        return book.meaning(call)
    except ValueError:
        return (FAULT,)


def observed(calls: list[tuple[str, bool]], subjects: list[Subject]) -> tuple[list[Known], dict[tuple[str, int], list[int]]]:
    """Each call once, unbroken; which lines of the subjects it comes by."""
    by_line: dict[tuple[str, int], list[int]] = defaultdict(list)
    known = []
    paths = {subject.path for subject in subjects}
    per_call = [memory for memory in mutation_run._memories() if not mutation_run._takes_nothing(memory)]
    for call, new in calls:
        mutation_run._forget(per_call)
        with mutation_run._Trace(paths) as seen:
            meant = said(call)
        for place in seen.lines:
            by_line[place].append(len(known))
        known.append(Known(call, meant, new))
    return known, by_line


def noticed(
    subject: Subject, drawn: list[Mutant], asked: list[list[int]], known: list[Known], live: Live, memories: list[Any]
) -> list[int]:
    """For each mutant the number of the call that noticed it, or -1."""
    shared = mmap.mmap(-1, 8 * max(1, len(drawn)))

    def child(at: int) -> None:
        mutation_run.put(subject, broken(subject.tree, drawn[at]), drawn[at], live.get(subject.path, []))
        mutation_run._forget(memories)
        for number in asked[at]:
            struct.pack_into("q", shared, 8 * at, number + 1)
            mutation_run._allow(0.05)
            if said(known[number].call) != known[number].meaning:
                os._exit(mutation_run.FAILED)
        os._exit(mutation_run.PASSED)

    ended = dict(mutation_run.forked([(at, lambda at=at: child(at)) for at, calls in enumerate(asked) if calls]))
    return [
        struct.unpack_from("q", shared, 8 * at)[0] - 1 if ended.get(at, mutation_run.PASSED) != mutation_run.PASSED else -1
        for at in range(len(drawn))
    ]


def users(subject: Subject, mutant: Mutant, subjects: list[Subject]) -> list[tuple[str, int]]:
    session = mutation_run.Session(subjects, tuple, lambda _: None)
    return [(subject.path, line) for line in mutant.lines] if mutant.inside else session._users(subject, mutant)


def main(arguments: list[str]) -> int:
    only = next((Path(one.partition("=")[2]).read_text("utf-8").splitlines() for one in arguments if one.startswith("--only=")), None)
    wanted = None if only is None else {line[7:] for line in only if line.startswith("# left ")}
    subjects = [Subject(ROOT, part) for part in arguments if not part.startswith("--")]
    written = [entry.call for page in book.files() for entry in book.entries(page.read_text("utf-8"))]
    old = [] if only else written + [example.text for example in judging.examples(reading.documents())]
    fresh = [line.rstrip("\n") for line in sys.stdin if line.strip() and not line.startswith(("# ", book.INDENT))]
    new = sorted(set(fresh) - set(old) - set(written), key=lambda call: (len(call), call))
    calls = [(call, False) for call in dict.fromkeys(old)] + [(call, True) for call in new]
    known, by_line = observed(calls, subjects)
    live, memories = mutation_run.live_functions(), mutation_run._memories()
    gc.freeze()
    found: dict[int, list[str]] = defaultdict(list)
    left = []
    for subject in subjects:
        drawn = [one for one in mutants(subject.tree) if wanted is None or f"{subject.part}:{one.name}" in wanted]
        asked = [
            sorted(set(itertools.chain.from_iterable(by_line.get(place, ()) for place in users(subject, mutant, subjects))))[:ASKED]
            for mutant in drawn
        ]
        numbers = noticed(subject, drawn, asked, known, live, memories)
        for mutant, number in zip(drawn, numbers, strict=True):
            name = f"{subject.part}:{mutant.name}"
            left += [name] if number < 0 else []
            if number >= 0 and known[number].new:
                found[number].append(name)
        share = sum(number >= 0 for number in numbers)
        print(f"# {subject.part}: {share} of {len(drawn)} noticed", file=sys.stderr, flush=True)
    for number, names in sorted(found.items()):
        print(known[number].call, *(book.INDENT + one for one in known[number].meaning), sep="\n")
        print(*("#   " + name for name in names[:3]), sep="\n")
    print(*("# left " + name for name in left), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
