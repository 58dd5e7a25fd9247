"""The rig can see a failure: without a gate the dangerous call runs, and with a hook that says no it does not."""

import json
from pathlib import Path

import pytest

from tests.real import peers
from tests.real.claude.agent import Agent
from tests.real.claude.model import text, tool

APPLY = [tool("Bash", command="terraform apply -auto-approve", description="deploy"), text("finished")]
NO = '{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"not now"}}'


@pytest.fixture(params=sorted(peers.CLAUDE))
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Agent:
    for name in ("home/.claude", "project"):
        (tmp_path / name).mkdir(parents=True)
    made = Agent(peers.claude(request.param), tmp_path / "home", tmp_path / "project", tmp_path / "stubs")
    made.stub("terraform")
    return made


def test_without_a_gate_the_dangerous_call_runs(agent):
    assert agent.run(APPLY, "bypassPermissions").ran == ["apply -auto-approve"]


def test_a_hook_that_says_no_stops_it_also_when_every_prompt_is_off(agent):
    hook = {"type": "command", "command": f"echo '{NO}'"}
    settings = {"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}}
    (agent.home / ".claude" / "settings.json").write_text(json.dumps(settings))
    run = agent.run(APPLY, "bypassPermissions")
    assert run.ran == []
    assert run.results[0].is_error
    assert "not now" in run.results[0].text
