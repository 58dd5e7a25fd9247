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
