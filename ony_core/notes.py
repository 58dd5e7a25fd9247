"""The heads a connector keeps: the newest checkpoint it has seen of each log, which makes it a witness against rollback and forks.

MUST: a kept head only grows. MUST: a head that cannot be read is an error and never "no head": otherwise damaging one file would undo
the witness. Format: <folder>/<first 16 hex digits of SHA-256(origin)>.json, 0600, {"origin","size","root","note"}; note is the whole
signed checkpoint.
"""

import json
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ony_core import checkpoint, durable
from ony_core.errors import Malformed, OnyError

_FILE = re.compile(r"[0-9a-f]{16}\.json\Z", re.ASCII)
_WHICH = "give the heads folder of a connector, one of its files, or a note"
_HINT = "do not delete it: keep it for whoever looks into this, and run `ony doctor`"


@dataclass(frozen=True, slots=True)
class Head:
    """size rows had this root (32 bytes), says the signed note. source: where it was read, for reports."""

    origin: str
    size: int
    root: bytes
    note: str
    source: str = ""


def head_path(folder: str | os.PathLike[str], origin: str) -> Path:
    return Path(folder) / f"{sha256(origin.encode('ascii')).hexdigest()[:16]}.json"


def read_head(folder: str | os.PathLike[str], origin: str) -> Head | None:
    """The kept head of a log, None before the first. OnyError for a file that is damaged or about another log."""
    path = head_path(folder, origin)
    if not os.path.lexists(path):
        return None
    head = _read(path)
    if head.origin != origin:
        raise OnyError(f"the kept head {path.name} is about another log", _HINT)
    return head


def write_head(folder: str | os.PathLike[str], note: str) -> Head:
    """Keeps a checked checkpoint unless a longer one is kept already; returns the head now kept. Durable when it returns.

    note: a whole checkpoint that `chain.check_proof` has accepted. OnyError where the kept one has the same size and another root:
    that is a fork.
    """
    parsed = checkpoint.parse(note)
    fresh = Head(parsed.origin, parsed.size, parsed.root, note)
    with durable.locked(folder):
        kept = read_head(folder, fresh.origin)
        if kept and kept.size == fresh.size and kept.root != fresh.root:
            raise OnyError("two checkpoints of one size differ: the log has forked", "keep both, and ask whoever runs the server")
        if kept and kept.size >= fresh.size:
            return kept
        text = json.dumps({"origin": fresh.origin, "size": fresh.size, "root": fresh.root.hex(), "note": note})
        durable.replace(head_path(folder, fresh.origin), text.encode("ascii") + b"\n")
    return fresh


def replace_head(folder: str | os.PathLike[str], note: str) -> Path:
    """Puts a head in place of the kept one after a declared restore; the file that keeps the lost one. Durable when it returns.

    MUST be called by connector/restored.py alone, which has checked the declaration.
    """
    parsed = checkpoint.parse(note)
    with durable.locked(folder):
        path = head_path(folder, parsed.origin)
        kept = read_head(folder, parsed.origin)
        lost = path.with_name(f"{path.stem}.lost-{kept.size}-{kept.root.hex()[:8]}.json") if kept else path
        if kept:
            durable.replace(lost, path.read_bytes())
        text = json.dumps({"origin": parsed.origin, "size": parsed.size, "root": parsed.root.hex(), "note": note})
        durable.replace(path, text.encode("ascii") + b"\n")
    return lost


def witnesses(path: str | os.PathLike[str]) -> list[Head]:
    """All heads in a heads folder, one head file, or one plain checkpoint note. OnyError where there is nothing to compare with, or it
    is damaged.
    """
    path = Path(path)
    try:
        files = sorted(p for p in path.iterdir() if _FILE.match(p.name)) if path.is_dir() else [path]
    except OSError as error:
        raise OnyError(f"cannot read the witness ({error.strerror})", _WHICH) from None
    if not files:
        raise OnyError(f"there are no heads in {path}", _WHICH)
    return [_read(p) for p in files]


def _read(path: Path) -> Head:
    try:
        with open(path, "rb") as file:
            return _parse(file.read(1 << 16).decode("utf-8"), str(path))
    except OSError as error:
        raise OnyError(f"cannot read the kept head {path.name} ({error.strerror})", _HINT) from None
    except (Malformed, ValueError, TypeError, KeyError, RecursionError):
        raise OnyError(f"the kept head {path.name} is damaged", _HINT) from None


def _parse(text: str, source: str) -> Head:
    if not text.startswith("{"):
        note = checkpoint.parse(text)
        return Head(note.origin, note.size, note.root, text, source)
    value = json.loads(text)
    note = checkpoint.parse(value["note"])
    if (value["origin"], value["size"], value["root"]) != (note.origin, note.size, note.root.hex()) or len(value) != 4:
        raise Malformed("a kept head does not say what its note says")
    return Head(note.origin, note.size, note.root, value["note"], source)
