"""What the loader refuses beside misspelt words: tables that say something other than what they seem to say.

MUST: stay cheap; the tables are checked whenever they are read from their own files, and before a compact copy of them is made.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ony_core.errors import OnyError
from ony_core.model import at_least

if TYPE_CHECKING:
    from ony_core.taxonomy.tables import Program, Rule

ESCAPES = ("run", "hook", "words", "commas", "code", "load", "hold", "make", "shows")  # what they mean: ony_core/facts/escapes.py

_MEND = "give the rule args = [0, 0], or name the verb in takes"


def insist(fine: bool, family: str, what: str) -> None:
    if not fine:
        refuse(family, what)


def refuse(family: str, what: str) -> NoReturn:
    raise OnyError(f"taxonomy {family}: {what}", "mend the table; see the format page")


def spelled(rules: Sequence["Rule"]) -> None:
    """The words of a verb are joined by one blank, as facts have them."""
    for rule in rules:
        wrong = [verb for verb in rule.verbs if verb != " ".join(verb.split())]
        insist(not wrong, rule.family, f"rule {rule.title!r}: words of a verb are joined by one blank: {wrong[:1]}")


def reachable(rules: Sequence["Rule"]) -> None:
    """A rule without conditions ends its program: one that stands after it would never be asked."""
    ended: dict[tuple[str, str], Rule] = {}
    for rule in rules:
        ends = not _conditions(rule)
        for name in rule.program or ("",):
            if before := ended.get((rule.kind, name)):
                refuse(rule.family, f"rule {rule.title!r} for {name} stands after {before.title!r}, which takes all")
            if ends:
                ended[rule.kind, name] = rule


def _conditions(rule: "Rule") -> bool:
    asked = (rule.verbs, rule.flags, rule.all_flags, rule.not_flags, rule.traits, rule.any_traits, rule.not_traits)
    return any(asked) or rule.args != (0, 1 << 30)


def escapes(words: dict[str, Any], programs: Mapping[str, "Program"]) -> None:
    """Each role of the table `escapes` is one that its reader knows, with a pattern that compiles, a number or a language behind it."""
    lists = words.get("escapes", {})
    for name, listed in lists.items():
        insist(isinstance(listed, dict), "escapes", f"{name}: a table of words and what they take")
        for key, role in listed.items():
            if key == "like":
                insist(isinstance(role, str) and role in lists and "like" not in lists[role], "escapes", f"{name} is like {role!r}")
            else:
                insist(isinstance(role, str) and _role(role, words, programs), "escapes", f"{name} {key}: unknown role {role!r}")


def _role(role: str, words: dict[str, Any], programs: Mapping[str, "Program"]) -> bool:
    kind, colon, given = role.partition(":")
    if kind not in ESCAPES or not colon:
        return kind in ESCAPES
    if kind in ("run", "hold", "shows"):
        return pattern(given)
    return given.isdigit() if kind == "words" else kind == "code" and (given in words.get("languages", {}) or given in programs)


def pattern(text: str) -> bool:
    try:
        return bool(re.compile(text)) and text != ""
    except re.error:
        return False


def swallowed(rules: Sequence["Rule"], programs: Mapping[str, "Program"]) -> None:
    """No verb of an open program passes with whatever stands behind it where a longer verb is held, unless its rule says that it takes it.

    Words after a whole verb of an open program are operands: `snapshot destroy x` would pass as `snapshot` does, though `snapshot delete`
    rings. The rule wants `args = [0, 0]`, or the verb in `takes`. A verb of no words at all is never whole; it passes alone.
    """
    longer: dict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
    starred: dict[str, set[str]] = defaultdict(set)
    named = {name for rule in rules for name in rule.program}
    opened = {name for name in named if programs[name].open and programs[name].verbs == "first"}
    commands = [(rule, opened.intersection(rule.program)) for rule in rules if rule.kind == "command"]
    commands = [(rule, names) for rule, names in commands if names]
    for rule, names in commands:
        for verb in rule.verbs:
            before, _, last = verb.rpartition(" ")
            if before and last == "*":
                starred[before] |= names
            elif before and "*" not in last and at_least(rule.risk, "high") and not _asks(rule):
                longer[before].append((last, frozenset(names)))
    for rule, names in commands:
        if at_least(rule.risk, "high") or rule.args[1] == 0:
            continue
        for verb in rule.verbs:
            for last, held in longer.get(verb, ()) if verb not in rule.takes else ():
                if both := sorted((names & held) - starred[verb]):
                    said = f"rule {rule.title!r}: {both[:1]} {verb} passes with any word, though {verb} {last} is held: {_MEND}"
                    refuse(rule.family, said)


def _asks(rule: "Rule") -> bool:
    return any((rule.flags, rule.all_flags, rule.traits, rule.any_traits))
