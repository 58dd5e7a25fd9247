"""Breaks the pure core on purpose, one place at a time, and counts how often the tests notice: `python -m tests.mutation [module …]`.

A mutant turns a comparison, leaves out a condition, or changes a constant. It is killed when its tests fail, crash or hang. Each runs
in a forked child that loads the broken source in place of the file, so nothing on disk changes. Exit 1 below the bound.
"""

import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cryptography.hazmat.primitives.asymmetric.ed25519
import hypothesis
import pyotp
import pytest

assert cryptography and hypothesis and pyotp  # loaded once here, shared by every child
ROOT = Path(__file__).resolve().parent.parent
BOUND = 0.85
TIMEOUT_S = 60
TESTS = {
    "verdict": ["tests/core/test_verdict.py"],
    "states": ["tests/core/test_states.py"],
    "totp": ["tests/core/test_totp.py"],
    "chain": ["tests/audit/test_proofs.py", "tests/audit/test_attacks.py"],
    "merkle": ["tests/audit/test_merkle.py"],
    "checkpoint": ["tests/audit/test_writer.py", "tests/audit/test_proofs.py", "tests/vectors/test_vectors.py"],
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
    """Annotations, decorators, docstrings, f-strings and `__all__`: nothing a test could or should see."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None), *getattr(node, "decorator_list", [])]
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            parts.append(node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            parts.append(node)
        found.update(id(inner) for part in parts if part is not None for inner in ast.walk(part))
    return found


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a tree."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name, self.tree = name, tree

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=str(_path(name.rpartition(".")[2]))) if name == self.name else None

    def exec_module(self, module: object) -> None:
        exec(compile(self.tree, str(_path(self.name.rpartition(".")[2])), "exec"), vars(module))


def _path(module: str) -> Path:
    return ROOT / "ony_core" / f"{module}.py"


def survives(module: str, tree: ast.Module) -> bool:
    """Do the module's tests pass although it is broken?"""
    child = os.fork()
    if child == 0:
        _run(module, tree)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _run(module: str, tree: ast.Module) -> None:
    """In the child; never returns."""
    code = 1
    try:
        signal.alarm(TIMEOUT_S)
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        sys.meta_path.insert(0, _Instead(f"ony_core.{module}", tree))
        with contextlib.suppress(SystemExit):
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *TESTS[module]]))
    finally:
        os._exit(code)


def main(modules: list[str]) -> int:
    os.chdir(ROOT)
    killed = total = 0
    for module in modules or list(TESTS):
        tree = ast.parse(_path(module).read_text("utf-8"))
        if not survives(module, tree):
            print(f"{module}: its tests fail on the unbroken source", file=sys.stderr)
            return 1
        made = list(mutants(tree))
        alive = [what for what, broken in made if survives(module, broken)]
        print(f"{module}: {len(made) - len(alive)} of {len(made)} killed", flush=True)
        for what in alive:
            print(f"  survived {module}.py:{what}", flush=True)
        killed, total = killed + len(made) - len(alive), total + len(made)
    print(f"killed {killed} of {total}: {killed / total:.0%} (bound {BOUND:.0%})")
    return 0 if killed >= BOUND * total else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
