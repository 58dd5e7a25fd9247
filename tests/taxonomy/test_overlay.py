"""An organisation's own rules: what they may raise, what they may teach, and what no rule of anybody lowers."""

from types import SimpleNamespace
from typing import Any

import pytest

from ony_core.errors import UsageError
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import Fact, Target, ToolCall
from ony_core.taxonomy import assess, of_project
from ony_core.taxonomy.overlay import Lesson, from_row, from_wire, lesson, to_row, to_wire

RECIPE = "sha256:" + "a" * 64
ACME = lesson("pol_1", "program acme verb deploy", "shop", "medium", RECIPE)


def judged(command: str, *lessons: Lesson, kept: bool = True, project: str = "shop"):
    """As a connector does it: the place knows the lessons' words, and whether a program is still the one they were given for."""
    mine = of_project(lessons, project)
    contexts = {f"recipe:{one.program}": "kept" for one in mine if kept}
    place = DictPlace(contexts=contexts, names=[("taught", one.words) for one in mine])
    return assess(derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), place), mine)


TAUGHT = {
    "the taught verb": ("acme deploy", True, "medium", "Run acme deploy"),
    "with further words": ("acme deploy web --now", True, "medium", "Run acme deploy"),
    "another verb": ("acme destroy", True, "critical", None),
    "the verb behind a flag that may take it as its value": ("acme --env deploy", True, "critical", None),
    "the program was changed": ("acme deploy", False, "critical", None),
    "a word that only the run will know": ('acme deploy "$WHERE"', True, "critical", None),
    "as root it is a step higher": ("sudo acme deploy", True, "high", "Run acme deploy, as root"),
    "beside something worse": ("acme deploy && git push --force origin main", True, "critical", "Force-push to main"),
    "inside a shell": ("bash -c 'acme deploy'", True, "medium", "Run acme deploy"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "kept", "risk", "title"), TAUGHT.values(), ids=TAUGHT.keys())
def test_a_program_that_no_table_knows_can_be_taught(command: str, kept: bool, risk: str, title: str | None) -> None:
    found = judged(command, ACME, kept=kept)
    assert found.risk == risk
    assert title is None or title in {action.title for action in found.actions}


def test_a_lesson_is_for_its_project_alone() -> None:
    assert judged("acme deploy", ACME, project="other").risk == "critical"
    assert judged("acme deploy", ACME, project="unlisted").risk == "critical"


def test_a_lesson_for_every_use_of_a_program_takes_every_verb() -> None:
    every = lesson("pol_1", "program acme", "shop", "low", RECIPE)
    assert judged("acme anything at all", every).risk == "low"
    assert judged("acme anything", every, ACME).risk == "low"
    assert judged("acme deploy", every, ACME).risk == "medium", "the lesson that says more about it counts"


RAISED = {
    "a read": ("git status", "program git verb status", "high", "high"),
    "every use of a program": ("git log", "program git", "critical", "critical"),
    "never below what it was": ("git push --force origin main", "program git", "high", "critical"),
    "another verb stays": ("git log", "program git verb status", "high", "none"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "match", "risk", "found"), RAISED.values(), ids=RAISED.keys())
@pytest.mark.parametrize("project", ["", "shop"])
def test_a_rule_raises_in_one_project_or_everywhere(command: str, match: str, risk: str, found: str, project: str) -> None:
    assert judged(command, lesson("pol_1", match, project, risk, "")).risk == found


LOWERED = {
    "high of a known verb": ("gh pr merge 12", "program gh verb pr merge", "medium"),
    "a verb that the table does not know": ("gh frobnicate", "program gh verb frobnicate", "medium"),
    "a group's unknown verb": ("gh pr frobnicate 12", "program gh verb pr frobnicate", "medium"),
    "not another verb": ("gh release delete v1", "program gh verb pr merge", "critical"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "match", "risk"), LOWERED.values(), ids=LOWERED.keys())
