"""Processes that start processes without end: endless loops that leave one behind each round, functions that call themselves beside.

Only what is plain to see counts: a condition that never changes, and no command in the loop that waits, ends or leaves it. Each node that
is looked at is paid for, so that loops within loops cost no more than the text is long.
"""

import re
from typing import TYPE_CHECKING, Any

from ony_core.facts.expand import text_of

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_TRUE = r"(?:builtin\s+)?(?:/(?:usr/)?bin/)?true|:|\[\s+1\s+\]|\[\[\s+1\s+\]\]|test\s+1|\(\(\s*[1-9]\d{0,9}\s*\)\)"
_FALSE = r"(?:builtin\s+)?(?:/(?:usr/)?bin/)?false|\[\s+\]|\(\(\s*0\s*\)\)"
_ALWAYS = re.compile(rf"(?:{_TRUE}|!\s+(?:{_FALSE}))[\s;]*")
_NEVER = re.compile(rf"(?:{_FALSE}|!\s+(?:{_TRUE}))[\s;]*")
_BOUNDS = frozenset({"wait", "kill", "pkill", "killall", "break", "exit", "return"})


def loop(shell: "Shell", node: Any) -> None:
    """A loop without an end that starts something in the background each round, and waits for none of it."""
    if not _endless(node):
        return
    started, let_go, bounded = False, False, False
    for below in _below(shell, node.child_by_field_name("body")):
        started = started or below.type == "&"
        name = _name(below)
        let_go, bounded = let_go or name == "disown", bounded or name in _BOUNDS
    if started and (let_go or not bounded):
        shell.call.opaque("without_end")


def function(shell: "Shell", name: str, body: Any) -> None:
    """A function that calls itself in the background or in a pipe: each call makes more of them."""
    for below in _below(shell, body):
        if _name(below) == name and _beside(below, body):
            shell.call.opaque("without_end")
            return


def _endless(node: Any) -> bool:
    condition = node.child_by_field_name("condition")
    if node.type == "c_style_for_statement":
        return condition is None or re.fullmatch(r"[1-9]\d{0,9}", text_of(condition)) is not None
    if condition is None or condition.end_byte - condition.start_byte > 80:
        return False
    return (_NEVER if node.children[0].type == "until" else _ALWAYS).fullmatch(text_of(condition).strip()) is not None


def _name(node: Any) -> str:
    if node.type != "command" or not node.named_children or node.named_children[0].end_byte - node.named_children[0].start_byte > 200:
        return ""
    return text_of(node.named_children[0])


def _beside(node: Any, top: Any) -> bool:
    """Whether a command of the body runs beside the rest: part of a pipe, or followed by `&`, itself or a group around it."""
    for _ in range(24):
        if node.type == "pipeline" or (node.next_sibling is not None and node.next_sibling.type == "&"):
            return True
        if node.parent is None or node.id == top.id:
            return False
        node = node.parent
    return True


def _below(shell: "Shell", top: Any) -> list[Any]:
    """The nodes under one, without those of functions that are only defined there; too many of them are opaque."""
    found: list[Any] = []
    waiting = [top] if top is not None else []
    while waiting:
        if not shell.call.looks():
            shell.call.opaque("too_deep")
            return found
        node = waiting.pop()
        found.append(node)
        waiting.extend(child for child in node.children if child.type != "function_definition")
    return found
