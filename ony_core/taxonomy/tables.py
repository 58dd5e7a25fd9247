"""The taxonomy as data: loads the TOML families into programs, rules and the closed vocabulary.

MUST: refuse a table with a key, risk or trait it does not know: a misspelt rule must never become a rule that never matches.
MUST: stay plain data; nothing here looks at a call.

Families are read in name order, rules in file order, and the first rule that matches a fact decides. `docs/taxonomy.md` is written from
these tables; `reference.md` beside them explains the format to whoever extends them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import translate
from functools import cache
from re import Pattern, compile
from typing import Any

from ony_core.model import KINDS, RISKS, UNLISTED
from ony_core.taxonomy import checks, reading
from ony_core.taxonomy.reading import Documents

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


Sets = dict[frozenset[str], frozenset[str]]
ANY_NUMBER = (0, 1 << 30)


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
    args: tuple[int, int] = ANY_NUMBER
    takes: tuple[str, ...] = ()  # verbs that pass with any word behind them, though a longer verb of an open program is held
    joined: frozenset[str] = frozenset()  # the verbs as facts have them: "*" alone is any word that no table knows


PLAIN = Program("")  # of what a rule names and no table describes
_OF_A_PROGRAM = {f.name for f in fields(Program)} - {"name"}
_OF_A_RULE = {f.name for f in fields(Rule)} - {"family", "joined"} | set(reading.EXAMPLES)


@dataclass(frozen=True, slots=True)
class Actions:
    """How the verb of a "last" program is found."""

    groups: frozenset[str]
    actions: frozenset[str]
    wild: tuple[tuple[str, Pattern[str]], ...]


class Programs(Mapping[str, Program]):
    """Programs by name. Many share one grammar: a program gets an object of its own when it is first asked for."""

    def __init__(self, grammars: dict[str, Program]) -> None:
        self._made = grammars

    def __getitem__(self, name: str) -> Program:
        found = self._made[name]
        if found.name != name:
            found = self._made[name] = replace(found, name=name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything the engine and the facts need, ready to look up."""

    programs: Mapping[str, Program]
    names: dict[str, str]  # every spelling of a program -> its canonical name
    rules: dict[str, dict[str, tuple[Rule, ...]]]  # kind -> program or "" -> in order, those for every program among them
    traits: dict[str, str]  # trait -> words for a title
    targets: dict[str, Pattern[str]]
    words: dict[str, Any]  # every other list ("paths", "names", "environment", …) by table name
    verb_words: frozenset[str]
    all_rules: tuple[Rule, ...]
    _tries: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)
    _whole: dict[str, frozenset[str]] = field(default_factory=dict, compare=False)
    _flags: dict[str, frozenset[str]] = field(default_factory=dict, compare=False)
    _actions: dict[str, Actions] = field(default_factory=dict, compare=False)

    def asked(self, kind: str, program: str) -> tuple[Rule, ...]:
        """The rules that facts of this kind and program meet, in order; those for every program where none names this one."""
        by_name = self.rules.get(kind, {})
        return by_name.get(program) or by_name.get("", ())

    def own(self, program: str) -> list[Rule]:
        """The rules of any kind that name a program, or with "" those that name none."""
        found = (rule for by_name in self.rules.values() for rule in by_name.get(program, ()))
        return [rule for rule in found if (program in rule.program if program else not rule.program)]

    def trie(self, program: str) -> dict[str, Any]:
        """The verbs of a program, word by word; built when first asked for."""
        if program not in self._tries:
            made: dict[str, Any] = {}
            for rule in self.own(program):
                for verb in rule.verbs:
                    _grow(made, verb.split())
            self._tries[program] = made
        return self._tries[program]

    def whole(self, program: str) -> frozenset[str]:
        """The verbs of a program as facts have them."""
        if program not in self._whole:
            self._whole[program] = frozenset(verb for rule in self.own(program) for verb in rule.joined)
        return self._whole[program]

    def flags(self, program: str) -> frozenset[str]:
        """The flags of a program that any rule asks about, its own or one for every program; no other flag may stand in a fact."""
        if program not in self._flags:
            asking = self.own(program) + (self.own("") if program else [])
            self._flags[program] = frozenset().union(*(rule.flags | rule.all_flags | rule.not_flags for rule in asking))
        return self._flags[program]

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
    copied = reading.copied()
    return build(reading.documents()) if copied is None else assembled(copied)


