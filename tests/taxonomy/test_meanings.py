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
        {"targets": (Target("branch", 7),)}, {"targets": (Target(["branch"], "main"),)},
        {"targets": (Target("branch", ["main"]),)}, {"targets": [Target("branch", "main")]}, {"targets": ("main",)},
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
    assert engine._title("{verb}", dataclasses.replace(fact, verb=("box", "logs-", "set:*"))) == "box logs set"
    assert engine._title("{program}", Fact("mcp", "the-x-server")) == "the x server"
    assert engine._title("{program}", Fact("command", "docker-compose")) == "docker-compose"
    assert engine._title("{program}", Fact("command", "")) == "a program"
    assert engine._title("Do {verb}: ", dataclasses.replace(fact, verb=())) == "Do"


def test_as_root_raises_by_one_step_and_says_so() -> None:
    plain, root = Fact("command", "systemctl", ("stop",)), Fact("command", "systemctl", ("stop",), traits=("as_root",))
    assert engine.meaning(root).title == engine.meaning(plain).title + ", as root"


def test_every_image_starts_a_program_that_a_table_knows() -> None:
    known = tables()
    assert {image: name for image, name in known.words["image_programs"].items() if name not in known.names} == {}
    low, high = Fact("command", "ls"), Fact("command", "ls", traits=("as_root",))
    assert engine.meaning(low).title == engine.meaning(high).title and engine.meaning(high).risk == engine.meaning(low).risk
    assert engine.raised("medium", high) == ("high", ", as root") and engine.raised("low", high) == ("low", "")
    assert engine.raised("critical", Fact("command", "ls", traits=("as_root", "remote"))) == ("critical", ", as root, on another machine")
    assert engine.raised("medium", low) == ("medium", "")


def test_only_a_command_is_called_by_its_name_where_no_rule_knows_its_use() -> None:
    assert engine._unknown(Fact("command", "git")).rule == "engine:unknown_use"
    assert engine._unknown(Fact("mcp", "git")).rule == "engine:unknown"


def rule(**conditions: object) -> Rule:
    verbs = conditions.get("verbs", ())
    return Rule("a", str(conditions.pop("risk", "low")), "x", joined=frozenset(verbs), **conditions)  # type: ignore[arg-type, call-overload]


WIDE, DELETES, READS = rule(), rule(verbs=("delete",), risk="high"), rule(verbs=("list", "snapshots"))
LAST = {
    "the whole verb": ([READS, DELETES, WIDE], ("list",), READS),
    "the worst of its parts": ([READS, DELETES, WIDE], (UNLISTED, "snapshots", "delete"), DELETES),
    "no part": ([READS, DELETES, WIDE], (UNLISTED, "x"), WIDE),
    "nothing fits": ([READS, DELETES], (UNLISTED, "x"), None),
    "no verb at all": ([READS, rule(verbs=("",), risk="none"), WIDE], (), rule(verbs=("",), risk="none")),
    "only words that nobody knows are no empty verb": ([rule(verbs=("",), risk="none"), WIDE], (UNLISTED,), WIDE),
    "several words in the middle": ([rule(verbs=("a b",)), WIDE], (UNLISTED, "a", "b", "c"), rule(verbs=("a b",))),
}


@pytest.mark.parametrize(("fitting", "verb", "found"), LAST.values(), ids=LAST.keys())
def test_a_verb_that_stands_last(fitting: list[Rule], verb: tuple[str, ...], found: Rule | None) -> None:
    assert engine._last(fitting, Fact("command", "gcloud", verb)) == found


@pytest.mark.parametrize("name", ["flags", "all_flags", "not_flags", "traits", "any_traits"])
def test_a_rule_that_asks_for_flags_or_traits_alone_comes_first(name: str) -> None:
    asks = rule(**{name: frozenset({"x"})})
    assert engine._last([DELETES, asks], Fact("command", "gcloud", ("delete",))) == asks
    with_verb = rule(verbs=("list",), **{name: frozenset({"x"})})
    assert engine._last([DELETES, with_verb], Fact("command", "gcloud", ("delete",))) == DELETES


def test_the_first_rule_of_a_verb_or_of_none() -> None:
    assert engine._first([READS, DELETES, WIDE], Fact("command", "x", ("delete",))) == DELETES
    assert engine._first([READS, WIDE, DELETES], Fact("command", "x", ("delete",))) == WIDE
    assert engine._first([READS], Fact("command", "x", ("delete",))) is None
