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
    from ony_core.facts.expand import text_of, words_of

    target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    held = shell.arrays.pop(name, None)
    if value is None or value.type != "array" or target.type == "subscript" or (more and held is None and name in shell.variables):
        return
    before = held if more and held is not None else ()
    if any(_KEYED.match(text_of(child)) for child in value.named_children):
        return
    words = tuple(word for child in value.named_children for word in words_of(shell, child))
    if len(before) + len(words) <= MAX_WORDS:
        shell.arrays[name] = before + words


def every(shell: "Shell", name: str, quoted: bool) -> list[Word]:
    """`"${a[@]}"`; without quotes each is split once more."""
    if name not in shell.arrays:
        return [hole(*shell.variable(name).taints)]
    if quoted:
        return [replace(word, quoted=True) for word in shell.arrays[name]]
    return [replace(word, text=text) for word in shell.arrays[name] for text in (word.text.split() if word.known else [word.text])]


def element(shell: "Shell", name: str, index: str) -> Word:
    """`${a[1]}`"""
    held = shell.arrays.get(name)
    if held is None:
        return hole()
    at = int(index)
    texts = dict.fromkeys(held[n].text for n in (at, at - 1) if 0 <= n < len(held))
    taints = frozenset(taint for word in held for taint in word.taints)
    return Word(next(iter(texts)), taints=taints) if len(texts) == 1 else Word(hole().text, taints=taints, others=tuple(texts))
