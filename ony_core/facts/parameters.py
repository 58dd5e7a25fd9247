"""`${name…}`: what is left of a value that is known, as bash and zsh work it out (bash manual, "Shell Parameter Expansion").

Whatever holds an expansion of its own, or is not understood, answers None.
"""

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import arrays, shown
from ony_core.facts.words import Word, hole

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_NAMED = re.compile(r"\$\{(\w+)(##?|%%?|//?[#%]?|\^\^?|,,?|:)([^$`\"'\\{}()\0]*)\}", re.DOTALL)
_INDIRECT = re.compile(r"\$\{!(\w+)\}")
_KEYED = re.compile(r"\$\{(\w+)\[[^]$`]*\]\}")
_ELEMENT = re.compile(r"\$\{(\w+)\[(\d{1,3})\]\}")
EVERY = re.compile(r'"?\$\{(\w+)\[[@*]\](?: *: *(\d{1,3})(?: *: *(\d{1,3}))?)? *\}"?')
_FEW = re.compile(r" *0 *: *(?:\d|1[0-2]) *")
_SLICE = re.compile(r" *(-?\d{1,4})(?: *: *(-?\d{1,4}))? *")
MAX_TEXT = 4096


def value(shell: "Shell", raw: str) -> Word | None:
    """The word that an expansion becomes; None where this module has no opinion."""
    if found := _INDIRECT.fullmatch(raw):
        return shell.variable(shell.variable(found[1]).text)
    if found := _ELEMENT.fullmatch(raw):
        return arrays.element(shell, found[1], found[2])
    if found := _KEYED.fullmatch(raw):
        return arrays.element(shell, found[1], "")
    found = _NAMED.fullmatch(raw)
    if not found or (found[3][:1] in ("-", "=", "+", "?") and found[2] == ":"):
        return None
    before = shell.variable(found[1])
    if not before.known and found[2] == ":" and _FEW.fullmatch(found[3]):  # `${TOKEN:0:4}`: enough to see that it is set
        return hole(*before.taints - {shown.TAINT})
    texts = [_changed(text, found[2], found[3]) for text in before.others or (before.text,)]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        return hole(*before.taints, *(["indirection"] if before.known or before.others else []))
    return Word(known[0], taints=before.taints) if len(set(known)) == 1 else Word(before.text, taints=before.taints, others=tuple(known))


def _changed(text: str, operator: str, operand: str) -> str | None:
    if "\0" in text or len(text) > MAX_TEXT or "[:" in operand:
        return None
    if operator in ("#", "##", "%", "%%"):
        return _trimmed(text, operator, operand)
    if operator[0] == "/":
        return _replaced(text, operator, operand)
    if operator == ":":
        return _sliced(text, operand)
    if operand:
        return None
    turn = str.upper if operator[0] == "^" else str.lower
    return turn(text) if len(operator) == 2 else turn(text[:1]) + text[1:]


def _trimmed(text: str, operator: str, pattern: str) -> str:
    """The shortest or longest beginning or end that fits is taken away."""
    fits, size = re.compile(_pattern(pattern), re.DOTALL).fullmatch, len(text)
    lengths = range(size + 1) if len(operator) == 1 else range(size, -1, -1)
    if operator[0] == "#":
        return next((text[n:] for n in lengths if fits(text[:n])), text)
    return next((text[: size - n] for n in lengths if fits(text[size - n :])), text)


def _replaced(text: str, operator: str, operand: str) -> str | None:
    """`/` the first, `//` every one, `/#` at the beginning, `/%` at the end. How far a `*` reaches there is not worked out."""
    pattern, _, new = operand.partition("/")
    if not pattern or "*" in pattern or "&" in new:
        return None
    found = _pattern(pattern)
    place = {"/#": rf"\A(?:{found})", "/%": rf"(?:{found})\Z"}.get(operator, found)
    return re.sub(place, lambda _: new, text, count=0 if operator == "//" else 1)


def _sliced(text: str, operand: str) -> str | None:
    found = _SLICE.fullmatch(operand)
    if not found:
        return None
    start = int(found[1])
    if start < 0:
        if -start > len(text):
            return ""
        start += len(text)
    if found[2] is None:
        return text[start:]
    length = int(found[2])
    return text[start : start + length] if length >= 0 else text[start : len(text) + length]


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> str:
    """The regular expression of a shell pattern, which may stand anywhere in a text."""
    return translate(pattern.replace("[^", "[!"))[:-2]  # without the mark of the text's end
