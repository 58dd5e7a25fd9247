"""What a Python program takes from its environment: all of it, or a variable that is named like a secret."""

import ast

from ony_core.facts import shown
from ony_core.facts.python_names import Names


def whole(known: Names, node: ast.AST) -> bool:
    """os.environ as a whole, not one variable of it."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute | ast.Name) and known.origin(part) == "os.environ":
            parent = known.parents.get(id(part))
            if not isinstance(parent, ast.Subscript | ast.Compare) and not (
                isinstance(parent, ast.Attribute) and parent.attr in ("get", "keys", "pop", "setdefault", "__contains__")
            ):
                return True
    return False


def secret(known: Names, node: ast.expr) -> bool:
    """os.environ["TOKEN"], os.getenv("TOKEN"), by itself or put into a text; what only asks about it is none."""
    if isinstance(node, ast.JoinedStr | ast.BinOp | ast.FormattedValue):
        return any(secret(known, part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
    if isinstance(node, ast.Subscript):
        return known.origin(node.value) == "os.environ" and shown.secretive(known.text(node.slice) or "")
    if isinstance(node, ast.Call) and known.origin(node.func) in ("os.getenv", "os.environ.get"):
        return bool(node.args) and shown.secretive(known.text(node.args[0]) or "")
    return False


def each_printed(known: Names, loop: ast.For) -> bool:
    """A loop over the environment that prints every value."""
    valued = any(isinstance(n, ast.Attribute) and n.attr in ("items", "values") for n in ast.walk(loop.iter))
    value = loop.target.elts[-1] if isinstance(loop.target, ast.Tuple) else loop.target if valued else None
    prints = [s.value for s in loop.body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]
    called = [call for call in prints if known.origin(call.func) == "print"]
    names = {n.id for call in called for n in ast.walk(call) if isinstance(n, ast.Name)}
    return isinstance(value, ast.Name) and value.id in names and whole(known, loop.iter)
