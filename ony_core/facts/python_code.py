"""Python code that runs other code: exec, eval and compile of a text, objects that are unpickled, libraries of the system.

MUST: only text that stands in the source, or in a file that it opens by name, is followed; what came from elsewhere or is decoded is held.
"""

import ast
from typing import TYPE_CHECKING

from ony_core.facts.handlers.builtins import STANDARD_INPUT
from ony_core.facts.python_names import Names
from ony_core.facts.words import HOLE, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_DECODING = frozenset({"b64decode", "fromhex", "decompress", "decode", "urlopen", "chr", "get"})


def run(shell: "Shell", known: Names, node: ast.Call, name: str, connects: bool) -> None:
    """connects: the program asks other computers, or is fed by one."""
    from ony_core.facts.python import understand

    if name not in ("exec", "eval", "compile"):
        shell.call.opaque("decoded" if _decodes(known, node) else "code_unknown")
        return
    text = known.text(node.args[0]) if node.args else None
    if text is not None and HOLE not in text:
        if name != "compile":
            understand(shell, text)
    elif connects:
        shell.call.opaque("network")
    elif node.args and (read := _file(known, node.args[0])) is not None:
        _run_file(shell, known.text(read))
    elif _decodes(known, node):
        shell.call.opaque("decoded")
    elif name == "exec":
        shell.call.opaque("code_unknown")


def _run_file(shell: "Shell", path: str | None) -> None:
    from ony_core.facts import scripts

    if path is None or HOLE in path:
        shell.call.add("command", "project_code")
    else:
        scripts.run_file(shell, Word(path, quoted=True), [], "python")


def _file(known: Names, node: ast.expr) -> ast.expr | None:
    """The file that a text is read from: `open(file).read()`, `Path(file).read_text()`, or `f.read()` in a program that opens one."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    opened = [call for call in calls if known.origin(call.func) in ("open", "io.open") and call.args]
    methods = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
    if not opened and any(method.attr == "read" and isinstance(method.value, ast.Name) for method in methods):
        opened = [call for call in known.calls.get("open", []) if call.args]
    found = [call.args[0] for call in opened] or [method.value for method in methods if method.attr == "read_text"]
    if any(isinstance(file, ast.Constant) and (not isinstance(file.value, str) or file.value in STANDARD_INPUT) for file in found):
        return None
    return found[0] if found else None


def _decodes(known: Names, node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) and known.origin(part.func).rpartition(".")[2] in _DECODING for part in ast.walk(node))
