"""What `make` would run: the recipes of the targets, with the variables of the makefile and the commands of its `$(shell …)`.

MUST: a value that nobody knows stays unknown, a command behind `$(shell …)` is judged wherever it is expanded, and what is not looked into
any more leaves an opaque fact. Follows the GNU make manual, chapters 4 to 6 and 8.
"""

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ony_core.facts import loaded, paths
from ony_core.facts.place import Unknown
from ony_core.facts.words import HOLE, Made, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MOST_RECIPES = 400
MOST_INCLUDES = 64
LONGEST = 1 << 16  # characters of a line
_ROUNDS = 12  # expansions within expansions
_REFUSED = (Unknown.UNREADABLE, Unknown.NOT_REGULAR, Unknown.TOO_BIG, Unknown.LATE)
_CONDITION = re.compile(r"\s*(?:ifn?eq|ifn?def|else|endif)\b")
_INCLUDE = re.compile(r"[ \t]*[-s]?include[ \t]+([^#]+)")
_SET = re.compile(r"\s*(?:(?:export|override|private)\s+)*([\w.-]+)\s*(\+|\?|!|:{1,3})?=\s*(.*)", re.DOTALL)
_DEFINE = re.compile(r"\s*define\s+([\w.-]+)")
_RULE = re.compile(r"([^\s:#=][^:#=]*?)\s*::?(?![:=])([^;#=]*)(?:;(.*))?", re.DOTALL)
_EXPANSION = re.compile(r"\$\(((?:[^()$]|\([^()$]*\))*)\)|\$\{([^{}$]*)\}|\$([@<^*?%+|])")
_NAME = re.compile(r"[A-Za-z_]\w*")
_UNKNOWN = "\2{_}"  # in the shell's words; \2 stands for the shell's own `$`
_USUAL = {"MAKE": "make", "CC": "cc", "CXX": "c++", "CPP": "cc -E", "LD": "ld", "AR": "ar", "AS": "as", "RM": "rm -f", "CURDIR": "."}


class Recipe(NamedTuple):
    needs: str
    lines: list[str]


def run(shell: "Shell", names: list[str], file: Word | None, given: dict[str, str]) -> None:
    """The recipes of the named targets (the first target where none is named), with what they need. given: set in the call."""
    from ony_core.facts.scripts import content_of

    for candidate in [file] if file else [Word(name) for name in ("GNUmakefile", "makefile", "Makefile")]:
        content = content_of(shell, candidate)
        put_in(shell, candidate, content)
        if isinstance(content, Made) and content.text is not None:
            makefile = _Makefile(shell, given)
            makefile.read(candidate, content.text)
            makefile.make(names)
            return
        if content in _REFUSED:
            shell.call.opaque("unreadable")
            return


def put_in(shell: "Shell", word: Word, content: Made | Unknown) -> None:
    """What this session changed in a file of recipes; one that it fetched by its name is someone else's code."""
    made = shell.call.made.get(paths.absolute(shell.cwd, word.text))
    if made is not None and made.taints & {"network", "decoded"}:
        shell.call.add("opaque", traits=made.taints & {"network", "decoded"})
    if isinstance(content, Made):
        loaded.put_in(shell, word.text, content.added)


