"""The tables' own examples, and what every table must obey."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import RISKS, ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from ony_core.taxonomy.tables import Rule, build, tables

RULES = tables().all_rules
HOLDS = [(example, rule) for rule in RULES for example in rule.holds]
PASSES = [(example, rule) for rule in RULES for example in rule.passes]


def assessed(command: str):
    return assess(derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace()))


@pytest.mark.parametrize(("command", "rule"), HOLDS, ids=[e for e, _ in HOLDS])
def test_an_example_that_holds_is_held_for_the_reason_it_stands_under(command: str, rule: Rule) -> None:
    found = assessed(command)
    assert gate(found, "on") == "hold", found
    assert rule.key in found.keys, found


@pytest.mark.parametrize(("command", "rule"), PASSES, ids=[e for e, _ in PASSES])
def test_a_near_miss_passes(command: str, rule: Rule) -> None:
    found = assessed(command)
    assert gate(found, "on") == "pass", found


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.family}:{r.key}:{r.title[:30]}")
def test_a_rule_that_holds_says_why_or_shows_it(rule: Rule) -> None:
    assert rule.risk in RISKS
    assert rule.title[0].isupper() or rule.title[0] == "{"
    assert not rule.title.endswith(".")


@pytest.mark.parametrize(
    "broken",
    [
        {"rule": [{"key": "a", "risk": "terrible", "title": "x"}]},
        {"rule": [{"key": "a", "risk": "low"}]},
        {"rule": [{"key": "a", "risk": "low", "title": "x", "tratis": ["secret"]}]},
        {"rule": [{"key": "a", "risk": "low", "title": "x", "traits": ["no_such_trait"]}]},
        {"program": {"p": {"operand": "read"}}},
        {"program": {"p": {"operands": "eat"}}},
        {"rule": [{"key": "a", "risk": "low", "title": "x", "kind": "animal"}]},
    ],
)
def test_a_misspelt_table_is_refused(broken: dict) -> None:
    with pytest.raises(Exception, match="taxonomy"):
        build([("x.toml", broken)])
