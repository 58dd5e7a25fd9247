"""Shell text to a syntax tree, within bounds: tree-sitter reads some texts over and over, and others along ever more ways.

MUST: give no tree for a text that the parser was stopped at; what nobody has read to its end is opaque.
"""

from functools import cache
from typing import Any

from ony_core.facts.call import Call

PIECE = 256  # bytes handed over at a time, and copied to ask a node its text; a text of one piece needs no watch


@cache
def _parser() -> Any:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def tree(call: Call, text: str) -> Any:
    """The root of the syntax tree; None where the parser goes round for too long."""
    data, parser = text.encode("utf-8", "replace"), _parser()
    if len(data) <= PIECE:
        return parser.parse(data).root_node
    watch = _Watch(call, data)
    try:
        root = parser.parse(watch.piece, progress_callback=watch.tired).root_node
    except ValueError:
        parser.reset()
        return None
    watch.parsing = False
    return root


class _Watch:
    """A text that counts how often it is read while it is parsed; its nodes ask it for their text later, and that is not counted."""

    def __init__(self, call: Call, data: bytes) -> None:
        self.call = call
        self.data = data
        self.parsing = True

    def piece(self, at: int, _point: object) -> bytes:
        if self.parsing:
            self.call.left_to_read -= 1
        return self.data[at : at + PIECE]

    def tired(self, _at: int, wrong: bool) -> bool:
        return self.call.tired(wrong)
