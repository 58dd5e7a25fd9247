"""Reads the families: their TOML files or, where one was made of exactly these, the compact copy that loads ten times as fast.

MUST: take the compact copy only where it was made of the TOML files that lie beside it, byte for byte; a stale one is never looked into.
MUST: refuse a copy that is damaged, and say so: never fewer tables than the files hold.

The copy holds the same documents, without the examples, as JSON, and the tables are assembled of either by the same code.
`python -m ony_core.taxonomy.compact` checks the files and writes it: for whatever is handed out (`make dist`), and in a checkout, where
make does it whenever a file has changed. Without it the files themselves are read.
"""

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from typing import Any

from ony_core.errors import OnyError

Documents = list[tuple[str, dict[str, Any]]]
COPY = "compact.json"
FORM = "ony-tables/1"
EXAMPLES = ("holds", "passes")  # of a rule: for tests and for the page; nothing that judges a call looks at them
_MEND = "install Ony again; in a checkout remove that file"


def documents() -> Documents:
    """(file name, content) of every family in name order, examples included."""
    return parsed(sources())


def parsed(found: Iterable[tuple[str, bytes]]) -> Documents:
    return [(name, tomllib.loads(text.decode("utf-8"))) for name, text in found]


def copied() -> Documents | None:
    """The same without the examples, from the compact copy; None where there is none that was made of these files."""
    beside = resources.files("ony_core.taxonomy").joinpath(COPY)
    return opened(beside.read_bytes(), digest(sources())) if beside.is_file() else None


def sources() -> Iterator[tuple[str, bytes]]:
    folder = resources.files("ony_core.taxonomy")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return ((f.name, f.read_bytes()) for f in found)


def digest(found: Iterable[tuple[str, bytes]]) -> str:
    """Of the names and contents of all families."""
    sums = (f"{name} {hashlib.sha256(text).hexdigest()}\n" for name, text in found)
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def bare(full: Documents) -> Documents:
    return [(name, {**document, "rule": [_bare(rule) for rule in document.get("rule", ())]}) for name, document in full]


def _bare(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key not in EXAMPLES}


def copy_of(found: Sequence[tuple[str, bytes]]) -> bytes:
    """The compact copy: a line that binds it to the files and to its own body, then a family a line. The same files, the same bytes."""
    lines = [json.dumps(family, separators=(",", ":"), allow_nan=False) for family in bare(parsed(found))]
    body = "\n".join(lines).encode("ascii")
    return f"{FORM} {digest(found)} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def opened(text: bytes, of: str) -> Documents | None:
    """What a compact copy holds; None if it was made of other files than those with the digest `of`. OnyError if it is damaged."""
    head, _, body = text.partition(b"\n")
    form, made_of, own = [*head.decode("ascii", "replace").split(" "), "", ""][:3]
    if form != FORM or hashlib.sha256(body).hexdigest() != own:
        raise OnyError(f"the compact tables (ony_core/taxonomy/{COPY}) are damaged", _MEND)
    if made_of != of:
        return None
    same: dict[str, str] = {}
    families = (json.loads(line, object_hook=lambda found: _shared(found, same.setdefault)) for line in body.splitlines())
    return [(name, document) for name, document in families]


def _shared(found: dict[str, Any], same: Callable[[str, str], str]) -> dict[str, Any]:
    """One object for all words that are equal, as soon as they are read: most stand in many rules, and the server stays small."""
    for key, value in found.items():
        if value.__class__ is list:
            found[key] = [same(part, part) if part.__class__ is str else part for part in value]
        elif value.__class__ is str:
            found[key] = same(value, value)
    return found
