"""The nouns of the flow: ToolCall -> Fact -> Action -> Handoff -> Verdict.

Plain values; nothing here reads a file, a clock or the environment. What may leave the agent's machine is exactly what `Fact` can hold.
"""

from dataclasses import dataclass, field
from typing import Any

RISKS = ("none", "low", "medium", "high", "critical")
MODES = ("off", "on", "here", "away")
KINDS = ("command", "sql", "file", "network", "mcp", "agent", "grant", "opaque")
UNLISTED = "unlisted"

_LEVEL = {risk: level for level, risk in enumerate(RISKS)}


def level(risk: str) -> int:
    """Position on the ladder; a word that is not on it counts as critical, because unknown must never mean harmless."""
    return _LEVEL.get(risk, len(RISKS) - 1)


def at_least(risk: str, floor: str) -> bool:
    return level(risk) >= level(floor)


def worst(risks: Any) -> str:
    """The highest of the risks; "none" for nothing at all."""
    return RISKS[max((level(r) for r in risks), default=0)]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call an agent is about to make, as its hook saw it. Stays on the agent's machine."""

    agent: str
    session: str
    tool: str
    input: dict[str, Any]
    cwd: str
    permission_mode: str = ""
    tool_use_id: str = ""
    subagent: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """What an action is aimed at. `name` matched the pattern of its kind, passed the secret detector and was known before."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the call does, in words of the taxonomy's own tables only.

    program, verb, flags: table words or "unlisted". args: how many further operands there were. targets: known names.
    traits: table words for what evidence and look-through found ("recursive", "outside_project", "protected_branch", …).
    """

    kind: str
    program: str = ""
    verb: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    args: int = 0
    targets: tuple[Target, ...] = ()
    traits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """What a fact means: a taxonomy key, its risk, and the sentence a person hears."""

    key: str
    risk: str
    title: str
    rule: str = ""  # "git.toml:force_push", for `ony explain`
    why: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """All actions of one call; the worst risk decides. `actions` is never empty for a call that does anything."""

    facts: tuple[Fact, ...]
    actions: tuple[Action, ...]

    @property
    def risk(self) -> str:
        return worst(a.risk for a in self.actions)

    @property
    def lead(self) -> Action:
        """The action that names the call: the first of the highest risk."""
        return max(self.actions, key=lambda a: level(a.risk))

    @property
    def keys(self) -> tuple[str, ...]:
        """Distinct action keys, riskiest first."""
        ranked = sorted(self.actions, key=lambda a: -level(a.risk))
        return tuple(dict.fromkeys(a.key for a in ranked))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read to understand a call; bound into the request digest and read again before release.

    files: (real path, device, inode, sha256 hex). places: (kind, value) such as ("git_head", "9f3a…"). environment: (name, sha256 hex).
    """

    files: tuple[tuple[str, int, int, str], ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """The connector's own record of a request it made; a verdict is checked against this and nothing the server says."""

    request_id: str
    request_digest: str
    facts_digest: str
    connector_id: str
    session: str
    actions: tuple[str, ...]
    risk: str
    asked_boot: float
    deadline_s: int
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Approver:
    """A device whose decisions this connector honours: pinned at enrolment. `key`: HKDF output for this connector, 32 bytes."""

    device_id: str
    key: bytes = field(repr=False)
    state: str = "active"  # active | revoked
    label: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the agent is told. outcome: pass | allow | ask (its own prompt) | deny. reason is written for a model and shown to it."""

    outcome: str
    reason: str = ""
    request_id: str = ""
