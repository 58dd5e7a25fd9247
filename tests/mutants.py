"""Mutants of a source file, for `tests.mutation`: a comparison turned, a condition left out, a constant changed.

A mutant knows the lines of its own statement, so that only tests that come by there need to be asked.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

TURNED = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.In: ast.NotIn,
          ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Mutant(NamedTuple):
    """node, change: which node of the tree, in walking order, and which of its changes. inside: in the body of a function."""

    name: str
    node: int
    change: int
    lines: range
    inside: bool


def mutants(tree: ast.Module) -> list[Mutant]:
    """Every mutant of a module, in reading order of its tree."""
    left_out = _left_out(tree)
    where = dict(_where(tree, range(0), False))
    return [
        Mutant(f"{node.lineno}: {what}", index, number, *where[id(node)])  # type: ignore[attr-defined]
        for index, node in enumerate(ast.walk(tree))
        if id(node) not in left_out
        for number, (what, _) in enumerate(_changes(node))
    ]


def broken(tree: ast.Module, mutant: Mutant) -> ast.Module:
    made = copy.deepcopy(tree)
    target = next(found for at, found in enumerate(ast.walk(made)) if at == mutant.node)
    list(_changes(target))[mutant.change][1]()
    return ast.fix_missing_locations(_Single().visit(made))


class _Single(ast.NodeTransformer):
    """`a and b` without b is a; Python compiles no condition of one part."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return node if len(node.values) > 1 else node.values[0]


def _where(node: ast.AST, lines: range, inside: bool) -> Iterator[tuple[int, tuple[range, bool]]]:
    """The lines of the statement that a node stands in, without the statements below it, and whether they run with a function."""
    if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
        first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
        body = getattr(node, "body", None)
        last = max(first, body[0].lineno - 1) if body else getattr(node, "end_lineno", first)
        lines = range(first, last + 1)
    yield id(node), (lines, inside)
    for child in ast.iter_child_nodes(node):
        body_of = isinstance(node, FUNCTIONS) and isinstance(child, ast.stmt)
        yield from _where(child, lines, inside or body_of or isinstance(node, ast.Lambda))


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
