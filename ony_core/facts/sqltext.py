"""Takes SQL text apart without a grammar: statements, their words, the functions they call, their strings, the client's own commands.

What is inside quotes and comments is no word of a statement. Where a quote or comment does not end, or two servers would end it at
different places, the statement is `broken`: its words then are all words of the text. One pass, linear in the text.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

ESCAPES = frozenset({"mysql", "bigquery", "clickhouse", "hive", "spark", "snowflake", "cypher"})  # a backslash hides a quote there
DOLLARS = frozenset({"postgres", "duckdb", "snowflake", "cockroach", ""})  # $tag$ quotes
_PIECE = re.compile(
    r"(?P<comment>--[^\n]*)|(?P<block>/\*)|(?P<quote>['\"`])|(?P<dollar>\$[A-Za-z_]?\w*\$)|(?P<end>;)|(?P<meta>\\[^\s])"
    r"|(?P<word>[A-Za-z_][\w$]*)|(?P<open>\()|(?P<space>\s+)|(?P<other>[^\s'\"`$;\\A-Za-z_(/#-]+|.)",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(slots=True)
class Statement:
    """One statement. words: lower case, outside of quotes. calls: names before an opening bracket. literals: its strings."""

    text: str = ""
    words: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    literals: list[str] = field(default_factory=list)
    broken: bool = False

    @property
    def first(self) -> str:
        return self.words[0] if self.words else ""

    def has(self, *words: str) -> bool:
        return any(word in self.words for word in words)


@dataclass(slots=True)
class Script:
    """The statements of a text, and the client's own backslash commands with the rest of their lines."""

    statements: list[Statement] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


@lru_cache(maxsize=512)
def take_apart(text: str, dialect: str) -> Script:
    """Both lists in the order of the text. What stands in `/*! … */` MySQL runs, in `/*M! … */` MariaDB: those marks fall away first."""
    return _Reader(_unmarked(text), dialect).read()


def _unmarked(text: str) -> str:
    shown = re.sub(r"/\*M?!\d*", " ", text)
    return shown.replace("*/", " ") if shown != text else text


class _Reader:
    def __init__(self, text: str, dialect: str) -> None:
        self.text, self.dialect = text, dialect
        self.at = self.since = 0
        self.out = Script()
        self.now = Statement()

    def read(self) -> Script:
        while self.at < len(self.text):
            piece = _PIECE.match(self.text, self.at)
            assert piece is not None  # the last alternative takes any character
            begun, self.at = self.at, piece.end()
            self._take(piece.lastgroup or "other", piece[0], begun)
        self._end(len(self.text))
        return self.out

    def _take(self, kind: str, piece: str, begun: int) -> None:
        if kind == "word":
            self.now.words.append(piece.lower())
        elif kind == "open":
            if self.now.words and self.text[begun - 1 : begun].strip():
                self.now.calls.add(self.now.words[-1])
        elif kind == "quote":
            self._quoted(piece)
        elif kind == "block":
            self._until("*/", "")
        elif kind == "dollar" and self.dialect in DOLLARS:
            self.now.literals.append(self._until(piece, piece))
        elif kind == "end":
            self._end(begun)
        elif kind == "meta":
            self._command(begun)
        elif piece == "#" and self.dialect == "mysql":
            self._until("\n", "\n")

    def _quoted(self, quote: str) -> None:
        """A string or a quoted name, up to its closing quote; a doubled quote stands for itself."""
        begun = self.at
        while True:
            found = self.text.find(quote, self.at)
            if found < 0:
                self._broken()
                return
            self.at = found + 1
            slashes = self._slashes(begun, found)
            if slashes and not self._closes(quote, slashes, begun):
                continue
            if self.text[self.at : self.at + 1] != quote:
                break
            self.at += 1
        content = self.text[begun : self.at - 1]
        if quote == "'" or self.dialect in ESCAPES:
            self.now.literals.append(content)
        if quote != "'":
            self.now.words.append('"')  # a name, but none that a list would know

    def _slashes(self, begun: int, found: int) -> int:
        at = found
        while at > begun and self.text[at - 1] == "\\":
            at -= 1
        return found - at

    def _closes(self, quote: str, slashes: int, begun: int) -> bool:
        """Whether a quote after backslashes closes: servers differ, and where we do not know which one it is, so does our answer."""
        escaped = slashes % 2 == 1 and quote != "`"
        if self.dialect in ESCAPES or self.text[begun - 2 : begun - 1] in ("E", "e"):
            return not escaped
        self.now.broken = self.now.broken or (escaped and self.dialect == "")
        return True

    def _until(self, mark: str, needed: str) -> str:
        found = self.text.find(mark, self.at)
        if found < 0:
            if needed != "\n":
                self._broken()
            self.at = len(self.text)
            return ""
        content = self.text[self.at : found]
        self.at = found + len(mark)
        return content

    def _broken(self) -> None:
        """What never ends hides nothing: all words of the rest count."""
        self.now.broken = True
        self.now.words.extend(word.lower() for word in _WORD.findall(self.text, self.at))
        self.at = len(self.text)

    def _command(self, begun: int) -> None:
        """`\\d t` ends a statement and takes the rest of its line; `\\;` (psql) and `\\G` (mysql) only end one."""
        if self.dialect not in ("postgres", "mysql", "cockroach"):
            return
        self._end(begun)
        if self.text[begun + 1] == ";" or (self.dialect == "mysql" and self.text[begun + 1] in "gG"):
            self.since = self.at
            return
        line = self.text.find("\n", begun)
        self.at = self.since = len(self.text) if line < 0 else line
        self.out.commands.append(self.text[begun : self.at])

    def _end(self, here: int) -> None:
        self.now.text = self.text[self.since : here].strip()
        self.since = self.at
        if self.now.words or self.now.broken:
            self.out.statements.append(self.now)
        self.now = Statement()
