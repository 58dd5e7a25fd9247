"""The loader refuses tables that say something other than what they seem to say."""

from typing import Any

import pytest

from ony_core.errors import OnyError
from ony_core.model import UNLISTED, Fact, at_least
from ony_core.taxonomy import assess
from ony_core.taxonomy.tables import build, tables

LOOKS = {"key": "read", "risk": "none", "title": "Look", "program": ["x"]}
DELETES = {"key": "x.delete", "risk": "critical", "title": "Delete", "program": ["x"], "verbs": ["snapshot delete"]}


def table(looks: dict[str, Any], program: dict[str, Any] | None = None, deletes: dict[str, Any] = DELETES) -> dict[str, Any]:
    return {"program": {"x": program or {"open": True}}, "rule": [LOOKS | looks, dict(deletes)]}


def test_a_verb_that_would_swallow_what_a_longer_one_holds_is_refused() -> None:
    with pytest.raises(OnyError, match="snapshot passes with any word, though snapshot delete is held"):
        build([("x.toml", table({"verbs": ["snapshot", "list"]}))])


@pytest.mark.parametrize(
    "fine",
    [
        table({"verbs": ["snapshot"], "args": [0, 0]}),
        table({"verbs": ["snapshot"], "takes": ["snapshot"]}),
        table({"verbs": ["snapshot"]}, {"open": False}),
        table({"verbs": ["snapshot"]}, {"open": True, "verbs": "last"}),
        table({"verbs": ["snapshot", "snapshot *"]}),
        table({"verbs": ["list"]}),
        table({"verbs": ["snapshot"]}, deletes=DELETES | {"flags": ["--all"]}),
        table({"verbs": ["snapshot"]}, deletes=DELETES | {"risk": "medium"}),
    ],
)
def test_a_verb_that_swallows_nothing_is_taken(fine: dict[str, Any]) -> None:
    build([("x.toml", fine)])


def test_what_a_rule_takes_is_one_of_its_verbs() -> None:
    with pytest.raises(OnyError, match="behind a verb that is none of its own"):
        build([("x.toml", table({"verbs": ["list"], "takes": ["snapshot"]}))])


@pytest.mark.parametrize(
    "role", ["exec", "", "run:", "run:(", "hold:[", "words:", "words:x", "code:cobolish", "load:x", "hook:x", 1, ["run"], {"a": "run"}]
)
def test_a_role_of_an_escape_that_its_reader_does_not_know_is_refused(role: Any) -> None:
    with pytest.raises(OnyError, match="unknown role"):
        build([("x.toml", {"escapes": {"x": {"-e": role}}})])


@pytest.mark.parametrize("like", ["nobody", 1, "z"])
def test_an_escape_is_like_one_that_is_listed(like: Any) -> None:
    with pytest.raises(OnyError, match="is like"):
        build([("x.toml", {"escapes": {"x": {"like": like}, "y": {"-e": "run"}, "z": {"like": "y"}}})])


@pytest.mark.parametrize(
    "role", ["run", "hook", "words", "words:2", "commas", "code", "code:x", "load", "hold", "hold:^/", "run:!(.*)", "make"]
)
def test_every_role_that_an_escape_may_have_is_taken(role: str) -> None:
    build([("x.toml", {"program": {"x": {}}, "escapes": {"x": {"-e": role}, "y": {"like": "x"}}})])


@pytest.mark.parametrize("role", ["run:(", "hold:", "hold:*", "hold:^/", "run:(.*)", "exec", "code"])
def test_a_role_of_a_flag_that_nobody_reads_is_refused(role: str) -> None:
    """Patterns are of escapes; code is read by handlers."""
    with pytest.raises(OnyError, match="flag"):
        build([("x.toml", {"program": {"x": {"roles": {"-e": role}}}})])


def test_no_word_that_nobody_knows_passes_as_an_open_program_alone_does() -> None:
    """Where a program has verbs, its first word is one of them or unlisted: the rule of the bare program never takes it."""
    known = tables()
    for name, program in known.programs.items():
        verbs = known.whole(name) - {""}
        if not program.open or program.verbs != "first" or not verbs or any(verb.split()[0] == UNLISTED for verb in verbs):
            continue
        fact = Fact("command", name, (UNLISTED,), args=1)
        alone = [rule for rule in known.rules["command"][name] if name in rule.program and not rule.verbs]
        assert alone or at_least(assess((fact,)).risk, "high"), name
