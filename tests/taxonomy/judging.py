"""The tables' own examples and the evasions' rows as one quick check, for those who run it hundreds of times (tests/mutation.py)."""

from collections.abc import Iterable
from typing import Any

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess

Example = tuple[str, str, str]  # the command, what mode `on` makes of it, the key it stands under


def examples(documents: Iterable[tuple[str, dict[str, Any]]]) -> list[Example]:
    rules = [rule for _, document in documents for rule in document.get("rule", [])]
    held = [(command, "hold", rule["key"]) for rule in rules for command in rule.get("holds", ())]
    return held + [(command, "pass", "") for rule in rules for command in rule.get("passes", ())]


def wrong(example: Example) -> bool:
    command, expected, key = example
    found = assess(derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace()))
    return gate(found, "on") != expected or (key != "" and key not in found.keys)