def build(documents: Documents) -> Tables:
    """Tables of documents, which stay as they are. OnyError where they say what no reader knows, or other than what they seem to say."""
    made = assembled(documents)
    checks.escapes(made.words, made.programs)
    checks.spelled(made.all_rules)
    checks.reachable(made.all_rules)
    checks.swallowed(made.all_rules, made.programs)
    return made


def assembled(documents: Documents) -> Tables:
    """The same of documents whose meaning has been checked before."""
    same: Sets = {}  # most sets stand in many rules: one object for all that are equal
    grammars = _grammars(documents, same)
    words: dict[str, Any] = {}
    for family, document in documents:
        for table, content in document.items():
            if table not in ("program", "programs", "rule"):
                _merge(words, table, content, family)
    for name in (MCP_ANY, *map(mcp_program, words.get("mcp_servers", {}))):
        grammars.setdefault(name, PLAIN)
    spellings = _spellings(grammars)
    rules = [_rule(family, spec, spellings, same) for family, document in documents for spec in document.get("rule", ())]
    for rule in rules:
        for name in rule.program:
            grammars.setdefault(name, PLAIN)
    return _index(grammars, rules, words)


def _grammars(documents: Documents, same: Sets) -> dict[str, Program]:
    """Program -> its grammar, under whatever name that has: a group of programs shares one."""
    found: dict[str, Program] = {}
    for family, document in documents:
        groups = [([name], spec) for name, spec in document.get("program", {}).items()]
        groups += [(group["program"], {k: v for k, v in group.items() if k != "program"}) for group in document.get("programs", ())]
        for names, spec in groups:
            grammar = _program(family, names[0], spec, same)
            for name in names:
                if name in found:
                    checks.refuse(family, f"program {name} is described twice")
                found[name] = grammar
    return found


def _spellings(grammars: dict[str, Program]) -> dict[str, str]:
    """Other names of the described programs; a name of two programs is a mistake in the tables."""
    found: dict[str, str] = {}
    for program in grammars.values():
        for name in program.names:
            _insist(name not in grammars and name not in found, "names", f"{name} is a name of two programs")
            found[name] = program.name
    return found


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


def _program(family: str, name: str, spec: dict[str, Any], same: Sets) -> Program:
    _insist(spec.keys() <= _OF_A_PROGRAM, family, f"program {name}: unknown key {sorted(spec.keys() - _OF_A_PROGRAM)}")
    _insist(spec.get("operands", "read") in ROLES, family, f"program {name}: unknown operand role")
    roles = set(spec.get("roles", {}).values())
    _insist(roles <= set(ROLES), family, f"program {name}: unknown flag role")
    _insist("code" not in roles or "handler" in spec, family, f"program {name}: a flag of code needs a handler that reads it")
    made = dict(spec)
    for key in ("values", "recursive", "help", "flags", "batch"):
        if key in made:
            made[key] = _set(made[key], same)
    valued = [*spec.get("values", ()), *made.get("roles", ()), *made.get("targets", ())]
    made["values"] = _set(valued, same)
    if "verb_values" in made:
        made["verb_values"] = {verb: _set(flags, same) for verb, flags in made["verb_values"].items()}
    made["names"] = tuple(made.get("names", ()))
    return replace(PLAIN, name=name, **made)


