"""What the shell does itself: folders, evaluation, sourcing, aliases, traps, output."""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, paths, shown
from ony_core.facts.expand import ansi
from ony_core.facts.words import EMPTY, HOLE, NUL, UNKNOWN, Flow, Made, Word, hole
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


STANDARD_INPUT = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def cd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    operands = [w for w in words if not w.text.startswith("-") or w.text == "-"]
    if not operands:
        shell.cwd = "~"
    elif operands[0].text == "-" or not operands[0].known or (shell.cwd == HOLE and operands[0].text[:1] not in "/~"):
        shell.cwd = HOLE
    else:
        shell.cwd = paths.absolute(shell.cwd, operands[0].text)
    return EMPTY


def evaluate(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`eval`: the words become program text."""
    if any(w.flow is not None for w in words):  # `eval . <(…)`: the text would only name the pipe
        return commands.run(shell, words, stdin)
    text = " ".join(w.text for w in words)
    taints = frozenset(t for w in words for t in w.taints)
    return run_text(shell, text, taints, stdin)


def run_text(shell: "Shell", text: str | None, taints: frozenset[str], stdin: Flow = EMPTY) -> Flow:
    """Program text for a shell, if it is known; else what is known of where it came from."""
    if "shell_setup" in taints and (text is None or text.strip() == HOLE) and not taints & {"network", "decoded"}:
        shell.call.add("command", "project_code")
        return UNKNOWN
    if text is None or text.strip() == HOLE or (HOLE in text and taints & {"network", "decoded"}):
        reasons = taints & {"network", "decoded", "secret"}
        shell.call.add("opaque", traits=reasons or {"code_unknown"})
        return UNKNOWN
    if taints & {"network"}:
        shell.call.add("opaque", traits={"network"})
    return shell.source(shown.for_shell(text, taints), stdin)


def source(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    from ony_core.facts import scripts

    if not words:
        return EMPTY
    if words[0].flow is not None:
        return run_text(shell, words[0].flow.text, words[0].taints, stdin)
    if words[0].text in STANDARD_INPUT:
        return run_text(shell, stdin.text, stdin.taints)
    shell.call.add("command", program.name, args=len(words))
    if not isinstance(scripts.content_of(shell, words[0]), Made):
        shell.variables = dict.fromkeys(shell.variables, hole())
    return scripts.run_file(shell, words[0], words[1:], "source", inside=True)


def execute(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`exec`: replaces the shell; with redirects alone it only moves descriptors."""
    rest = list(words)
    while rest and rest[0].text.startswith("-"):
        named = "a" in rest[0].text
        rest = rest[2:] if named else rest[1:]
    return commands.run(shell, rest, stdin) if rest and rest[0].text[:1] != "{" else UNKNOWN


def alias(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """An alias is understood where it is made, by itself, and again where its name is a command."""
    for word in words:
        name, equals, value = word.text.partition("=")
        if equals:
            shell.aliases[name] = word.part(value)
            shell.child().source(value.replace(HOLE, "${_}"))
    shell.call.add("command", program.name, args=len(words))
    return EMPTY


def trap(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    operands = [w for w in words if w.text not in ("--", "-", "-l", "-p")]
    shell.call.add("command", program.name, args=len(words))
    if len(operands) > 1:
        run_text(shell.child(), operands[0].text, operands[0].taints)
    return EMPTY


def echo(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """echo and printf: text whose bytes are known before the run."""
    shell.call.add("command", program.name, args=len(words))
    taints = frozenset(t for w in words for t in w.taints)
    if program.name == "printf":
        if len(words) > 1 and words[0].text.startswith("-v"):
            name, rest = (words[0].text[2:], words[1:]) if words[0].text[2:] else (words[1].text, words[2:])
            made = _printf(rest, taints)
            shell.variables[name] = Word(made.text, taints=taints) if made.text is not None else hole("indirection", *taints)
            return EMPTY
        return _printf(words, taints)
    escapes = newline = False
    while words and words[0].text[:1] == "-" and words[0].text[1:] and set(words[0].text[1:]) <= set("neE"):
        escapes |= "e" in words[0].text
        newline |= "n" in words[0].text
        words = words[1:]
    text = " ".join(w.text for w in words)
    if escapes or "\\x" in text or "\\0" in text or "\\1" in text:
        text = ansi(text.replace("\\0", "\\"))
    return Flow(text if newline else text + "\n", taints)


def _printf(words: list[Word], taints: frozenset[str]) -> Flow:
    words = words[1:] if words and words[0].text == "--" else words
    if not words or words[0].text == "-v":
        return Flow("", taints)
    template = ansi(words[0].text, NUL)
    pieces, values, out = template.replace("%%", "\1").split("%"), words[1:], ""
    if len(pieces) - 1 != len(values) and not (len(pieces) == 2 and values):
        return Flow(template.replace("\1", "%") if len(pieces) == 1 else None, taints)
    if any(p[:1] not in ("s", "b", "d") for p in pieces[1:]):
        return Flow(None, taints)
    rounds = len(values) if len(pieces) == 2 else 1
    for turn in range(rounds):
        given = [values[turn + i].text for i in range(len(pieces) - 1)]
        out += pieces[0] + "".join((ansi(text) if p[0] == "b" else text) + p[1:] for text, p in zip(given, pieces[1:], strict=True))
    return Flow(out.replace("\1", "%"), taints)


def cat(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """cat, tee: what goes in comes out; tee also writes."""
    line = commands.line_of(program, words)
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=line.traits)
    if program.name == "tee":
        append = frozenset({"append"}) if line.flags & {"-a", "--append"} else frozenset()
        for word in line.operands:
            files.write_file(shell, word, UNKNOWN if stdin is EMPTY else stdin, append)
        return stdin
    out = EMPTY if line.operands else stdin
    for word in line.operands:
        made = files.made_at(shell, word)
        taints = files.read_file(shell, word)
        out = out.then(
            EMPTY if word.text == "/dev/null" else stdin if word.text == "-" else word.flow or Flow(made.text if made else None, taints)
        )
    return out


def read_variable(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line = commands.line_of(program, words)
    known = stdin is not EMPTY and stdin.text is not None and "\\" not in stdin.text and not line.flags - {"-r", "-e"}
    text = (stdin.text or "").rstrip("\n") if known else HOLE
    marks = shell.variables.get("IFS", Word(" \t\n")).text
    lost = {"indirection"} if stdin.text is not None and (not known or HOLE in marks or "\n" in text) else set()
    fields = [HOLE] * len(line.operands) if lost or not known else _fields(text, marks, len(line.operands))
    for word, value in zip(line.operands, fields, strict=True):
        shell.arrays.pop(word.text, None)
        shell.variables[word.text] = Word(value, taints=stdin.taints | lost)
    lines = line.value("-t")
    if lines is not None and lines.text.isidentifier():  # `mapfile -t name`, which goes by the same table: its lines are not followed
        shell.arrays.pop(lines.text, None)
        shell.variables[lines.text] = hole("indirection", *stdin.taints)
    shell.call.add("command", program.name, args=len(line.operands))
    return EMPTY


def _fields(text: str, marks: str, count: int) -> list[str]:
    """What `read` makes of a line: a field for each name, the last gets the rest."""
    blanks = "".join(c for c in marks if c in " \t\n")
    text = text.strip(blanks)
    found: list[str] = []
    while len(found) < count - 1:
        cut = re.search("[" + re.escape(marks) + "]", text) if marks else None
        if cut is None:
            break
        found.append(text[: cut.start()])
        text = text[cut.end() :].lstrip(blanks)
    found.append(text)
    return found + [""] * (count - len(found))


def pwd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    shell.call.add("command", program.name)
    return Flow(shell.cwd + "\n" if shell.cwd != HOLE else None)


def mktemp(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line = commands.line_of(program, words)
    shell.call.add("command", program.name)
    given = line.operands[0].text if line.operands else "/tmp/tmp.XXXXXXXXXX"  # noqa: S108  a name in the call that is judged
    path = given if "/" in given else "/tmp/" + given  # noqa: S108  a name in the call that is judged
    shell.call.made[paths.absolute(shell.cwd, path)] = Made("")
    return Flow(path + "\n")


def which(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """which, type: names a program without running it."""
    shell.call.add("command", program.name, args=len(words))
    operands = [w for w in words if not w.text.startswith("-")]
    return Flow(operands[0].text + "\n") if len(operands) == 1 and operands[0].known else Flow(None)


def set_options(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`set -- a b` gives the script new arguments."""
    texts = [w.text for w in words]
    if "--" in texts:
        shell.arguments = words[texts.index("--") + 1 :]
    elif words and words[0].text[:1] not in "-+":
        shell.arguments = list(words)
    shell.call.add("command", program.name, args=len(words))
    return EMPTY


def hash_program(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    if words and words[0].text == "-p":
        shell.call.opaque("indirection")
    shell.call.add("command", program.name, args=len(words))
    return EMPTY


def export(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    for word in words:
        name, equals, value = word.text.partition("=")
        if equals:
            shell.set(name, word.part(value))
    return EMPTY


def printenv(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    flow = commands.plain(shell, program, words, stdin)
    return flow.also(shown.TAINT) if any(shown.secretive(word.text) for word in words) else flow


def positional(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    shell.arguments = [hole()] if shell.arguments is None else shell.arguments[1:]
    return EMPTY


HANDLERS = {
    "cd": cd,
    "eval": evaluate,
    "source": source,
    "exec": execute,
    "alias": alias,
    "trap": trap,
    "echo": echo,
    "cat": cat,
    "read": read_variable,
    "pwd": pwd,
    "mktemp": mktemp,
    "which": which,
    "set": set_options,
    "hash": hash_program,
    "export": export,
    "printenv": printenv,
    "shift": positional,
}
