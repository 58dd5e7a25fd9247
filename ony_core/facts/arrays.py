"""Arrays of the shell: which words they hold, as far as all of them are known.

MUST: count an index both from nothing and from one: bash and zsh differ.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ony_core.facts.words import Word, hole

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_WORDS = 256
_KEYED = re.compile(r"\[[^]]*\]\+?=")


def assigned(shell: "Shell", name: str, node: Any, more: bool) -> None:
    """`a=(x y)`, `a+=(z)`, `a[1]=x`, `a=x`; whatever else may have happened to it, its words are unknown."""
    from ony_core.facts.expand import listed, text_of

    value = node.child_by_field_name("value")
    held = shell.arrays.pop(name, None)
    if value is None or value.type != "array" or (more and held is None and name in shell.variables):
        return
    before = held if more and held is not None else ()
    if any(_KEYED.match(text_of(child)) for child in value.named_children):
        return
    words = tuple(listed(shell, value, value.named_children))
    if len(before) + len(words) <= MAX_WORDS:
        shell.arrays[name] = before + words


def every(shell: "Shell", name: str, start: str | None, length: str | None, quoted: bool) -> list[Word]:
    """`"${a[@]}"`, `"${a[@]:1:2}"`; without quotes each is split once more."""
    if name not in shell.arrays:
        return [_lost(shell, name)]
    first = int(start or 0)
    held = shell.arrays[name][first : first + int(length) if length else None]
    if quoted:
        return [replace(word, quoted=True) for word in held]
    return [replace(word, text=text) for word in held for text in (word.text.split() if word.known else [word.text])]


def _lost(shell: "Shell", name: str) -> Word:
    """Words that the call itself gave, and that are not followed."""
    before = shell.variables.get(name)
    return hole(*before.taints, "indirection") if before is not None else hole()


def element(shell: "Shell", name: str, index: str) -> Word:
    """`${a[1]}`"""
    held = shell.arrays.get(name)
    if held is None:
        return _lost(shell, name)
    if not index:
        return hole("indirection")
    at = int(index)
    texts = dict.fromkeys(held[n].text for n in (at, at - 1) if 0 <= n < len(held))
    taints = frozenset(taint for word in held for taint in word.taints)
    return Word(next(iter(texts)), taints=taints) if len(texts) == 1 else Word(hole().text, taints=taints, others=tuple(texts))
