"""Runs mutants against the tests that come by them, for `tests.mutation`.

One pytest session per set of tests: everything is loaded once and every case runs once, unbroken, while the lines it comes by are written
down. Each mutant then gets a forked child, in which the live functions are given the broken code, and only the cases that come by its
lines run, the most telling first. A mutant that no case comes by survives without a run.

MUST: count nothing as killed but a case that fails, or that takes many times the processor time it took unbroken; an error of this file
ends the whole run. The unbroken source goes the same way and must pass.
"""

import ast
import functools
import gc
import importlib
import itertools
import os
import resource
import signal
import statistics
import sys
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from tests.mutants import Mutant, broken

JOBS = os.cpu_count() or 1
SLOW_S = 0.15  # a case that takes longer is not asked again and again
ASKED_S = 10.0  # so long may all cases together take that one mutant is asked about: where nearly every case comes by, a mixture is enough
LIMIT_S, LIMIT_TIMES = 3.0, 25  # processor time of one case: what it may take, above what it took
MEMORY = 4 << 30  # bytes a child may use
PASSED, FAILED, HARNESS = 0, 1, 2


class Case(NamedTuple):
    name: str
    passes: Callable[[], bool]


class Subject:
    """One module of the core that is broken on purpose."""

    def __init__(self, root: Path, part: str) -> None:
        self.part = part
        self.path = str(root / "ony_core" / (part.replace(".", "/") + ".py"))
        if not os.path.exists(self.path):
            self.path = str(root / "ony_core" / part.replace(".", "/") / "__init__.py")
        self.tree = ast.parse(Path(self.path).read_text("utf-8"))
        self.used = _functions(self.tree)
        self.module = importlib.import_module(f"ony_core.{part}")


