"""Whether a command is handed an agent's settings or Ony's own files by name, though nobody knows it to do nothing but read.

MUST err towards yes: a table may say of a program that it reads its operands and not know of its `-o FILE`. Programs with a grammar
of their own (cp, rm, sed, interpreters, wrappers) are judged where that grammar is read.
"""

import re
from fnmatch import fnmatchcase
from posixpath import basename
from typing import TYPE_CHECKING

from ony_core.facts import paths
from ony_core.facts.words import Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

GUARDED = frozenset({"agent_settings", "ony_files"})
_GATE = re.compile(r"(?<![a-z0-9])ony(?![a-z0-9])", re.IGNORECASE)
_UNITS = ("ony", "ony.service", "ony-daemon", "ony-daemon.service", "ony daemon")


def look(shell: "Shell", program: Program | None, argv: list[Word]) -> None:
    """Adds a fact of writing for the first such file that the words name, and one of stopping Ony where they do that."""
    _stops(shell, argv)
    if _only_reads(program, argv):
        return
    for word in argv[1:]:
        for text in _paths_in(word.text):
            found = paths.traits_of(shell.call, shell.cwd, word.part(text))
            if found & GUARDED:
                shell.call.add("file", verb=("write",), traits=found | {"modify"})
                return


def _stops(shell: "Shell", argv: list[Word]) -> None:
    """`systemctl --user stop ony`, `pkill -f "ony daemon"`, `kill $(pgrep ony)`, and the number of the process that judges this call."""
    names, program, words = tables().words["names"], basename(argv[0].text), argv[1:]
    if program in names["finds_processes"] and _names_gate(words):
        shell.call.gate_named = True
    if program not in names["stops_processes"] or any(word.text in names["only_tells"] for word in words[:3]):
        return
    blind = shell.call.gate_named and (not words or not all(word.known for word in words))
    own = shell.call.place.context("gate:process")
    if blind or _names_gate(words) or any(word.text.lstrip("-") == own for word in words):
        shell.call.add("command", "ony", ("daemon", "stop"))


def _names_gate(words: list[Word]) -> bool:
    texts = [word.text for word in words]
    return any(_GATE.search(text) or ("*" in text and any(fnmatchcase(unit, text) for unit in _UNITS)) for text in texts)


def _only_reads(program: Program | None, argv: list[Word]) -> bool:
    names = tables().words["names"]
    if program is not None and program.name == "git":
        return not any(word.text in names["git_moves"] for word in argv[1:4])
    grammar = program is not None and (program.handler != "" or program.wraps >= 0 or program.operands not in ("read", "none", "text"))
    return grammar or basename(argv[0].text) in names["only_read"]


def _paths_in(text: str) -> list[str]:
    """The word itself, the value of --flag=value, and what hangs on a short flag (-o.claude)."""
    if not text.startswith("-"):
        return [text, text.partition("=")[2]] if "=" in text else [text]
    return [text.partition("=")[2]] if "=" in text else [text[2:]] if len(text) > 2 and text[1] != "-" else []
