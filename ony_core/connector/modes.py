"""Which mode a session is in, from what the server has signed. Missing or expired is `on`; a local file or flag cannot change it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ony_core.connector.bundle import ModeStatement, mode_of
from ony_core.connector.statement import Verify, opened
from ony_core.errors import Malformed, Refused

_FIELDS = frozenset({"v", "type", "connector_id", "session", "mode", "until", "eased_until"})
_FOREVER = 0  # `until` of a mode that stays: on, away


@dataclass(frozen=True, slots=True)
class Standing:
    """eased: in mode away, low-risk steps pass for a while."""

    mode: str
    eased: bool = False
    until: int = 0


ON = Standing("on")


def standing(session: str, statements: Iterable[ModeStatement], wall: int) -> Standing:
    """The session's own mode, else the connector's default, else `on`. The last of several statements counts."""
    known = {s.session: s for s in statements if _running(s, wall)}
    found = known.get(session) or known.get("")
    return Standing(found.mode, found.eased_until > wall, found.until) if found else ON


def accept(signed: Any, connector_id: str, session: str, verify: Verify) -> ModeStatement:
    """The mode the server has just set. Refused("mode_…") for one that is not signed, or is another connector's or session's."""
    body = opened("mode", signed, _FIELDS, verify)
    if body["connector_id"] != connector_id or body["session"] != session:
        raise Refused("mode_wrong_connector", "the signed mode is for another connector or session")
    try:
        return mode_of(body)
    except (Malformed, ValueError):
        raise Refused("mode_malformed", "the signed mode is not well formed") from None


def _running(statement: ModeStatement, wall: int) -> bool:
    """`off` and `here` always end by themselves; without an end they count as over."""
    if statement.until == _FOREVER:
        return statement.mode in ("on", "away")
    return wall < statement.until
