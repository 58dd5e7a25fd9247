"""What facts mean. Pure: the same facts always give the same actions, on the connector and on the server.

MUST: treat any word, kind, trait, flag or target that no table knows as critical: facts come over a network.
MUST: put nothing into a title but table words and targets whose name matches the pattern of their kind.
MUST NOT: know of descriptions, annotations or any other hint of an agent; they do not exist here.
"""

from functools import lru_cache
from typing import Any

from ony_core.model import KINDS, RISKS, UNLISTED, Action, Assessment, Fact, Target, level
from ony_core.taxonomy.tables import Rule, Tables, tables

NOTHING = Action("read", "none", "Does nothing", "engine:nothing", "no part of the call runs anything")
ODD = Action("unknown", "critical", "Something this taxonomy has no words for", "engine:odd", "what no table knows may do anything")
UNKNOWN_USE = "engine:unknown_use"
MAX_FACTS = 512


def assess(facts: tuple[Fact, ...]) -> Assessment:
    """Every action of a call. Never raises: what cannot be understood is one critical action."""
    if not isinstance(facts, tuple | list) or len(facts) > MAX_FACTS:
        return Assessment((), (ODD,))
    actions = tuple(dict.fromkeys(meaning(fact) for fact in facts))
    return Assessment(tuple(facts), actions or (NOTHING,))


def meaning(fact: Any) -> Action:
    """The action of one fact, by the tables alone."""
    if not _well_formed(fact):
        return ODD
    return _judge(fact)


@lru_cache(maxsize=16384)
def _judge(fact: Fact) -> Action:
    known = tables()
    if not _in_vocabulary(fact, known):
        return ODD
    rule = deciding(fact, known.asked(fact.kind, fact.program), known)
    return _action(rule, fact) if rule is not None else _unknown(fact)


def deciding(fact: Fact, rules: tuple[Rule, ...], known: Tables) -> Rule | None:
    """The rule, of those that are asked for the fact's kind and program, that says what the fact means; None where none does."""
    fitting = [rule for rule in rules if matches(rule, fact)]
    program = known.programs.get(fact.program)
    return _last(fitting, fact) if program is not None and program.verbs == "last" else _first(fitting, fact)


def _first(fitting: list[Rule], fact: Fact) -> Rule | None:
    """The first rule whose verb is this one, or that asks for none."""
    verb = " ".join(fact.verb)
    return next((rule for rule in fitting if not rule.joined or verb in rule.joined), None)


def _last(fitting: list[Rule], fact: Fact) -> Rule | None:
    """For programs whose verb stands after groups that nobody can list (`gcloud compute instances delete`).

    A rule that asks for flags or traits alone comes first, then the whole verb, then the worst of all its parts: a noun that is also a
    harmless verb elsewhere ("snapshots delete") must not hide the dangerous word beside it.
    """
    for rule in fitting:
        if not rule.joined and (rule.flags or rule.all_flags or rule.not_flags or rule.traits or rule.any_traits):
            return rule
    words = [word for word in fact.verb if word != UNLISTED]
    whole = " ".join(words)
    if (words or not fact.verb) and (exact := next((rule for rule in fitting if whole in rule.joined), None)):
        return exact
    spans = {" ".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
    hits = [rule for rule in fitting if rule.joined & spans]
    return max(hits, key=lambda rule: level(rule.risk), default=None) or next((rule for rule in fitting if not rule.joined), None)


def matches(rule: Rule, fact: Fact) -> bool:
    """Whether every condition of the rule but its verbs holds for the fact."""
    flags, traits = set(fact.flags), set(fact.traits)
    return bool(
        (not rule.flags or rule.flags & flags)
        and rule.all_flags <= flags
        and not rule.not_flags & flags
        and rule.traits <= traits
        and (not rule.any_traits or rule.any_traits & traits)
        and not rule.not_traits & traits
        and rule.args[0] <= fact.args <= rule.args[1]
    )


def _well_formed(fact: Any) -> bool:
    """Types only; a fact from the network may hold anything."""
    if not isinstance(fact, Fact) or not isinstance(fact.program, str) or type(fact.args) is not int or fact.args < 0:
        return False
    lists = (fact.verb, fact.flags, fact.traits)
    if not all(isinstance(part, tuple) and all(isinstance(word, str) for word in part) for part in lists):
        return False
    return isinstance(fact.targets, tuple) and all(
        isinstance(t, Target) and isinstance(t.kind, str) and isinstance(t.name, str) for t in fact.targets
    )


def _in_vocabulary(fact: Fact, known: Tables) -> bool:
    program = fact.program
    return (
        fact.kind in KINDS
        and (program in ("", UNLISTED) or program in known.programs)
        and known.verb_words.issuperset(fact.verb)
        and known.flags(program).issuperset(fact.flags)
        and known.traits.keys() >= set(fact.traits)
        and all(_sound(target, known) for target in fact.targets)
    )


def _sound(target: Target, known: Tables) -> bool:
    pattern = known.targets.get(target.kind)
    return pattern is not None and (target.name == UNLISTED or pattern.fullmatch(target.name) is not None)


def _action(rule: Rule, fact: Fact) -> Action:
    risk, said = raised(rule.risk, fact)
    return Action(rule.key, risk, _title(rule.title, fact) + said, f"{rule.family}:{rule.key}", rule.why)


def raised(risk: str, fact: Fact) -> tuple[str, str]:
    """The risk after the steps that the fact's surroundings add, and what they add to the title."""
    said = ""
    for step in tables().words.get("raise", []):
        if step["trait"] in fact.traits and level(risk) >= level(step["from"]):
            counted = fact.kind == "command" and fact.program in step.get("counted", ())
            risk = risk if counted else RISKS[min(level(risk) + 1, len(RISKS) - 1)]
            said += step["says"]
    return risk, said


def _title(template: str, fact: Fact) -> str:
    """The template with {program}, {verb}, {count} and {any target kind} filled in; a kind the fact does not name reads "an unlisted kind".

    It must read as it stands when it is spoken: no brackets, and nothing left hanging where there is no verb.
    """
    names = _Names({target.kind: target.name for target in fact.targets if target.name != UNLISTED})
    names["program"] = fact.program.replace("-", " ") if fact.kind == "mcp" else fact.program or "a program"
    names["verb"] = " ".join(word.replace("*", "").rstrip("-_:.") for word in fact.verb if word != UNLISTED)
    names["count"] = f"{fact.args} files" if fact.args > 1 else "a file"
    return " ".join(template.format_map(names).split()).rstrip(" :")


class _Names(dict[str, str]):
    def __missing__(self, kind: str) -> str:
        return f"an unlisted {kind}"


def _unknown(fact: Fact) -> Action:
    if fact.kind == "command" and fact.program not in ("", UNLISTED):
        title = f"A use of {fact.program} that no rule knows"
        return Action("unknown", "critical", title, UNKNOWN_USE, "an unknown verb of a known program may do anything")
    return Action("unknown", "critical", "A program or tool that no table knows", "engine:unknown", "an unknown program may do anything")
