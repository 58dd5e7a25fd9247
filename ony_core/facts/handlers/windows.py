"""Programs of Windows: the words of cmd, Linuxes within Windows, and tools whose options begin with a stroke."""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands
from ony_core.facts.argv import read
from ony_core.facts.words import EMPTY, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_OPTION = re.compile(r"/{1,2}[A-Za-z?][\w:-]{0,24}$")
_CUT = re.compile(r"&&|\|\||[&|\n]")
MAX_PARTS = 50
_NAMES_A_LINUX = frozenset(
    {
        "--install", "--set-default", "-s", "--unregister", "-t", "--terminate", "--import", "--import-in-place", "--mount", "--unmount",
        "--export", "--set-version", "--set-default-version", "--manage",
    }
)  # fmt: skip


def windows(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """Options in either case and with either stroke (Git's shell needs two) are one option; so are the leading words."""
    plain = [Word(_lowered(w.text, at), w.glob, w.quoted, w.taints, w.flow) for at, w in enumerate(words)]
    line, _ = read(program, plain)
    line.traits.discard("unknown_word")
    return commands.finish(shell, line, stdin)


def _lowered(text: str, at: int) -> str:
    if _OPTION.match(text):
        return "/" + text.lstrip("/").lower()
    return text.lower() if at < 3 and re.fullmatch(r"[A-Za-z]{2,20}", text) else text


def cmd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`cmd /c text`: each command of the text is judged as the program that does the same here; without text a session opens."""
    at = next((n for n, w in enumerate(words) if re.match(r"/{1,2}[cCkKrR]", w.text)), None)
    if [w.text.lstrip("/") for w in words] == ["?"]:
        shell.call.add("command", program.name, traits=("help",))
        return UNKNOWN
    shell.call.add("command", program.name, (), (), 0)
    given = [] if at is None or "k" in words[at].text[:3].lower() else words[at + 1 :]
    text = " ".join(w.text for w in given)
    if not text:
        shell.call.add("grant")
        return UNKNOWN
    parts = _CUT.split(text)
    if len(parts) > MAX_PARTS or any(c in text for c in "%^!<>") or not all(w.known for w in words):
        shell.call.opaque("code_unknown")
        return UNKNOWN
    for part in parts:
        _part(shell, part.split())
    return UNKNOWN


def _part(shell: "Shell", texts: list[str]) -> None:
    if not texts:
        return
    same = tables().words["windows"]["shell"]
    name = texts[0].strip('"@').lower()
    if name not in same:
        commands.run(shell.child(), [Word(name), *(Word(t.strip('"')) for t in texts[1:])], EMPTY)
        return
    deep = any(t.lower() == "/s" for t in texts[1:])
    rest = [t.strip('"').replace("\\", "/") for t in texts[1:] if not _OPTION.match(t)]
    words = [*same[name].split(), *(["-r"] if deep and name in ("del", "erase") else []), *rest]
    commands.run(shell.child(), [Word(w, glob="*" in w) for w in words], EMPTY)


def wsl(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """wsl: options, then a command for the Linux; with neither a session opens."""
    line, rest = read(program, [w for w in words if w.text != "~"], stop_at_operand=0)
    shell.call.add("command", program.name, (), line.flags, 0)
    if rest and not line.flags & _NAMES_A_LINUX:
        return commands.run(shell.child(), rest, stdin)
    if not line.flags - program.values:
        shell.call.add("grant")
    return UNKNOWN


HANDLERS = {"windows": windows, "cmd": cmd, "wsl": wsl}
