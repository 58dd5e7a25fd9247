"""The taxonomy as data: loads the TOML families into programs, rules and the closed vocabulary.

MUST: refuse a table with a key, risk or trait it does not know: a misspelt rule must never become a rule that never matches.
MUST: stay plain data; nothing here looks at a call.

Families are read in name order, rules in file order, and the first rule that matches a fact decides. `docs/taxonomy.md` is written from
these tables; `reference.md` beside them explains the format to whoever extends them.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from fnmatch import translate
from functools import cache
from importlib import resources
from re import Pattern, compile
from typing import Any

from ony_core.model import KINDS, RISKS, UNLISTED
from ony_core.taxonomy import checks

_insist = checks.insist
MCP_ANY = "an-MCP-server"  # no table knows it
PAGE = "code-in-a-page"
PSEUDO = frozenset({UNLISTED, "project_code", PAGE, MCP_ANY})  # words of facts that no command line can name
ROLES = (
    "read",
    "write",
    "create",
    "modify",
    "delete",
    "move",
    "copy",
    "link",
    "text",
    "none",
    "url",
    "folder",
    "unpack",
    "run",
    "script",
    "send",
    "serve",
    "code",
    "load",
)
PATTERN_ROLES = ("run:", "hold:")  # the value is a command, or something that is loaded, only where it matches what follows the colon


@dataclass(frozen=True, slots=True)
class Program:
    """How the words of one program are read. `operands`: what its operands are; `roles`: what the values of flags are."""

    name: str
    names: tuple[str, ...] = ()
    verbs: str = "first"  # "first": leading operands; "last": the first operand that is an action word
    values: frozenset[str] = frozenset()  # flags that take a value
    verb_values: dict[str, frozenset[str]] = field(default_factory=dict)
    spell: dict[str, str] = field(default_factory=dict)  # other spelling -> canonical flag; "verb -d" binds to a verb
    single_dash: bool = False  # -long options, as in terraform
    help: frozenset[str] = frozenset({"--help", "--version"})
    flags: frozenset[str] = frozenset()  # long flags its handler looks at, so that beginnings of them are understood
    operands: str = "read"
    skip: int = 0  # leading operands that are no files: a pattern, a filter
    open: bool = False  # words after a whole verb are operands, even where longer verbs begin the same way
    abbreviates: bool = False  # takes any beginning of a verb, part by part between colons, as Symfony's console does
    roles: dict[str, str] = field(default_factory=dict)
    recursive: frozenset[str] = frozenset()
    batch: frozenset[str] = frozenset()  # flags with which an interpreter opens no session
    wraps: int = -1  # operands before the command it runs; -1: runs none
    handler: str = ""
    targets: dict[str, str] = field(default_factory=dict)  # flag -> target kind


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of meaning. Every condition that is given must hold; `verbs` are whole verbs, words joined by blanks.

    `*` as a word stands for any word that no table knows. Where the verb stands last, parts of it match too (see the engine).
    """

    key: str
    risk: str
    title: str
    family: str = ""
    why: str = ""
    kind: str = "command"
    program: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()  # any of
    all_flags: frozenset[str] = frozenset()
    not_flags: frozenset[str] = frozenset()
    traits: frozenset[str] = frozenset()  # all of
    any_traits: frozenset[str] = frozenset()
    not_traits: frozenset[str] = frozenset()
    args: tuple[int, int] = (0, 1 << 30)
    takes: tuple[str, ...] = ()  # verbs that pass with any word behind them, though a longer verb of an open program is held
    holds: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    joined: frozenset[str] = frozenset()  # the verbs as facts have them: "*" alone is any word that no table knows