class _Makefile:
    def __init__(self, shell: "Shell", given: dict[str, str]) -> None:
        self.shell = shell
        self.file = Word("")  # that is being read
        self.given = given
        self.values: dict[str, str] = dict(_USUAL)
        self.own: set[str] = set()  # variables that the makefile sets
        self.recipes: dict[str, Recipe] = {}
        self.included = 0
        self.asked: set[str] = set()  # commands of `$(shell …)` that were judged

    def read(self, word: Word, text: str) -> None:
        self.file = word
        current: list[Recipe] = []
        lines = iter(text.replace("\\\n", "").split("\n"))
        for line in lines:
            if defined := _DEFINE.match(line):
                self._set(defined[1], "", "\n".join(itertools.takewhile(lambda inner: inner.strip() != "endef", lines)))
            elif line.startswith("\t") and current:
                for recipe in current:
                    recipe.lines.append(line)
            elif line.strip() and not line.lstrip().startswith("#") and not _CONDITION.match(line):
                current = self._line(word, line)

    def _line(self, word: Word, line: str) -> list[Recipe]:
        """What is neither recipe nor condition; the answer is the rules that following recipe lines belong to."""
        if include := _INCLUDE.match(line):
            self._include(word, self.expand(include[1]).split())
        elif assigned := _SET.fullmatch(line):
            self._set(assigned[1], assigned[2] or "", assigned[3])
        elif rule := _RULE.match(self.expand(line)):
            return self._rule(rule[1].split(), rule[2], rule[3])
        return []

    def _include(self, word: Word, names: list[str]) -> None:
        """What a makefile takes in, as far as the names stand there."""
        from ony_core.facts.scripts import content_of

        for name in names:
            self.included += 1
            if self.included > MOST_INCLUDES:
                self.shell.call.opaque("too_deep")
                return
            inner = Word(word.text[: word.text.rfind("/") + 1] + name, quoted=True)
            content = content_of(self.shell, inner)
            put_in(self.shell, inner, content)
            if isinstance(content, Made) and content.text is not None:
                self.read(inner, content.text)
                self.file = word
            elif content in _REFUSED:
                self.shell.call.opaque("unreadable")

    def _set(self, name: str, how: str, value: str) -> None:
        """`+=` adds, `?=` leaves a value that is there; a variable that gets two values is not known."""
        value = value.partition(" #")[0]
        if how == "+":
            self.values[name] = f"{self.values.get(name, '')} {value}"
        elif how == "?" and (name in self.own or name in self.shell.variables):
            return
        elif how == "!":
            self._ask(value)
            self.values[name] = _UNKNOWN
        else:
            value = self.expand(value) if how.startswith(":") else value
            self.values[name] = value if name not in self.own or self.values[name] == value else _UNKNOWN
        self.own.add(name)

    def _rule(self, targets: list[str], needs: str, first: str | None) -> list[Recipe]:
        found = []
        for name in targets:
            before = self.recipes.get(name, Recipe("", []))
            self.recipes[name] = Recipe(f"{before.needs} {needs}", [*before.lines, *([first] if first else [])])
            found.append(self.recipes[name])
        return found

    def expand(self, text: str) -> str:
        """A text with its variables; in the answer, \\2 stands for the shell's `$`."""
        text = text.replace("$$", "\2")
        for _ in range(_ROUNDS):
            text, found = _EXPANSION.subn(self._value, text)
            if len(text) > LONGEST:
                self.shell.call.opaque("too_deep")
                return _UNKNOWN
            if not found:
                break
        return re.sub(r"\$\(.*?\)|\$\{.*?\}|\$.?", _UNKNOWN, text)

    def _value(self, found: re.Match[str]) -> str:
        name = found[1] or found[2] or ""
        function, _, rest = name.partition(" ")
        if function in ("info", "warning", "error"):
            return ""
        if function == "shell":
            self._ask(rest)
            return _UNKNOWN
        if function == "call":
            return self._called(rest.strip().split(","))
        if function in ("file", "eval", "guile"):
            self._does(function, rest.strip())
            return ""
        if name in self.given:
            return self.given[name]
        if name in self.values:
            return self.values[name].replace("$$", "\2")
        return f"\2{{{name}}}" if _NAME.fullmatch(name) else _UNKNOWN  # the environment's

    def _called(self, words: list[str]) -> str:
        """A variable as a function: $(1) and so on in it are the words behind its name."""
        name = words[0].strip()
        text = self.given.get(name, self.values.get(name, _UNKNOWN)).replace("$$", "\2")
        return re.sub(r"\$(?:\((\d)\)|\{(\d)\}|(\d))", lambda at: "".join(words[int(at[at.lastindex or 0]) :][:1]), text)

    def _does(self, function: str, rest: str) -> None:
        """`file` writes one, `eval` reads its text as lines of the makefile, `guile` runs a program in Scheme."""
        self.included += 1
        if self.included > MOST_INCLUDES:
            self.shell.call.opaque("too_deep")
        elif function == "guile":
            self.shell.call.opaque("code_unknown")
        elif function == "eval":
            self.read(self.file, rest.replace("\2", "$"))
        elif rest.startswith(">"):
            self.shell.child().source(_of_shell(f"echo {rest.partition(',')[0]}"))

    def _ask(self, command: str) -> None:
        command = self.expand(command)
        if command not in self.asked:
            self.asked.add(command)
            self.shell.child().source(_of_shell(command))

    def make(self, names: list[str]) -> None:
        goal = self.expand(self.values.get(".DEFAULT_GOAL", ""))
        wanted = names or goal.split() or [name for name in self.recipes if not name.startswith(".") and "%" not in name][:1]
        seen: set[str] = set()
        wanted = [*wanted]
        while wanted:
            name = wanted.pop()
            for rule in self._rules_for(name):
                if rule in seen:
                    continue
                seen.add(rule)
                if len(seen) > MOST_RECIPES:
                    self.shell.call.opaque("too_deep")
                    return
                wanted.extend(self.recipes[rule].needs.replace("|", " ").split())
                self._run(self.recipes[rule].lines)

    def _rules_for(self, name: str) -> Iterator[str]:
        """The target of that name, or the patterns that make it."""
        if name in self.recipes:
            yield name
        else:
            yield from (rule for rule in self.recipes if "%" in rule and _pattern(rule).fullmatch(name))

    def _run(self, lines: list[str]) -> None:
        """Each line of a recipe has a shell of its own."""
        texts = [_of_shell(self.expand(line)).strip().lstrip("@-+ ") for line in lines]
        for text in ["\n".join(texts)] if ".ONESHELL" in self.recipes else texts:
            self.shell.child().source(text)


def _of_shell(text: str) -> str:
    return text.replace("\2", "$").replace(HOLE, "${_}")


def _pattern(rule: str) -> re.Pattern[str]:
    return re.compile(re.escape(rule).replace("%", ".+", 1))
