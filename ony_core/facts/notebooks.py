"""A cell of a notebook: Python with lines that are a shell's or the notebook's own (`!ls`, `%cd src`, `%%bash`).

MUST: a magic word that the table does not know may run anything: opaque.
Sources: https://ipython.readthedocs.io/en/stable/interactive/magics.html and .../interactive/reference.html#system-shell-access
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, files
from ony_core.facts.python import understand as read_python
from ony_core.facts.words import Flow, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_LINE = re.compile(r"(?m)^([ \t]*)(?:[\w, ]+=[ \t]*)?(!!?|%)[ \t]*(.*)$")
# a magic word without its mark, where it is no name of the program's
_BARE = re.compile(r"(?m)^([ \t]*)(?=(\w+)(?:[ \t]+[^\s=(\[.,+*/<>]|$))(.*)$")


def cell(shell: "Shell", text: str) -> None:
    """Adds what a cell does."""
    lists = tables().words["notebook"]
    found = re.match(r"\s*%%(!|\w+)[ \t]*([^\n]*)\n?(.*)", text, re.DOTALL)
    if found is None:
        _lines(shell, text)
        return
    magic, rest, body = found.groups()
    if magic in lists["shells"]:
        shell.child().source(body)
    elif magic in lists["programs"] or magic == "script":
        words = [Word(part) for part in (rest if magic == "script" else magic).split()]
        commands.run(shell.child(), words, Flow(body))
    elif magic in lists["writes"]:
        for name in (part for part in rest.split() if part[0] != "-"):
            files.write_file(shell, Word(name), Flow(body), frozenset({"append"} if "-a" in rest.split() else ()))
    elif magic in lists["around"]:
        _lines(shell, body)
    elif magic not in lists["shows"]:
        shell.call.opaque("code_unknown")


def _lines(shell: "Shell", text: str) -> None:
    """Shell lines keep their order among themselves; what is left is Python."""
    lists = tables().words["notebook"]
    shell_lines = []
    bare = [found for found in _BARE.findall(text) if found[1] in (*lists["like_commands"], "run", "system", "sx")]
    for _, mark, rest in [*_LINE.findall(text), *((indent, "%", line) for indent, _, line in bare)]:
        magic, _, words = rest.partition(" ")
        if mark != "%" or magic in lists["like_commands"]:
            shell_lines.append(rest)
        elif magic in lists["shells"]:
            shell_lines.append(words)
        elif magic == "run":
            shell_lines.append(f"python {words}")
        elif magic in lists["around"]:
            read_python(shell, words)
        elif magic not in lists["shows"]:
            shell.call.opaque("code_unknown")
    read_python(shell, _LINE.sub(r"\1pass", text))
    if shell_lines:
        shell.child().source("\n".join(shell_lines))
