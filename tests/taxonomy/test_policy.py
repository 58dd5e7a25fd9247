"""Whether the agent's own prompt may decide: high only, and nothing that cannot be seen."""
# ruff: noqa: E501

import pytest

from ony_core.model import Action, Assessment, Fact
from ony_core.policy import gate, may_ask


def of(risk: str, key: str = "git.push", *facts: Fact) -> Assessment:
    return Assessment(facts, (Action(key, risk, "x"),))


@pytest.mark.parametrize(("risk", "asks"), [("none", False), ("low", False), ("medium", False), ("high", True), ("critical", False), ("odd", False)])
def test_only_high_may_be_asked(risk: str, asks: bool) -> None:
    assert may_ask(of(risk, "git.push", Fact("command", "git"))) is asks


@pytest.mark.parametrize("kind", ["opaque", "grant"])
def test_what_cannot_be_seen_or_has_no_end_may_not(kind: str) -> None:
    assert not may_ask(of("high", "git.push", Fact("command", "git"), Fact(kind)))


def test_what_is_the_gates_own_may_not() -> None:
    assert not may_ask(of("high", "ony.mode"))
    assert not may_ask(Assessment((), (Action("git.push", "high", "x"), Action("ony.mode", "low", "x"))))


def test_looking_at_the_gate_itself_is_free() -> None:
    assert gate(of("none", "ony.read"), "on") == gate(of("none", "ony.read"), "off") == "pass"
