"""Which names may leave the machine: those of a declared kind, in its pattern, no secret, and known before."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts.argv import read
from ony_core.facts.call import Call
from ony_core.facts.targets import target, targets_of, taught
from ony_core.facts.words import Word
from ony_core.model import UNLISTED, Target
from ony_core.taxonomy.tables import tables

SECRET = "AKIAIOSFODNN7EXAMPLE"
NAMES = [("branch", "feature/x"), ("branch", "a b"), ("branch", SECRET), ("host", "db1"), ("namespace", "shop"),
         ("taught", "acme deploy"), ("taught", "acme"),
         ("taught", "acme deploy web"), ("taught", "acme deploy web now"), ("taught", "other run")]  # fmt: skip
CALL = Call(DictPlace(names=NAMES))

SAID = {
    "known and in its pattern": ("branch", "feature/x", "feature/x"),
    "known as another kind": ("host", "feature/x", UNLISTED),
    "never heard of": ("branch", "feature/y", UNLISTED),
    "out of its pattern": ("branch", "a b", UNLISTED),
    "a secret": ("branch", SECRET, UNLISTED),
    "a word of the tables, whoever says it": ("branch", "main", "main"),
    "that word as a name of another kind": ("database", "main", UNLISTED),
}


@pytest.mark.parametrize(("kind", "name", "said"), SAID.values(), ids=SAID.keys())
def test_a_name_leaves_only_if_it_may(kind: str, name: str, said: str) -> None:
    assert target(CALL, kind, name) == Target(kind, said)


LINES = {
    "none": ("get pods", ()),
    "an unknown one": ("get pods -n other", (Target("namespace", UNLISTED),)),
    "a known one": ("get pods -n shop", (Target("namespace", "shop"),)),
    "the same by both spellings is one": ("-n shop --namespace shop get", (Target("namespace", "shop"),)),
}


@pytest.mark.parametrize(("words", "found"), LINES.values(), ids=LINES.keys())
def test_the_targets_that_a_table_points_at(words: str, found: tuple[Target, ...]) -> None:
    line, _ = read(tables().programs["kubectl"], [Word(word) for word in words.split()])
    assert targets_of(CALL, line) == found


LESSONS = {
    "the program alone": ("acme", "status", "acme"),
    "with its verb": ("acme", "deploy", "acme deploy"),
    "with two words": ("acme", "deploy web", "acme deploy web"),
    "no more than two": ("acme", "deploy web now", "acme deploy web"),
    "a flag ends the words": ("acme", "--env deploy", "acme"),
    "a pattern ends them": ("acme", "dep* web", "acme"),
    "what only the run will know ends them": ("acme", "\0 deploy", "acme"),
    "no word is left out": ("acme", "x deploy", "acme"),
    "only a longer one is known": ("other", "", None),
    "that one": ("other", "run", "other run"),
    "no such program": ("tool", "deploy", None),
}


@pytest.mark.parametrize(("program", "words", "name"), LESSONS.values(), ids=LESSONS.keys())
def test_the_most_words_that_a_lesson_names(program: str, words: str, name: str | None) -> None:
    given = [Word(word, glob="*" in word) for word in words.split()]
    assert taught(CALL, program, given) == ((Target("taught", name),) if name else ())
