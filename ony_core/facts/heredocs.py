"""Here documents: the text that a command reads from the lines below it.

The grammar loses a body, or a command, on a line that begins with a backslash: it takes the line end and that word for one of the words
of the command above.
"""

import re
from typing import TYPE_CHECKING, Any

from ony_core.facts.expand import MARK, text_of, word_of
from ony_core.facts.words import UNKNOWN, Flow, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_BACKTICKS = re.compile(r"(?<!\\)`([^`]*)`")

_LATE = re.compile(r"(<<-?[ \t]*(?:'\w+'|\"\w+\"|\\?\w+))((?:[ \t]+(?:\d?>>?|&>>?|\d?>&)[ \t]*[\w./~-]+)+)(?=[ \t]*\|)")


def marked(text: str) -> str:
    """The program text with what the grammar needs to see such a body for what it is; `text_of` takes it away again."""
    return text.replace("\n\\", f"\n{MARK}\\")


def ordered(text: str) -> str:
    """The program text with `cmd <<EOF 2>&1 | …` as `cmd 2>&1 <<EOF | …`, which is the same; the grammar reads only the latter."""
    return _LATE.sub(r"\2 \1", text)


def given(shell: "Shell", node: Any, waiting: list[Any], tails: list[Any]) -> Flow:
    """What the command reads. waiting, tails: get further redirects, and what the grammar hangs below this one."""
    quoted = any(c in text_of(s) for s in node.named_children if s.type == "heredoc_start" for c in "'\"\\")
    found = UNKNOWN
    for child in node.children:
        if child.type == "heredoc_body":
            found = _body(shell, child, quoted)
        else:
            _beside(shell, node, child, waiting, tails)
    return found


def _body(shell: "Shell", node: Any, quoted: bool) -> Flow:
    word = Word(text_of(node)) if quoted else word_of(shell, node)
    for code in [] if quoted else _BACKTICKS.findall(text_of(node)):  # the grammar takes them for text here
        shell.child().source(code)
    return Flow(word.text.replace(MARK, ""), word.taints if word.known else word.taints | {"holes"})


def _beside(shell: "Shell", node: Any, child: Any, waiting: list[Any], tails: list[Any]) -> None:
    if child.type.endswith("_redirect"):
        waiting.append(child)
    elif child.is_named and child.type not in ("heredoc_start", "heredoc_end", "file_descriptor"):
        argument = node.field_name_for_child(node.children.index(child)) == "argument"
        tails.extend([] if argument else [child])
