"""The wire form of what leaves the agent's machine: facts, and the request that carries them.

Decides what a well-formed handoff is, on both sides. MUST refuse unknown, missing and duplicate fields, words outside
[A-Za-z0-9._:/@+-] (the tables' own words: also `*` and `[`), oversized lists. MUST NOT carry a title, a risk or any other hint: the
server derives those itself.
"""

import re
from dataclasses import dataclass
from typing import Any

from ony_core import canon
from ony_core.errors import Malformed
from ony_core.model import KINDS, MODES, UNLISTED, Fact, Target

MAX_FACTS = 64
MAX_LIST = 32
MAX_REQUEST_BYTES = 64 * 1024

ID = re.compile(r"[a-z]{3,4}_[0-9a-f]{32}\Z", re.ASCII)
DIGEST = re.compile(r"(hmac-)?sha256:[0-9a-f]{64}\Z", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9._:/@+-]{1,80}\Z", re.ASCII)
_TABLE_WORD = re.compile(r"[A-Za-z0-9._:/@+*\[-]{1,80}\Z", re.ASCII)  # the tables also have `[` and `delete-*`
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+ -]{0,79}\Z", re.ASCII)
_FACT_FIELDS = frozenset({"kind", "program", "verb", "flags", "args", "targets", "traits"})
_FIELDS = frozenset(
    {"request_id", "agent", "agent_session_id", "tool", "mode", "project", "facts", "request_digest", "facts_digest", "head"}
)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint of the audit log that a connector keeps: its promise that the log only grows."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed `POST /v1/handoffs` body. facts_text: their canonical wire form, which facts_digest is of. `body_digest` tells a retry
    from a reuse of the id with another body.
    """

    request_id: str
    agent: str
    session: str
    tool: str
    mode: str
    project: str
    facts: tuple[Fact, ...]
    facts_text: str
    request_digest: str
    facts_digest: str
    head: Head | None
    body_digest: str


def facts_to_wire(facts: tuple[Fact, ...]) -> list[dict[str, Any]]:
    return [_fact_to_wire(f) for f in facts]


def facts_digest(facts: tuple[Fact, ...]) -> str:
    """ "sha256:<hex>" over the canonical wire form; both sides compute it."""
    return canon.sha256(_facts_text(facts))


def _facts_text(facts: tuple[Fact, ...]) -> bytes:
    return canon.dumps(facts_to_wire(facts))


def facts_from_wire(value: Any) -> tuple[Fact, ...]:
    """Malformed for anything but a list of 1..64 well-formed facts."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_FACTS:
        raise Malformed("facts must be a list of 1 to 64")
    return tuple(_fact_from_wire(v) for v in value)


def request_to_wire(
    request_id: str,
    session: str,
    agent: str,
    tool: str,
    mode: str,
    project: str,
    facts: tuple[Fact, ...],
    request_digest: str,
    head: Head | None,
) -> bytes:
    """The exact bytes of a `POST /v1/handoffs` body."""
    body: dict[str, Any] = {
        "request_id": request_id,
        "agent": agent,
        "agent_session_id": session,
        "tool": tool,
        "mode": mode,
        "project": project,
        "facts": facts_to_wire(facts),
        "request_digest": request_digest,
        "facts_digest": facts_digest(facts),
        "head": {"size": head.size, "root": head.root} if head else None,
    }
    return canon.dumps(body)


def request_from_wire(data: bytes) -> Request:
    """Malformed says which field is off, never its value."""
    if len(data) > MAX_REQUEST_BYTES:
        raise Malformed("handoff is too large")
    body = canon.loads(data)
    if not isinstance(body, dict) or set(body) != _FIELDS:
        raise Malformed("handoff has missing or unknown fields")
    facts = facts_from_wire(body["facts"])
    text = _facts_text(facts)
    digest = canon.sha256(text)
    if body["facts_digest"] != digest:
        raise Malformed("facts_digest does not match the facts")
    if body["mode"] not in MODES:
        raise Malformed("mode is not one of on, away, here, off")
    return Request(
        request_id=_match(ID, body, "request_id"),
        agent=_match(_WORD, body, "agent"),
        session=_match(ID, body, "agent_session_id"),
        tool=_match(_WORD, body, "tool"),
        mode=body["mode"],
        project=_match(_NAME, body, "project"),
        facts=facts,
        facts_text=text.decode("ascii"),
        request_digest=_match(DIGEST, body, "request_digest"),
        facts_digest=digest,
        head=_head(body["head"]),
        body_digest=canon.sha256(data),
    )


def _fact_to_wire(fact: Fact) -> dict[str, Any]:
    wire: dict[str, Any] = {"kind": fact.kind, "args": fact.args}
    if fact.program:
        wire["program"] = fact.program
    for name, words in (("verb", fact.verb), ("flags", fact.flags), ("traits", fact.traits)):
        if words:
            wire[name] = list(words)
    if fact.targets:
        wire["targets"] = [{"kind": t.kind, "name": t.name} for t in fact.targets]
    return wire


def _fact_from_wire(value: Any) -> Fact:
    if not isinstance(value, dict) or not set(value) <= _FACT_FIELDS or not {"kind", "args"} <= set(value):
        raise Malformed("a fact has missing or unknown fields")
    args = value["args"]
    if value["kind"] not in KINDS or type(args) is not int or not 0 <= args <= 1_000_000:
        raise Malformed("a fact has an unknown kind or a bad count")
    program = value.get("program", "")
    if program != "" and not _is(_TABLE_WORD, program):
        raise Malformed("a fact's program is not a word")
    targets = _list(value, "targets")
    return Fact(
        value["kind"],
        program,
        _words(value, "verb"),
        _words(value, "flags"),
        args,
        tuple(_target(t) for t in targets),
        _words(value, "traits"),
    )


def _target(value: Any) -> Target:
    if not isinstance(value, dict) or set(value) != {"kind", "name"} or not _is(_WORD, value["kind"]):
        raise Malformed("a target has missing or unknown fields")
    if value["name"] != UNLISTED and not _is(_NAME, value["name"]):
        raise Malformed("a target's name is not a short identifier")
    return Target(value["kind"], value["name"])


def _words(value: dict[str, Any], field: str) -> tuple[str, ...]:
    words = _list(value, field)
    if not all(_is(_TABLE_WORD, w) for w in words):
        raise Malformed(f"a fact's {field} are not words")
    return tuple(words)


def _list(value: dict[str, Any], field: str) -> list[Any]:
    items = value.get(field, [])
    if not isinstance(items, list) or len(items) > MAX_LIST:
        raise Malformed(f"a fact's {field} are not a list of at most {MAX_LIST}")
    return items


def _head(value: Any) -> Head | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"size", "root"} or type(value["size"]) is not int or not 0 <= value["size"] < 1 << 63:
        raise Malformed("head must be null or {size, root}")
    return Head(value["size"], _match(re.compile(r"[0-9a-f]{64}\Z"), value, "root"))


def _match(pattern: re.Pattern[str], body: dict[str, Any], field: str) -> str:
    if not _is(pattern, body[field]):
        raise Malformed(f"{field} is not well formed")
    return str(body[field])


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None
