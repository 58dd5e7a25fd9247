"""The tables' own examples, judged without a test runner, for those who do it hundreds of times (tests/mutation.py).

An example is a command line, or, for other tools and for what a place knows, a call as JSON:
`{"tool": "Write", "input": {"file_path": "a.txt"}, "place": {"tracked": ["/project/a.txt"]}}`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import Fact, ToolCall, at_least
from ony_core.policy import gate
from ony_core.taxonomy import assess, engine
from ony_core.taxonomy.tables import Rule, tables

Identity = tuple[str, str, str]  # of a rule: its file, key and title


@dataclass(frozen=True, slots=True)
class Example:
    """What a table says of a call: what mode `on` makes of it and, if it stands on the side of its own rule, that this rule decides it."""

    text: str
    gate: str
    rule: Identity
    own: bool

    def __str__(self) -> str:
        return self.text


def examples(documents: Iterable[tuple[str, dict[str, Any]]]) -> list[Example]:
    """Under a rule that rings, `holds` are its own and `passes` are near misses; under a rule that passes it is the other way round."""
    return [
        Example(text, verdict, (family, rule["key"], rule["title"]), (verdict == "hold") == at_least(rule["risk"], "high"))
        for family, document in documents
        for rule in document.get("rule", [])
        for verdict, listed in (("hold", "holds"), ("pass", "passes"))
        for text in rule.get(listed, ())
    ]


def facts(text: str) -> tuple[Fact, ...]:
    """What is understood of an example."""
    given = json.loads(text) if text.startswith('{"') else {"input": {"command": text}}
    call = ToolCall("claude-code", "s", given.get("tool", "Bash"), given.get("input", {}), "/project")
    place = given.get("place", {})
    place["names"] = [tuple(pair) for pair in place.get("names", ())]
    return derive(call, DictPlace(**place))


def deciding(found: Iterable[Fact]) -> Iterator[Rule]:
    """The rules that decide the facts."""
    known = tables()
    for fact in found:
        if (rule := engine.deciding(fact, known.asked(fact.kind, fact.program), known)) is not None:
            yield rule


def wrong(example: Example) -> bool:
    found = facts(example.text)
    deciders = {(rule.family, rule.key, rule.title) for rule in deciding(found)}
    return gate(assess(found), "on") != example.gate or (example.own and example.rule not in deciders)
