"""The owner's words to the daemon, over the hook's socket: status, mode, waiting, decide, stop. JSON in, JSON out.

MUST NOT be able to weaken anything by itself: stepping a mode down and every decision need the six-digit code, which the server checks.
"""

import contextlib
import fcntl
import os
import socket
from pathlib import Path
from typing import Any

from ony_core import canon, hook
from ony_core.clock import rfc3339
from ony_core.connector import home
from ony_core.connector.gate import Gate
from ony_core.connector.hold import Hold
from ony_core.connector.link import Problem
from ony_core.errors import Malformed, OnyError
from ony_core.handoff import ID
from ony_core.model import MODES

AGENT = "ony"
MAX_MINUTES = 365 * 24 * 60
LOCK = "daemon.lock"
VERBS = ("status", "mode", "waiting", "decide", "stop")


def ask(verb: str, body: dict[str, Any] | None = None, *, folder: Path | None = None, timeout_s: float = 30) -> dict[str, Any]:
    """One word to the running daemon. OnyError where there is none, or it says no."""
    reply = _exchange(home.socket_path(folder or home.path()), hook.frame(AGENT, verb, canon.dumps(body or {})), timeout_s)
    try:
        code, out, err = hook.unframe(reply)
    except hook.Blocked:
        raise OnyError("the daemon's answer was cut short", "see its log, or run `ony daemon start` again") from None
    if code:
        what, _, hint = err.decode("utf-8", "replace").strip().partition("\n")
        raise OnyError(what, hint)
    answer = canon.loads(out)
    assert isinstance(answer, dict)
    return answer


def running(folder: Path) -> bool:
    """Whether a daemon answers on this folder's socket."""
    try:
        ask("status", folder=folder, timeout_s=5)
    except OnyError:
        return False
    return True


def holder(folder: Path) -> int:
    """The process that holds this folder as its daemon, whether it answers or not; 0 for none."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(handle, 20)
        return int(text) if text.isdigit() else -1
    finally:
        os.close(handle)
    return 0


def answer(gate: Gate, holds: dict[str, Hold], verb: str, body: Any) -> dict[str, Any]:
    """What the daemon says to one of VERBS but `stop`, which is the listener's own. OnyError says no."""
    if not isinstance(body, dict):
        raise Malformed("a control word's body must be an object")
    if verb == "status":
        return _status(gate, holds, body)
    if verb == "waiting":
        return {"waiting": [_row(gate, hold) for hold in holds.values() if hold.asked]}
    if verb == "mode":
        return _mode(gate, body)
    if verb == "decide":
        return _decide(gate, holds, body)
    raise Malformed("the daemon does not know that word", "update Ony, then run `ony daemon stop` and `ony daemon start`")


def _exchange(path: str, request: bytes, timeout_s: float) -> bytes:
    parts = []
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(path)
            if hook.peer_uid(sock) != os.getuid():
                raise OnyError("the daemon's socket belongs to another user", f"look who owns {path}")
            sock.sendall(request)
            while part := sock.recv(1 << 20):
                parts.append(part)
        except OSError as error:
            raise OnyError(f"the daemon does not answer ({error.strerror or type(error).__name__})", "run `ony daemon start`") from None
    return b"".join(parts)


def _status(gate: Gate, holds: dict[str, Hold], body: dict[str, Any]) -> dict[str, Any]:
    session = gate.alias(_text(body, "session"))
    standing, wall = gate.standing(session), gate.clock.wall()
    return {
        "pid": os.getpid(), "url": gate.enrolled.url, "name": gate.enrolled.name, "connector_id": gate.enrolled.connector_id,
        "session": session, "mode": standing.mode, "until": rfc3339(standing.until) if standing.until else None, "waiting": len(holds),
        "bundle_version": gate.bundle.version if gate.bundle else None,
        "bundle_age_s": wall - gate.bundle.issued_at if gate.bundle else None, "bundle_current": gate.current,
        "approvers": sum(a.state == "active" for a in gate.approvers().values()),
    }  # fmt: skip


def _row(gate: Gate, hold: Hold) -> dict[str, Any]:
    lead = hold.weighed.assessment.lead
    return {
        "request_id": hold.request_id, "word": hold.word, "action": lead.key, "risk": hold.weighed.assessment.risk, "title": lead.title,
        "tool": hold.weighed.call.tool[:80], "agent": hold.weighed.call.agent, "project": hold.weighed.project, "mode": hold.weighed.mode,
        "session": hold.weighed.session, "left_s": max(0, int(hold.left_s)),
    }  # fmt: skip


def _mode(gate: Gate, body: dict[str, Any]) -> dict[str, Any]:
    session, mode, minutes = gate.alias(_text(body, "session")), _text(body, "mode"), body.get("minutes")
    if mode not in MODES or not (minutes is None or (type(minutes) is int and 0 < minutes <= MAX_MINUTES)):
        raise Malformed("mode is on, away, here or off, for at least a minute", "see `ony mode --help`")
    wire = canon.dumps({"session": session, "mode": mode, "minutes": minutes, "code": _text(body, "code") or None})
    try:
        statement = gate.set_mode(wire, session)
    except Problem as problem:
        return {"refused": problem.word, "message": problem.what, "hint": problem.hint}
    return {"mode": statement.mode, "session": statement.session, "until": rfc3339(statement.until) if statement.until else None}


def _decide(gate: Gate, holds: dict[str, Hold], body: dict[str, Any]) -> dict[str, Any]:
    request_id, decision = _text(body, "request_id"), _text(body, "decision")
    if not ID.match(request_id) or request_id not in holds or decision not in ("approve", "deny"):
        raise OnyError("that request is not waiting here", "`ony approve` lists those that are")
    wire = canon.dumps({"decision": decision, "code": _text(body, "code")})
    try:
        said = gate.link.call("POST", f"/v1/handoffs/{request_id}/decide", wire).body
    except Problem as problem:
        return {"outcome": problem.word, "message": problem.what}
    return {"outcome": str(said.get("outcome", "")) if isinstance(said, dict) else ""}


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > 200:
        raise Malformed(f"{name} must be a short text")
    return value
