"""Programs that rename files by code: the first operand is an expression that Perl evaluates."""

from typing import TYPE_CHECKING

from ony_core.facts import commands
from ony_core.facts.argv import read
from ony_core.facts.handlers.interpreters import inline
from ony_core.facts.words import Flow, Word
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def names_by_code(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`rename 's/a/b/e' *`: only the first word is code; the others name files."""
    line, _ = read(program, words)
    code = line.all("-e") or line.operands[:1]
    if "help" not in line.traits:
        for word in code:
            inline(shell, "perl", word.text, word.taints)
    line.traits.discard("unknown_word")
    return commands.finish(shell, line, stdin)


HANDLERS = {"names_by_code": names_by_code}
