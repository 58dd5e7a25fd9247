"""A small server's log for tests: the real writer over the real schema, an injected clock, a real Ed25519 key, and an intruder's tools."""

import io
import sqlite3
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ony_core import auditexport, auditkey, auditlog, chain, notes
from ony_core.server.audit import Log
from ony_core.verify import Report, verify

SCHEMA = (Path(__file__).resolve().parents[2] / "schema.sql").read_text("utf-8")
SERVER_ID = "5e" * 16
ORG = "org_" + "0a" * 16
OTHER = "org_" + "0b" * 16
ORIGIN = f"ony/{SERVER_ID}/{ORG}"
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOON = 1_782_829_327


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def wall(self) -> int:
        self.now += 1
        return self.now


def origin_of(org_id: str) -> str:
    return f"ony/{SERVER_ID}/{org_id}"


def ed25519_holds(signature: bytes, message: bytes) -> bool:
    try:
        SIGNING.public_key().verify(signature, message)
    except InvalidSignature:
        return False
    return True


def digest(n: int) -> str:
    return f"sha256:{n:064x}"


class World:
    """A data folder with one organisation. `commit(n)` is one transaction of n rows with its checkpoint, as the store makes it."""

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        auditkey.create_key(folder / "audit.key", ORG)
        if key:
            text = (folder / "audit.key").read_text().replace(self.key.hex(), key.hex())
            (folder / "audit.key").write_text(text)
        self.db = sqlite3.connect(folder / "ony.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.executescript(SCHEMA)
        self.db.execute("INSERT INTO meta VALUES ('server_id', ?)", (SERVER_ID,))
        self.clock = Clock()
        self.log = self.fresh_log()

    @property
    def key(self) -> bytes:
        return auditkey.read_keys(self.folder / "audit.key")[ORG]

    def fresh_log(self) -> Log:
        """What a restarted server has."""
        return Log(self.folder / "audit.key", origin_of, SIGNING.sign, self.clock, SIGNING.public_key().public_bytes_raw())

    def commit(self, rows: int = 1, kind: str = "verdict", tag: int = 0) -> "World":
        self.db.execute("BEGIN IMMEDIATE")
        for _ in range(rows):
            size = self.size
            self.log.append(self.db, ORG, kind, {"request_id": f"req_{size:032x}", "payload_digest": digest(size + 1 + tag)})
        self.log.checkpoint(self.db, [ORG])
        self.db.execute("COMMIT")
        return self

    def grown(self, *commits: int) -> "World":
        for rows in commits:
            self.commit(rows)
        return self

    @property
    def size(self) -> int:
        return self.db.execute("SELECT count(*) FROM audit WHERE org_id = ?", (ORG,)).fetchone()[0]

    def note(self, size: int) -> str:
        return self.db.execute("SELECT note FROM checkpoint WHERE org_id = ? AND size = ?", (ORG, size)).fetchone()[0]

    def head(self, size: int, source: str = "connector a") -> notes.Head:
        """What a connector keeps after it has seen the checkpoint at `size`."""
        root = self.db.execute("SELECT root FROM checkpoint WHERE org_id = ? AND size = ?", (ORG, size)).fetchone()[0]
        return notes.Head(ORIGIN, size, root, self.note(size), source)

    def unlocked(self) -> sqlite3.Connection:
        """The database as an intruder sees it: without our triggers."""
        for name in ("audit_no_update", "audit_no_delete", "checkpoint_no_update", "checkpoint_no_delete"):
            self.db.execute(f"DROP TRIGGER IF EXISTS {name}")
        return self.db

    def export(self, first: int = 1) -> bytes:
        return b"".join(auditexport.export(auditlog.log_of(self.db, ORG), first))


def check_database(world: World, *heads: notes.Head, key: bytes | None = None) -> Report:
    with auditlog.database(world.folder) as db:
        return verify(auditlog.log_of(db, ORG), key or world.key, heads)


def check_export(data: bytes, key: bytes, *heads: notes.Head) -> Report:
    return verify(auditexport.read_export(io.BytesIO(data)), key, heads)


def first(report: Report) -> tuple[str, int | None]:
    """(class, first index) of a report."""
    return report.result, report.findings[0].seq if report.findings else None


def resealed(world: World, key: bytes, upto: int | None = None) -> None:
    """Writes the whole log anew under `key`, with fresh checkpoints: what an intruder who holds that key does."""
    db = world.unlocked()
    rows = db.execute("SELECT seq, body FROM audit WHERE org_id = ? ORDER BY seq", (ORG,)).fetchall()
    sizes = [size for (size,) in db.execute("SELECT size FROM checkpoint WHERE org_id = ? ORDER BY size", (ORG,))]
    for table in ("audit", "audit_node", "checkpoint"):
        db.execute(f"DELETE FROM {table}")
    (world.folder / "forged.key").write_text((world.folder / "audit.key").read_text().replace(world.key.hex(), key.hex()))
    (world.folder / "forged.key").chmod(0o600)
    forger = Log(world.folder / "forged.key", origin_of, STRANGER.sign, world.clock)
    previous = chain.first_mac(ORIGIN)
    for seq, body in rows[: upto or len(rows)]:
        mac = chain.row_mac(key, ORIGIN, previous, seq, body)
        db.execute("INSERT INTO audit VALUES (?, ?, ?, ?)", (ORG, seq, body, mac))
        if seq in sizes:
            forger.checkpoint(db, [ORG])
        previous = mac