def test_a_known_program_is_lowered_verb_by_verb(command: str, match: str, risk: str) -> None:
    found = judged(command, lesson("pol_1", match, "shop", "medium", ""))
    assert found.risk == risk or (risk == "critical" and found.risk in ("high", "critical")), found


NEVER = {
    "critical by a rule": ("terraform destroy", Lesson("pol_1", "shop", "terraform", "destroy", "low", RECIPE)),
    "critical as root": ("sudo gh pr merge 1", Lesson("pol_1", "shop", "gh", "pr merge", "low", RECIPE)),
    "the gate itself": ("ony uninstall claude", Lesson("pol_1", "shop", "ony", "uninstall", "low", RECIPE)),
    "an agent without a leash": ("claude -p x --dangerously-skip-permissions", Lesson("pol_1", "shop", "claude", "", "low", RECIPE)),
    "an open shell": ("bash", Lesson("pol_1", "shop", "bash", "", "low", RECIPE)),
    "what nobody can read": ('bash -c "$X"', Lesson("pol_1", "shop", "bash", "", "low", RECIPE)),
    "no project": ("acme deploy", Lesson("pol_1", "", "acme", "deploy", "low", RECIPE)),
    "no recipe": ("acme deploy", Lesson("pol_1", "shop", "acme", "deploy", "low", "")),
    "every use of a known program": ("gh pr merge 1", Lesson("pol_1", "shop", "gh", "", "low", RECIPE)),
    "a file of that name in the project": ("./acme deploy", ACME),
}  # fmt: skip


@pytest.mark.parametrize(("command", "one"), NEVER.values(), ids=NEVER.keys())
def test_what_no_rule_lowers_even_if_it_came_from_a_server(command: str, one: Lesson) -> None:
    assert judged(command, one).risk == judged(command).risk != "low"


REFUSED = {
    "no match": ("acme deploy", "shop", "low", RECIPE, "not a program"),
    "a path": ("program ./acme", "shop", "low", RECIPE, "not a program"),
    "a pattern": ("program a*", "shop", "low", RECIPE, "not a program"),
    "an unknown risk": ("program acme", "shop", "harmless", RECIPE, "not a risk"),
    "a project with a space": ("program acme", "my shop", "low", RECIPE, "label"),
    "half a digest": ("program acme", "shop", "low", "sha256:abc", "digest"),
    "no project": ("program acme", "", "low", RECIPE, "one project"),
    "no recipe": ("program acme", "shop", "low", "", "its file must be named"),
    "a known program without its verb": ("program gh", "shop", "none", "", "name the verb"),
    "critical stays": ("program terraform verb destroy", "shop", "low", "", "stays critical"),
    "ony": ("program ony verb uninstall", "shop", "low", RECIPE, "cannot be taught"),
}  # fmt: skip


