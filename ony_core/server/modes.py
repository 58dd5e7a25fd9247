"""Modes of agent sessions: kept and signed here, so that no file on the agent's machine can step down.

Order away > here > on > off. MUST: ask the owner's code for every step down, for a session or as a default, and let it end by itself
after at most 60 minutes. A step down has many guises: every `off`, also one more of it, and a strict mode cut short.
MUST: let nothing step down while the organisation is frozen: the code may be in the very hands that it was frozen against.
MUST: let a stricter default reach the sessions that stood lower, or an agent could prepare one for itself.
MUST: give a session without a mode of its own the connector's default, and without that `on`.
"""

from typing import Any

from ony_core.clock import Clock, rfc3339
from ony_core.errors import Refused
from ony_core.model import MODES
from ony_core.server import codes
from ony_core.server.keyring import Keyring
from ony_core.store import rows
from ony_core.store.org import Org

DOWN_MINUTES = 60  # the longest a step down lasts
HERE_MINUTES = 12 * 60
MOST = 500  # sessions of one connector with a mode of their own: every bundle carries them all
_FOREVER = 1 << 62


def current(org: Org, connector_id: str, session: str) -> str:
    found = org.mode_or_default(connector_id, session)
    return found.mode if found else "on"


def change(org: Org, keyring: Keyring, connector: rows.Connector, wish: dict[str, Any], clock: Clock) -> dict[str, str] | str:
    """The signed mode, or why not: code_needed | wrong_code | closed. wish: session, mode, minutes, code; their shape is checked.

    Refused: bad_minutes, frozen, too_many_modes.
    """
    until = _until(wish["mode"], wish["minutes"], clock.wall())
    down = _down(org, connector.id, wish["session"], wish["mode"], until)
    organisation = org.row()
    if down and (organisation is None or organisation.frozen_at is not None):
        raise Refused("frozen")
    if down and not wish["code"]:
        return "code_needed"
    if down:
        result = codes.check(org, keyring, connector.user_id, "mode", wish["code"], clock)
        if result != codes.RIGHT:
            return result
    if wish["session"] and org.mode(connector.id, wish["session"]) is None and len(org.modes(connector.id)) >= MOST:
        raise Refused("too_many_modes")
    if down:
        until = min(until or _FOREVER, clock.wall() + 60 * DOWN_MINUTES)
    if wish["session"] == "":
        _outlasting(org, connector.id, wish["mode"], until)
        org.drop_modes(connector.id, MODES[: _rank(wish["mode"])])
    org.set_mode(rows.Mode(connector.id, wish["session"], wish["mode"], until, 0))
    org.bump_policy()
    org.audit("mode", connector_id=connector.id, session=wish["session"], mode=wish["mode"], until=rfc3339(until) if until else None)
    return keyring.statement(
        "mode", {"connector_id": connector.id, **wire(rows.Mode(connector.id, wish["session"], wish["mode"], until, 0))}
    )


def wire(mode: rows.Mode) -> dict[str, Any]:
    """As bundles and statements carry it; a time that is not set is null."""
    times = {name: rfc3339(value) if value else None for name, value in (("until", mode.until), ("eased_until", mode.eased_until))}
    return {"session": mode.session, "mode": mode.mode, **times}


def _down(org: Org, connector_id: str, session: str, mode: str, until: int) -> bool:
    """Whether this is laxer than what stands, now or from when it ends."""
    own, standing = org.mode(connector_id, session), current(org, connector_id, session)
    shortened = own is not None and _rank(own.mode) > _rank("on") and (until or _FOREVER) < (own.until or _FOREVER)
    return mode == "off" or _rank(mode) < _rank(standing) or shortened


def _outlasting(org: Org, connector_id: str, mode: str, until: int) -> None:
    """A stricter default takes sessions with it. One whose own strict mode would have lasted longer stays so, in the stricter."""
    for own in org.modes(connector_id):
        strict = own.session != "" and _rank("on") < _rank(own.mode) < _rank(mode)
        if strict and (own.until or _FOREVER) > (until or _FOREVER):
            org.set_mode(rows.Mode(connector_id, own.session, mode, own.until, 0))


def _rank(mode: str) -> int:
    return MODES.index(mode)


def _until(mode: str, minutes: int | None, now: int) -> int:
    """UTC seconds, 0 = stays."""
    if minutes is not None and minutes < 1:
        raise Refused("bad_minutes")
    if mode == "off":
        return now + 60 * min(minutes or DOWN_MINUTES, DOWN_MINUTES)
    if mode == "here":
        return now + 60 * min(minutes or DOWN_MINUTES, HERE_MINUTES)
    return now + 60 * minutes if minutes else 0
