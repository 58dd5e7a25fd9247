"""Reads the words after a program by its table: flags in canonical spelling, the values of flags, verb words, operands."""

from dataclasses import dataclass, field
from functools import lru_cache

from ony_core.facts.words import HOLE, Word
from ony_core.model import UNLISTED, Fact, level
from ony_core.taxonomy.tables import Program, tables

MAX_VERB = 6


@dataclass(slots=True)
class Line:
    """A command line, understood. flags: canonical, all of them; a fact keeps those that rules ask about. values: (flag, value)."""

    program: Program
    verb: tuple[str, ...] = ()
    flags: set[str] = field(default_factory=set)
    values: list[tuple[str, Word]] = field(default_factory=list)
    operands: list[Word] = field(default_factory=list)
    traits: set[str] = field(default_factory=set)
    blind: tuple[str, ...] | None = None  # the verb words before one that only the running shell will know

    def value(self, *names: str) -> Word | None:
        """The last value given for any of these flags."""
        return next((v for n, v in reversed(self.values) if n in names), None)

    def all(self, *names: str) -> list[Word]:
        return [v for n, v in self.values if n in names]


def read(program: Program, words: list[Word], stop_at_operand: int = -1) -> tuple[Line, list[Word]]:
    """The line, and what is left from operand number `stop_at_operand` on (for programs that run another command)."""
    line = Line(program)
    asked = tables().flags(program.name) | program.recursive | program.flags | program.batch
    verb = _Verb(program)
    at, only_operands = 0, False
    while at < len(words):
        word = words[at]
        text = word.text
        at += 1
        if only_operands or len(text) < 2 or text[0] not in "-+" or (text[0] == "+" and "+" not in program.help):
            if stop_at_operand == len(line.operands):
                line.verb, line.blind = verb.words(), verb.blind
                return line, words[at - 1 :]
            if not verb.take(word):
                line.operands.append(word)
        elif text == "--":
            only_operands = verb.done or bool(verb.found)
        else:
            at = _flag(line, word, words, at, asked, verb)
    line.verb, line.blind = verb.words(), verb.blind
    if program.verbs == "last" and words and words[-1].text == "help":
        line.traits.add("help")
    if HOLE in " ".join(w.text for w in words):
        line.traits.add("unknown_word")
    return line, []


def _flag(line: Line, word: Word, words: list[Word], at: int, asked: frozenset[str], verb: "_Verb") -> int:
    """Takes one flag word, and the next word if that is its value; the answer is where to go on."""
    program, text = line.program, word.text
    bound = verb.values()
    valued = program.values | bound if bound else program.values
    if not (text.startswith("--") or program.single_dash):
        return _cluster(line, word, words, at, asked, valued, verb)
    name, equals, value = text.partition("=")
    canonical = _spelled(program, name, asked | valued, verb)
    _note(line, canonical)
    if canonical != name:  # a beginning that fits several flags counts as all of them
        line.flags.update(flag for flag in asked if flag.startswith(name) and len(name) > 2)
    if equals:
        line.values.append((canonical, word.part(value)))
        if value in ("false", "0", "no") and canonical not in valued:
            line.flags.discard(canonical)
    elif (canonical in valued or name in valued) and at < len(words):
        line.values.append((canonical, words[at]))
        return at + 1
    return at


def _cluster(line: Line, word: Word, words: list[Word], at: int, asked: frozenset[str], valued: frozenset[str], verb: "_Verb") -> int:
    """`-rf`, `-xVALUE`, `-x VALUE`."""
    text, program = word.text, line.program
    whole = _spell(program, text, verb)
    if whole in asked or whole in valued or text in program.help:  # a program's own odd spelling: -delete, -name
        _note(line, whole)
        if whole in valued and at < len(words):
            line.values.append((whole, words[at]))
            return at + 1
        return at
    name, equals, value = text.partition("=")
    if equals and len(name) > 2 and name in valued:  # a long flag with one dash: -fplugin=x
        _note(line, name)
        line.values.append((name, word.part(value)))
        return at
    for index in range(1, len(text)):
        flag = text[0] + text[index]
        canonical = _spell(program, flag, verb)
        _note(line, canonical)
        bound = canonical != flag and f"{verb.path()} {flag}" in program.spell
        if canonical in valued or (flag in valued and not bound):
            if index + 1 < len(text):
                line.values.append((canonical, word.part(text[index + 1 :].removeprefix("="))))
            elif at < len(words):
                line.values.append((canonical, words[at]))
                return at + 1
            return at
    return at


