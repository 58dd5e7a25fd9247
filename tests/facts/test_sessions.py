"""What a session made, built, started or began is its own, and nothing else is."""

import json

import pytest

from ony_core.commands.explain import answers
from tests.facts.sessions import PASSING, TWINS


def _gates(calls: tuple[str, ...]) -> list[str]:
    lines = [
        json.dumps({"tool": "Bash", "input": {"command": call}, "cwd": "/nowhere/app", "session": "s"}).encode() for call in calls
    ]
    return [json.loads(answer)["gate"]["on"] for answer in answers(lines)]


@pytest.mark.parametrize("calls", PASSING, ids=lambda calls: calls[-1])
def test_an_ordinary_session_is_never_held(calls: tuple[str, ...]) -> None:
    assert _gates(calls) == ["pass"] * len(calls)


@pytest.mark.parametrize("calls", TWINS, ids=lambda calls: calls[-1])
def test_its_twin_is_held(calls: tuple[str, ...]) -> None:
    assert _gates(calls)[-1] == "hold"
