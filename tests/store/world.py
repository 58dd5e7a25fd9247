"""A data folder with organisations that have nothing in common, over the real store and the real log; a clock that stands still."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ony_core import auditkey
from ony_core.server.audit import Log
from ony_core.store import Store, rows

NOON = 1_782_829_320  # the first second of a TOTP step
BOOTED = 1000.0
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Clock:
    """Moves only when told to. random: never the same bytes twice, the same in every run."""

    def __init__(self, seed: str = "test") -> None:
        self.now, self.up, self._seed, self._drawn = NOON, BOOTED, seed, 0

    def wall(self) -> int:
        return self.now

    def boot(self) -> float:
        return self.up

    def random(self, n: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed} {self._drawn}".encode()).digest(n)

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds)
        self.up += seconds


def an_id(prefix: str, n: int) -> str:
    return f"{prefix}_{n:032x}"


def open_store(folder: Path, clock: Clock) -> Store:
    store = Store.open(folder / "ony.db", clock)
    log = Log(folder / "audit.key", lambda org: f"ony/{'5e' * 16}/{org}", SIGNING.sign, clock, SIGNING.public_key().public_bytes_raw())
    store.attach(log)
    return store


def add_org(store: Store, folder: Path, n: int) -> SimpleNamespace:
    """One of everything an organisation can own; ids end in n. What is returned is named as the parameters of Org's methods are."""
    mine = SimpleNamespace(
        org_id=an_id("org", n), user_id=an_id("usr", n), device_id=an_id("dev", n), connector_id=an_id("con", n),
        request_id=an_id("req", n), session=an_id("sess", n), email=f"owner{n}@example.com",
        token_digest=bytes([n]) * 32, code_digest=bytes([n + 100]) * 32, rule_id=an_id("pol", n), nonce_digest=bytes([n + 50]) * 32,
        session_id=an_id("ses", n), session_digest=bytes([n + 20]) * 32, invitation_id=an_id("inv", n),
        invitation_digest=bytes([n + 30]) * 32, recovery_digest=bytes([n + 40]) * 32,
    )  # fmt: skip
    auditkey.create_key(folder / "audit.key", mine.org_id)
    store.write_now(lambda tx: _fill(tx.add_org(mine.org_id, f"Org {n}"), mine))
    return mine


def a_device(mine: SimpleNamespace, device_id: str = "") -> rows.Device:
    return rows.Device(device_id or mine.device_id, mine.org_id, mine.user_id, "voice", "Phone", b"sealed", b"sealed", "active", NOON, NOON)


def a_handoff(mine: SimpleNamespace, request_id: str = "") -> rows.Handoff:
    facts = json.dumps([{"kind": "command", "program": "terraform", "verb": ["apply"], "args": 0}])
    return rows.Handoff(
        id=request_id or mine.request_id, org_id=mine.org_id, connector_id=mine.connector_id, session=mine.session, agent="claude-code",
        tool="Bash", mode="on", project="prod-api", facts=facts, facts_digest="sha256:" + "1" * 64,
        request_digest="hmac-sha256:" + "2" * 64, body_digest="sha256:" + "3" * 64, action="deploy.production",
        actions_json='["deploy.production"]', risk="critical", title="Deploy",
        titles_json='["Deploy"]', word="42", state="pending", version=1, reason="", created_at=NOON, deadline_at=NOON + 300,
        decided_at=None, decided_by=None, head_size=0, head_root=None,
    )  # fmt: skip


def an_envelope(n: int = 0) -> dict[str, str]:
    return {"payload": f'{{"n":{n}}}', "signature": "hmac-sha256:" + "0" * 64, "server_signature": "ed25519:" + "0" * 128}


def a_session(mine: SimpleNamespace, session_id: str = "", digest: bytes = b"") -> rows.Session:
    return rows.Session(
        digest or mine.session_digest, session_id or mine.session_id, mine.org_id, mine.user_id, "full", NOON, NOON, NOON, "Firefox"
    )


def an_invitation(mine: SimpleNamespace, invitation_id: str = "", digest: bytes = b"") -> rows.Invitation:
    identity, kept = invitation_id or mine.invitation_id, digest or mine.invitation_digest
    return rows.Invitation(kept, identity, mine.org_id, f"new@{mine.org_id}.example", "member", 0, NOON, NOON + 900)


def _fill(org, mine) -> None:
    org.add_user(mine.user_id, mine.email, "admin", "pbkdf2")
    org.add_totp(mine.user_id, "approval", b"sealed")
    org.set_code_failures(mine.user_id, "voice", 3, None)
    org.set_recovery_codes(mine.user_id, [mine.recovery_digest])
    org.add_session(a_session(mine))
    org.add_invitation(an_invitation(mine))
    org.add_device(a_device(mine))
    org.add_connector(mine.connector_id, mine.user_id, "laptop", mine.token_digest, "0.2.0")
    org.add_enroll_code(mine.code_digest, mine.user_id, NOON + 900)
    org.set_mode(rows.Mode(mine.connector_id, mine.session, "away", NOON + 3600, 0))
    org.pause(mine.connector_id, mine.session, NOON + 3600, "key")
    org.add_handoff(a_handoff(mine))
    org.add_overlay(rows.Overlay(mine.rule_id, "", "{}", "high"))
    org.add_call(mine.nonce_digest, mine.request_id, mine.device_id, "signalwire")
