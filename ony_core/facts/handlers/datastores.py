"""Clients of stores that speak no SQL: redis-cli, mongosh. Each command or method is a verb of the table."""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, scripts
from ony_core.facts.argv import read
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Made, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_LOOKS = {
    "--scan",
    "--bigkeys",
    "--memkeys",
    "--hotkeys",
    "--latency",
    "--latency-history",
    "--stat",
    "--latency-dist",
    "--intrinsic-latency",
}
_STRING = re.compile(
    r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|/(?:\\.|[^/\\\n])+/[gimsuy]*(?=[,)\s}])""", re.DOTALL
)
_CALLED = re.compile(r"([A-Za-z_$][\w$]*)\s*(?:\?\.)?\(")
_KEYS = re.compile(r"""["']?(\$?[A-Za-z_]\w*)["']?\s*:""")
_COMPUTED = re.compile(r"\]\s*\(|(?<=[\w$)\]])\[\s*[^\]\s'\"\d]")
_OWN = re.compile(r"function\s+([A-Za-z_$][\w$]*)|(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*=\s*(?:async\s*)?(?:function|\(|[\w$]+\s*=>)")
_ASKS = re.compile(r"(?im)^\s*(?:show\s+\w+|use\s+[\w-]+|help|it|exit|quit)\s*;?\s*$")


def words_client(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """redis-cli and its like: the operands are one command; standard input holds one command a line."""
    line, _ = read(program, [_upper(w) if program.name == "redis-cli" else w for w in words])
    if line.verb or "help" in line.traits or line.flags & (_LOOKS | {"--eval", "--cluster", "--rdb", "--functions-rdb", "--pipe"}):
        return commands.finish(shell, line, stdin)
    if stdin.text:
        for row in stdin.text.strip().split("\n")[:50]:
            inner, _ = read(program, [_upper(Word(t)) for t in row.split()])
            commands.finish(shell, inner, UNKNOWN)
        if stdin.text.count("\n") > 50:
            shell.call.opaque("sql_unknown")
        return UNKNOWN
    shell.call.add("grant" if stdin.text == "" else "opaque", traits=("open_ended",) if stdin.text == "" else ("sql_unknown",))
    return UNKNOWN


def _upper(word: Word) -> Word:
    """Commands are case-insensitive; flags are not."""
    return word if word.text.startswith("-") else word.part(word.text.upper())


# ---- MongoDB


def mongo(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """mongosh, mongo: --eval text, a script file, or standard input, all JavaScript."""
    line, _ = read(program, words)
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    if "help" in line.traits:
        return UNKNOWN
    codes = line.all("--eval", "-e")
    for word in codes:
        javascript(shell, word.text if word.text.strip(HOLE + " ") else None, word.taints)
    files = [w for w in line.operands if w.text.endswith((".js", ".mongodb", ".mjs", ".cjs"))] + line.all("--file", "-f")
    for word in files:
        content = scripts.content_of(shell, word) if word.known else None
        javascript(shell, content.text if isinstance(content, Made) else None, content.taints if isinstance(content, Made) else frozenset())
    if not codes and not files:
        if stdin.text:
            javascript(shell, stdin.text, stdin.taints)
        elif stdin.text is None:
            shell.call.opaque("code_unknown")
        else:
            shell.call.add("grant", traits=("open_ended",))
    return Flow(None, frozenset({"database_output"}))


def javascript(shell: "Shell", code: str | None, taints: frozenset[str]) -> None:
    """A script for MongoDB: the methods it calls, each a verb; what can start programs or hide a name is unlisted."""
    if code is None or taints & {"network", "decoded"}:
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"code_unknown"})
        return
    for verb in sorted(methods(code.replace(HOLE, "0"))):
        shell.call.add("command", "mongosh", (verb,))


def methods(code: str) -> set[str]:
    """The methods and administrative commands that a script names, as the table has them; reads leave nothing."""
    lists = tables().words["mongo"]
    bare = _STRING.sub(" ", _ASKS.sub(" ", code))
    own = {a or b for a, b in _OWN.findall(bare)}
    called = {name for name in _CALLED.findall(bare) if name not in lists["reads"] and name not in own}
    found = {name if name in lists["acts"] else UNLISTED for name in called}
    found |= {key for key in _KEYS.findall(code) if key in lists["acts"]}
    if called & {"runCommand", "adminCommand"} or re.search(r"runCommand|adminCommand", bare):
        asked = re.findall(r"""(?:runCommand|adminCommand)\s*\(\s*\{?\s*["']?(\w+)""", code)
        found |= {name if name in lists["acts"] else UNLISTED for name in asked if name not in lists["asks"]}
        found |= {UNLISTED} if not asked else set()
    if _COMPUTED.search(bare):
        found |= {name for name in re.findall(r"\w+", code) if name in lists["acts"]} or {UNLISTED}
    return found


HANDLERS = {"words_client": words_client, "mongo": mongo}
