"""Mutants of the tables, for `tests.mutation`: a rule dropped, its risk moved across the line, one of its conditions taken away.

A mutant is killed when one of the tables' own examples, of any family, comes out differently.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

Documents = list[tuple[str, dict[str, Any]]]
CONDITIONS = ("verbs", "flags", "all_flags", "not_flags", "traits", "any_traits", "not_traits", "args")
OTHER_SIDE = {"none": "high", "low": "high", "medium": "high", "high": "medium", "critical": "medium"}


def every() -> list[tuple[str, Callable[[], bool]]]:
    """(what was done, whether the examples still pass); the first is the tables as they are."""
    import tomllib
    from pathlib import Path

    folder = Path(__file__).resolve().parent.parent / "ony_core" / "taxonomy"
    documents = [(path.name, tomllib.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.toml"))]
    made: list[tuple[str, Callable[[], bool]]] = [("unbroken", lambda: _pass(documents))]
    for family, number, change in _places(documents):
        made.append((_name(documents[family], number, change), lambda f=family, n=number, c=change: _pass(_broken(documents, f, n, c))))
    return made


def _places(documents: Documents) -> Iterator[tuple[int, int, str]]:
    for family, (_, document) in enumerate(documents):
        for number, rule in enumerate(document.get("rule", [])):
            yield family, number, "dropped"
            yield family, number, "risk"
            for condition in CONDITIONS:
                if condition in rule:
                    yield family, number, condition


def _name(document: tuple[str, dict[str, Any]], number: int, change: str) -> str:
    rule = document[1]["rule"][number]
    what = {"dropped": "rule dropped", "risk": f"{rule['risk']} became {OTHER_SIDE[rule['risk']]}"}.get(change, f"without its {change}")
    return f"{document[0]}: rule {number} {rule['title']!r}: {what}"


def _broken(documents: Documents, family: int, number: int, change: str) -> Documents:
    made = copy.deepcopy(documents)
    rules = made[family][1]["rule"]
    if change == "dropped":
        del rules[number]
    elif change == "risk":
        rules[number]["risk"] = OTHER_SIDE[rules[number]["risk"]]
    else:
        del rules[number][change]
    return made


def _pass(documents: Documents) -> bool:
    """Whether every example of the unbroken tables comes out as it should under these; tables that are refused fail."""
    from ony_core.taxonomy import engine, reading, tables
    from tests.taxonomy import judging

    examples = judging.examples(documents)
    made = tables.build(documents)
    reading.copied = lambda: None
    reading.documents = list  # type: ignore[assignment]
    tables.build = lambda _: made  # type: ignore[assignment]
    assert engine.tables() is made
    return not any(judging.wrong(example) for example in examples)
