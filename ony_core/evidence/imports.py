"""Local code that a script or a makefile takes in by name, and what that code takes in: it runs with the call, so it is bound with it.

MUST: follow names to files only; nothing is imported or run to find out. MUST NOT: leave out a file because another bound it before.
Installed packages are not followed: writing them is a held action of its own.
"""

import glob
import os
import re
from collections.abc import Callable, Iterator

from ony_core.evidence.place import LIMIT, DiskPlace

_PYTHON = re.compile(r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+\(?([\w, \t]*)|import[ \t]+([\w., \t]+))", re.MULTILINE)
_SCRIPT = re.compile(r"(?:require|import|from)\s*\(?\s*['\"](\.{1,2}/[^'\"\n]{1,400})['\"]")
_RUBY = re.compile(r"^\s*require_relative\s+['\"]([^'\"\n]{1,400})['\"]", re.MULTILINE)
_MAKE = re.compile(r"^[ \t]*[-s]?include[ \t]+([^\n#]+)", re.MULTILINE)
_SCRIPTS = (".js", ".mjs", ".cjs", ".ts", ".mts", ".tsx", ".jsx")


def bind(place: DiskPlace, one: Callable[[str], bool]) -> None:
    """Binds, by `one`, what the files that were read to understand the call take in; `one` is False for a file that it had before."""
    waiting = list(place.texts_by_path().items())
    roots = {os.path.dirname(path) for path, _ in waiting} | {place.cwd}
    while waiting:
        path, text = waiting.pop()
        for found in dict.fromkeys(named(path, text, roots)):
            if one(found):
                data = place.read(found, LIMIT)
                if isinstance(data, bytes):
                    waiting.append((found, data.decode("utf-8", "replace")))


def named(path: str, text: str, roots: set[str]) -> Iterator[str]:
    """The files beside `path`, or below a root, that its text names as code to take in."""
    folder, name = os.path.split(path)
    candidates: Iterator[str] = iter(())
    if name.endswith(".py"):
        candidates = _modules(text, folder, roots)
    elif name.endswith(_SCRIPTS):
        candidates = (os.path.join(folder, part) + end for part in _SCRIPT.findall(text) for end in ("", *_SCRIPTS, ".json", "/index.js"))
    elif name.endswith(".rb"):
        candidates = (os.path.join(folder, part) + end for part in _RUBY.findall(text) for end in ("", ".rb"))
    elif name.endswith((".mk", "akefile")):
        words = (word for line in _MAKE.findall(text) for word in line.split() if "$" not in word)
        candidates = (found for word in words for found in glob.iglob(os.path.join(folder, word)))
    yield from (os.path.normpath(found) for found in candidates if "\0" not in found and os.path.isfile(found))


def _modules(text: str, folder: str, roots: set[str]) -> Iterator[str]:
    """Files of the modules that Python text imports: `a.b` may be a file, a package, or a name in one."""
    for dots, module, names, plain in _PYTHON.findall(text):
        bases = [os.path.join(folder, *[".."] * (len(dots) - 1))] if dots else sorted(roots | {folder})
        whole = [module] if dots or module else [part.split(" as ")[0].strip() for part in plain.split(",")]
        more = [f"{module}.{name.split(' as ')[0].strip()}".strip(".") for name in names.split(",") if name.strip()]
        for base in bases:
            for dotted in (*whole, *more):
                parts = [part for part in dotted.split(".") if part]
                for end in range(1, len(parts) + 1):
                    yield os.path.join(base, *parts[:end], "__init__.py")
                    yield os.path.join(base, *parts[:end]) + ".py"
