"""What the server lets this connector know and do right now: device states, policy numbers, session modes. Signed, numbered, short-lived.

MUST never go back to a lower version, also over a restart. MUST count as none when it is older than 24 hours or from the future.
MUST NOT add an approver by itself: those are pinned at enrolment; what joins later is endorsed by a pinned one (ony_core/endorse.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ony_core import canon
from ony_core.clock import seconds_of
from ony_core.connector import home
from ony_core.connector.enrolled import Enrolled
from ony_core.connector.statement import Verify, opened
from ony_core.errors import Malformed, OnyError, Refused, UsageError
from ony_core.model import MODES, Approver
from ony_core.taxonomy import Lesson
from ony_core.taxonomy.overlay import from_wire

FILE = "bundle.json"
MAX_AGE_S = 24 * 3600
MAX_AHEAD_S = 300  # clocks differ
DEADLINE_LIMIT_S = 840  # longest hold: the hook gives up by itself at 960
_FIELDS = frozenset(
    {"v", "type", "org_id", "connector_id", "version", "issued_at", "approvers", "policy", "modes", "overlay", "server_keys"}
)


@dataclass(frozen=True, slots=True)
class ModeStatement:
    """until, eased_until: UTC seconds, 0 = not."""

    session: str
    mode: str
    until: int
    eased_until: int


@dataclass(frozen=True, slots=True)
class Bundle:
    version: int
    issued_at: int
    states: Mapping[str, str]  # device id -> state
    decision_deadline_s: int
    attaches: bool  # takes the raw call beside a request, where the owner of this machine wants it too
    asks: bool  # without a verdict the agent's own prompt may decide, within policy.may_ask
    modes: tuple[ModeStatement, ...]
    lessons: tuple[Lesson, ...] = ()
    listed: tuple[Mapping[str, Any], ...] = ()  # approvers as they came, with endorsements of those that joined later

    def fresh(self, wall: int) -> bool:
        return -MAX_AHEAD_S <= wall - self.issued_at <= MAX_AGE_S

    def approvers(self, pinned: tuple[Approver, ...]) -> dict[str, Approver]:
        """The pinned approvers in the state the server gives them; one it does not list is revoked."""
        return {a.device_id: Approver(a.device_id, a.key, self.states.get(a.device_id, "revoked"), a.label) for a in pinned}


def check(signed: Any, enrolled: Enrolled, verify: Verify, kept: Bundle | None) -> Bundle:
    """The bundle, if it is signed, ours, well formed and not older than the kept one. Refused("bundle_…")."""
    body = opened("bundle", signed, _FIELDS, verify)
    if body["org_id"] != enrolled.org_id or body["connector_id"] != enrolled.connector_id:
        raise Refused("bundle_wrong_connector", "the bundle is meant for another connector")
    try:
        bundle = _parsed(body)
    except (Malformed, UsageError, ValueError, TypeError, KeyError):
        raise Refused("bundle_malformed", "the bundle's fields are not what they must be") from None
    if kept and (bundle.version < kept.version or bundle.issued_at < kept.issued_at - MAX_AHEAD_S):
        raise Refused("bundle_rolled_back", "the server's bundle is older than one seen before")
    return bundle


def load(folder: Path, enrolled: Enrolled, verify: Verify) -> Bundle | None:
    """The kept bundle, checked like a new one. None before the first."""
    try:
        data = home.read(folder / FILE, 4 << 20)
    except FileNotFoundError:
        return None
    try:
        return check(canon.loads(data), enrolled, verify, None)
    except OnyError as error:
        raise OnyError(f"{FILE} is damaged ({error.what})", f"remove {folder / FILE}; a new one is fetched") from None


def keep(folder: Path, signed: Mapping[str, Any]) -> None:
    home.write(folder / FILE, canon.dumps({"payload": signed["payload"], "server_signature": signed["server_signature"]}) + b"\n")


def mode_of(value: Any) -> ModeStatement:
    """Malformed for what is not {session, mode, until, eased_until}; times are UTC seconds or RFC 3339."""
    if not isinstance(value, dict) or not isinstance(value["session"], str) or value["mode"] not in MODES:
        raise Malformed("a mode is not well formed")
    return ModeStatement(value["session"], value["mode"], _when(value["until"]), _when(value["eased_until"]))


def _parsed(body: dict[str, Any]) -> Bundle:
    approvers, policy, modes = body["approvers"], body["policy"], body["modes"]
    states = {_str(a["device_id"]): _str(a["state"]) for a in approvers}
    if type(body["version"]) is not int or len(states) != len(approvers):
        raise Malformed("a version is not a number, or a device is listed twice")
    deadline = policy["decision_deadline"]
    if type(deadline) is not int or deadline < 1:
        raise Malformed("the decision deadline is not a number of seconds")
    issued_at = seconds_of(_str(body["issued_at"]))
    asks, attaches = policy["on_no_verdict"] == "ask", policy["attach"] is True
    lessons = tuple(from_wire(one) for one in body["overlay"])
    return Bundle(body["version"], issued_at, states, min(deadline, DEADLINE_LIMIT_S), attaches, asks, tuple(mode_of(m) for m in modes),
                  lessons, tuple(approvers))  # fmt: skip


def _when(value: Any) -> int:
    if isinstance(value, str):
        return seconds_of(value)
    if value is None:
        return 0
    if type(value) is not int:
        raise Malformed("a time is not a time")
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("a text field is not a text")
    return value
