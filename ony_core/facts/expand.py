"""Shell expansion without a shell: what a word of the syntax tree will be, as far as that is known before it runs.

Follows POSIX.1-2024 XCU 2.6 and the bash manual, "Shell Expansions". What only the run can know becomes a HOLE.
"""

import itertools
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ony_core.facts import arrays, parameters
from ony_core.facts.words import HOLE, NONE, Word, hole

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_OPEN, _COMMA, _CLOSE = "\1", "\2", "\3"
MARK = "\x05"  # stands before a backslash that begins a line, for the parser's sake; see heredocs.marked
_BRACES = str.maketrans({"{": _OPEN, ",": _COMMA, "}": _CLOSE})
_PLAIN = str.maketrans({_OPEN: "{", _COMMA: ",", _CLOSE: "}"})
_GLOB = re.compile(r"(?<!\\)[*?\[]")
_BLANKS = re.compile(r"[ \t\n]+")
_ESCAPE = re.compile(r"\\(\n|.)", re.DOTALL)
_IN_QUOTES = re.compile(r'\\([$`"\\\n])')
_IN_BODY = re.compile(r"\\([$`\\\n])")
_ANSI = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|c.|.)", re.DOTALL)
_EVERY_ARGUMENT = re.compile(r'"\$(?:@|\{@(?::([1-9]\d{0,3})(?::(\d{1,3}))?)?\})"\Z')
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v", "\n": ""}
MAX_BRACES = 64
MAX_WAYS = 8


def text_of(node: Any) -> str:
    return _decoded(node.text)


