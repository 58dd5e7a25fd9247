"""What `ony explain` tells people of one call: what runs, what was understood, what it means, what is said, and what can be taught.

MUST show the call's own words in "What runs" and in the line to teach only: everything else is what would leave the machine.
"""

import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ony_core.channels import voice
from ony_core.errors import OnyError
from ony_core.facts import Place, understand
from ony_core.facts.commands import program_named
from ony_core.facts.words import HOLE, Word
from ony_core.model import UNLISTED, Action, Assessment, Fact, ToolCall, at_least, level
from ony_core.policy import OWN, gate
from ony_core.taxonomy import assess, engine, overlay

MODES = ("on", "away", "here", "off")
WIDTH = 100
MOST = 24  # commands, facts or actions that are listed; the rest are counted
SPOKEN = {"project": "PROJECT", "word": "42"}  # what only a real request has


@dataclass(frozen=True)
class Told:
    """One call, understood. teach: the line for the owner, or why there is none; both "" where there is nothing to teach."""

    assessment: Assessment
    parse: tuple[tuple[int, str], ...]
    spoken: str
    teach: str = ""
    why_not: str = ""


def explained(call: ToolCall, place: Place) -> Told:
    found = understand(call, place, parse=True)
    assessment = assess(found.facts)
    parse = tuple(step for step, _ in itertools.groupby((depth, _shown(words)) for depth, words in _steps(found.parse)))
    spoken = voice.summary(_talk(call, assessment)) if gate(assessment, "on") == "hold" else ""
    teach, why_not = _lesson(assessment, found.parse, place) if spoken else ("", "")
    return Told(assessment, parse, spoken, teach, why_not)


def _talk(call: ToolCall, assessment: Assessment) -> voice.Talk:
    titles = dict.fromkeys(action.title for action in _by_risk(assessment) if at_least(action.risk, "high"))
    return voice.Talk(call.agent or "claude-code", SPOKEN["project"], tuple(titles), assessment.risk, SPOKEN["word"], "on")


def _by_risk(assessment: Assessment) -> list[Action]:
    return sorted(assessment.actions, key=lambda action: -level(action.risk))


def _steps(parse: tuple[tuple[int, list[Word]], ...]) -> Iterator[tuple[int, list[Word]]]:
    """Depths as a reader counts them: one more for each command that stands within another."""
    levels: list[int] = []
    for depth, words in parse:
        while levels and levels[-1] >= depth:
            levels.pop()
        yield len(levels), words
        levels.append(depth)


def _shown(words: list[Word]) -> str:
    """The words as they would be typed; what only the run will know is an ellipsis, and no character of theirs moves the cursor."""
    texts = [word.text.replace(HOLE, "…") for word in words]
    quoted = [text if text and not set(text) & set(" \t\n'\"$`\\;&|<>(){}") else "'" + text.replace("'", "'\\''") + "'" for text in texts]
    return "".join(c if c.isprintable() else " " if c in "\n\t" else "·" for c in " ".join(quoted))


# ---- what can be taught


def _lesson(assessment: Assessment, parse: tuple[tuple[int, list[Word]], ...], place: Place) -> tuple[str, str]:
    """(the line that would teach Ony this call, why nothing can be taught); exactly one of them is empty."""
    for fact in sorted(assessment.facts, key=lambda fact: -level(engine.meaning(fact).risk)):
        action = engine.meaning(fact)
        if at_least(action.risk, "high") and (why := _why_not(fact, action)):
            return "", why
    strange = next((f for f in assessment.facts if f.program == UNLISTED or engine.meaning(f).rule == engine.UNKNOWN_USE), None)
    words = next((texts for _, line in parse if (texts := _named(line, strange))), None)
    return _line(words, place) if words else ("", "the part that is held has no name that a rule could use")


def _why_not(fact: Fact, action: Action) -> str:
    if action.key.startswith(OWN):
        return "what changes Ony, or an agent's leash, is held in every mode"
    if fact.kind in ("opaque", "grant"):
        return "nobody can know what this will do before it runs"
    if fact.kind == "command" and (fact.program == UNLISTED or action.rule == engine.UNKNOWN_USE):
        return ""
    if action.risk == "critical":
        return f"a rule of the taxonomy calls this critical ({action.rule}), and no rule of yours lowers that"
    return f"a rule of the taxonomy knows this use ({action.rule})"


