"""What names and expressions of a Python program stand for, as far as its source says: origins of calls, texts, lists, temporary files.

Nothing is imported and nothing is evaluated; what only the run can know is a HOLE or "".
"""

import ast
from collections.abc import Iterator

from ony_core.facts.words import HOLE
from ony_core.taxonomy.tables import tables

ROOTS = frozenset({"os", "subprocess", "shutil", "socket", "builtins", "pathlib", "sys", "importlib", "ctypes", "pty", "posix", "git"})
_BUILT_IN = frozenset({"exec", "eval", "compile", "open", "getattr", "__import__"})  # these too may get another name
_SAME = frozenset({"expanduser", "resolve", "absolute", "as_posix", "strip", "rstrip", "lstrip", "lower", "encode", "decode", "format_map"})
_PATHS = frozenset(
    [
        *("os.path.expanduser", "os.path.abspath", "os.path.realpath", "os.path.normpath", "os.path.expandvars"),
        *("pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "str", "os.fspath", "os.fsencode"),
    ]
)
_LISTINGS = frozenset({"glob", "rglob", "iterdir", "walk", "scandir", "joinpath", "with_suffix", "with_name"}) | _SAME
_SILENT = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)  # shared by all that use them
# kinds of nodes, made once: a program has thousands of nodes, and each is asked what it is
_IMPORTS = (ast.Import, ast.ImportFrom)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda)
_ASSIGNING = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
_BINDING = (*_ASSIGNING, ast.For, ast.comprehension, ast.withitem)
_GROWING = (ast.AugAssign, ast.Call)
_LISTED = (ast.List, ast.Tuple)
_NAMED = (ast.Name, ast.Attribute)
FIXTURES = frozenset({"tmp_path", "tmpdir"})  # of pytest: folders it makes and removes


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """As ast.iter_child_nodes, but for the nodes that say nothing of their own."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from (item for item in value if isinstance(item, ast.AST) and not isinstance(item, _SILENT))
        elif isinstance(value, ast.AST) and not isinstance(value, _SILENT):
            yield value


class Names:
    """The names of one module; `read` fills it once."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # local name -> dotted origin
        self.roots: set[str] = set()  # modules that are imported
        self.texts: dict[str, str | None] = {}  # variables that hold a known text; None: assigned twice
        self.lists: dict[str, ast.expr | None] = {}
        self.longer: set[str] = set()  # lists that are added to, and are copies here
        self.made: set[str] = set()  # names of temporary files
        self.not_made: set[str] = set()  # names that may stand for something else as well
        self.settings: set[str] = set()  # names such as STATIC_ROOT that are set to a temporary folder
        self.parents: dict[int, ast.AST] = {}
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.calls: dict[str, list[ast.Call]] = {}  # last word of the callee -> its calls
        self.python = tables().words["python"]

    def read(self, tree: ast.AST) -> list[ast.AST]:
        """Learns what the names of the program stand for; the answer is its nodes, level by level, without contexts and operators."""
        nodes = [tree]
        for node in nodes:  # it grows while it is walked
            for child in _children(node):
                self.parents[id(child)] = node
                nodes.append(child)
            if isinstance(node, _IMPORTS):
                self._imported(node)
            elif isinstance(node, _FUNCTIONS):
                self.functions[node.name] = node
        bound: list[tuple[int, ast.AST]] = []
        for node in nodes:
            if isinstance(node, _BINDING):
                bound.append((self._line(node), node))
            elif isinstance(node, ast.arg):
                (self.made if node.arg in FIXTURES else self.not_made).add(self._key(node, node.arg))
            elif isinstance(node, ast.Call):
                self.calls.setdefault(_last(node.func), []).append(node)
        for _, node in sorted(bound, key=lambda pair: pair[0]):
            self._bound(node)
        for node in nodes:
            if isinstance(node, _GROWING):
                self._grown(node)
            if isinstance(node, ast.Call):
                self._given_modules(node)
        settings = (n for n in nodes if isinstance(n, ast.keyword) and n.arg is not None and n.arg.isupper())
        self.settings = {str(n.arg) for n in settings if self.is_made(n.value)}
        return nodes

    def _line(self, node: ast.AST) -> int:
        inner = getattr(node, "context_expr", None) or getattr(node, "iter", None) or node
        return int(getattr(inner, "lineno", 0))

    def _imported(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            module = (alias.name if isinstance(node, ast.Import) else node.module) or ""
            root = module.split(".")[0]
            self.roots.add(root)
            if isinstance(node, ast.Import):
                self.names[alias.asname or root] = module if alias.asname else root
            elif alias.name == "*":
                self._everything(module)
            else:
                self.names[alias.asname or alias.name] = f"{module}.{alias.name}"

    def _everything(self, module: str) -> None:
        """`from os import *`: every listed name of the module."""
        listed = (name for names in self.python.values() for name in names if name.startswith(module + "."))
        self.names.update({name[len(module) + 1 :]: name for name in listed})

    def _bound(self, node: ast.AST) -> None:
        """Assignments, loops and with: each target with what it is bound to."""
        value = getattr(node, "value", None) or getattr(node, "iter", None) or getattr(node, "context_expr", None)
        targets = getattr(node, "targets", None) or [getattr(node, "target", None) or getattr(node, "optional_vars", None)]
        for target in targets:
            single = isinstance(node, _ASSIGNING)
            if isinstance(target, _LISTED):
                each = value.elts if single and isinstance(value, _LISTED) and len(value.elts) == len(target.elts) else None
                for at, part in enumerate(target.elts):
                    self._assigned(part, each[at] if each else value, single=each is not None)
            elif target is not None:
                self._assigned(target, value, single)

    def _assigned(self, target: ast.expr, value: ast.expr | None, single: bool) -> None:
        if not _path(target) or value is None:
            return
        name = self._key(target, _path(target))
        text = self.text(value) if single else None
        self.texts[name] = text if name not in self.texts or self.texts[name] == text else None
        listed = single and name not in self.lists and isinstance(value, (*_LISTED, ast.BinOp)) and not _names_itself(target, value)
        self.lists[name] = value if listed else None
        origin = self.origin(value) if single or isinstance(value, ast.Call) else ""
        if origin.split(".")[0] in ROOTS or origin in _BUILT_IN or origin.startswith(tuple(self.python["cloud_prefix"])):
            self.names[_path(target)] = origin
        (self.made if self.is_made(value) else self.not_made).add(name)

    def _given_modules(self, call: ast.Call) -> None:
        """`go(os)`, `(lambda o: …)(os)`: the parameter is that module."""
        function = call.func if isinstance(call.func, ast.Lambda) else self.functions.get(_last(call.func))
        for parameter, value in zip(function.args.args, call.args, strict=False) if function is not None else ():
            if (origin := self.origin(value)) in ROOTS:
                self.names[parameter.arg] = origin

    def _grown(self, node: ast.AST) -> None:
        """`words += […]`, `words.append(x)`, `text += "…"`: what is put behind a list or a text belongs to it."""
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            target = node.target
            more: ast.expr | None = ast.Starred(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.args:
            target = node.func.value
            more = {"append": node.args[-1], "insert": node.args[-1], "extend": ast.Starred(node.args[-1])}.get(node.func.attr)
        else:
            return
        name = self._found(target)
        before, held = self.texts.get(name), self.lists.get(name)
        if isinstance(node, ast.AugAssign) and before is not None:
            after = self.text(node.value)
            self.texts[name] = before + after if after is not None and isinstance(node.op, ast.Add) else None
        if more is not None and isinstance(held, _LISTED):
            if name not in self.longer:
                self.longer.add(name)
                self.lists[name] = held = ast.List([*held.elts], ast.Load())
            held.elts.append(more)

    def _key(self, node: ast.AST, name: str) -> str:
        """A name within the function that binds it; attributes of `self` belong to the module."""
        around: ast.AST | None = self.parents.get(id(node))
        while around is not None and not isinstance(around, _SCOPES):
            around = self.parents.get(id(around))
        return name if around is None or "." in name else f"{id(around)} {name}"

    def _found(self, node: ast.expr) -> str:
        """The key under which a name is bound: in its own function, in one around it, or in the module."""
        name = _path(node)
        at: ast.AST | None = node
        while at is not None and "." not in name:
            key = self._key(at, name)
            if key in self.made or key in self.not_made:
                return key
            at = self.parents.get(id(at))
            while at is not None and not isinstance(at, _SCOPES):
                at = self.parents.get(id(at))
        return name

    def origin(self, node: ast.expr) -> str:
        """Dotted origin of an expression such as `sp.run`, or "" """
        parts: list[str] = []
        while isinstance(node, ast.Attribute) and _path(node) not in self.names:
            parts.append(node.attr)
            node = node.value
        head = self.names[_path(node)] if isinstance(node, ast.Attribute) else self._head(node)
        name = ".".join([head, *reversed(parts)])
        return name.removeprefix("builtins.") if name != "?" else ""

    def _head(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return "builtins" if node.id == "__builtins__" else self.names.get(node.id, node.id)
        if isinstance(node, ast.Call):
            inner = self.origin(node.func)
            if inner == "operator.attrgetter()" and isinstance(node.func, ast.Call) and node.func.args and node.args:
                return self._member(self.origin(node.args[0]), node.func.args[0])
            if inner in ("__import__", "importlib.import_module") and node.args:
                return self.text(node.args[0]) or "?"
            if inner == "getattr" and len(node.args) > 1:
                return self._member(self.origin(node.args[0]), node.args[1])
            if inner == "vars" and node.args:
                return self.origin(node.args[0]) + ".__dict__"
            return inner + "()" if inner else "?"
        if isinstance(node, ast.Subscript):
            base = self.origin(node.value)
            if base == "sys.modules":
                return self.text(node.slice) or "?"
            if base.endswith("__dict__") or base in ("vars()", "globals()", "locals()", "builtins"):
                return self._member("" if base[-2:] == "()" else base.removesuffix("__dict__").removesuffix("."), node.slice)
        return "?"

    def _member(self, base: str, key: ast.expr) -> str:
        text = self.text(key)
        if text is None or HOLE in text:
            return "?"
        return f"{base}.{text}" if base and base != "builtins" else self.names.get(text, text)

    def text(self, node: ast.expr | None) -> str | None:
        """The text of an expression if it stands in the source; pieces that do not are holes."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else node.value.decode("latin-1") if isinstance(node.value, bytes) else None
        if isinstance(node, ast.JoinedStr):
            return "".join(self._piece(piece) for piece in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            left, right = self.text(node.left), self.text(node.right)
            if isinstance(node.op, ast.Mod):
                return None if left is None else "".join(c if i % 2 == 0 else HOLE for i, c in enumerate(_split_percent(left)))
            return None if left is None and right is None else (left or HOLE) + (right or HOLE)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return f"{self.text(node.left) or HOLE}/{self.text(node.right) or HOLE}"
        if isinstance(node, _NAMED):
            return self.texts.get(self._found(node))
        return self._called_text(node) if isinstance(node, ast.Call) else None

    def _piece(self, piece: ast.expr) -> str:
        text = self.text(piece.value if isinstance(piece, ast.FormattedValue) else piece)
        return HOLE if text is None else text

    def _called_text(self, node: ast.Call) -> str | None:
        name = self.origin(node.func)
        if name in ("os.path.join", "posixpath.join", "pathlib.Path", "pathlib.PurePath") and len(node.args) > 1:
            return "/".join(self.text(a) or HOLE for a in node.args)
        if name in _PATHS and node.args:
            return self.text(node.args[0])
        if name in ("pathlib.Path.home", "pathlib.Path().home"):
            return "~"
        if isinstance(node.func, ast.Attribute):
            inner = self.text(node.func.value)
            if node.func.attr in _SAME:
                return inner
            if node.func.attr == "joinpath":
                return "/".join([inner or HOLE, *(self.text(a) or HOLE for a in node.args)])
            if node.func.attr == "format" and inner is not None:
                return HOLE.join(_split_braces(inner))
            if node.func.attr == "join" and inner is not None and node.args and isinstance(node.args[0], _LISTED):
                return inner.join(self.text(e) or HOLE for e in node.args[0].elts)
        return None

    def is_made(self, node: ast.expr | None) -> bool:
        """Whether an expression names a temporary file or folder of this program, or something in it."""
        while node is not None:
            if isinstance(node, ast.Call):
                name = self.origin(node.func)
                if name in self.python["temporary"]:
                    return True
                inside = isinstance(node.func, ast.Attribute) and node.func.attr in _LISTINGS
                joins = name in _PATHS or name in (
                    "os.path.join",
                    "os.listdir",
                    "os.scandir",
                    "os.walk",
                    "glob.glob",
                    "glob.iglob",
                    "sorted",
                    "list",
                )
                node = node.args[0] if joins and node.args else node.func.value if inside and isinstance(node.func, ast.Attribute) else None
            elif isinstance(node, _NAMED):
                name = self._found(node)
                if (name in self.made and name not in self.not_made) or (isinstance(node, ast.Attribute) and node.attr in self.settings):
                    return True
                node = node.value if isinstance(node, ast.Attribute) else None
            elif isinstance(node, ast.BinOp):
                node = node.left
            elif isinstance(node, ast.JoinedStr):
                first = node.values[0] if node.values else None
                node = first.value if isinstance(first, ast.FormattedValue) else None
            elif isinstance(node, ast.Subscript):
                node = node.value
            else:
                return False
        return False

    def given(self, node: ast.expr | None) -> list[ast.expr]:
        """What a parameter stands for: the arguments of every call of its function in this module."""
        if not isinstance(node, ast.Name):
            return []
        at: ast.AST | None = node
        while at is not None and not isinstance(at, _FUNCTIONS):
            at = self.parents.get(id(at))
        if at is None:
            return []
        names = [a.arg for a in (*at.args.posonlyargs, *at.args.args)]
        if node.id not in names:
            return []
        shift = 1 if names[:1] in (["self"], ["cls"]) else 0
        found = [_argument(call, node.id, names.index(node.id) - shift) for call in self.calls.get(at.name, []) if self._own(call)]
        defaults = (
            at.args.defaults[len(at.args.defaults) - len(names) + names.index(node.id) :][:1]
            if names.index(node.id) >= len(names) - len(at.args.defaults)
            else []
        )
        return [*(f for f in found if f is not None), *defaults] if all(f is not None for f in found) or defaults else []

    def _own(self, call: ast.Call) -> bool:
        """Calls a function of this module, not one of the same name elsewhere."""
        base = call.func.value if isinstance(call.func, ast.Attribute) else None
        return base is None or not (isinstance(base, ast.Name) and base.id in self.names)

    def items(self, node: ast.expr | None) -> list[ast.expr] | None:
        """The elements of a list that stands in the source."""
        if isinstance(node, _NAMED):
            node = self.lists.get(self._found(node))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.items(node.left), self.items(node.right)
            return None if left is None else left + (right if right is not None else [node.right])
        if not isinstance(node, _LISTED):
            return None
        found: list[ast.expr] = []
        for item in node.elts:
            inner = self.items(item.value) if isinstance(item, ast.Starred) else None
            found.extend(inner if inner is not None else [item])
        return found


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _path(node: ast.expr) -> str:
    """`name` or `self.name`; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
        return f"self.{node.attr}"
    return ""


def _names_itself(target: ast.expr, value: ast.expr) -> bool:
    """`words = words + [x]`: what it was before stands elsewhere."""
    return any(_path(part) == _path(target) for part in ast.walk(value) if isinstance(part, _NAMED))


def _argument(call: ast.Call, name: str, at: int) -> ast.expr | None:
    named = next((k.value for k in call.keywords if k.arg == name), None)
    return named if named is not None else call.args[at] if 0 <= at < len(call.args) else None


def _split_percent(text: str) -> list[str]:
    """Pieces of a `%` template: text, placeholder, text …"""
    import re

    return re.split(r"(%[-#0 +]*\d*(?:\.\d+)?[a-z]|%\(\w+\)[a-z])", text)


def _split_braces(text: str) -> list[str]:
    import re

    return re.split(r"\{[^{}]*\}", text)
