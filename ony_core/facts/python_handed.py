"""Python functions that act, used as values: given to another that will call them, picked from a table, held by a name.

MUST: what such a function is called with is judged as if it stood in the call; where that cannot be seen, it is unknown.
"""

import ast
from collections.abc import Iterator

from ony_core.facts.python_names import Names

_MAPS = frozenset({"map", "filter", "imap", "imap_unordered", "map_async", "starmap"})
_PICKED = (ast.Dict, ast.List, ast.Tuple, ast.IfExp, ast.BoolOp, ast.Subscript)


def calls(known: Names, node: ast.Name | ast.Attribute) -> Iterator[ast.Call]:
    """The calls of a function that stands at `node` without being called there."""
    parent = known.parents.get(id(node))
    if isinstance(parent, ast.Call) and parent.func is node:
        return
    picked: ast.AST = node
    while isinstance(parent, _PICKED):
        picked, parent = parent, known.parents.get(id(parent))
    if isinstance(parent, ast.keyword):
        parent = known.parents.get(id(parent))
    if isinstance(parent, ast.Call) and picked is parent.func:
        yield _called(node, parent.args, parent.keywords)
    elif isinstance(parent, ast.Call) and picked is node:
        for given in _arguments_for(known, parent, node):
            yield _called(node, given, [])
    elif picked is not node or isinstance(parent, ast.arguments | ast.For):
        names = set(_names_for(parent, picked))
        for call in (call for named in known.calls.values() for call in named if _base(call.func) in names):
            yield _called(node, call.args, call.keywords)


def _called(func: ast.expr, given: list[ast.expr], named: list[ast.keyword]) -> ast.Call:
    return ast.Call(func=func, args=given, keywords=named)


def _arguments_for(known: Names, call: ast.Call, node: ast.expr) -> list[list[ast.expr]]:
    """What the function will be called with, call by call: the words after it, `args=(…)`, or each element it is mapped over."""
    unknown: list[ast.expr] = [ast.Name(id="?", ctx=ast.Load())]
    named = {k.arg: k.value for k in call.keywords}
    rest = call.args[call.args.index(node) + 1 :] if node in call.args else []
    if known.origin(call.func).rpartition(".")[2] in _MAPS:
        return [[item] for item in known.items(named.get("iterable", rest[0] if rest else None)) or unknown]
    if "args" in named:
        return [known.items(named["args"]) or unknown]
    return [rest or unknown]


def _names_for(parent: ast.AST | None, value: ast.AST) -> Iterator[str]:
    """Names under which a function may be called: of the table it stands in, of a loop over it, of the parameter it is the default of."""
    if isinstance(parent, ast.arguments):
        several = [*parent.posonlyargs, *parent.args]
        pairs = [*zip(reversed(several), reversed(parent.defaults), strict=False), *zip(parent.kwonlyargs, parent.kw_defaults, strict=True)]
        yield from (parameter.arg for parameter, default in pairs if default is value)
        return
    for target in getattr(parent, "targets", None) or [getattr(parent, "target", None)]:
        if isinstance(target, ast.Name):
            yield target.id


def _base(func: ast.expr) -> str:
    """The name below `f`, `table["key"]` and `table.get("key")` where they are called; "" where it is a method of it."""
    while isinstance(func, ast.Subscript | ast.Call):
        func = func.value if isinstance(func, ast.Subscript) else func.func.value if isinstance(func.func, ast.Attribute) else func.func
    return func.id if isinstance(func, ast.Name) else ""
