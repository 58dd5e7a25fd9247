"""Methods of Python objects in the words of functions: a path's, an open file's, a repository's, one that is called by its name."""

import ast

from ony_core.facts.python_names import Names

_OF_PATHS = {  # method -> function, and whether the path is its last argument
    "rename": ("os", "rename", False),
    "replace": ("os", "replace", False),
    "chmod": ("os", "chmod", False),
    "symlink_to": ("os", "symlink", True),
    "hardlink_to": ("os", "link", True),
}
_REPOSITORY = "git.Repo().git."  # GitPython


def plainer(known: Names, call: ast.Call) -> ast.Call:
    """The same call as a function would do it; the call itself where there is none."""
    name = known.origin(call.func)
    if name == "os.open" and len(call.args) > 1:
        writes = any(flag in ast.unparse(call.args[1]) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"))
        return _call("io", "open", [call.args[0], ast.Constant("w" if writes else "r")])
    if name == "operator.methodcaller()" and isinstance(call.func, ast.Call) and call.func.args and call.args:
        method = ast.Call(ast.Name("getattr", ast.Load()), [call.args[0], call.func.args[0]], [])
        return ast.Call(method, call.func.args[1:], call.func.keywords)
    if name in ("sh.Command", "sh.Command()"):
        words = [*(call.func.args if isinstance(call.func, ast.Call) else []), *call.args]
        return _call("subprocess", "run", [ast.List(words, ast.Load())])
    if isinstance(call.func, ast.Subscript) and known.origin(call.func.value) == "plumbum.local":
        return _call("subprocess", "run", [ast.List([call.func.slice, *call.args], ast.Load())])
    if not isinstance(call.func, ast.Attribute):
        return call
    if name.startswith(_REPOSITORY):
        words = [ast.Constant("git"), ast.Constant(name.removeprefix(_REPOSITORY).replace("_", "-")), *_spelled(call), *call.args]
        return _call("subprocess", "run", [ast.List(words, ast.Load())])
    path = call.func.value
    if call.func.attr in _OF_PATHS and len(call.args) == 1 and (name.startswith("pathlib.Path()") or known.text(path) is not None):
        module, function, last = _OF_PATHS[call.func.attr]
        return _call(module, function, [*call.args, path] if last else [path, *call.args])
    return call


def written(known: Names, node: ast.Call, given: list[ast.expr]) -> str | None:
    """All that is written into a file that `node` opens or writes; None where that is not known."""
    if not known.origin(node.func).endswith("open"):
        return known.text(given[0]) if given else None
    around = known.parents.get(id(node))
    uses: list[ast.AST] = [node]
    if isinstance(around, ast.withitem) and isinstance(around.optional_vars, ast.Name):
        name, within = around.optional_vars, known.parents[id(around)]
        named = [part for part in ast.walk(within) if isinstance(part, ast.Name) and part.id == name.id and part is not name]
        uses = [*sorted(named, key=lambda use: (use.lineno, use.col_offset))]
    methods = [known.parents.get(id(use)) for use in uses]
    calls = [known.parents.get(id(method)) if isinstance(method, ast.Attribute) else None for method in methods]
    texts = [known.text(call.args[0]) if isinstance(call, ast.Call) and call.args else None for call in calls]
    return "".join(text or "" for text in texts) if texts and None not in texts else None


def _call(module: str, function: str, given: list[ast.expr]) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(module, ast.Load()), function, ast.Load()), given, [])


def _spelled(call: ast.Call) -> list[ast.expr]:
    """`force=True` is `--force`, `m="text"` is `-m text`, `force=False` is nothing."""
    found: list[ast.expr] = []
    for keyword in call.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else ""
        if value is False or value is None:
            continue
        if keyword.arg is not None:
            found.append(ast.Constant(f"-{keyword.arg}" if len(keyword.arg) == 1 else f"--{keyword.arg.replace('_', '-')}"))
        if value is not True:
            found.append(keyword.value)
    return found