def _rule(family: str, spec: dict[str, Any], spellings: dict[str, str], same: Sets) -> Rule:
    """The programs of a rule under their canonical names."""
    where = spec.get("title", spec.get("key", "?"))
    _insist(spec.keys() <= _OF_A_RULE, family, f"rule {where!r}: unknown key {sorted(spec.keys() - _OF_A_RULE)}")
    _insist(spec.keys() >= {"key", "risk", "title"}, family, f"rule {where!r} needs key, risk and title")
    _insist(spec["risk"] in RISKS, family, f"rule {where!r}: no such risk")
    _insist(spec.get("kind", "command") in KINDS, family, f"rule {where!r}: no such kind")
    made = {key: value for key, value in spec.items() if key not in reading.EXAMPLES}
    named = made.get("program", ())
    named = [named] if isinstance(named, str) else named
    made["program"] = tuple(dict.fromkeys(map(spellings.get, named, named)))
    for key in ("flags", "all_flags", "not_flags", "traits", "any_traits", "not_traits"):
        if key in made:
            made[key] = _set(made[key], same)
    for key in ("verbs", "takes"):
        if key in made:
            made[key] = tuple(made[key])
    if "args" in made:
        made["args"] = tuple(made["args"])
    verbs = made.get("verbs", ())
    _insist(set(made.get("takes", ())) <= set(verbs), family, f"rule {where!r} takes words behind a verb that is none of its own")
    joined = [_joined(verb) if "*" in verb else verb for verb in verbs] if "*" in "".join(verbs) else verbs
    return Rule(family=family, joined=_set(joined, same), **made)


def _joined(verb: str) -> str:
    return " ".join([UNLISTED if word == "*" else word for word in verb.split(" ")])


def _set(words: Iterable[str], same: Sets) -> frozenset[str]:
    made = frozenset(set(words))  # by way of a set, whose length is known: made of a list it takes twice the room
    return same.setdefault(made, made)


def _index(grammars: dict[str, Program], rules: list[Rule], words: dict[str, Any]) -> Tables:
    names = {name: name for name in grammars if name not in PSEUDO}
    names.update({spelling: program.name for program in grammars.values() for spelling in program.names})
    traits = words.pop("traits", {})
    for rule in rules:
        asked = rule.traits | rule.any_traits | rule.not_traits
        _insist(asked <= traits.keys(), rule.family, f"rule {rule.title!r}: unknown trait {sorted(asked - traits.keys())}")
    targets = {kind: compile(pattern) for kind, pattern in words.pop("targets", {}).items()}
    for program in grammars.values():
        if program.targets and not targets.keys() >= set(program.targets.values()):
            checks.refuse("targets", f"program {program.name}: unknown kind of target")
    return Tables(Programs(grammars), names, _by_program(rules), traits, targets, words, _verb_words(rules, words), tuple(rules))


def _by_program(rules: list[Rule]) -> dict[str, dict[str, tuple[Rule, ...]]]:
    """kind -> program -> its rules and those for every program, as they stand in the files; programs with the same rules share them."""
    numbers: dict[str, dict[str, tuple[int, ...]]] = {}
    for number, rule in enumerate(rules):
        alone, by_name = (number,), numbers.setdefault(rule.kind, {})
        for name in rule.program or ("",):
            by_name[name] = by_name[name] + alone if name in by_name else alone
    return {kind: _in_order(by_name, rules) for kind, by_name in numbers.items()}


def _in_order(by_name: dict[str, tuple[int, ...]], rules: list[Rule]) -> dict[str, tuple[Rule, ...]]:
    general = by_name.get("", ())
    shared = {own: tuple([rules[number] for number in sorted({*own, *general})]) for own in set(by_name.values())}
    return {name: shared[own] for name, own in by_name.items()}


def _verb_words(rules: list[Rule], words: dict[str, Any]) -> frozenset[str]:
    """Every word that may stand in the verb of a fact."""
    verbs = {verb for rule in rules for verb in rule.verbs}
    found = {verb for verb in verbs if verb and " " not in verb}  # first these: the rules' own objects stay in the set
    found.update(" ".join(verbs - found).split())
    return frozenset(found | {UNLISTED} | set(words.get("sql", {}).get("verbs", ())))


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
