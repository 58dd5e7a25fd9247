"""Breaks the core on purpose, one place at a time, and counts how often the tests notice: `python -m tests.mutation [part …]`.

Of the code (`tests.mutants`): a mutant turns a comparison, leaves out a condition, or changes a constant. Of the tables (`tables`): it
drops a rule, moves its risk across the line between passing and ringing, or takes one of its conditions away. A mutant is killed when a
test that comes by it fails or takes for ever (`tests.mutation_run`). Nothing on disk changes. Exit 1 below the bound, for all together and
for each part of them.

Where there are more mutants than `MOST`, a share of them is drawn from a fixed seed; the share is printed. `--most=N` sets another number.
"""

import gc
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests import mutation_run, table_mutants
from tests.mutants import mutants
from tests.mutation_run import Case, Session, Subject

ROOT = Path(__file__).resolve().parent.parent
BOUND = 0.85
TIMEOUT_S = 60
MOST, SEED = 240, 7
FACTS = ("tests/facts", "tests/taxonomy")
TESTS: dict[str, tuple[str, ...]] = {
    "verdict": ("tests/core/test_verdict.py",),
    "states": ("tests/core/test_states.py",),
    "totp": ("tests/core/test_totp.py",),
    "chain": ("tests/audit/test_proofs.py", "tests/audit/test_attacks.py"),
    "merkle": ("tests/audit/test_merkle.py",),
    "checkpoint": ("tests/audit/test_writer.py", "tests/audit/test_proofs.py", "tests/vectors/test_vectors.py"),
    "policy": ("tests/taxonomy/test_gate.py", "tests/taxonomy/test_policy.py"),
    **{f"taxonomy.{name}": FACTS for name in ("engine", "overlay")},
    **{
        "facts." + ".".join(path.relative_to(ROOT / "ony_core/facts").with_suffix("").parts).removesuffix(".__init__"): FACTS
        for path in sorted((ROOT / "ony_core/facts").rglob("*.py"))
        if path.parent.name != "facts" or path.stem != "__init__"
    },
}
LEFT_OUT = (  # long, and what they find the others find as well, case by case
    "tests/facts/test_fuzz.py",
    "tests/facts/test_leaks.py",
    "tests/facts/test_nothing_leaks.py",
    "tests/facts/test_against_a_real_shell.py",
    "tests/taxonomy/test_judging.py",
    "tests/taxonomy/test_examples.py",
    "tests/taxonomy/test_checks.py",
)


def of_modules(parts: list[str], tests: tuple[str, ...], most: int) -> dict[str, tuple[int, int]]:
    """Killed and drawn of each part, printed as they come. All parts share the tests; they run in one session."""
    results: dict[str, tuple[int, int]] = {}

    def work(session: Session) -> None:
        live, memories = mutation_run.live_functions(), mutation_run._memories()
        gc.freeze()
        mutation_run.insist(session, live, memories)
        for subject in session.subjects:
            found = mutants(subject.tree)
            drawn = found if len(found) <= most else random.Random(SEED).sample(found, most)
            result = mutation_run.run(session, subject, drawn, live, memories)
            killed = len(drawn) - len(result.survived)
            results[subject.part] = (killed, len(drawn))
            alive = [f"{Path(subject.path).name}:{name}" for name in result.survived]
            _say(subject.part, killed, len(drawn), len(found), alive, result.hung)

    session = Session([Subject(ROOT, part) for part in parts], examples if tests == FACTS else tuple, work)
    quiet = ["-q", "-s", "--no-header", "--tb=native", "--assert=plain", "-p", "no:cacheprovider"]
    code = pytest.main([*quiet, *(f"--ignore={name}" for name in LEFT_OUT), *tests], plugins=[session])
    if code != 0 or len(results) != len(parts):
        sys.exit(f"mutation: the tests {' '.join(tests)} give no result ({code})")
    return results


def examples() -> Iterable[Case]:
    """Every example of the tables and every entry of the book as a case of its own."""
    from ony_core.taxonomy import reading
    from tests.facts import book
    from tests.taxonomy import judging

    entries = [entry for page in book.files() for entry in book.entries(page.read_text("utf-8"))]
    told = [Case(f"book: {one.call}", lambda one=one: _holds(lambda: book.meaning(one.call) == one.meaning)) for one in entries]
    listed = judging.examples(reading.documents())
    return told + [Case(f"$ {one}", lambda one=one: _holds(lambda: not judging.wrong(one))) for one in listed]


def _holds(question: Callable[[], bool]) -> bool:
    """A broken core that raises does not hold what it promised. (The whole one is asked first: there it ends the run.)"""
    try:
        return question()
    except Exception:  # noqa: BLE001  whatever a broken core raises
        return False


def of_tables(most: int) -> tuple[int, int]:
    unbroken, *found = table_mutants.every()
    if _surviving([unbroken]) == []:
        sys.exit("mutation: the tables' own examples fail on the unbroken tables")
    drawn = found if len(found) <= most else random.Random(SEED).sample(found, most)
    alive = _surviving(drawn)
    _say("tables", len(drawn) - len(alive), len(drawn), len(found), alive, 0)
    return len(drawn) - len(alive), len(drawn)


def _surviving(made: list[tuple[str, Callable[[], bool]]]) -> list[str]:
    """The names of those whose examples pass, in their order."""

    def child(passes: Callable[[], bool]) -> None:
        signal.alarm(TIMEOUT_S)
        os._exit(mutation_run.PASSED if passes() else mutation_run.FAILED)

    ended = dict(mutation_run.forked([(at, lambda passes=passes: child(passes)) for at, (_, passes) in enumerate(made)]))
    return [name for at, (name, _) in enumerate(made) if ended[at] == mutation_run.PASSED]


def _say(part: str, killed: int, drawn: int, found: int, alive: list[str], hung: int) -> None:
    share = killed / drawn if drawn else 1.0
    print(f"{part}: {killed} of {drawn} killed ({share:.0%}; {drawn} of {found} mutants drawn; {hung} by time)", flush=True)
    for what in alive:
        print(f"  survived {what}", flush=True)


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    most = next((int(one.partition("=")[2]) for one in arguments if one.startswith("--most=")), MOST)
    parts = [one for one in arguments if not one.startswith("--most=")] or [*TESTS, "tables"]
    unknown = [one for one in parts if one not in TESTS and one != "tables"]
    if unknown:
        sys.exit(f"mutation: no such part: {', '.join(unknown)}: name some of {', '.join([*TESTS, 'tables'])}")
    results: dict[str, tuple[int, int]] = {}
    for tests in dict.fromkeys(TESTS[part] for part in parts if part != "tables"):
        results |= of_modules([part for part in parts if part != "tables" and TESTS[part] == tests], tests, most)
    if "tables" in parts:
        results["tables"] = of_tables(most)
    killed, drawn = (sum(column) for column in zip(*results.values(), strict=True))
    low = [part for part, (some, of) in results.items() if some < BOUND * of]
    print(f"killed {killed} of {drawn}: {killed / drawn:.0%} (bound {BOUND:.0%})" + (f"; below it: {', '.join(low)}" if low else ""))
    return 1 if low or killed < BOUND * drawn else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