class Session:
    """The pytest plugin: takes the collected tests and `more` cases, and hands them to `work` instead of running them."""

    def __init__(self, subjects: list[Subject], more: Callable[[], Iterable[Case]], work: Callable[["Session"], None]) -> None:
        self.subjects, self.more, self.work = subjects, more, work
        self.cases: list[Case] = []
        self.seconds: list[float] = []
        self.by_line: dict[tuple[str, int], array[int]] = defaultdict(lambda: array("l"))
        self.always: set[tuple[str, int]] = set()
        self.breadth: list[int] = []  # how many lines each case comes by

    def pytest_sessionstart(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # nobody reads the smallest failing case
        hypothesis.settings.register_profile("mutation", hypothesis.settings.get_profile("quick"), phases=phases)
        hypothesis.settings.load_profile("mutation")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise pytest.UsageError("the tests cannot be collected")
        if not session.items:
            raise pytest.UsageError("no tests")
        self.cases = [Case(item.nodeid, functools.partial(_item_passes, item)) for item in session.items] + list(self.more())
        self._observe()
        self.work(self)
        return True

    def _observe(self) -> None:
        """Every case once, unbroken; which lines it comes by."""
        files = {subject.path for subject in self.subjects}
        memories = _memories()
        _forget(memories)
        with _Trace(files) as seen:
            for memory in memories:
                if _takes_nothing(memory):
                    memory()
        self.always = set(seen.lines)
        kept: list[Case] = []
        per_call = [memory for memory in memories if not _takes_nothing(memory)]
        for case in self.cases:
            _forget(per_call)
            start = time.process_time()
            with _Trace(files) as seen:
                passed = case.passes()
            took = time.process_time() - start
            if not passed and not case.passes():
                raise pytest.UsageError(f"fails on the unbroken source: {case.name}")
            if not passed or took > SLOW_S:  # one that passes only while nobody looks is a test of time
                continue
            for place in seen.lines:
                self.by_line[place].append(len(kept))
            kept.append(case)
            self.breadth.append(len(seen.lines))
            self.seconds.append(took)
        self.cases = kept

    def asked(self, subject: Subject, mutant: Mutant) -> list[int]:
        """The cases that come by a mutant, the most telling first: tests of that very module, then those that come by
        little else, then the others, mixed.
        """
        places = [(subject.path, line) for line in mutant.lines] if mutant.inside else self._users(subject, mutant)
        if any(place in self.always for place in places):
            found: Iterable[int] = range(len(self.cases))
        else:
            found = set(itertools.chain.from_iterable(self.by_line.get(place, ()) for place in places))
        own = f"test_{subject.part.rpartition('.')[2]}.py"
        narrow = statistics.median(self.breadth) / 2
        order = sorted(found, key=lambda at: (own not in self.cases[at].name, self.breadth[at] > narrow, at * 7919 % 9973))
        return [at for at, total in zip(order, itertools.accumulate(self.seconds[at] for at in order), strict=True) if total < ASKED_S]

    def _users(self, subject: Subject, mutant: Mutant) -> list[tuple[str, int]]:
        """Where a name is used that a statement outside functions sets: the first lines of those functions, in any module."""
        statement = next(s for s in subject.tree.body if s.lineno <= mutant.lines[0] <= (s.end_lineno or s.lineno))
        names = set(_names_of(statement))
        for later in subject.tree.body:
            if isinstance(later, ast.Assign | ast.AnnAssign) and names & {n.id for n in ast.walk(later) if isinstance(n, ast.Name)}:
                names |= set(_names_of(later))
        return [
            (other.path, line)
            for other in self.subjects
            for line, used in other.used.items()
            if names & used
        ]


def _functions(tree: ast.Module) -> dict[int, set[str]]:
    """The first line of every function of a file, with all names it uses."""
    found: dict[int, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            used = {n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)}
            found[first] = found.get(first, set()) | used | {getattr(node, "name", "")}
    return found


def _names_of(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(statement, ast.ClassDef) and isinstance(node, ast.FunctionDef):
            yield node.name


class _Trace:
    """Which lines of these files run in this thread; the first line of a function stands for its call."""

    def __init__(self, files: set[str]) -> None:
        self.files, self.lines = files, set[tuple[str, int]]()

    def __enter__(self) -> "_Trace":
        sys.settrace(self._call)
        threading.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    def _call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        path = code.co_filename
        if path not in self.files:
            return None
        add = self.lines.add
        add((path, code.co_firstlineno))

        def line(frame: FrameType, event: str, _arg: object) -> Any:
            if event == "line":
                add((path, frame.f_lineno))
            return line

        return line


def _item_passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def _memories() -> list[Any]:
    """What the core remembers of earlier calls (functools.cache), but for the tables, which only `taxonomy.tables` makes."""
    found = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
    return [one for one in found if str(one.__module__).startswith("ony_core.") and one.__module__ != "ony_core.taxonomy.tables"]


def _takes_nothing(memory: Any) -> bool:
    return bool(memory.__wrapped__.__code__.co_argcount == 0)


def _forget(memories: list[Any]) -> None:
    for memory in memories:
        memory.cache_clear()


# ---- the broken code takes the place of the live one


def put(subject: Subject, tree: ast.Module, mutant: Mutant | None, live: list[FunctionType]) -> None:
    """Makes the module behave as the tree says. A mutant in a function changes code; one outside runs its statement again."""
    if mutant is None or mutant.inside:
        _swap(subject, tree, live)
    if mutant is None or not mutant.inside:
        for statement in tree.body:
            if mutant is None or statement.lineno <= mutant.lines[0] <= (statement.end_lineno or statement.lineno):
                _again(subject, tree, statement)


def _swap(subject: Subject, tree: ast.Module, live: list[FunctionType]) -> None:
    new = dict(_codes(compile(tree, subject.path, "exec")))
    old = {code: key for key, code in _codes(compile(subject.tree, subject.path, "exec"))}
    for function in live:
        key = old.get(function.__code__)
        if key is not None and new[key] != function.__code__:
            function.__code__ = new[key]


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int, int], CodeType]]:
    """Every function's code below this one, by its name, line and number among those of the same name and line."""
    count: dict[tuple[str, int], int] = defaultdict(int)
    left = [code]
    while left:
        one = left.pop()
        place = (one.co_qualname, one.co_firstlineno)
        yield (*place, count[place]), one
        count[place] += 1
        left += [const for const in one.co_consts if isinstance(const, CodeType)]


def _again(subject: Subject, tree: ast.Module, statement: ast.stmt) -> None:
    """Runs a statement outside functions again and carries what it sets to wherever it went."""
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.If | ast.Expr):
        return
    space = dict(vars(subject.module))
    try:
        exec(compile(ast.Module([statement], []), subject.path, "exec"), space)
    except Exception:  # noqa: BLE001  whatever a broken statement raises
        os._exit(FAILED)  # it cannot even be loaded: the unbroken statement can, which is tried first
    changed = set()
    for name, new in space.items():
        old = vars(subject.module).get(name)
        if new is old or name == "__builtins__":
            continue
        if isinstance(new, type) and isinstance(old, type):
            _mend_class(old, new)
        elif callable(new) and hasattr(old, "__code__" if isinstance(new, FunctionType) else "__wrapped__"):
            _mend_function(old, new)
        elif new != old:  # what is equal stays the one that it is: it stands in default values, and `is` asks for it
            _carry(subject.module, name, old, new)
            changed.add(name)
    for later in tree.body if changed else []:
        uses = {node.id for node in ast.walk(later) if isinstance(node, ast.Name)} & changed
        if uses and later.lineno > statement.lineno and isinstance(later, ast.Assign | ast.AnnAssign):
            _again(subject, ast.Module([s for s in tree.body if s.lineno >= later.lineno], []), later)


