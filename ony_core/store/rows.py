"""What the store hands out: one small frozen value per row, fields named as the columns of schema.sql. Lists stand in columns as JSON."""

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from ony_core.handoff import facts_from_wire
from ony_core.model import Fact


@lru_cache(maxsize=1024)
def _texts(listed: str) -> tuple[str, ...]:
    """The same few lists come again and again."""
    return tuple(json.loads(listed))


@dataclass(frozen=True, slots=True)
class Org:
    id: str
    name: str
    created_at: int
    frozen_at: int | None
    policy_version: int
    policy: str


@dataclass(frozen=True, slots=True)
class User:
    id: str
    org_id: str
    email: str
    name: str
    role: str
    timezone: str
    state: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Totp:
    user_id: str
    org_id: str
    purpose: str
    secret_sealed: bytes
    last_step: int


@dataclass(frozen=True, slots=True)
class Session:
    """A person's session. level: half (a second factor is still missing) | full."""

    token_digest: bytes
    id: str
    org_id: str
    user_id: str
    level: str
    created_at: int
    seen_at: int
    confirmed_at: int
    agent: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """reset: to somebody who is in already and lost password or second factor."""

    digest: bytes
    id: str
    org_id: str
    email: str
    role: str
    reset: int
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    org_id: str
    user_id: str
    kind: str
    label: str
    address_sealed: bytes
    decision_key_sealed: bytes
    state: str
    active_from: int
    created_at: int
    endorsed_by: str | None = None
    endorsed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Connector:
    id: str
    org_id: str
    user_id: str
    name: str
    state: str
    created_at: int
    seen_at: int | None


@dataclass(frozen=True, slots=True)
class EnrollCode:
    digest: bytes
    org_id: str
    user_id: str
    expires_at: int
    used_at: int | None


@dataclass(frozen=True, slots=True)
class Handoff:
    id: str
    org_id: str
    connector_id: str
    session: str
    agent: str
    tool: str
    mode: str
    project: str
    facts: str
    facts_digest: str
    request_digest: str
    body_digest: str
    action: str
    actions_json: str
    risk: str
    title: str
    titles_json: str
    word: str
    state: str
    version: int
    reason: str
    created_at: int
    deadline_at: int
    decided_at: int | None
    decided_by: str | None
    head_size: int
    head_root: bytes | None

    @property
    def actions(self) -> tuple[str, ...]:
        return _texts(self.actions_json)

    @property
    def titles(self) -> tuple[str, ...]:
        return _texts(self.titles_json)

    def parsed_facts(self) -> tuple[Fact, ...]:
        return facts_from_wire(json.loads(self.facts))


@dataclass(frozen=True, slots=True)
class Verdict:
    request_id: str
    org_id: str
    device_id: str
    decision: str
    payload: str
    signature: str
    server_signature: str
    payload_digest: str
    audit_seq: int
    issued_at: int
    expires_at: int
    claimed_at: int | None
    claim_nonce: str | None
    claim: str | None

    def envelope(self) -> dict[str, str]:
        """As it travels: exact payload text beside both signatures."""
        return {"payload": self.payload, "signature": self.signature, "server_signature": self.server_signature}


@dataclass(frozen=True, slots=True)
class Call:
    nonce_digest: bytes
    org_id: str
    request_id: str
    device_id: str
    sid: str | None
    provider: str
    step: str
    tries: int
    prompts: int
    served_at_ms: int
    choice: str
    status: str
    status_seq: int
    created_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Overlay:
    """One of the organisation's own rules. rule: JSON, read by taxonomy/overlay.py."""

    id: str
    project: str
    rule: str
    risk: str


@dataclass(frozen=True, slots=True)
class Mode:
    connector_id: str
    session: str
    mode: str
    until: int
    eased_until: int


@dataclass(frozen=True, slots=True)
class ServerKey:
    id: str
    purpose: str
    public: bytes
    private_sealed: bytes
    state: str


_STORED_AS = {"actions_json": "actions", "titles_json": "titles"}


def columns(kind: Any) -> str:
    """The column list of a row class, for the SELECT constants of this package."""
    return ", ".join(_STORED_AS.get(f.name, f.name) for f in fields(kind))
