"""The server's secrets: the master key that seals what the database holds, and the Ed25519 keys that sign.

MUST: seal with AES-256-GCM (NIST SP 800-38D), a fresh 96-bit nonce, and the row's own name as additional data, so that a sealed
value copied to another row, purpose or organisation does not open.
MUST: keep master.key outside the database, 0600, and never make a new one beside an existing database: that would lose every
secret silently.
MUST: use one key per purpose; a signature made for one kind of statement never passes for another.
"""

import os
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ony_core import canon
from ony_core.clock import Clock, new_id
from ony_core.errors import OnyError
from ony_core.store import Store, rows

MASTER_FILE = "master.key"
PURPOSES = ("verdict", "audit")
_NONCE_BYTES = 12


class Keyring:
    """Opened once at start. verdict_public, audit_public: 32 raw bytes (RFC 8032)."""

    @classmethod
    def open(cls, data: Path, store: Store) -> "Keyring":
        """OnyError where the master key is missing, open to others, or not the one this database was sealed with."""
        master = _read_master(data / MASTER_FILE)
        known = store.read(lambda tx: {purpose: tx.server_keys(purpose) for purpose in PURPOSES})
        signing = {}
        for purpose, keys in known.items():
            active = next((key for key in keys if key.state == "active"), None)
            if active is None:
                raise OnyError(f"the database has no {purpose} key", "restore a backup; none is made anew")
            signing[purpose] = Ed25519PrivateKey.from_private_bytes(_open(master, active.private_sealed, "server_key", "", active.id))
        return cls(master, signing)

    def __init__(self, master: bytes, signing: dict[str, Ed25519PrivateKey]) -> None:
        self._master, self._signing = master, signing
        self.verdict_public = _public(signing["verdict"])
        self.audit_public = _public(signing["audit"])

    def seal(self, secret: bytes, purpose: str, org_id: str, row_id: str, clock: Clock) -> bytes:
        return _seal(self._master, secret, purpose, org_id, row_id, clock)

    def unseal(self, sealed: bytes, purpose: str, org_id: str, row_id: str) -> bytes:
        """OnyError where the value was not sealed for exactly this purpose, organisation and row under this master key."""
        return _open(self._master, sealed, purpose, org_id, row_id)

    def sign_verdict(self, payload: bytes) -> bytes:
        """64 bytes of Ed25519 over the payload itself."""
        return self._signing["verdict"].sign(payload)

    def sign_audit(self, message: bytes) -> bytes:
        return self._signing["audit"].sign(message)

    def statement(self, kind: str, body: dict[str, Any]) -> dict[str, str]:
        """A signed statement other than a verdict (bundle, claim, mode): the kind is part of what is signed."""
        payload = canon.dumps({"v": 1, "type": kind, **body})
        signature = self._signing["verdict"].sign(f"ony/{kind}/v1\n".encode() + payload)
        return {"payload": payload.decode("ascii"), "server_signature": "ed25519:" + signature.hex()}


def create(data: Path, store: Store, clock: Clock) -> Keyring:
    """Master key and signing keys of a new server. OnyError if there is a master key already."""
    master = clock.random(32)
    try:
        descriptor = os.open(data / MASTER_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise OnyError("this data folder has a master key already", "choose an empty folder") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(master.hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    made = [_new_key(master, purpose, clock) for purpose in PURPOSES]
    store.write_now(lambda tx: tx.add_server_keys(made))
    return Keyring.open(data, store)


def _new_key(master: bytes, purpose: str, clock: Clock) -> rows.ServerKey:
    private, key_id = Ed25519PrivateKey.from_private_bytes(clock.random(32)), new_id("key", clock)
    raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return rows.ServerKey(key_id, purpose, _public(private), _seal(master, raw, "server_key", "", key_id, clock), "active")


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _read_master(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(200)
    except OSError as error:
        raise OnyError(f"cannot read {path.name} ({error.strerror})", "put it back from where it was kept; none is made anew") from None
    if stat.S_IMODE(mode) & 0o077:
        raise OnyError(f"{path.name} can be read by others", f"chmod 600 {path}")
    try:
        master = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        master = b""
    if len(master) != 32:
        raise OnyError(f"{path.name} is damaged", "put it back from where it was kept")
    return master


def _name(purpose: str, org_id: str, row_id: str) -> bytes:
    return f"ony/seal/v1|{purpose}|{org_id}|{row_id}".encode()


def _seal(master: bytes, secret: bytes, purpose: str, org_id: str, row_id: str, clock: Clock) -> bytes:
    nonce = clock.random(_NONCE_BYTES)
    return nonce + AESGCM(master).encrypt(nonce, secret, _name(purpose, org_id, row_id))


def _open(master: bytes, sealed: bytes, purpose: str, org_id: str, row_id: str) -> bytes:
    try:
        return AESGCM(master).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _name(purpose, org_id, row_id))
    except (InvalidTag, ValueError):
        raise OnyError("a sealed secret does not open", "the master key is another one, or the row was changed") from None
