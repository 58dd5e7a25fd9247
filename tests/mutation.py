"""Breaks the core on purpose, one place at a time, and counts how often the tests notice: `python -m tests.mutation [module …]`.

Of the code: a mutant turns a comparison, leaves out a condition, or changes a constant. Of the tables (`tables`): it drops a rule,
moves its risk across the line between passing and ringing, or takes one of its conditions away. A mutant is killed when its tests fail,
crash or hang. Each runs in a forked child that loads the broken source in place of the file, so nothing on disk changes. Exit 1 below
the bound, for all together and for each part of them.

Where there are more mutants than `MOST`, a share of them is drawn from a fixed seed; the share is printed.
"""

import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cryptography.hazmat.primitives.asymmetric.ed25519
import hypothesis
import pyotp
import pytest
import sqlglot.dialects
import tree_sitter
import tree_sitter_bash

from tests import table_mutants

assert cryptography and hypothesis and pyotp and sqlglot and tree_sitter and tree_sitter_bash  # loaded once here, shared by every child
ROOT = Path(__file__).resolve().parent.parent
BOUND = 0.85
TIMEOUT_S = 60
MOST, SEED = 240, 7
JOBS = os.cpu_count() or 1
TESTS = {
    "verdict": ["tests/core/test_verdict.py"],
    "states": ["tests/core/test_states.py"],
    "totp": ["tests/core/test_totp.py"],
    "chain": ["tests/audit/test_proofs.py", "tests/audit/test_attacks.py"],
    "merkle": ["tests/audit/test_merkle.py"],
    "checkpoint": ["tests/audit/test_writer.py", "tests/audit/test_proofs.py", "tests/vectors/test_vectors.py"],
    "policy": ["tests/taxonomy/test_gate.py", "tests/taxonomy/test_policy.py"],
    "taxonomy.engine": ["tests/taxonomy/test_meanings.py", "tests/taxonomy/test_judging.py", "tests/taxonomy/test_engine.py"],
    "facts.argv": ["tests/taxonomy/test_judging.py"],
    "facts.paths": ["tests/taxonomy/test_judging.py"],
    "facts.own": ["tests/taxonomy/test_judging.py"],
    "facts.targets": ["tests/taxonomy/test_judging.py", "tests/facts/test_nothing_leaks.py"],
    "facts.leash": ["tests/taxonomy/test_judging.py", "tests/taxonomy/test_the_gate_itself.py"],
    "facts.commands": ["tests/taxonomy/test_judging.py", "tests/facts/test_evasions.py"],
    "facts.expand": ["tests/taxonomy/test_judging.py", "tests/facts/test_shell.py", "tests/facts/test_against_a_real_shell.py"],
    "facts.shell": ["tests/taxonomy/test_judging.py", "tests/facts/test_shell.py", "tests/facts/test_against_a_real_shell.py"],
}
TURNED = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.In: ast.NotIn,
          ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """(line and what was done, the broken tree)."""
    left_out = _left_out(tree)
    for index, node in enumerate(ast.walk(tree)):
        if id(node) not in left_out:
            for number, (what, _) in enumerate(_changes(node)):
                broken = copy.deepcopy(tree)
                target = next(found for at, found in enumerate(ast.walk(broken)) if at == index)
                list(_changes(target))[number][1]()
                yield f"{node.lineno}: {what}", ast.fix_missing_locations(broken)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], object]]]:
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            yield f"turned {ast.unparse(node)}", lambda at=at, op=op: node.ops.__setitem__(at, TURNED[type(op)]())
    elif isinstance(node, ast.BoolOp):
        for at, part in enumerate(node.values):
            yield f"left out {ast.unparse(part)}", lambda at=at: node.values.__delitem__(at)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield f"never {ast.unparse(node.test)}", lambda: setattr(node, "test", ast.Constant(False))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"turned {ast.unparse(node)}", lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.Constant) and (other := _other(node.value)) is not None:
        yield f"{node.value!r} became {other!r}", lambda: setattr(node, "value", other)


def _other(value: object) -> object:
    """Another constant; None for what only people read."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return value + b"x"
    return value + "x" if isinstance(value, str) and " " not in value else None


def _left_out(tree: ast.Module) -> set[int]:
    """Annotations, decorators, docstrings, f-strings, `__all__` and what only a type checker runs: nothing a test could or should see."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None), *getattr(node, "decorator_list", [])]
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            parts.append(node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            parts.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            parts.append(node)
        found.update(id(inner) for part in parts if part is not None for inner in ast.walk(part))
    return found


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a tree."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.name, self.path, self.tree = f"ony_core.{module}", str(_path(module)), tree

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def exec_module(self, module: object) -> None:
        exec(compile(self.tree, self.path, "exec"), vars(module))


def _path(module: str) -> Path:
    return ROOT / "ony_core" / (module.replace(".", "/") + ".py")


def surviving(made: list[tuple[str, Callable[[], bool]]]) -> list[str]:
    """Runs every mutant in a child of its own, some at a time; the names of those whose tests pass, in their order."""
    running: dict[int, str] = {}
    alive: set[str] = set()

    def wait() -> None:
        child, status = os.wait()
        name = running.pop(child)
        if os.waitstatus_to_exitcode(status) == 0:
            alive.add(name)

    for name, passes in made:
        while len(running) >= JOBS:
            wait()
        child = os.fork()
        if child == 0:
            _run(passes)
        running[child] = name
    while running:
        wait()
    return [name for name, _ in made if name in alive]


def _run(passes: Callable[[], bool]) -> None:
    """In the child; never returns."""
    code = 1
    try:
        signal.alarm(TIMEOUT_S)
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        code = 0 if passes() else 1
    finally:
        os._exit(code)


def _tested(module: str, tree: ast.Module) -> Callable[[], bool]:
    def passes() -> bool:
        sys.meta_path.insert(0, _Instead(module, tree))
        code = 1
        with contextlib.suppress(SystemExit):
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *TESTS[module]]))
        return code == 0

    return passes


def of_module(module: str) -> list[tuple[str, Callable[[], bool]]]:
    """Every mutant of a module; the first is the unbroken source."""
    tree = ast.parse(_path(module).read_text("utf-8"))
    broken = ((f"{module}.py:{what}", _tested(module, one)) for what, one in mutants(tree))
    return [("unbroken", _tested(module, tree)), *((f"{name} (#{at})", passes) for at, (name, passes) in enumerate(broken))]


def main(parts: list[str]) -> int:
    os.chdir(ROOT)
    killed = total = 0
    low = []
    for part in parts or [*TESTS, "tables"]:
        unbroken, *every = table_mutants.every() if part == "tables" else of_module(part)
        if not surviving([unbroken]):
            print(f"{part}: its tests fail on the unbroken source", file=sys.stderr)
            return 1
        made = every if len(every) <= MOST else random.Random(SEED).sample(every, MOST)
        alive = surviving(made)
        share = len(made) - len(alive)
        print(f"{part}: {share} of {len(made)} killed ({share / len(made):.0%}; {len(made)} of {len(every)} mutants drawn)", flush=True)
        for what in alive:
            print(f"  survived {what}", flush=True)
        killed, total = killed + share, total + len(made)
        low += [part] if share < BOUND * len(made) else []
    print(f"killed {killed} of {total}: {killed / total:.0%} (bound {BOUND:.0%})" + (f"; below it: {', '.join(low)}" if low else ""))
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
