"""Runs every vector file against the program, and holds the files to what their maker writes."""

import io
import json
from functools import partial
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ony_core import auditexport, checkpoint, notes, verdict
from ony_core.errors import Refused
from ony_core.model import Approver, Pending
from ony_core.verify import verify
from tests.vectors.make import HERE, vectors


def _read(path: Path) -> tuple[dict[str, str], bytes]:
    head, _, body = path.read_bytes().partition(b"\n\n")
    return dict(line.split(": ", 1) for line in head.decode().splitlines()), body


def _holds(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("path", sorted((HERE / "verdict").glob("*.txt")), ids=lambda path: path.stem)
def test_a_verdict_vector(path):
    head, body = _read(path)
    pending = json.loads(head["pending"])
    pending["actions"] = tuple(pending["actions"])
    approver = Approver(head["device"], bytes.fromhex(head["device-key"]), head["device-state"])
    server = partial(_holds, Ed25519PublicKey.from_public_bytes(bytes.fromhex(head["server-key"])))
    try:
        checked = verdict.check(
            json.loads(body), Pending(**pending), {head["device"]: approver}, server, float(head["boot"]), int(head["wall"])
        )
        answer = checked.decision
    except Refused as refused:
        answer = refused.reason
    assert answer == head["expect"]


@pytest.mark.parametrize("path", sorted((HERE / "audit").glob("*.txt")), ids=lambda path: path.stem)
def test_an_audit_vector(path):
    head, body = _read(path)
    heads = []
    for text in json.loads(head.get("witness", "[]")):
        note = checkpoint.parse(text)
        heads.append(notes.Head(note.origin, note.size, note.root, text, "the vector's witness"))
    report = verify(auditexport.read_export(io.BytesIO(body)), bytes.fromhex(head["key"]), heads)
    first = [str(report.findings[0].seq)] if report.findings else []
    assert " ".join([report.result, *first]) == head["expect"]


def test_the_files_are_what_their_maker_writes():
    made = dict(vectors())
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in HERE.glob("*/*.txt")}
    assert found.keys() == made.keys()
    assert not [name for name, content in made.items() if found[name] != content]
