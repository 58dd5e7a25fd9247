"""The text of a checkpoint: what the log promised, when, in a form that any transparency-log tool reads.

Source: C2SP tlog-checkpoint and signed-note (github.com/C2SP/C2SP). One extension line carries key id, time, newest row MAC and
the size of the checkpoint before. Two signature lines bear the origin as their name: the Ed25519 line, which anyone with the public
key can check, and last the seal, HMAC-SHA256 under the log's own key over every byte before it. MUST: one spelling only; what parses
is byte for byte what was written.
MUST: the seal covers the Ed25519 line too, so that a verifier that cannot check the one still sees when it was damaged.
"""

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from ony_core.clock import rfc3339
from ony_core.errors import Malformed

MAX_NOTE = 8192
MAX_SIGNATURES = 16
ORIGIN = re.compile(r"ony/[0-9a-f]{32}/org_[0-9a-f]{32}\Z", re.ASCII)
_TIME = r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\dZ"
_EXTENSION = re.compile(rf"epoch 0 key ([0-9a-f]{{8}}) time ({_TIME}) last ([0-9a-f]{{64}}) after (0|[1-9][0-9]{{0,17}})\Z", re.ASCII)
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII)
_SEAL, _ED25519 = 32, 64  # signature lengths tell the two lines apart
_DASH = "\u2014 "

Verify = Callable[[bytes, bytes], bool]  # (signature, message) -> holds


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed checkpoint. root, last: 32 bytes; at: UTC seconds; after: size of the one before; text: the signed part;
    unsealed: all but the last line; signatures: (name, key id, signature).
    """

    origin: str
    size: int
    root: bytes
    key_id: str
    at: int
    last: bytes
    after: int
    text: str
    unsealed: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


def key_id(key: bytes) -> str:
    """Eight hex digits that name an audit key without saying anything about it."""
    return sha256(b"ony-audit-key-id-v1" + key).hexdigest()[:8]


def make(origin: str, size: int, root: bytes, key: bytes, at: int, last: bytes, after: int) -> str:
    """The signed part of a checkpoint. last: MAC of row `size`; after: size of the checkpoint before, 0 for the first."""
    return f"{origin}\n{size}\n{_b64(root)}\nepoch 0 key {key_id(key)} time {rfc3339(at)} last {last.hex()} after {after}\n"


def sign(text: str, sign_ed25519: Callable[[bytes], bytes], public_key: bytes) -> str:
    """The line that anyone can check. Key id as in C2SP signed-note: SHA-256(name, 0x0A, 0x01, public key)."""
    origin = text.partition("\n")[0]
    return _line(origin, sha256(origin.encode() + b"\n\x01" + public_key).digest()[:4], sign_ed25519(text.encode()))


def seal(note: str, key: bytes) -> str:
    """The last line, which only holders of the audit key can make or check. note: text, blank line, Ed25519 line. Rows are MACed behind
    another prefix, so no row is ever a seal.
    """
    return _line(note.partition("\n")[0], *_seal(note, key))


def parse(note: str) -> Note:
    """A whole note: text, blank line, signature lines. Malformed for anything that `make`, `seal` and `sign` would not have written."""
    if len(note) > MAX_NOTE:
        raise Malformed("a checkpoint is too long")
    head, found, tail = note.partition("\n\n")
    lines = head.split("\n")
    if not found or len(lines) != 4 or not ORIGIN.match(lines[0]) or not _SIZE.match(lines[1]):
        raise Malformed("a checkpoint is not origin, size, root, extension and signatures")
    extension = _EXTENSION.match(lines[3])
    if not extension:
        raise Malformed("a checkpoint has an unknown extension line")
    identity, at, last, after = extension.groups()
    return Note(lines[0], int(lines[1]), _unb64(lines[2], 32), identity, _seconds(at), bytes.fromhex(last), int(after),
                head + "\n", note[: note.rfind("\n", 0, -1) + 1], _signatures(tail))  # fmt: skip


def sealed_by(note: Note, key: bytes) -> bool:
    """Is the last line of the note the seal of this key?"""
    name, identity, made = note.signatures[-1]
    expected_identity, expected = _seal(note.unsealed, key)
    return name == note.origin and identity == expected_identity and hmac.compare_digest(expected, made)


def signed_by(note: Note, verify: Verify) -> bool:
    """Does the note carry an Ed25519 line of its log that this check accepts?"""
    return any(verify(made, note.text.encode()) for name, _, made in note.signatures if name == note.origin and len(made) == _ED25519)


def _seal(unsealed: str, key: bytes) -> tuple[bytes, bytes]:
    """(key id, MAC); the key id is made as C2SP asks of algorithms that are not its own: type 0xFF and a name."""
    origin = unsealed.partition("\n")[0]
    identity = sha256(origin.encode() + b"\n\xffony-hmac-sha256-v1" + bytes.fromhex(key_id(key))).digest()[:4]
    return identity, hmac.digest(key, unsealed.encode(), "sha256")


def _line(name: str, identity: bytes, signature: bytes) -> str:
    return f"{_DASH}{name} {_b64(identity + signature)}\n"


def _signatures(tail: str) -> tuple[tuple[str, bytes, bytes], ...]:
    lines = tail.split("\n")
    if lines.pop() != "" or not 0 < len(lines) <= MAX_SIGNATURES:
        raise Malformed("a checkpoint has no signature lines, or too many")
    return tuple(_signature(line) for line in lines)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, text = line.removeprefix(_DASH).partition(" ")
    raw = _unb64(text, None)
    if not line.startswith(_DASH) or not name or len(raw) not in (4 + _SEAL, 4 + _ED25519):
        raise Malformed("a checkpoint has a signature line that is not well formed")
    return name, raw[:4], raw[4:]


def _seconds(text: str) -> int:
    """The pattern has settled the spelling; strptime would take half the time of a whole verification."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise Malformed("a checkpoint's time is not a time") from None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str, length: int | None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed("a checkpoint holds broken base64") from None
    if _b64(data) != text or (length is not None and len(data) != length):
        raise Malformed("a checkpoint holds base64 of another length or spelling")
    return data