def _carry(module: ModuleType, name: str, old: object, new: object) -> None:
    for other in [one for key, one in sys.modules.items() if key.startswith(("ony_core", "tests")) or one is module]:
        if vars(other).get(name) is old:
            setattr(other, name, new)


def _mend_function(old: Any, new: Any) -> None:
    old, new = getattr(old, "__wrapped__", old), getattr(new, "__wrapped__", new)
    old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


def _mend_class(old: type, new: type) -> None:
    for name, value in vars(new).items():
        before = vars(old).get(name)
        if isinstance(value, FunctionType) and isinstance(before, FunctionType):
            if name == "__init__" and hasattr(new, "__dataclass_fields__"):
                setattr(old, name, value)
            else:
                _mend_function(before, value)
        elif isinstance(value, str | int | bytes | tuple | frozenset) and not name.startswith("__") and value != before:
            setattr(old, name, value)


# ---- one child per mutant


class Result(NamedTuple):
    """survived: names, in order; with why where no case came by. hung: how many were killed by time or memory alone."""

    survived: list[str]
    hung: int


def insist(session: Session, live: dict[str, list[FunctionType]], memories: list[Any]) -> None:
    """All unbroken modules go the way of the mutants once, and every case must pass; else RuntimeError."""

    def child() -> None:
        for subject in session.subjects:
            put(subject, subject.tree, None, live.get(subject.path, []))
        _forget(memories)
        for at, case in enumerate(session.cases):
            _allow(session.seconds[at])
            if not case.passes():
                print(f"mutation: fails once its module was read again: {case.name}", flush=True)
                os._exit(FAILED)
        os._exit(PASSED)

    ended = dict(forked([(0, child)]))[0]
    if ended != PASSED:
        raise RuntimeError(f"the unbroken source does not pass the way of the mutants ({ended})")


def _ask(session: Session, memories: list[Any], asked: Iterable[int]) -> None:
    """Ends this process with what the cases say."""
    _forget(memories)
    for at in asked:
        _allow(session.seconds[at])
        if not session.cases[at].passes():
            os._exit(FAILED)
    os._exit(PASSED)


def run(session: Session, subject: Subject, drawn: list[Mutant], live: dict[str, list[FunctionType]], memories: list[Any]) -> Result:
    """RuntimeError where this file itself fails."""

    def child(mutant: Mutant, asked: Iterable[int]) -> None:
        put(subject, broken(subject.tree, mutant), mutant, live.get(subject.path, []))
        _ask(session, memories, asked)

    asked = [session.asked(subject, mutant) for mutant in drawn]
    unseen = {at for at, cases in enumerate(asked) if not cases}
    ended = dict(forked([(at, functools.partial(child, drawn[at], cases)) for at, cases in enumerate(asked) if cases]))
    if HARNESS in ended.values():
        raise RuntimeError(f"{subject.part}: an error of the run itself at {[drawn[at].name for at, c in ended.items() if c == HARNESS]}")
    alive = sorted([at for at, code in ended.items() if code == PASSED] + list(unseen))
    names = [drawn[at].name + (" (no case comes by)" if at in unseen else "") for at in alive]
    return Result(names, sum(code < 0 for code in ended.values()))


def _allow(usual: float) -> None:
    """Processor time, so that a busy machine kills nothing; a case that sleeps for ever ends by the clock."""
    seconds = LIMIT_S + LIMIT_TIMES * usual
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(int(20 * seconds))


def forked(made: list[tuple[Any, Callable[[], None]]]) -> Iterator[tuple[Any, int]]:
    """Runs each in a child of its own, `JOBS` at a time; (name, exit code) as they end, negative for a signal."""
    running: dict[int, Any] = {}

    def wait() -> tuple[Any, int]:
        pid, status = os.wait()
        return running.pop(pid), os.waitstatus_to_exitcode(status)

    sys.stdout.flush()
    for number, (name, work) in enumerate(made):
        if len(running) >= JOBS:
            yield wait()
        pid = os.fork()
        if pid == 0:
            _in_child(number, work)
        running[pid] = name
    while running:
        yield wait()


def _in_child(number: int, work: Callable[[], None]) -> None:
    """Never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if "tests.conftest" in sys.modules:
            sys.modules["tests.conftest"]._count = itertools.count((os.getpid() * 1000 + number) * 10**6)  # homes of its own
        silent = os.open(os.devnull, os.O_RDWR)
        error = os.dup(2)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        work()
    except BaseException as fault:  # noqa: BLE001  told to the parent by the exit code
        import traceback

        os.write(error, "".join(traceback.format_exception(fault)).encode())
    finally:
        os._exit(HARNESS)


def live_functions() -> dict[str, list[FunctionType]]:
    """Every function that exists now, by the file it came from."""
    found: dict[str, list[FunctionType]] = defaultdict(list)
    for one in gc.get_objects():
        if isinstance(one, FunctionType):
            found[one.__code__.co_filename].append(one)
    return found
