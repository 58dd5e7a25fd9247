"""One fact, one meaning: every condition of a rule counts, and whatever is out of the vocabulary is odd."""
# ruff: noqa: E501

import dataclasses

import pytest

from ony_core.model import UNLISTED, Fact, Target
from ony_core.taxonomy import engine
from ony_core.taxonomy.tables import Rule, tables

GOOD = Fact("command", "git", ("push",), ("--force",), 2, (Target("branch", "main"),), ("protected_branch",))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "animal"}, {"program": "no-such"}, {"program": 7}, {"verb": ("frobnicate",)}, {"verb": (7,)}, {"verb": ["push"]}, {"flags": ("--no-such",)},
        {"traits": ("no_such",)}, {"args": -1}, {"args": True}, {"args": 1.0}, {"targets": (Target("no_such", "x"),)}, {"targets": (Target("branch", "a b"),)},
        {"targets": (Target("branch", 7),)}, {"targets": [Target("branch", "main")]}, {"targets": ("main",)},
    ],
)  # fmt: skip
def test_a_fact_with_any_word_that_no_table_knows_is_odd(change: dict) -> None:
    assert engine.meaning(dataclasses.replace(GOOD, **change)) == engine.ODD
    assert engine.meaning(GOOD) != engine.ODD


def test_the_engines_own_actions() -> None:
    assert (engine.NOTHING.key, engine.NOTHING.risk, engine.NOTHING.rule) == ("read", "none", "engine:nothing")
    assert (engine.ODD.key, engine.ODD.risk, engine.ODD.rule) == ("unknown", "critical", "engine:odd")
    use = engine.meaning(Fact("command", "git", (UNLISTED,)))
    assert (use.key, use.risk, use.rule, use.title) == ("unknown", "critical", "engine:unknown_use", "A use of git that no rule knows")
    strange = engine._unknown(Fact("mcp", UNLISTED))
    assert (strange.key, strange.risk, strange.rule) == ("unknown", "critical", "engine:unknown")
    assert engine._unknown(Fact("command", UNLISTED)) == engine._unknown(Fact("command", "")) == strange
    assert engine.assess(()).actions == (engine.NOTHING,)


def test_too_many_facts_are_odd() -> None:
    many = tuple(Fact("command", "ls", args=n) for n in range(engine.MAX_FACTS + 1))
    assert engine.assess(many).actions == (engine.ODD,) and engine.assess(many[:-1]).risk == "none"
    assert engine.assess("ls").actions == (engine.ODD,)  # type: ignore[arg-type]


RULE = Rule("a", "high", "x", flags=frozenset({"-a", "-b"}), all_flags=frozenset({"-c", "-d"}), not_flags=frozenset({"-n"}),
            traits=frozenset({"t", "u"}), any_traits=frozenset({"v", "w"}), not_traits=frozenset({"z"}), args=(1, 3))  # fmt: skip
FITS = Fact("command", "git", (), ("-a", "-c", "-d"), 2, (), ("t", "u", "v"))


@pytest.mark.parametrize(
    "change",
    [{"flags": ("-c", "-d")}, {"flags": ("-a", "-c")}, {"flags": ("-a", "-c", "-d", "-n")}, {"traits": ("t", "v")}, {"traits": ("t", "u")},
     {"traits": ("t", "u", "v", "z")}, {"args": 0}, {"args": 4}],
)  # fmt: skip
def test_every_condition_of_a_rule_must_hold(change: dict) -> None:
    assert engine.matches(RULE, FITS)
    assert not engine.matches(RULE, dataclasses.replace(FITS, **change))
    assert engine.matches(RULE, dataclasses.replace(FITS, args=1)) and engine.matches(RULE, dataclasses.replace(FITS, args=3))


def test_titles_are_filled_in() -> None:
    fact = Fact("command", "git", ("remote*", UNLISTED, "add"), (), 2, (Target("branch", "main"), Target("host", UNLISTED)))
    assert engine._title("plain", fact) == "plain"
    assert engine._title("{program} {verb}: {branch} {host}, {count}", fact) == "git remote add: main an unlisted host, 2 files"
    assert engine._title("{count}", dataclasses.replace(fact, args=1)) == "a file"
    assert engine._title("Do {verb}: ", dataclasses.replace(fact, verb=())) == "Do"


def test_as_root_raises_by_one_step_and_says_so() -> None:
    plain, root = Fact("command", "systemctl", ("stop",)), Fact("command", "systemctl", ("stop",), traits=("as_root",))
    assert engine.meaning(root).title == engine.meaning(plain).title + ", as root"


def test_every_image_starts_a_program_that_a_table_knows() -> None:
    known = tables()
    assert {image: name for image, name in known.words["image_programs"].items() if name not in known.names} == {}
