"""Programs that keep terminals open: tmux, screen. A command that starts in one is judged like any other; what is typed into one is not."""

from typing import TYPE_CHECKING

from ony_core.facts import commands
from ony_core.facts.argv import Line, read
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_STARTS = frozenset(
    ["new-session", "new", "new-window", "neww", "split-window", "splitw", "respawn-pane", "respawnp", "respawn-window", "respawnw"]
)


def tmux(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """tmux, byobu: commands of its own, joined by `;`; those that open a window take the text of a command."""
    for part in _commands(words):
        line, _ = read(program, part)
        line.traits.discard("unknown_word")
        if any("#(" in word.text for word in part) or _loads_settings(line, part):
            line.traits.add("runs_code")  # `#(…)` in a format is a shell command
        commands.finish(shell, line, stdin)
        if line.verb and line.verb[0] in _STARTS and line.operands and "help" not in line.traits:
            _start(shell, part[next(at for at, word in enumerate(part) if word is line.operands[0]) :])
    return UNKNOWN


def _start(shell: "Shell", rest: list[Word]) -> None:
    """One word is text for a shell; several are a command with flags of its own."""
    if len(rest) == 1:
        shell.child().source(rest[0].text.replace(HOLE, "${_}"))
    else:
        commands.run(shell.child(), rest, EMPTY)


def _commands(words: list[Word]) -> list[list[Word]]:
    parts: list[list[Word]] = [[]]
    for word in words:
        if word.text == ";":
            parts.append([])
            continue
        ends = len(word.text) > 1 and word.text.endswith(";")
        parts[-1].append(word.part(word.text[:-1]) if ends else word)
        if ends:
            parts.append([])
    return [part for at, part in enumerate(parts) if part or at == 0]


def _loads_settings(line: Line, words: list[Word]) -> bool:
    """`tmux -f file …`: only before the command is it a file of settings."""
    before = [w.text for w in words[: next((i for i, w in enumerate(words) if w.text in line.verb), len(words))]]
    return any(text.startswith("-f") for text in before)


def screen(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`screen -dmS name command …` starts the command where nobody looks; without -d a session opens here."""
    line, rest = read(program, words, stop_at_operand=0)
    line.traits.discard("unknown_word")
    commands.finish(shell, line, stdin)
    return commands.run(shell.child(), rest, stdin) if rest and "help" not in line.traits else UNKNOWN


HANDLERS = {"tmux": tmux, "screen": screen}
