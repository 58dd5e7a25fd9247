"""The tables' own examples, and what every table must obey."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ony_core.channels.voice import speech
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import RISKS, ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from ony_core.taxonomy.reading import documents
from ony_core.taxonomy.tables import Rule, build, tables
from tests.taxonomy import judging

RULES = tables().all_rules
EXAMPLES = judging.examples(documents())


def assessed(command: str):
    return assess(judging.facts(command))


def by_family(found: Iterable[Any], family: Callable[[Any], str]) -> dict[str, list[Any]]:
    """One test for each file: thousands of tests of a millisecond are minutes of a test runner's own work. Each names all that is wrong."""
    made: dict[str, list[Any]] = {}
    for one in found:
        made.setdefault(family(one), []).append(one)
    return made


FAMILIES = by_family(EXAMPLES, lambda example: example.rule[0])


@pytest.mark.parametrize("examples", FAMILIES.values(), ids=FAMILIES.keys())
def test_an_example_comes_out_as_it_stands_by_the_rule_it_stands_under_and_can_be_spoken(examples: list[judging.Example]) -> None:
    wrong = []
    for example in examples:
        found = assessed(example.text)
        if gate(found, "on") != example.gate or judging.wrong(example):
            wrong.append((example.text, f"should {example.gate}", [(action.rule, action.risk, action.title) for action in found.actions]))
        wrong += [(example.text, action.title) for action in found.actions if not spoken(action.title)]
    assert wrong == []


def spoken(title: str) -> bool:
    """Whether it is said as it is written."""
    return speech(title) == title and title[-1].isalnum()


def test_every_rule_decides_an_example_of_its_own() -> None:
    """A rule that no example reaches says something that nobody has checked, or stands behind another that takes all of it."""
    decided = {id(rule) for example in EXAMPLES if example.own for rule in judging.deciding(judging.facts(example.text))}
    assert [f"{rule.family}: {rule.title}" for rule in RULES if id(rule) not in decided] == []


UNKNOWN_PLACE = "Apply Terraform, place unknown: counts as production"
PLACES = {
    "known": ({"workspace:/project": "dev-2"}, "terraform apply", "Apply Terraform in a folder set to workspace dev-2"),
    "production": ({"workspace:/project": "production"}, "terraform apply", "Apply Terraform in production"),
    "destroyed": ({"workspace:/project": "eu-prod"}, "terraform apply -destroy", "Destroy with Terraform in production"),
    "another folder": ({"workspace:/project/a": "dev"}, "terraform -chdir=a apply", "Apply Terraform in a folder set to workspace dev"),
    "not that folder": ({"workspace:/project/a": "dev"}, "terraform apply", UNKNOWN_PLACE),
    "chosen in the call": ({"workspace:/project": "dev"}, "terraform workspace select x && terraform apply", UNKNOWN_PLACE),
    "chosen by a variable": ({"workspace:/project": "dev"}, "TF_WORKSPACE=x terraform apply", UNKNOWN_PLACE),
    "exported": ({"workspace:/project": "dev"}, "export TF_WORKSPACE=x; terraform apply", UNKNOWN_PLACE),
    "written in the call": ({"workspace:/project": "dev"}, "echo x > .terraform/environment; terraform apply", UNKNOWN_PLACE),
    "no name": ({"workspace:/project": "a b; rm"}, "terraform apply", UNKNOWN_PLACE),
    "a secret": ({"workspace:/project": "AKIAIOSFODNN7EXAMPLE"}, "terraform apply", UNKNOWN_PLACE),
}  # fmt: skip


@pytest.mark.parametrize(("contexts", "command", "title"), PLACES.values(), ids=PLACES.keys())
def test_terraform_is_spoken_with_its_place_and_a_place_lowers_nothing(contexts: dict[str, str], command: str, title: str) -> None:
    found = assess(derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace(contexts=contexts)))
    assert found.risk == "critical"
    assert title in {action.title for action in found.actions}


TITLES = {
    "git push --force origin main": "Force-push to main",
    "git push --force origin acme-merger": "Force-push to an unlisted branch",
    "rm a.txt b.txt c.txt": "Delete 3 files, not known to be kept elsewhere",
    "rm a.txt": "Delete a file, not known to be kept elsewhere",
    "rm a.txt; rm b.txt && unlink c.txt": "Delete 3 files, not known to be kept elsewhere",
    "psql -c 'drop table users'": "Drop or empty a table in an unlisted database",
    "terraform state rm x": "Change what terraform knows of the world: state rm",
}


@pytest.mark.parametrize(("command", "title"), TITLES.items(), ids=TITLES.keys())
def test_a_title_says_what_a_person_wants_to_hear(command: str, title: str) -> None:
    assert assessed(command).lead.title == title


def test_files_that_git_does_not_keep_are_said_so() -> None:
    place = DictPlace(tracked=["/project/kept.py"])
    found = assess(derive(ToolCall("claude-code", "s", "Bash", {"command": "rm kept.py a b c"}, "/project"), place))
    assert found.lead.title == "Delete 3 files that git does not keep"


RULES_OF = by_family(RULES, lambda rule: rule.family)


@pytest.mark.parametrize("rules", RULES_OF.values(), ids=RULES_OF.keys())
def test_a_rule_that_holds_says_why_or_shows_it(rules: list[Rule]) -> None:
    assert [rule.title for rule in rules if rule.risk not in RISKS] == []
    assert [rule.title for rule in rules if not (rule.title[0].isupper() or rule.title[0] == "{") or rule.title.endswith(".")] == []


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