@pytest.mark.parametrize(("match", "project", "risk", "recipe", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_a_rule_that_could_never_apply_is_refused_with_the_reason(match: str, project: str, risk: str, recipe: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        lesson("pol_1", match, project, risk, recipe)


def test_a_lesson_keeps_its_form_over_the_wire() -> None:
    assert from_wire(to_wire(ACME)) == ACME


@pytest.mark.parametrize("change", [{"risk": "x"}, {"more": "1"}, {"match": None}, {"recipe": 1}])
def test_a_lesson_that_is_none_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, UsageError)):
        from_wire({**to_wire(ACME), **change})


def test_words_that_nobody_taught_do_not_leave() -> None:
    place = DictPlace(names=[("taught", "acme deploy")])
    facts = derive(ToolCall("claude-code", "s", "Bash", {"command": "acme deploy hunter2; other deploy"}, "/project"), place)
    assert {fact.targets for fact in facts} == {(Target("taught", "acme deploy"),), ()}


def test_a_malformed_fact_stays_critical_whatever_was_taught() -> None:
    odd = Fact("command", "no such program", targets=(Target("taught", "acme deploy"),), traits=("recipe_kept",))
    assert assess((odd,), (ACME,)).risk == "critical"


def test_a_lesson_keeps_its_form_in_a_row() -> None:
    for one in (ACME, lesson("pol_2", "program git", "", "high", "")):
        assert from_row(SimpleNamespace(id=one.id, project=one.project, risk=one.risk, rule=to_row(one))) == one
    assert to_row(ACME) == '{"match":"program acme verb deploy","recipe":"' + RECIPE + '"}'
    assert to_wire(ACME) == {"id": "pol_1", "project": "shop", "match": "program acme verb deploy", "risk": "medium", "recipe": RECIPE}


def test_a_lesson_speaks_of_a_program_by_its_first_name() -> None:
    one = lesson("pol_1", "program nodejs", "", "high", "")
    assert (one.program, one.verb, one.words, one.match) == ("node", "", "node", "program node")


def test_lessons_of_a_project_and_of_all() -> None:
    everywhere, elsewhere = lesson("pol_2", "program git", "", "high", ""), lesson("pol_3", "program git", "web", "high", "")
    assert of_project((ACME, everywhere, elsewhere), "shop") == (ACME, everywhere)
    assert of_project((ACME, everywhere, elsewhere), "") == (everywhere,)


def test_what_a_lesson_changed_names_it_and_what_it_did_not_change_does_not() -> None:
    raised = judged("git status", lesson("pol_1", "program git", "", "high", "")).lead
    assert (raised.rule, raised.key, raised.title, raised.why) == (
        "overlay:pol_1", "read", "Look at the repository", "a rule of your organisation"
    )  # fmt: skip
    taught = judged("acme deploy", ACME).lead
    assert (taught.rule, taught.key, taught.title, taught.why) == (
        "overlay:pol_1", "taught", "Run acme deploy", "a rule of your organisation"
    )  # fmt: skip
    lowered = judged("gh pr merge 12", lesson("pol_1", "program gh verb pr merge", "shop", "medium", "")).lead
    plain = judged("gh pr merge 12").lead
    assert (lowered.rule, lowered.key, lowered.title) == ("overlay:pol_1", plain.key, plain.title)
    same = Lesson("pol_1", "shop", "gh", "pr merge", plain.risk, "")
    assert judged("gh pr merge 12", same).lead == plain


@pytest.mark.parametrize("fact", [Fact("network", "curl", ("sends",)), Fact("file", verb=("delete",), traits=("recursive",)), None])
def test_a_lesson_is_of_commands_alone(fact: Any) -> None:
    verb = " ".join(fact.verb) if fact else ""
    one = Lesson("pol_1", "shop", fact.program if fact else "curl", verb, "low", RECIPE)
    assert assess((fact,), (one,)).actions == assess((fact,)).actions


def test_no_lessons_and_no_facts() -> None:
    assert assess((), (ACME,)) == assess(())


HINTS = {
    "an unknown risk": ("program acme", "shop", "harmless", "none, low, medium, high, critical"),
    "a project with a space": ("program acme", "my shop", "low", "connector.toml"),
    "no match": ("acme", "shop", "low", "program acme verb deploy"),
}


@pytest.mark.parametrize(("match", "project", "risk", "hint"), HINTS.values(), ids=HINTS.keys())
def test_a_refusal_says_what_would_work(match: str, project: str, risk: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        lesson("pol_1", match, project, risk, RECIPE)
    assert hint in str(vars(refused.value)) + str(refused.value)


def test_what_a_name_may_be() -> None:
    longest = "a" * 40
    assert lesson("pol_1", f"program {longest} verb {longest} {longest}", longest, "low", RECIPE).words == f"{longest} {longest} {longest}"
    for match in (f"program {longest}a", f"program acme verb {longest}a", "program acme verb a b c", "program acme\n", "program .acme"):
        with pytest.raises(UsageError):
            lesson("pol_1", match, "shop", "low", RECIPE)
    with pytest.raises(UsageError):
        lesson("pol_1", "program acme", longest + "a", "low", RECIPE)
    with pytest.raises(UsageError):
        lesson("pol_1", "program acme", "shop", "low", RECIPE + "a")
