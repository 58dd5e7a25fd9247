"""Programs that speak to one server named on their line: whether that server is this computer decides with their table."""

from typing import TYPE_CHECKING

from ony_core.facts import commands
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


HANDLERS = {"addressed": addressed}
