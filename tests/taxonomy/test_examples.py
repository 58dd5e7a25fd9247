"""The tables' own examples, and what every table must obey."""

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


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_comes_out_as_it_stands_and_by_the_rule_it_stands_under(example: judging.Example) -> None:
    found = assessed(example.text)
    assert gate(found, "on") == example.gate, found
    assert not judging.wrong(example), [(action.rule, action.title) for action in found.actions]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_title_is_spoken_as_it_is_written(example: judging.Example) -> None:
    for action in assessed(example.text).actions:
        assert speech(action.title) == action.title and action.title[-1].isalnum()


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
