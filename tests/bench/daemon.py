"""What a call costs in the daemon: harmless calls of many kinds, one connection each as the hook opens it, on a running `ony daemon`.

From the connection to the last byte of the answer, on the wall clock: reading the place, understanding, and the answer. No interpreter is
started (`tests.bench.hook` measures that). Each kind of call has been seen once before: what a daemon reads once a day is no call's cost.
"""

import json
import os
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ony_core import hook
from ony_core.evidence.place import NoPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from tests.bench import judge
from tests.bench.row import Row
from tests.world import World

SHARE, ROUNDS = 8, 4
BOUND_MS, MIB = 3.0, 120


def measure() -> Iterator[Row]:
    with World() as world:
        (world.project / "notes.md").write_text("notes\n" * 200)
        calls = [event for event in _events(world.project) if _passes(world, event)]
        before = _processor_s(world.daemon_pid())
        took = sorted(_ask(world, event) for _ in range(ROUNDS) for event in calls)
        yield Row(f"daemon: one call of {len(calls)}, p50", statistics.median(took), BOUND_MS, 1, len(took))
        yield Row(f"daemon: one call of {len(calls)}, p99", took[int(0.99 * len(took))], BOUND_MS, 1, len(took))
        spent = (_processor_s(world.daemon_pid()) - before) * 1000 / len(took)
        yield Row(f"daemon: one call of {len(calls)}, its processor time", spent, BOUND_MS, 1, len(took))
        yield Row("daemon: memory after them, MiB for ms", _rss(world.daemon_pid()), MIB, 1, 1)


def _events(project: Path) -> Iterator[dict[str, Any]]:
    """Calls that no mode would ring for: commands of the tables' examples, and the agent's own tools."""
    for number, command in enumerate(judge.mix()[::SHARE]):
        given = {"command": command}
        if gate(assess(derive(ToolCall("", "", "Bash", given, str(project)), NoPlace(str(project)))), "on") == "pass":
            yield _event(project, number, "Bash", given)
    for number in range(20):
        path = str(project / f"made_{number}.py")
        yield _event(project, number, "Write", {"file_path": path, "content": f"def f{number}(a):\n    return a + {number}\n" * 40})
        yield _event(project, number, "Read", {"file_path": str(project / "notes.md")})
        yield _event(project, number, "Bash", {"command": f"python3 -c 'import json; print(json.dumps({{{number}: 1}}))' | head -5"})


def _event(project: Path, number: int, tool: str, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "session_id": f"bench-{number % 5}", "transcript_path": "/dev/null", "cwd": str(project), "permission_mode": "default",
        "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": given, "tool_use_id": f"toolu_{number}",
    }  # fmt: skip


def _passes(world: World, event: dict[str, Any]) -> bool:
    """Whether the daemon lets it by where it is run; what it would ring for is asked in a moment and left."""
    with _sent(world, event) as sock:
        sock.settimeout(1)
        try:
            return hook.unframe(_whole(sock))[:2] == (0, b"{}")
        except TimeoutError:
            return False


def _ask(world: World, event: dict[str, Any]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    with _sent(world, event) as sock:
        answer = _whole(sock)
    took = (time.perf_counter() - began) * 1000
    if hook.unframe(answer)[:2] != (0, b"{}"):
        raise AssertionError(f"a call that passed was not let by: {event}")
    return took


def _sent(world: World, event: dict[str, Any]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(world.ony_home / "ony.sock"))
    sock.sendall(hook.frame("claude", "cli", json.dumps(event).encode()))
    return sock


def _whole(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def _processor_s(pid: int) -> float:
    """Seconds the daemon has worked (proc(5)); a busy machine changes little of them."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
