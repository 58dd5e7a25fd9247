"""What an editing tool makes of a file: all of it anew, or pieces of it, as far as the call says.

Agents and MCP servers name these things differently; their words for them stand in the table `tool_keys`.
"""

import re
from typing import TYPE_CHECKING, Any

from ony_core.facts import files
from ony_core.facts.words import HOLE, Flow, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_REPLACED = re.compile(r"(?ms)^=======\n(.*?)^(?:>>>>>>>|\+\+\+\+\+\+\+ REPLACE)")  # a block of SEARCH and REPLACE


def named(text: str) -> Word:
    """A path in which no shell expands anything, and which no byte of zero can stand in."""
    return Word(text.replace(HOLE, "?"), quoted=True)


def text_of(given: dict[str, Any], listed: str) -> str | None:
    """The first text under one of the keys that agents use for the same thing."""
    return next((given[name] for name in tables().words["tool_keys"][listed] if isinstance(given.get(name), str)), None)


def written(shell: "Shell", word: Word, given: dict[str, Any]) -> None:
    """One file, written or changed as the arguments say."""
    before = files.known_content(shell, word)
    content = text_of(given, "content")
    whole = content is not None and not any(key in given for key in tables().words["tool_keys"]["old"])
    how = "append" if given.get("mode") == "append" else "modify"
    alone = whole and how == "modify"
    files.write_file(shell, word, Flow(content if whole else _put_in(given)), frozenset() if alone else frozenset({how}))
    if before is not None and before.text is not None:
        files.edited(shell, word, before, _edited(before.text, given))


def _steps(given: dict[str, Any]) -> list[Any]:
    return given["edits"] if isinstance(given.get("edits"), list) else [given]


def _put_in(given: dict[str, Any]) -> str:
    """The new text of every replacement, or what a description of a change adds."""
    found = [text for step in _steps(given) if isinstance(step, dict) and (text := text_of(step, "new"))]
    sketch, diff = given.get("code_edit", text_of(given, "content")), given.get("diff")
    found += [sketch] if isinstance(sketch, str) else []
    if isinstance(diff, str):
        found += _REPLACED.findall(diff) or re.findall(r"(?m)^\+(?!\+\+ )(.*)", diff) or [diff]
    return "\n".join(found)


def _edited(text: str, given: dict[str, Any]) -> str | None:
    """The text after one replacement, or after each of a list of them."""
    for step in _steps(given):
        old, new = (text_of(step, "old_text"), text_of(step, "new")) if isinstance(step, dict) else (None, None)
        if new is None or not old:
            return None
        text = text.replace(old, new) if step.get("replace_all") is True else text.replace(old, new, 1)
    return text
