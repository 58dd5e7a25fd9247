"""An organisation's own rules on top of the tables: what it raises, and what it taught Ony about programs that no table knows. Pure.

MUST: let a lesson raise any risk, and lower one only for the project it names.
MUST: never lower what a rule calls critical, `ony.*`, a grant, or anything opaque; what is critical only because no table knows it may be
taught, and a program without a table only while its file is the one the lesson was given for (`recipe_kept`).
MUST: judge the same facts the same way on the connector, where a pass is decided, and on the server, where a hold is spoken.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from ony_core import canon
from ony_core.errors import UsageError
from ony_core.model import RISKS, UNLISTED, Action, Assessment, Fact, level
from ony_core.taxonomy import engine
from ony_core.taxonomy.tables import tables

TAUGHT = "taught"  # target kind: "acme deploy", words the owner has used in a lesson
KEPT = "recipe_kept"  # trait: the program's file is the one the lesson was given for
OWN = "ony"
EXAMPLE = "write it like: program acme verb deploy"
_WORD = "[A-Za-z0-9][A-Za-z0-9._:/-]{0,39}"
_MATCH = re.compile(rf"program ([A-Za-z0-9][A-Za-z0-9._+-]{{0,39}})(?: verb ({_WORD}(?: {_WORD})?))?\Z", re.ASCII)
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z", re.ASCII)
_RECIPE = re.compile(r"sha256:[0-9a-f]{64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One rule of an organisation. project: "" = all, for raising only. recipe: "sha256:<hex>" of the program's file, or ""."""

    id: str
    project: str
    program: str
    verb: str
    risk: str
    recipe: str

    @property
    def words(self) -> str:
        return f"{self.program} {self.verb}".rstrip()

    @property
    def match(self) -> str:
        return f"program {self.program}" + (f" verb {self.verb}" if self.verb else "")


def lesson(identity: str, match: str, project: str, risk: str, recipe: str) -> Lesson:
    """A lesson that could ever apply. UsageError says what is missing; the hint shows a form that works."""
    found = _MATCH.match(match)
    if found is None:
        raise UsageError("the match is not a program with an optional verb", EXAMPLE)
    if risk not in RISKS:
        raise UsageError("that is not a risk", "one of " + ", ".join(RISKS))
    if project and not _PROJECT.match(project):
        raise UsageError("that is not a project's label", "use the label of connector.toml")
    if recipe and not _RECIPE.match(recipe):
        raise UsageError("that is not the digest of a program", "`ony explain` prints it: sha256:…")
    made = Lesson(identity, project, tables().names.get(found[1], found[1]), found[2] or "", risk, recipe)
    _insist(made)
    return made


def to_wire(one: Lesson) -> dict[str, str]:
    return {"id": one.id, "project": one.project, "match": one.match, "risk": one.risk, "recipe": one.recipe}


def from_wire(value: dict[str, str]) -> Lesson:
    """The lesson of exactly these fields, judged anew. KeyError, TypeError or UsageError for anything else."""
    if value.keys() != {"id", "project", "match", "risk", "recipe"} or not all(isinstance(part, str) for part in value.values()):
        raise TypeError("a rule has missing or unknown fields")
    return lesson(value["id"], value["match"], value["project"], value["risk"], value["recipe"])


def to_row(one: Lesson) -> str:
    """The text of the column `rule`."""
    return canon.dumps({"match": one.match, "recipe": one.recipe}).decode("ascii")


def from_row(row: Any) -> Lesson:
    """OnyError where a stored rule is none: it must not be passed over, for it may be one that raises."""
    kept = canon.loads(row.rule.encode())
    return lesson(row.id, kept["match"], row.project, row.risk, kept["recipe"])


def assess(facts: tuple[Fact, ...], lessons: tuple[Lesson, ...] = ()) -> Assessment:
    """The actions of a call, by the tables and then by the lessons. lessons: those of the call's project alone (see `of_project`)."""
    plain = engine.assess(facts)
    if not lessons or not plain.facts:
        return plain
    return Assessment(plain.facts, tuple(dict.fromkeys(_taught(fact, lessons) for fact in plain.facts)))


def of_project(lessons: tuple[Lesson, ...], project: str) -> tuple[Lesson, ...]:
    return tuple(one for one in lessons if one.project in ("", project))


def _taught(fact: Fact, lessons: tuple[Lesson, ...]) -> Action:
    """The action of one fact: the highest of the lessons that raise it, else the one lesson that says most about it."""
    action = engine.meaning(fact)
    fitting = [one for one in lessons if _fits(one, fact)] if action is not engine.ODD and fact.kind == "command" else []
    if not fitting:
        return action
    highest = max(fitting, key=lambda one: level(one.risk))
    if level(highest.risk) > level(action.risk):
        return replace(action, risk=highest.risk, rule=f"overlay:{highest.id}", why="a rule of your organisation")
    closest = max(fitting, key=lambda one: len(one.verb))
    return _lowered(action, fact, closest) if _may_lower(action, fact, closest) else action


def _fits(one: Lesson, fact: Fact) -> bool:
    if any(target.kind == TAUGHT and (target.name == one.words or target.name.startswith(one.words + " ")) for target in fact.targets):
        return True
    return fact.program == one.program and (not one.verb or one.verb == " ".join(fact.verb))


def _may_lower(action: Action, fact: Fact, one: Lesson) -> bool:
    if not one.project or level(one.risk) >= level(action.risk) or action.key.startswith(OWN + "."):
        return False
    if fact.program == UNLISTED:
        return bool(one.recipe) and KEPT in fact.traits and "unknown_word" not in fact.traits
    unknown = action.rule == engine.UNKNOWN_USE and any(target.kind == TAUGHT for target in fact.targets)
    return bool(one.verb) and (unknown or (action.risk != "critical" and action.key != "unknown"))


def _lowered(action: Action, fact: Fact, one: Lesson) -> Action:
    title = f"Run {one.words}" if action.key == "unknown" else action.title
    risk, said = engine.raised(one.risk, fact)
    key = TAUGHT if action.key == "unknown" else action.key
    return Action(key, risk, title if said in title else title + said, f"overlay:{one.id}", "a rule of your organisation")


def _insist(one: Lesson) -> None:
    """Says at once what `_may_lower` would never let happen."""
    if one.program == OWN:
        raise UsageError("Ony's own commands cannot be taught", "they are held in every mode")
    known = one.program in tables().programs
    usual = engine.meaning(Fact("command", one.program, tuple(one.verb.split()))) if known else engine.ODD
    if known and usual.key != "unknown" and level(one.risk) > level(usual.risk):
        return
    if not one.project:
        raise UsageError("what lowers a risk must name one project", "add --project with the label of connector.toml")
    if not known and not one.recipe:
        raise UsageError(f"no table knows {one.program}, so its file must be named", "add --recipe: `ony explain` prints it")
    if known and not one.verb:
        raise UsageError("what lowers a risk of a known program must name the verb", EXAMPLE)
    if known and usual.risk == "critical" and usual.key != "unknown":
        raise UsageError("what the tables call critical stays critical", "no rule of an organisation lowers it")
