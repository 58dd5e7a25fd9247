"""Flags and words with which an ordinary program starts a command, runs program text or loads code: what a program is not for, but can do.

The table `escapes` says for each program, by the name it is called by, which of its words they are and what they take:
run (shell text), hook (a command that gets arguments), words and words:N (the rest is a command, after N more words), commas (a command
with commas between its words), code and code:LANGUAGE (program text), load (a file of code), hold (the word alone is enough),
run:PATTERN and hold:PATTERN (only where the value matches), shows (text that may
print secrets of the environment) and shows:PATTERN. A key is a flag, leading operands, both ("open -e"), "stdin" for what it
reads, or "" for any operand. The table `sessions` names programs that wait for commands, with the words that keep them from it.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import commands, shown
from ony_core.facts.words import EMPTY, HOLE, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


@lru_cache(maxsize=4096)
def listed(name: str, program: str) -> dict[str, str]:
    """The escapes of a program, by the name it was called by, else by the name of its table; `like` takes in another's."""
    lists = tables().words["escapes"]
    found: dict[str, str] = lists.get(name) or lists.get(program) or {}
    other = found.get("like", "")
    return {**lists.get(other, {}), **{key: role for key, role in found.items() if key != "like"}} if other else found


def look(shell: "Shell", program: Program, argv: list[Word], stdin: Flow) -> None:
    name = argv[0].text.rpartition("/")[2]
    quiet = tables().words["sessions"].get(name)
    if quiet is not None and stdin is EMPTY and not any(_quiets(word.text, quiet) for word in argv[1:]):
        shell.call.add("grant", traits=("open_ended",))
    known = listed(name, program.name)
    if not known:
        return
    if "stdin" in known and stdin.text:
        _act(shell, program, known["stdin"], Word(stdin.text, taints=stdin.taints), [])
    operands: list[str] = []
    at = 1
    while at < len(argv):
        word = argv[at]
        at += 1
        lead = operands[0] if operands else ""
        for key, value, taken in spellings(word, argv[at : at + 1]):
            role = known.get(f"{lead} {key}") or known.get(key, "")
            if role:
                at += taken if role.partition(":")[0] != "hold" or ":" in role else 0
                if _act(shell, program, role, value, argv[at - taken :]):
                    return
                break
        else:
            if word.text in program.values:
                at += 1
            elif word.text[:1] not in "-+" or word.text == "-":
                operands.append(word.text)
                if _operand(shell, program, known, operands, word, argv[at:]):
                    return


def _quiets(text: str, quiet: list[str]) -> bool:
    """Whether a word of the line keeps a program from opening a session: one of its flags, or (where `*` is listed) any operand."""
    return any(text.startswith(flag) for flag in quiet if flag != "*") or ("*" in quiet and text[:1] != "-")


def spellings(word: Word, after: list[Word]) -> list[tuple[str, Word, int]]:
    """(flag, its value, words taken) for each way a word may be read: `--flag value`, `--flag=value`, `-fvalue`."""
    text = word.text
    if text[:1] not in "-+/" or len(text) < 2:
        return []
    name, equals, value = text.partition("=")
    found = [(text, after[0] if after else Word(""), len(after))]
    if equals:
        found.append((name, word.part(value), 0))
    if text[:1] == "-" and text[1] != "-" and ":" in name:
        found.append((text.partition(":")[0], word.part(text.partition(":")[2]), 0))
    if len(text) > 2 and text[1] != "-":
        found.append((text[:2], word.part(text[2:]), 0))
    return found


def _operand(shell: "Shell", program: Program, known: dict[str, str], operands: list[str], word: Word, rest: list[Word]) -> bool:
    role = known.get(" ".join(operands)) if len(operands) < 4 else None
    given = next((w for w in rest if w.text[:1] != "-"), Word(""))
    if role and _act(shell, program, role, given, rest):
        return True
    return bool(known.get("")) and _act(shell, program, known[""], word, [word, *rest])


def _act(shell: "Shell", program: Program, role: str, value: Word, rest: list[Word]) -> bool:
    """Does what the role says with a value; True if the rest of the line belongs to the command that it starts."""
    from ony_core.facts.handlers.interpreters import inline

    kind, _, pattern = role.partition(":")
    if kind == "words":
        return _rest(shell, program, rest[int(pattern or 0) :])
    if kind in ("run", "hold") and pattern:
        commands.by_pattern(shell, program, value, kind, pattern)
    elif kind == "hold":
        shell.call.add("command", program.name, traits=("loads_code",))
    elif kind in ("run", "hook"):
        shell.child().source(value.text.replace(HOLE, "${_}") + (" ${_}" if kind == "hook" and value.text.strip() else ""))
    elif kind == "commas":
        commands.run(shell.child(), [value.part(part) for part in value.text.split(",")], EMPTY)
    elif kind == "code":
        inline(
            shell, pattern or program.name, value.text if value.known or not value.taints & {"network", "decoded"} else None, value.taints
        )
    elif kind == "shows":
        if re.search(pattern, value.text) if pattern else shown.in_text(value.text):
            shell.call.add("command", "env", traits=(shown.TAINT,))
    elif kind == "make" and len(value.text) > commands.LONGEST:
        shell.call.opaque("too_deep")
    elif kind == "make":
        _recipe(shell, value.text)
    else:
        commands.load(shell, program, value)
    return False


def _rest(shell: "Shell", program: Program, words: list[Word]) -> bool:
    """The command in what is left of the line: after flags of the wrapper, or after `--`."""
    at = next((i for i, w in enumerate(words) if w.text == "--"), -1)
    words = words[at + 1 :] if at >= 0 else words
    while words and words[0].text[:1] == "-":
        words = words[2 if words[0].text in program.values else 1 :]
    if words:
        commands.run(shell.child(), words, EMPTY)
    return bool(words)


def _recipe(shell: "Shell", text: str) -> None:
    """Lines of a makefile in an argument: recipes, and what `$(shell …)` asks for."""
    for found in re.finditer(r"\$\(shell\s+([^)]*)\)|(?:^|\n)(?:[^\n=]*;|\t)[ \t@+-]*([^\n]+)", text):
        shell.child().source((found[1] or found[2]).replace("$$", "$").replace(HOLE, "${_}"))