def _note(line: Line, flag: str) -> None:
    if flag in line.program.help:
        line.traits.add("help")
    line.flags.add(flag)


def _spell(program: Program, flag: str, verb: "_Verb") -> str:
    if not program.spell:
        return flag
    bound = program.spell.get(f"{verb.path()} {flag}") if verb.found else None
    return bound or program.spell.get(flag, flag)


def _spelled(program: Program, name: str, known: frozenset[str], verb: "_Verb") -> str:
    """Canonical long flag; GNU and git take any unambiguous beginning (`--ha` for `--hard`)."""
    canonical = _spell(program, name, verb)
    if canonical in known or canonical in program.help or len(name) < 3:
        return canonical
    near = [flag for flag in sorted(known | program.help) if flag.startswith(name)]
    return _spell(program, near[0], verb) if near else canonical


class _Verb:
    """Follows the verb words of a program through its table."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.found: list[str] = []
        self.trie = tables().trie(program.name)
        self.last = program.verbs == "last"
        self.done = not self.trie
        self.blind: tuple[str, ...] | None = None
        self.acts = False  # an action word was found; the first word after it that no table knows is an operand

    def path(self) -> str:
        return " ".join(self.found)

    def values(self) -> frozenset[str]:
        return self.program.verb_values.get(self.path(), frozenset()) if self.found else frozenset()

    def take(self, word: Word) -> bool:
        """True if the word is part of the verb; a word no table knows is an operand as well."""
        if self.done:
            return False
        if self.last:
            return self._scan(word.text)
        if not word.known and self.blind is None:
            self.blind = tuple(self.found)
        match = _child(self.program.name, tuple(self.found), word.text)
        if match == UNLISTED and self._is_whole():
            self.done = True
            return False
        self.found.append(match)
        self.trie = self.trie.get(match, {})
        self.done = not self.trie
        return match != UNLISTED

    def _is_whole(self) -> bool:
        """Whether the words so far are a verb that ends here; no word at all is none, or every first word would pass as an operand."""
        program = self.program
        return program.open and bool(self.found) and UNLISTED not in self.trie and self.path() in tables().whole(program.name)

    def _scan(self, text: str) -> bool:
        table = tables().actions(self.program.name)
        known = text in table.groups or text in table.actions
        match = text if known else next((w for w, pattern in table.wild if pattern.match(text)), None)
        if match is None and self.acts:
            self.done = True
            return False
        self.acts = self.acts or (match is not None and match not in table.groups)
        if match is not None or not self.found or self.found[-1] != UNLISTED:
            self.found.append(match or UNLISTED)
        return match is not None

    def words(self) -> tuple[str, ...]:
        return tuple(self.found[:MAX_VERB])


@lru_cache(maxsize=8192)
def _child(program: str, path: tuple[str, ...], text: str) -> str:
    trie = tables().trie(program)
    for step in path:
        trie = trie.get(step, {})
    if text in trie:
        return text
    from fnmatch import fnmatchcase

    short = _cut_short(program, path, text) if tables().programs[program].abbreviates else None
    return short or next((w for w in trie if "*" in w and fnmatchcase(text, w)), UNLISTED)


def _cut_short(program: str, path: tuple[str, ...], text: str) -> str | None:
    """The verb that a beginning stands for, part by part between colons (`d:s:u`): the worst of those that it may be."""
    from ony_core.taxonomy.engine import assess

    trie = tables().trie(program)
    for step in path:
        trie = trie.get(step, {})
    fitting = sorted(word for word in trie if word[:1] != "*" and _begins(text.split(":"), word.split(":")))
    return max(fitting, key=lambda word: level(assess((Fact("command", program, (*path, word)),)).risk), default=None)


def _begins(parts: list[str], whole: list[str]) -> bool:
    for part, full in zip(parts, whole, strict=False):
        if full == "*":
            return True
        if not part or not full.startswith(part):
            return False
    return len(parts) == len(whole)