def _named(line: list[Word], strange: Fact | None) -> list[str]:
    """The program and the verb, as a match names them, if this command is the one that no table knows."""
    if strange is None or not line or not line[0].known:
        return []
    program = program_named(line[0].text)
    if (program.name if program is not None else UNLISTED) != strange.program:
        return []
    name = program.name if program is not None else line[0].text.rpartition("/")[2]
    verb = []
    for word in line[1 : 1 + max(1, min(2, len(strange.verb)))]:
        if not word.known or word.glob or not word.text[:1].isalpha() or set(word.text) & set("/=:."):
            break
        verb.append(word.text)
    return [name, line[0].text, *verb]


def _line(words: list[str], place: Place) -> tuple[str, str]:
    name, typed, *verb = words
    match = f"program {name}" + (f" verb {' '.join(verb)}" if verb else "")
    recipe = ""
    if program_named(typed) is None:
        digests: frozenset[str] = getattr(place, "recipe", lambda _: frozenset())(typed)
        if len(digests) != 1:
            return "", f"no table knows {name}, and its file is not found here: it can be taught where it is installed"
        recipe = f" --recipe {next(iter(digests))}"
    try:
        overlay.lesson("", match, SPOKEN["project"], "medium", recipe.removeprefix(" --recipe "))
    except OnyError as error:
        return "", str(error)
    return f"ony admin policy set --project {SPOKEN['project']} --match '{match}'{recipe} --risk medium", ""


# ---- for people


def prose(told: Told) -> list[str]:
    """The whole page, at most WIDTH columns but for the line to copy."""
    lead = told.assessment.lead
    held = bool(told.spoken)
    lines = _wrapped(f"{'HELD' if held else 'passes'}: {lead.title}", "", "  ")
    lines += _part("What runs", [_wrapped(text, "  " * depth, "    ") for depth, text in told.parse])
    lines += _part("What Ony understood (this is all that would leave this machine)", [_wrapped(_fact(f)) for f in told.assessment.facts])
    lines += _part("What it means", [_meaning(action) for action in _by_risk(told.assessment)])
    lines += _part("On the phone", [_wrapped(f'"{told.spoken}"')] if held else [["nothing: it passes, and nobody is rung"]])
    lines += _part("Modes", [[", ".join(f"{mode}: {'hold' if gate(told.assessment, mode) == 'hold' else 'pass'}" for mode in MODES)]])
    if told.teach:
        lines += _part("To teach Ony this command", [[told.teach]])
    elif told.why_not:
        lines += _part("To teach Ony this command", [_wrapped(f"not possible: {told.why_not}")])
    return lines


def _part(title: str, entries: list[list[str]]) -> list[str]:
    shown = [f"  {line}" for entry in entries[:MOST] for line in entry]
    more = [f"  and {len(entries) - MOST} more"] if len(entries) > MOST else []
    return ["", title, *shown, *more] if entries else []


def _wrapped(text: str, first: str = "", hanging: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, initial_indent=first, subsequent_indent=first + hanging, break_on_hyphens=False) or [""]


def _fact(fact: Fact) -> str:
    """One fact in a line: the words of the tables that stand in it."""
    count = f"{fact.args} operand{'s' * (fact.args != 1)}" if fact.args else ""
    aims = [f"{target.kind} {target.name}" for target in fact.targets]
    words = " ".join(filter(None, [fact.kind, fact.program, *fact.verb, *fact.flags]))
    return ", ".join(filter(None, [words, count, *aims])) + (f" ({', '.join(fact.traits).replace('_', ' ')})" if fact.traits else "")


def _meaning(action: Action) -> list[str]:
    family, _, key = action.rule.partition(":")
    source = f"{key}, ony_core/taxonomy/{family}" if family.endswith(".toml") else "no rule of the tables"
    lines = _wrapped(f"{action.risk:9}{action.title}", "", " " * 11) + _wrapped(f"[{source}]", " " * 9, " ")
    return lines + (_wrapped(action.why, " " * 9, "") if action.why else [])


# ---- for programs


def fields(told: Told) -> dict[str, Any]:
    """What `--json` says beyond the contract of `--jsonl`."""
    named = ("key", "risk", "title", "why", "rule")
    return {
        "actions": [{name: getattr(action, name) for name in named} for action in _by_risk(told.assessment)],
        "parse": [{"depth": depth, "command": text} for depth, text in told.parse],
        "spoken": told.spoken,
        "teach": told.teach,
        "teach_why_not": told.why_not,
    }
