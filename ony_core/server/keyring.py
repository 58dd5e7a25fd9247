"""The server's secrets: the master key that seals what the database holds, and the Ed25519 keys that sign.

MUST: seal with AES-256-GCM (NIST SP 800-38D), a fresh 96-bit nonce, and the row's own name as additional data, so that a sealed
value copied to another row, purpose or organisation does not open.
MUST: keep master.key outside the database, 0600, and never make a new one beside an existing database: that would lose every
secret silently.
MUST: use one key per purpose; a signature made for one kind of statement never passes for another.
MUST: while a key is being replaced accept both, on both sides, and lose neither to a crash: master.key lists the old and the new one before
the first secret is sealed anew; a server key is replaced by a statement that the old and the new one sign, and signs on for seven days.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ony_core import canon, durable
from ony_core.clock import Clock, new_id, rfc3339
from ony_core.errors import OnyError, Refused
from ony_core.store import Store, Tx, rows

MASTER_FILE = "master.key"
PURPOSES = ("verdict", "audit")
OVERLAP_S = 7 * 24 * 3600
_NONCE_BYTES = 12


class Keyring:
    """Opened once at start. verdict_public, audit_public: 32 raw bytes (RFC 8032)."""

    @classmethod
    def open(cls, data: Path, store: Store) -> "Keyring":
        """OnyError where the master key is missing, open to others, or not the one this database was sealed with."""
        made = cls(_read_masters(data / MASTER_FILE))
        store.read(made.load)
        return made

    def __init__(self, masters: tuple[bytes, ...]) -> None:
        """masters: the newest last; it seals, all of them open."""
        self.masters = masters
        self._signing: dict[str, Ed25519PrivateKey] = {}
        self.statements: list[dict[str, str]] = []  # of server keys that were replaced

    def load(self, tx: Tx) -> None:
        """The signing keys as the database has them now: of two, the one that is being replaced signs."""
        for purpose in PURPOSES:
            keys = tx.server_keys(purpose)
            signs = next((key for state in ("retiring", "active") for key in keys if key.state == state), None)
            if signs is None:
                raise OnyError(f"the database has no {purpose} key", "restore a backup; none is made anew")
            self._signing[purpose] = Ed25519PrivateKey.from_private_bytes(self.unseal(signs.private_sealed, "server_key", "", signs.id))
        self.statements = [canon.loads(text.encode("ascii")) for text in tx.key_statements()]

    @property
    def verdict_public(self) -> bytes:
        return _public(self._signing["verdict"])

    @property
    def audit_public(self) -> bytes:
        return _public(self._signing["audit"])

    def seal(self, secret: bytes, purpose: str, org_id: str, row_id: str, clock: Clock) -> bytes:
        return _seal(self.masters[-1], secret, purpose, org_id, row_id, clock)

    def unseal(self, sealed: bytes, purpose: str, org_id: str, row_id: str) -> bytes:
        """OnyError where the value was not sealed for exactly this purpose, organisation and row under a master key of ours."""
        for master in reversed(self.masters):
            with contextlib.suppress(InvalidTag, ValueError):
                return AESGCM(master).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _name(purpose, org_id, row_id))
        raise OnyError("a sealed secret does not open", "the master key is another one, or the row was changed")

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
    made = [_new_key(master, purpose, clock)[0] for purpose in PURPOSES]
    store.write_now(lambda tx: tx.add_server_keys(made))
    return Keyring.open(data, store)


def rotate_signing(tx: Tx, keyring: Keyring, purpose: str, clock: Clock) -> dict[str, str]:
    """A new key for verdicts or for checkpoints; the statement that both sign. The old one signs for OVERLAP_S more.

    Refused("in_rotation") while one is being replaced already.
    """
    keys = tx.server_keys(purpose)
    if any(key.state == "retiring" for key in keys):
        raise Refused("in_rotation", "this key is being replaced already", "the one before signs for seven days")
    old = next(key for key in keys if key.state == "active")
    signer = Ed25519PrivateKey.from_private_bytes(keyring.unseal(old.private_sealed, "server_key", "", old.id))
    fresh, private = _new_key(keyring.masters[-1], purpose, clock)
    payload = canon.dumps({"v": 1, "type": "server_key", "purpose": purpose, "old": f"ed25519:{old.public.hex()}",
                           "new": f"ed25519:{fresh.public.hex()}", "issued_at": rfc3339(clock.wall())})  # fmt: skip
    message = b"ony/server_key/v1\n" + payload
    said = {"payload": payload.decode("ascii"), "old_signature": f"ed25519:{signer.sign(message).hex()}",
            "new_signature": f"ed25519:{private.sign(message).hex()}"}  # fmt: skip
    tx.rotate_server_key(old, fresh, canon.dumps(said).decode("ascii"))
    return said


def rotate_master(data: Path, store: Store, keyring: Keyring, clock: Clock) -> int:
    """A new master key, and every secret sealed under it; how many. To be run off the event loop: it writes files and waits for the store.

    Killed at any moment, the server opens again with what master.key lists, and rotating again ends it.
    """
    path, fresh = data / MASTER_FILE, clock.random(32)
    _write_masters(path, (*keyring.masters, fresh))
    keyring.masters = (*keyring.masters, fresh)

    def change(sealed: bytes, purpose: str, org_id: str, row_id: str) -> bytes:
        return keyring.seal(keyring.unseal(sealed, purpose, org_id, row_id), purpose, org_id, row_id, clock)

    many = store.write_now(lambda tx: tx.reseal(change))
    _write_masters(path, (fresh,))
    keyring.masters = (fresh,)
    return many


def _write_masters(path: Path, masters: tuple[bytes, ...]) -> None:
    with durable.locked(path.parent):
        durable.replace(path, "".join(master.hex() + "\n" for master in masters).encode())


def _new_key(master: bytes, purpose: str, clock: Clock) -> tuple[rows.ServerKey, Ed25519PrivateKey]:
    private, key_id = Ed25519PrivateKey.from_private_bytes(clock.random(32)), new_id("key", clock)
    raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return rows.ServerKey(key_id, purpose, _public(private), _seal(master, raw, "server_key", "", key_id, clock), "active"), private


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _read_masters(path: Path) -> tuple[bytes, ...]:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(400)
    except OSError as error:
        raise OnyError(f"cannot read {path.name} ({error.strerror})", "put it back from where it was kept; none is made anew") from None
    if stat.S_IMODE(mode) & 0o077:
        raise OnyError(f"{path.name} can be read by others", f"chmod 600 {path}")
    try:
        masters = tuple(bytes.fromhex(line) for line in text.decode("ascii").split("\n") if line.strip())
    except ValueError:
        masters = ()
    if not masters or any(len(master) != 32 for master in masters):
        raise OnyError(f"{path.name} is damaged", "put it back from where it was kept")
    return masters


def _name(purpose: str, org_id: str, row_id: str) -> bytes:
    return f"ony/seal/v1|{purpose}|{org_id}|{row_id}".encode()


def _seal(master: bytes, secret: bytes, purpose: str, org_id: str, row_id: str, clock: Clock) -> bytes:
    nonce = clock.random(_NONCE_BYTES)
    return nonce + AESGCM(master).encrypt(nonce, secret, _name(purpose, org_id, row_id))
