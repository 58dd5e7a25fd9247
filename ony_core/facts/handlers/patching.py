"""Programs that are given a patch: patch, and apply_patch where an agent calls it through the shell."""

from typing import TYPE_CHECKING

from ony_core.facts import files, own, patches
from ony_core.facts.argv import read
from ony_core.facts.words import EMPTY, Flow, Word
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def patch(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`patch [FILE [PATCH]]`, `-i PATCH`, or the patch on standard input."""
    line, _ = read(program, words)
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    if "help" in line.traits or line.flags & {"--dry-run", "-C", "--check"}:
        return EMPTY
    own.note(shell, "patched", "")
    for word in line.operands[:1]:
        files.write_file(shell, word, Flow(None), frozenset({"modify"}))
    for value in line.all("-o", "--output", "-r", "--reject-file"):
        files.write_file(shell, value, Flow(None))
    given = line.operands[1:2] or line.all("-i", "--input")
    below = line.value("-d", "--directory")
    for word in given:
        patches.diff_file(shell, word, below)
    if not given:
        patches.diff(shell, stdin, below)
    return EMPTY


def envelope(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`apply_patch 'text'` or the text on standard input."""
    shell.call.add("command", program.name, args=len(words))
    patches.envelope(shell, words[0].text if words and words[0].known else stdin.text)
    return EMPTY


HANDLERS = {"patch": patch, "apply_patch": envelope}
