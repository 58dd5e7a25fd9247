"""A held call in one line, for the tests of what may release it."""

from pathlib import Path

from ony_core.connector.gate import Gate
from ony_core.connector.hold import Hold
from ony_core.model import Decision, ToolCall
from tests.connector.standin import StandIn

COMMAND = "terraform apply -auto-approve"


def call(project: Path, command: str = COMMAND, session: str = "s-1", **extra: object) -> ToolCall:
    return ToolCall("claude-code", session, "Bash", {"command": command, **extra}, str(project), "default", "toolu_1")


def held(gate: Gate, project: Path, command: str = COMMAND) -> Decision:
    weighed = gate.weigh(call(project, command))
    assert weighed.outcome == "hold"
    return Hold(gate, weighed).run()


def reasons(gate: Gate, server: StandIn) -> list[str]:
    gate.outbox.send()
    return [event["reason"] for event in server.events if event["type"] == "refused"]
