"""The engine holds whatever it has no words for, and the page says what the tables say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.model import KINDS, MODES, UNLISTED, Fact, Target
from ony_core.policy import gate
from ony_core.taxonomy import assess
from ony_core.taxonomy.document import page
from ony_core.taxonomy.tables import tables

GIT = Fact("command", "git", ("status",))


@pytest.mark.parametrize(
    "fact",
    [
        Fact("animal", "git", ("status",)),
        Fact("command", "no-such-program"),
        Fact("command", UNLISTED),
        Fact("command", "git", ("frobnicate",)),
        Fact("command", "git", (UNLISTED,)),
        Fact("command", "git", ("status",), ("--no-such-flag",)),
        Fact("command", "git", ("status",), traits=("no_such_trait",)),
        Fact("command", "git", ("push",), targets=(Target("no_such_kind", "x"),)),
        Fact("command", "git", ("push",), targets=(Target("branch", "a b; rm"),)),
        Fact("command", "git", ("status",), args=-1),
        Fact("mcp", UNLISTED, (UNLISTED,)),
        Fact("opaque", traits=("code_unknown",)),
        Fact("grant"),
        Fact("opaque"),
        Fact("command", "git", ["status"]),  # type: ignore[arg-type]
        Fact(None, None),  # type: ignore[arg-type]
        "not a fact",
        None,
    ],
)
def test_what_no_table_knows_is_critical(fact) -> None:
    assert assess((fact,)).risk == "critical"


def test_no_facts_do_nothing_and_too_many_are_critical() -> None:
    assert assess(()).risk == "none"
    assert assess((GIT,) * 513).risk == "critical"
    assert assess(GIT).risk == "critical"  # type: ignore[arg-type]


ODD = {
    "no fact": None,
    "an unknown kind": Fact("animal", "git", ("status",)),
    "an unknown program": Fact("command", "no-such-program"),
    "an unknown verb word": Fact("command", "git", ("no-such-word",)),
    "an unknown flag": Fact("command", "git", ("status",), ("--no-such-flag",)),
    "an unknown trait": Fact("command", "git", ("status",), traits=("no_such_trait",)),
    "an unknown kind of target": Fact("command", "git", ("push",), targets=(Target("no_such_kind", "x"),)),
    "a name that its kind does not have": Fact("command", "git", ("push",), targets=(Target("branch", "a b; rm"),)),
    "a program that is no text": Fact("command", 5, ("status",)),  # type: ignore[arg-type]
    "a number that is none": Fact("command", "git", ("status",), args="1"),  # type: ignore[arg-type]
    "a truth for a number": Fact("command", "git", ("status",), args=True),
    "less than none": Fact("command", "git", ("status",), args=-1),
    "a list of words": Fact("command", "git", ["status"]),  # type: ignore[arg-type]
    "a word that is none": Fact("command", "git", (5,)),  # type: ignore[arg-type]
    "a flag that is none": Fact("command", "git", ("status",), (5,)),  # type: ignore[arg-type]
    "a trait that is none": Fact("command", "git", ("status",), traits=(5,)),  # type: ignore[arg-type]
    "a list of targets": Fact("command", "git", ("status",), targets=[]),  # type: ignore[arg-type]
    "a target that is none": Fact("command", "git", ("status",), targets=(("branch", "x"),)),  # type: ignore[arg-type]
    "a target without a kind": Fact("command", "git", ("status",), targets=(Target(5, "x"),)),  # type: ignore[arg-type]
    "a target without a name": Fact("command", "git", ("status",), targets=(Target("branch", 5),)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("fact", ODD.values(), ids=ODD.keys())
def test_what_has_no_form_is_one_odd_action(fact) -> None:
    found = assess((fact,)).lead
    assert (found.key, found.risk, found.rule) == ("unknown", "critical", "engine:odd")


def test_what_is_known_but_has_no_rule_says_so() -> None:
    use = assess((Fact("command", "git", (UNLISTED,)),)).lead
    assert (use.key, use.risk, use.rule, use.title) == ("unknown", "critical", "engine:unknown_use", "A use of git that no rule knows")
    found = assess((Fact("network", "git"),)).lead
    assert (found.key, found.risk, found.rule) == ("unknown", "critical", "engine:unknown")


def test_nothing_and_as_much_as_may_be() -> None:
    nothing = assess(()).lead
    assert (nothing.key, nothing.rule) == ("read", "engine:nothing")
    assert assess((GIT,) * 512).risk == "none"
    assert assess([GIT]).risk == "none"  # type: ignore[arg-type]
    assert assess((Fact("command", "git", ("status",), traits=tuple(tables().traits)),)).lead.rule != "engine:odd"


def test_the_worst_fact_decides_and_every_action_is_kept() -> None:
    found = assess((GIT, Fact("command", "terraform", ("apply",)), Fact("file", verb=("delete",), traits=("system",))))
    assert found.risk == "critical"
    assert {"deploy.production", "file.delete_recursive"} <= set(found.keys)


def test_a_known_target_is_spoken_and_an_unlisted_one_is_not() -> None:
    push = ("push",)
    assert "feature/x" in assess((Fact("command", "git", push, targets=(Target("branch", "feature/x"),)),)).lead.title
    assert "an unlisted branch" in assess((Fact("command", "git", push, targets=(Target("branch", UNLISTED),)),)).lead.title


def test_a_noun_that_reads_elsewhere_does_not_hide_the_verb_beside_it() -> None:
    assert assess((Fact("command", "gcloud", (UNLISTED, "snapshots", "delete")),)).risk == "critical"
    assert assess((Fact("command", "gcloud", (UNLISTED, "snapshots", "list")),)).risk in ("none", "low")


words = st.text(max_size=12) | st.sampled_from(["git", "push", "--force", "secret", "read", "branch", "main", UNLISTED])
facts = st.builds(
    Fact,
    st.sampled_from(KINDS) | st.text(max_size=5),
    words,
    st.lists(words, max_size=3).map(tuple),
    st.lists(words, max_size=3).map(tuple),
    st.integers(-2, 9),
    st.lists(st.builds(Target, words, words), max_size=2).map(tuple),
    st.lists(words, max_size=3).map(tuple),
)


@given(st.lists(facts, max_size=4).map(tuple))
def test_assess_never_raises_and_never_repeats_a_word_it_does_not_know(given_facts) -> None:
    found = assess(given_facts)
    known = tables()
    for fact in given_facts:
        if fact.program and fact.program not in known.programs and fact.program != UNLISTED:
            assert found.risk == "critical"
    assert all(gate(found, mode) in ("pass", "hold") for mode in (*MODES, "no-such-mode"))


def test_the_page_in_docs_is_written_from_the_tables() -> None:
    written = (Path(__file__).parents[2] / "docs" / "taxonomy.md").read_text(encoding="utf-8")
    assert written == "\n".join(page()) + "\n", "run: python -m ony_core.taxonomy.document > docs/taxonomy.md"
