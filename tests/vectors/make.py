"""Writes the vectors: `python -m tests.vectors.make`. A second implementation of the checks needs these files and the docs alone.

A vector is header lines `name: value`, an empty line, and the input. `expect` is the answer: for verdict/, approve, deny or the reason of
the refusal; for audit/, the result and the first row it names. Deterministic: the files in the repository are what this writes.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from tests.audit import test_attacks
from tests.audit.world import World
from tests.core.verdicts import CASES, DEVICE, KEY, PENDING, SERVER, Case

HERE = Path(__file__).parent
AUDIT_KEY = bytes(range(100, 132))


def vectors() -> Iterator[tuple[str, bytes]]:
    """(path below this folder, content)."""
    for case in CASES:
        yield f"verdict/{case.name}.txt", _verdict(case)
    for attack, alone, witnessed in test_attacks.ATTACKS:
        yield f"audit/{attack.__name__}.txt", _audit(attack, alone, witnessed=False)
        yield f"audit/{attack.__name__}_witnessed.txt", _audit(attack, witnessed, witnessed=True)
    yield "audit/untouched.txt", _audit(lambda world: None, ("OK-UNANCHORED", None), witnessed=False)
    yield "audit/untouched_witnessed.txt", _audit(lambda world: None, ("OK", None), witnessed=True)


def _verdict(case: Case) -> bytes:
    headers = {
        "expect": case.expect,
        "device": DEVICE,
        "device-state": case.state,
        "device-key": KEY.hex(),
        "server-key": SERVER.public_key().public_bytes_raw().hex(),
        "pending": json.dumps(asdict(replace(PENDING, **case.pending))),
        "boot": str(case.boot),
        "wall": str(case.wall),
    }
    return _file(headers, json.dumps(case.made()).encode() + b"\n")


def _audit(attack: test_attacks.Attack, expect: tuple[str, int | None], witnessed: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "data", key=AUDIT_KEY).grown(2, 2, 1, 3, 3, 2, 3, 4, 3)
        heads = [world.head(8), world.head(23)]
        attack(world)
        data = world.export()
        world.db.close()
    headers = {"expect": " ".join(str(part) for part in expect if part is not None), "key": AUDIT_KEY.hex()}
    if witnessed:
        headers["witness"] = json.dumps([head.note for head in heads])
    return _file(headers, data)


def _file(headers: dict[str, str], body: bytes) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in headers.items()).encode() + b"\n" + body


if __name__ == "__main__":
    for name, content in vectors():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_bytes(content)
