"""Programs whose words have a grammar of their own. A table names its handler; every other program is read by its table alone."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from ony_core.facts.commands import plain
from ony_core.facts.words import Flow, Word
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

Handler = Callable[["Shell", Program, list[Word], Flow], Flow]


def of(program: Program) -> Handler:
    if not program.handler:
        return wrap if program.wraps >= 0 else plain
    return table()[program.handler]


@cache
def table() -> dict[str, Handler]:
    """Every handler a table may name."""
    from ony_core.facts.handlers import (
        builtins,
        carriers,
        databases,
        datastores,
        files,
        git,
        infra,
        interpreters,
        local_databases,
        multiplexers,
        names,
        network,
        patching,
        remote,
        runners,
        servers,
        system,
        windows,
        wrappers,
    )

    modules = (
        builtins,
        carriers,
        databases,
        datastores,
        files,
        git,
        infra,
        interpreters,
        local_databases,
        multiplexers,
        names,
        network,
        patching,
        remote,
        runners,
        servers,
        system,
        windows,
        wrappers,
    )
    return {name: handler for module in modules for name, handler in module.HANDLERS.items()}


def wrap(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    from ony_core.facts.handlers.wrappers import wrapped

    return wrapped(shell, program, words, stdin)