@dataclass(frozen=True, slots=True)
class Actions:
    """How the verb of a "last" program is found."""

    groups: frozenset[str]
    actions: frozenset[str]
    wild: tuple[tuple[str, Pattern[str]], ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything the engine and the facts need, ready to look up."""

    programs: dict[str, Program]
    names: dict[str, str]  # every spelling of a program -> its canonical name
    rules: dict[tuple[str, str], tuple[Rule, ...]]  # (kind, program or "") -> in order
    verbs: dict[str, list[str]]  # program -> its verbs
    flags: dict[str, frozenset[str]]  # program -> flags that any rule asks about
    traits: dict[str, str]  # trait -> words for a title
    targets: dict[str, Pattern[str]]
    words: dict[str, Any]  # every other list ("paths", "names", "environment", …) by table name
    verb_words: frozenset[str]
    all_rules: tuple[Rule, ...]
    _tries: dict[str, dict[str, Any]] = field(default_factory=dict)
    _whole: dict[str, frozenset[str]] = field(default_factory=dict)
    _actions: dict[str, Actions] = field(default_factory=dict)

    def trie(self, program: str) -> dict[str, Any]:
        """The verbs of a program, word by word; built when first asked for."""
        if program not in self._tries:
            made: dict[str, Any] = {}
            for verb in self.verbs.get(program, ()):
                _grow(made, verb.split())
            self._tries[program] = made
        return self._tries[program]

    def whole(self, program: str) -> frozenset[str]:
        """The verbs of a program as facts have them."""
        if program not in self._whole:
            joined = (" ".join(UNLISTED if w == "*" else w for w in verb.split()) for verb in self.verbs.get(program, ()))
            self._whole[program] = frozenset(joined)
        return self._whole[program]

    def actions(self, program: str) -> Actions:
        """How the verb of a "last" program is found; built when first asked for."""
        if program not in self._actions:
            self._actions[program] = _actions(self.trie(program))
        return self._actions[program]


def mcp_program(server: str) -> str:
    """What stands in a fact, and is spoken, for a server that a table knows."""
    return f"the-{server.replace('_', '-')}-server"


@cache
def tables() -> Tables:
    """The tables shipped in this package; read once."""
    return build(_documents())


def build(documents: Iterable[tuple[str, dict[str, Any]]]) -> Tables:
    programs: dict[str, Program] = {}
    rules: list[Rule] = []
    words: dict[str, Any] = {}
    for family, document in documents:
        for name, spec in document.pop("program", {}).items():
            _insist(name not in programs, family, f"program {name} is described twice")
            programs[name] = _program(family, name, spec)
        for group in document.pop("programs", []):
            for name in group.pop("program"):
                _insist(name not in programs, family, f"program {name} is described twice")
                programs[name] = _program(family, name, group)
        rules.extend(_rule(family, spec) for spec in document.pop("rule", []))
        for table, content in document.items():
            _merge(words, table, content, family)
    for name in (MCP_ANY, *map(mcp_program, words.get("mcp_servers", {}))):
        programs.setdefault(name, Program(name))
    spellings = _spellings(programs)
    rules = [replace(rule, program=tuple(dict.fromkeys(spellings.get(name, name) for name in rule.program))) for rule in rules]
    for rule in rules:
        for name in rule.program:
            programs.setdefault(name, Program(name))
    checks.escapes(words, programs)
    checks.swallowed(rules, programs)
    return _index(programs, rules, words)


def _spellings(programs: dict[str, Program]) -> dict[str, str]:
    """Other names of the described programs; a name of two programs is a mistake in the tables."""
    found: dict[str, str] = {}
    for program in programs.values():
        for name in program.names:
            _insist(name not in programs and name not in found, "names", f"{name} is a name of two programs")
            found[name] = program.name
    return found


def _documents() -> list[tuple[str, dict[str, Any]]]:
    folder = resources.files("ony_core.taxonomy")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return [(f.name, tomllib.loads(f.read_text(encoding="utf-8"))) for f in found]


def _merge(words: dict[str, Any], table: str, content: Any, family: str) -> None:
    if isinstance(content, list):
        words.setdefault(table, []).extend(content)
        return
    _insist(isinstance(content, dict), family, f"{table} must be a table or a list of tables")
    here = words.setdefault(table, {})
    for key, value in content.items():
        if isinstance(value, list):
            here.setdefault(key, []).extend(value)
        else:
            _insist(key not in here, family, f"{table}.{key} is set twice")
            here[key] = value


def _program(family: str, name: str, spec: dict[str, Any]) -> Program:
    known = {f.name for f in fields(Program)} - {"name"}
    _insist(set(spec) <= known, family, f"program {name}: unknown key {sorted(set(spec) - known)}")
    _insist(spec.get("operands", "read") in ROLES, family, f"program {name}: unknown operand role")
    unknown = {role for role in spec.get("roles", {}).values() if role not in ROLES and not role.startswith(PATTERN_ROLES)}
    _insist(not unknown, family, f"program {name}: unknown flag role")
    patterns = [role.partition(":")[2] for role in spec.get("roles", {}).values() if role.startswith(PATTERN_ROLES)]
    _insist(all(map(checks.pattern, patterns)), family, f"program {name}: a pattern that no value can be compared with")
    made = dict(spec)
    for key in ("values", "recursive", "help", "flags", "batch"):
        if key in made:
            made[key] = frozenset(made[key])
    made["values"] = made.get("values", frozenset()) | made.get("roles", {}).keys() | made.get("targets", {}).keys()
    made["verb_values"] = {verb: frozenset(flags) for verb, flags in made.get("verb_values", {}).items()}
    made["names"] = tuple(made.get("names", ()))
    return Program(name=name, **made)


def _rule(family: str, spec: dict[str, Any]) -> Rule:
    known = {f.name for f in fields(Rule)} - {"family", "joined"}
    where = spec.get("title", spec.get("key", "?"))
    _insist(set(spec) <= known, family, f"rule {where!r}: unknown key {sorted(set(spec) - known)}")
    _insist({"key", "risk", "title"} <= set(spec), family, f"rule {where!r} needs key, risk and title")
    _insist(spec["risk"] in RISKS, family, f"rule {where!r}: no such risk")
    _insist(spec.get("kind", "command") in KINDS, family, f"rule {where!r}: no such kind")
    made = dict(spec)
    program = made.get("program", ())
    made["program"] = (program,) if isinstance(program, str) else tuple(program)
    for key in ("flags", "all_flags", "not_flags", "traits", "any_traits", "not_traits"):
        made[key] = frozenset(made.get(key, ()))
    for key in ("verbs", "holds", "passes", "takes"):
        made[key] = tuple(made.get(key, ()))
    made["args"] = tuple(made.get("args", (0, 1 << 30)))
    _insist(set(made["takes"]) <= set(made["verbs"]), family, f"rule {where!r} takes words behind a verb that is none of its own")
    joined = (" ".join(UNLISTED if word == "*" else word for word in verb.split()) for verb in made["verbs"])
    return Rule(family=family, joined=frozenset(joined), **made)


def _index(programs: dict[str, Program], rules: list[Rule], words: dict[str, Any]) -> Tables:
    names = {spelling: p.name for p in programs.values() if p.name not in PSEUDO for spelling in (p.name, *p.names)}
    traits = words.pop("traits", {})
    by: dict[tuple[str, str], list[tuple[int, Rule]]] = {}
    verbs: dict[str, list[str]] = {}
    flags: dict[str, set[str]] = {}
    _reachable(rules)
    for number, rule in enumerate(rules):
        asked = rule.traits | rule.any_traits | rule.not_traits
        _insist(asked <= set(traits), rule.family, f"rule {rule.title!r}: unknown trait {sorted(asked - set(traits))}")
        for name in rule.program or ("",):
            by.setdefault((rule.kind, name), []).append((number, rule))
            flags.setdefault(name, set()).update(rule.flags | rule.all_flags | rule.not_flags)
            verbs.setdefault(name, []).extend(rule.verbs)
    ordered = {key: _in_order(found + (by.get((key[0], ""), []) if key[1] else [])) for key, found in by.items()}
    targets = {kind: compile(pattern) for kind, pattern in words.pop("targets", {}).items()}
    for program in programs.values():
        _insist(set(program.targets.values()) <= set(targets), "targets", f"program {program.name}: unknown kind of target")
    return Tables(
        programs,
        names,
        ordered,
        verbs,
        {n: frozenset(f) for n, f in flags.items()},
        traits,
        targets,
        words,
        _verb_words(rules, words),
        tuple(rules),
    )


def _reachable(rules: list[Rule]) -> None:
    """A rule without conditions ends its program: one that stands after it would never be asked."""
    ended: dict[tuple[str, str], Rule] = {}
    for rule in rules:
        for name in rule.program or ("",):
            before = ended.get((rule.kind, name))
            _insist(
                before is None,
                rule.family,
                f"rule {rule.title!r} for {name} stands after {before.title if before else ''!r}, which takes all",
            )
            if not _conditions(rule):
                ended[rule.kind, name] = rule


def _conditions(rule: Rule) -> bool:
    asked = (rule.verbs, rule.flags, rule.all_flags, rule.not_flags, rule.traits, rule.any_traits, rule.not_traits)
    return any(asked) or rule.args != (0, 1 << 30)


def _verb_words(rules: list[Rule], words: dict[str, Any]) -> frozenset[str]:
    """Every word that may stand in the verb of a fact."""
    found = {word for rule in rules for verb in rule.verbs for word in verb.split()}
    return frozenset(found | {UNLISTED} | set(words.get("sql", {}).get("verbs", ())))


def _in_order(numbered: list[tuple[int, Rule]]) -> tuple[Rule, ...]:
    """Rules of a program and those for every program, as they stand in the files."""
    return tuple(rule for _, rule in sorted(numbered, key=lambda pair: pair[0]))


def _grow(trie: dict[str, Any], path: list[str]) -> None:
    for word in path:
        trie = trie.setdefault(UNLISTED if word == "*" else word, {})


def _actions(trie: dict[str, Any]) -> Actions:
    """Words of a program whose verb stands last: groups (something may follow), actions, and wildcard actions with their patterns."""
    groups: set[str] = set()
    actions: set[str] = set()
    waiting = [trie]
    while waiting:
        for word, below in waiting.pop().items():
            (groups if below else actions).add(word)
            waiting.append(below)
    wild = sorted(w for w in actions if "*" in w)
    plain = frozenset(actions - set(wild) - {UNLISTED})
    return Actions(frozenset(groups - {UNLISTED}), plain, tuple((w, compile(translate(w))) for w in wild))
