"""Edits in the text of a JSON file that leave every other byte of it alone: order, spacing, escapes and line ends stay the user's.

`parse` finds where each value stands; `add` and `cut` change the text there. Strict JSON only (RFC 8259): no comments, no repeated keys.
"""

import json
import re
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from ony_core.errors import Malformed

MAX_DEPTH = 64
_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null", re.ASCII)
_INDENT = re.compile(r"[{\[]\r?\n([ \t]+)")


@dataclass(slots=True)
class Node:
    """A value and where it stands. children: items, or an object's values with their `keys`; starts: where each begins, key included."""

    kind: str  # object | array | scalar
    start: int
    end: int
    depth: int
    value: Any
    keys: list[str] = field(default_factory=list)
    children: list["Node"] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def get(self, key: str) -> "Node | None":
        return self.children[self.keys.index(key)] if key in self.keys else None


def parse(text: str) -> Node:
    """The root. Malformed says line and fault."""
    try:
        root = _value(text, _skip(text, 0), 0)
        if _skip(text, root.end) != len(text):
            raise _fault(text, root.end, "something stands after the end")
    except (ValueError, IndexError) as error:
        raise Malformed(f"not JSON ({error})" if str(error) else "not JSON") from None
    return root


def add(text: str, container: Node, piece: Any, key: str | None = None) -> str:
    """The text with one more item or member at the end of a container, indented as its surroundings are."""
    line, unit = ("\r\n" if "\r\n" in text else "\n"), _unit(text)
    pad = line + unit * (container.depth + 1)
    shown = json.dumps(piece, indent=unit, ensure_ascii=False).replace("\n", pad)
    shown = f"{json.dumps(key, ensure_ascii=False)}: {shown}" if key is not None else shown
    if container.children:
        at = container.children[-1].end
        return text[:at] + "," + pad + shown + text[at:]
    brackets = "{}" if container.kind == "object" else "[]"
    filled = brackets[0] + pad + shown + line + unit * container.depth + brackets[1]
    return text[: container.start] + filled + text[container.end :]


def cut(text: str, container: Node, index: int) -> str:
    """The text without one item or member, and without the comma that went with it."""
    if len(container.children) == 1:
        return text[: container.start] + ("{}" if container.kind == "object" else "[]") + text[container.end :]
    if index > 0:
        return text[: container.children[index - 1].end] + text[container.children[index].end :]
    return text[: container.starts[0]] + text[container.starts[1] :]


def _unit(text: str) -> str:
    found = _INDENT.search(text)
    return found[1] if found else "  "


def _value(text: str, at: int, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise _fault(text, at, "nested too deeply")
    if text[at] == "{":
        return _object(text, at, depth)
    if text[at] == "[":
        return _array(text, at, depth)
    if text[at] == '"':
        value, end = scanstring(text, at + 1, True)
        return Node("scalar", at, end, depth, value)
    found = _SCALAR.match(text, at)
    if not found:
        raise _fault(text, at, "no value here")
    return Node("scalar", at, found.end(), depth, json.loads(found[0]))


def _object(text: str, start: int, depth: int) -> Node:
    node, at = Node("object", start, start, depth, {}), _skip(text, start + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise _fault(text, at, "a key is missing")
        key, end = scanstring(text, at + 1, True)
        colon = _skip(text, end)
        if text[colon] != ":":
            raise _fault(text, colon, "a colon is missing")
        if key in node.value:
            raise _fault(text, at, "a key is repeated")
        child = _value(text, _skip(text, colon + 1), depth + 1)
        node.keys.append(key)
        node.value[key] = child.value
        at = _next(text, node, child, at, "}")
    node.end = at + 1
    return node


def _array(text: str, start: int, depth: int) -> Node:
    node, at = Node("array", start, start, depth, []), _skip(text, start + 1)
    while text[at] != "]":
        child = _value(text, at, depth + 1)
        node.value.append(child.value)
        at = _next(text, node, child, at, "]")
    node.end = at + 1
    return node


def _next(text: str, node: Node, child: Node, began: int, closing: str) -> int:
    """Past the child: where the next one begins, or the closing bracket."""
    node.children.append(child)
    node.starts.append(began)
    at = _skip(text, child.end)
    if text[at] == closing:
        return at
    following = _skip(text, at + 1)
    if text[at] != "," or text[following] == closing:
        raise _fault(text, at, "a comma is missing or too many")
    return following


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _fault(text: str, at: int, what: str) -> ValueError:
    return ValueError(f"line {text.count(chr(10), 0, at) + 1}: {what}")
