"""Programs that speak to one server named on their line, or are one: which server it is, or what it shows, decides with their table."""

from typing import TYPE_CHECKING

from ony_core.facts import commands, paths
from ony_core.facts.argv import read
from ony_core.facts.handlers.network import url_traits
from ony_core.facts.words import Flow, Word
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def addressed(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """ab, wrk, websocat …: operands, or flags whose role is "url", name the server."""
    line, _ = read(program, words)
    named = [v for f, v in line.values if program.roles.get(f) == "url"] or line.operands
    local = bool(named) and all("localhost" in url_traits(w.text) for w in named)
    return commands.finish(shell, line, stdin, frozenset({"localhost"} if local else ()))


def serves(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """Servers of files: the folder that others may read is the value of a flag, an operand, or the current one."""
    line, _ = read(program, words)
    named = [v for f, v in line.values if program.roles.get(f) == "serve"]
    shown, *_ = [*named, *line.operands, Word(".")]
    return commands.finish(shell, line, stdin, more_than_a_project(shell, shown))


_SHOWN = frozenset({"root", "system", "home_root", "above_project", "secret", "secret_folder", "agent_settings", "ony_files"})


def more_than_a_project(shell: "Shell", folder: Word) -> frozenset[str]:
    """What a folder that others are shown holds beside a project: a whole home or disk, system settings, secrets."""
    found = paths.traits_of(shell.call, shell.cwd, folder) & _SHOWN
    return found | {"secret"} if "secret_folder" in found else found


HANDLERS = {handler.__name__: handler for handler in (addressed, serves)}
