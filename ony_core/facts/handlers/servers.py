"""Programs that speak to one server named on their line, or are one: which server it is, or what it shows, decides with their table."""

from typing import TYPE_CHECKING

from ony_core.facts import commands, paths
from ony_core.facts.argv import read
from ony_core.facts.handlers.network import url_traits
from ony_core.facts.words import Flow, Word
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_KEPT = frozenset({"localhost", "metadata", "drop_host", "address_unknown"})


def addressed(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """ab, wrk, grpcurl …: operands, or flags whose role is "url", name the server; before a verb it is the first operand."""
    line, _ = read(program, words)
    named = [v for f, v in line.values if program.roles.get(f) == "url"] or (
        line.operands[:1] if program.verbs == "last" else line.operands
    )
    found = [url_traits(w.text) for w in named]
    traits = frozenset().union(*found) & _KEPT if found else frozenset()
    if any("localhost" not in one for one in found):
        traits -= {"localhost"}
    line.traits.discard("unknown_word")
    return commands.finish(shell, line, stdin, traits)


def serves(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """Servers of files: the folder that others may read is the value of a flag, an operand, or the current one."""
    line, _ = read(program, words)
    named = [v for f, v in line.values if program.roles.get(f) == "serve"]
    shown = named or (line.operands[:1] if program.operands == "serve" else [])
    line.traits.discard("unknown_word")
    return commands.finish(shell, line, stdin, more_than_a_project(shell, shown[0] if shown else Word(".")))


_SHOWN = frozenset({"root", "system", "home_root", "above_project", "secret", "secret_folder", "agent_settings", "ony_files"})


def more_than_a_project(shell: "Shell", folder: Word) -> frozenset[str]:
    """What a folder that others are shown holds beside a project: a whole home or disk, system settings, secrets."""
    found = paths.traits_of(shell.call, shell.cwd, folder) & _SHOWN
    return (found - {"secret_folder"} | {"secret"}) if "secret_folder" in found else found


HANDLERS = {"addressed": addressed, "serves": serves}