def _decoded(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return text.replace(MARK, "") if MARK in text else text


def listed(shell: "Shell", parent: Any, nodes: list[Any]) -> list[Word]:
    """The words of nodes that stand side by side. A line continuation with no blank around it joins two of them."""
    base = parent.start_byte
    words: list[Word] = []
    end, source = -1, parent.text
    for node in nodes:
        found = words_of(shell, node)
        if words and found and source[end - base : node.start_byte - base] == b"\\\n":
            words[-1] = _joined([words[-1], found[0]])
            found = found[1:]
        words.extend(found)
        end = node.end_byte
    return words


def words_of(shell: "Shell", node: Any) -> list[Word]:
    """The words that one syntax node becomes; field splitting and brace expansion can make several, or none."""
    kind = node.type
    if kind == "word":
        return _braces(_bare(text_of(node)))
    if kind in ("string", "expansion") and (found := parameters.EVERY.fullmatch(text_of(node))):
        return arrays.every(shell, found[1], found[2], found[3], quoted=kind == "string")
    if kind in ("simple_expansion", "expansion"):
        return _split(_by_ifs(shell, _value(shell, node)))
    if kind == "command_substitution":
        return _split(shell.substitute(node))
    if kind == "string" and shell.arguments is not None and (every := _EVERY_ARGUMENT.match(text_of(node))):
        start = int(every[1] or 1) - 1
        return shell.arguments[start : start + int(every[2]) if every[2] else None]
    if kind == "concatenation":
        return _concatenation(shell, node)
    return [_one(shell, node)]


def word_of(shell: "Shell", node: Any) -> Word:
    """The node as a single word (assignments, redirect targets, heredocs: no splitting)."""
    found = words_of(shell, node)
    if len(found) == 1:
        return found[0]
    return Word(
        " ".join(w.text for w in found), any(w.glob for w in found), taints=NONE.union(*(w.taints for w in found)) if found else NONE
    )


def _one(shell: "Shell", node: Any) -> Word:
    kind = node.type
    if kind == "raw_string":
        return Word(text_of(node)[1:-1], quoted=True)
    if kind in ("number", "variable_name", "file_descriptor", "test_operator", "regex", "extglob_pattern"):
        return Word(text_of(node))
    if kind in ("string_content", "heredoc_content"):
        return _plain_piece(node.text, kind == "heredoc_content")
    if kind == "ansi_c_string":
        return Word(ansi(text_of(node)[2:-1]), quoted=True)
    if kind in ("string", "translated_string", "heredoc_body"):
        return _string(shell, node)
    if kind == "process_substitution":
        return shell.process_substitution(node)
    if kind == "array":
        return _joined([w for child in node.named_children for w in words_of(shell, child)], " ")
    shell.scan(node)
    return hole()


def _string(shell: "Shell", node: Any) -> Word:
    """A double-quoted string or a here document: its pieces with nothing between them but what stood there (the grammar leaves out
    some blanks, and all of a here document before its first expansion).
    """
    source, base, body = node.text, node.start_byte, node.type == "heredoc_body"
    pieces: list[Word] = []
    at, end = (0, len(source)) if body else (source.index(b'"') + 1, len(source) - 1)
    for child in node.named_children:
        pieces.append(_plain_piece(source[at : child.start_byte - base], body))
        inner = _value(shell, child) if child.type in ("simple_expansion", "expansion") else None
        if inner is None:
            inner = shell.substitute(child) if child.type == "command_substitution" else _one(shell, child)
        pieces.append(inner)
        at = child.end_byte - base
    pieces.append(_plain_piece(source[at:end], body))
    return replace(_joined(pieces), glob=False, quoted=True)


def _plain_piece(source: bytes, body: bool = False) -> Word:
    """Quoted text without the backslashes that the shell takes away."""
    return Word((_IN_BODY if body else _IN_QUOTES).sub(lambda m: m[1].strip("\n"), _decoded(source)), quoted=True)


def _concatenation(shell: "Shell", node: Any) -> list[Word]:
    words: list[list[Word]] = [[]]
    for child in node.named_children:
        if child.type == "word":
            words[-1].append(_bare(text_of(child)))
        elif child.type in ("simple_expansion", "expansion"):
            _spread(words, _by_ifs(shell, _value(shell, child)))
        elif child.type == "command_substitution":
            _spread(words, _by_ifs(shell, shell.substitute(child)))
        elif child.type == "brace_expression":
            words[-1].append(Word(HOLE, glob=True))
        else:
            words[-1].append(_one(shell, child))
    return [word for pieces in words if pieces for word in _braces(_joined(pieces))]


def _spread(words: list[list[Word]], value: Word) -> None:
    """Field splitting of an expansion within a word: blanks end the word before and begin another."""
    first, *more = _BLANKS.split(value.text) if value.known else [value.text]
    if not more:
        words[-1].append(value)
        return
    words[-1].extend([value.part(first)] if first else [])
    for text in more:
        words.append([value.part(text)] if text else [])


def _joined(pieces: list[Word], between: str = "") -> Word:
    taints = NONE.union(*(p.taints for p in pieces)) if pieces else NONE
    flow = next((p.flow for p in pieces if p.flow), None)
    text, ways = between.join(p.text for p in pieces), _ways(pieces, between)
    if not ways and any(p.others for p in pieces):
        taints |= {"indirection"}
    return Word(text, any(p.glob for p in pieces), any(p.quoted for p in pieces), taints, flow, ways)


def _ways(pieces: list[Word], between: str) -> tuple[str, ...]:
    """Every text the pieces may be together, where one of them may be several."""
    choices = [piece.others or (piece.text,) for piece in pieces]
    if not 1 < math.prod(len(choice) for choice in choices) <= MAX_WAYS:
        return ()
    return tuple(between.join(texts) for texts in itertools.product(*choices))


def _bare(raw: str) -> Word:
    """An unquoted word: escapes removed, pattern characters noticed, braces marked for expansion."""
    if "\\" not in raw:
        return Word(raw.translate(_BRACES) if "{" in raw or "," in raw or "}" in raw else raw, _GLOB.search(raw) is not None)
    kept = raw.replace("\\\\", "\\ ")
    unescaped = _ESCAPE.sub(lambda m: "" if m[1] == "\n" else m[1], raw)
    return Word(unescaped, _GLOB.search(kept) is not None)


def _braces(word: Word) -> list[Word]:
    if _OPEN not in word.text:
        return [word.part(word.text.translate(_PLAIN))] if _COMMA in word.text or _CLOSE in word.text else [word]
    texts = _expand_braces(word.text)
    if len(texts) > MAX_BRACES:
        return [hole()]
    return [word.part(text.translate(_PLAIN)) for text in texts]


def _expand_braces(text: str) -> list[str]:
    """Innermost braces first; `{}` and braces without a comma stay as they are."""
    waiting: list[str] = [text]
    done: list[str] = []
    while waiting and len(waiting) + len(done) <= MAX_BRACES:
        current = waiting.pop(0)
        found = re.search(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}", current)
        if not found:
            done.append(current)
            continue
        before, after = current[: found.start()], current[found.end() :]
        if _COMMA in found[1]:
            waiting = [before + option + after for option in found[1].split(_COMMA)] + waiting
        else:
            waiting.insert(0, before + "{" + found[1] + "}" + after)
    return done + waiting


def _by_ifs(shell: "Shell", word: Word) -> Word:
    """A value without quotes: a script that sets IFS splits it at other characters, and a pattern in it is one."""
    marks = shell.variables.get("IFS")
    if _GLOB.search(word.text):
        word = replace(word, glob=True)
    return word if marks is None else word.part(word.text.translate({ord(c): " " for c in marks.text}))


def _split(word: Word) -> list[Word]:
    """Field splitting of an unquoted expansion."""
    if not word.quoted and word.text.split() != [word.text]:
        return [Word(part, _GLOB.search(part) is not None, taints=word.taints, flow=word.flow) for part in word.text.split()]
    return [word]


def _value(shell: "Shell", node: Any) -> Word:
    """`$name`, `${name}`, `${name:-word}` …"""
    if node.type == "simple_expansion":
        return shell.variable(text_of(node)[1:])
    if (worked := parameters.value(shell, text_of(node))) is not None:
        return worked
    parts = [text_of(c) for c in node.children]
    named = node.named_children
    for child in named:
        if child.type not in ("variable_name", "special_variable_name"):
            shell.scan(child)
    if not named or named[0].type not in ("variable_name", "special_variable_name") or parts[1] != text_of(named[0]):
        return hole()
    name, rest = text_of(named[0]), parts[2:-1]
    if not rest:
        return shell.variable(name)
    default = word_of(shell, named[-1]) if len(named) > 1 and named[-1].type != "regex" else Word("")
    return _defaulted(shell, name, rest[0], default)


def _defaulted(shell: "Shell", name: str, operator: str, default: Word) -> Word:
    """With a colon an empty value is as good as none."""
    known = shell.variables.get(name)
    counts = known is not None and (known.text != "" or operator[0] != ":")
    if operator in (":-", "-", ":=", "="):
        value = known if known is not None and counts else default
        if operator in (":=", "="):
            shell.variables[name] = value
        return value if known is not None or not shell.inherited(name) else shell.variable(name)
    if operator in (":+", "+") and known is not None:
        return default if counts else Word("")
    if operator in (":?", "?") and known is not None and counts:
        return known
    return hole(*(known.taints if known else ()))


def ansi(raw: str, nul: str = HOLE) -> str:
    """ANSI-C quoting, `$'…'`. nul: what stands for a byte of zero, which no word of a shell can hold."""

    def letter(m: re.Match[str]) -> str:
        code = m[1]
        if code[0] in "xuU" and len(code) > 1:
            number = int(code[1:], 16)
            return chr(number) if number < 0x110000 else "\ufffd"
        if code[0] in "01234567":
            return chr(int(code, 8) & 255) if int(code, 8) & 255 else nul
        return _LETTERS.get(code[0], code[-1]) if code[0] != "c" else HOLE

    return _ANSI.sub(letter, raw)
