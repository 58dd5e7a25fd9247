"""The audit keys: one per organisation, in `audit.key` beside the database and never inside it.

MUST: never make a key for an organisation that has one, never replace a file that cannot be read: a silently re-keyed log proves nothing.
MUST: keep the file 0600 and write it whole or not at all. The verification key shown once at `ony admin init` is the same key in
letters, with a checksum: whoever holds it can check the log on another machine, and could also forge one, so it is kept like a password.
"""

import base64
import json
import os
import re
import secrets
import stat
from hashlib import sha256
from pathlib import Path

from ony_core import durable
from ony_core.errors import Malformed, OnyError

FORMAT = "ony-audit-key/1"
KEY_BYTES = 32
_ORG = re.compile(r"org_[0-9a-f]{32}\Z", re.ASCII)
_PREFIX = "ony-audit-"


def read_keys(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """{org_id: key} of the server's audit.key. OnyError where it is missing, unreadable, open to others or damaged."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1 << 20)
    except OSError as error:
        raise OnyError(f"cannot read the audit key file ({error.strerror})", f"put {Path(path).name} back from where it was kept") from None
    if stat.S_IMODE(mode) & 0o077:
        raise OnyError("the audit key file can be read by others", f"chmod 600 {path}")
    try:
        return parse_keys(data)
    except Malformed as error:
        raise OnyError(f"the audit key file is damaged ({error.what})", "put it back from where it was kept") from None


def parse_keys(data: bytes) -> dict[str, bytes]:
    """The content of an audit.key file. Malformed never quotes it."""
    try:
        value = json.loads(data)
        if set(value) != {"format", "keys"} or value["format"] != FORMAT:
            raise Malformed("it has another format")
        keys = {org: bytes.fromhex(text) for org, text in value["keys"].items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise Malformed("it is not JSON of the right shape") from None
    if not all(_ORG.match(org) and len(key) == KEY_BYTES for org, key in keys.items()):
        raise Malformed("it holds a key that is not 32 bytes or names no organisation")
    return keys


def create_key(path: str | os.PathLike[str], org_id: str) -> str:
    """Adds a new key for `org_id` and returns its verification key. OnyError if there is one already. Durable when it returns."""
    path = Path(path)
    with durable.locked(path.parent):
        keys = read_keys(path) if os.path.lexists(path) else {}
        if org_id in keys or not _ORG.match(org_id):
            raise OnyError(f"the audit key of {org_id[:40]} exists already or the id is not one", "a log keeps its first key for life")
        keys[org_id] = secrets.token_bytes(KEY_BYTES)
        text = json.dumps({"format": FORMAT, "keys": {org: key.hex() for org, key in sorted(keys.items())}}, indent=1)
        durable.replace(path, text.encode("ascii") + b"\n")
    return to_text(keys[org_id])


def to_text(key: bytes) -> str:
    """The verification key: base32 of the key and three checksum bytes, in groups of eight."""
    letters = base64.b32encode(key + _checksum(key)).decode("ascii")
    return _PREFIX + "-".join(letters[i : i + 8] for i in range(0, len(letters), 8))


def from_text(text: str) -> bytes:
    """The inverse of `to_text`, forgiving case and spaces. Malformed on a typing mistake."""
    letters = "".join(text.split()).lower().removeprefix(_PREFIX).replace("-", "").upper()
    try:
        raw = base64.b32decode(letters)
    except ValueError:
        raise Malformed("the verification key is not base32") from None
    key, checksum = raw[:KEY_BYTES], raw[KEY_BYTES:]
    if len(key) != KEY_BYTES or not secrets.compare_digest(checksum, _checksum(key)):
        raise Malformed("the verification key has a typing mistake")
    return key


def _checksum(key: bytes) -> bytes:
    return sha256(b"ony-audit-key-checksum-v1" + key).digest()[:3]
