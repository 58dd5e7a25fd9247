"""Programs that run the command in their own operands: sudo, env, timeout, xargs, watch, find's cousins."""

import re
import shlex
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, redirects, shown
from ony_core.facts.argv import Line, read
from ony_core.facts.words import EMPTY, HOLE, NUL, UNKNOWN, Flow, Word, hole
from ony_core.taxonomy.tables import Program

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def wrapped(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`timeout 5 command …`: the wrapper leaves its own fact only where a rule asks for it."""
    line, rest = read(program, words, stop_at_operand=max(program.wraps, 0))
    return _inner(shell, line, rest, stdin)


def _inner(shell: "Shell", line: Line, rest: list[Word], stdin: Flow) -> Flow:
    shell.call.add("command", line.program.name, line.verb, line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    commands.flag_values(shell, line, frozenset(), stdin)
    return commands.run(shell, rest, stdin) if rest else EMPTY


def as_root(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """sudo, doas: everything inside gains a step."""
    line, rest = read(program, words, stop_at_operand=0)
    while rest and "=" in rest[0].text and not rest[0].text.startswith(("/", "-")):
        rest = rest[1:]
    if (not rest and line.flags & {"-s", "-i", "--shell", "--login"}) or (rest and line.flags & {"-e", "--edit"}):
        shell.call.add("grant", traits=("as_root",))
        for word in rest:
            files.write_file(shell, word, Flow(None))
        return Flow(None)
    shell.call.add("command", program.name, (), line.flags, 0)
    with shell.call.lending("as_root"):
        return commands.run(shell, rest, stdin) if rest else EMPTY


def env(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """env: assignments, then a command; -S splits one word into many; alone it prints every variable."""
    line, rest = read(program, words, stop_at_operand=0)
    inner = shell.child()
    for _, text in [(f, v) for f, v in line.values if f in ("-S", "--split-string")]:
        return inner.source(text.text.replace(HOLE, "${_}") + " " + " ".join("'" + w.text.replace("'", "") + "'" for w in rest), stdin)
    while rest and ("=" in rest[0].text or rest[0].text in ("-", "--")):
        name, equals, value = rest[0].text.partition("=")
        if not equals:
            rest = rest[1:]
            continue
        inner.set(name, rest[0].part(value))
        rest = rest[1:]
    if not rest:
        shell.call.add("command", program.name, (), line.flags, 0, traits=line.traits | {"prints_environment"})
        return Flow(None, frozenset({"secret"}))
    return commands.run(inner, rest, stdin)


MAX_GIVEN = 64


_UNQUOTED = re.compile(r"""'([^']*)'|"([^"]*)"|\\(.)""", re.DOTALL)


def xargs(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """xargs, parallel: the command runs with operands that arrive on standard input (or after `:::`)."""
    line, rest = read(program, words, stop_at_operand=0)
    shell.call.add("command", program.name, (), line.flags, 0)
    if "help" in line.traits:
        return EMPTY
    if (names := line.value("-a", "--arg-file")) is not None:
        stdin = redirects.read_from(shell, names)
    texts = [w.text for w in rest]
    given = [hole(*stdin.taints)]
    take = _items if line.value("-I", "--replace", "-i", "-J") is not None else _input
    if stdin.text is not None and HOLE not in stdin.text and (texts_in := take(stdin.text, bool(line.flags & {"-0", "--null"}))):
        given = [Word(t, taints=stdin.taints) for t in texts_in[:MAX_GIVEN]]
        if len(texts_in) > MAX_GIVEN:
            given.append(hole(*stdin.taints))
    for mark in (":::", "::::", ":::+"):
        if mark in texts:
            given, rest = rest[texts.index(mark) + 1 :] or given, rest[: texts.index(mark)]
            break
    if program.name == "parallel" and rest and len(rest) == 1 and " " in rest[0].text:
        shell.child().source(rest[0].text.replace("{}", "${_}").replace(HOLE, "${_}"))
        return EMPTY
    if (
        rest
        and rest[-1].text[:1] == "-"
        and rest[-1].text.endswith("c")
        and (named := commands.program_named(rest[0].text))
        and named.handler == "shell"
    ):
        shell.call.opaque("code_unknown")
        return EMPTY
    slot = line.value("-I", "--replace", "-i", "-J")
    if not rest:
        if program.name == "parallel":
            for word in given:
                shell.child().source(word.text.replace(HOLE, "${_}")) if word.text != HOLE else shell.call.opaque("code_unknown")
        return EMPTY
    return commands.run(shell.child(), _filled(rest, slot.text if slot else "{}", given, slot is not None), Flow(None, stdin.taints))


def _input(text: str, zeros: bool) -> list[str]:
    """The words xargs reads: it takes quotes and backslashes away, as a shell would; none where they cannot be told."""
    if zeros or NUL in text:
        return text.removesuffix(NUL).split(NUL) if zeros and NUL in text else []
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _items(text: str, zeros: bool) -> list[str]:
    """With -I every line is one item; quotes are taken away, blanks part nothing."""
    lines = _input(text, zeros) if zeros or NUL in text else [line.lstrip() for line in text.splitlines() if line.strip()]
    return lines if zeros else [_UNQUOTED.sub(lambda m: m[1] or m[2] or m[3] or "", line) for line in lines]


def _filled(rest: list[Word], slot: str, given: list[Word], only_slot: bool) -> list[Word]:
    if any(slot in w.text for w in rest[1:]):
        together = given[0] if len(given) == 1 else Word(HOLE, taints=frozenset(t for g in given for t in g.taints))
        if len(rest) == 1:
            return rest
        return [
            Word(w.text.replace(slot, together.text), True, w.quoted, w.taints | together.taints) if slot in w.text else w for w in rest
        ]
    many = [Word(g.text, True, g.quoted, g.taints) for g in given]
    return rest if only_slot else rest + many


def look_up(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`command -v x` names a program; `command x` runs it."""
    if words and words[0].text in ("-v", "-V", "-pv", "-pV"):
        shell.call.add("command", program.name, flags=())
        return Flow(words[1].text + "\n" if len(words) == 2 and words[1].known else None)
    inner = shell.child()
    inner.functions = {}  # `command` passes over the script's own functions
    return wrapped(inner, program, words, stdin)


def later(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """at, batch, crontab -: the program text arrives on standard input and runs another time."""
    line, _ = read(program, words)
    commands.finish(shell, line, stdin)
    if stdin.text:
        shell.child().source(stdin.text.replace(HOLE, "${_}"))
    return Flow(None)


def text_argument(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """watch, script -c, su -c: the operands (or one flag) are program text."""
    words = [w for w in words if w.text != "-"] if program.name == "sg" else words
    line, rest = read(program, words, stop_at_operand=max(program.wraps, 0))
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    given = [value.text for flag, value in line.values if program.roles.get(flag) == "run"]
    if program.name in _SESSIONS and not given and not rest and "help" not in line.traits:
        return _session(shell, stdin)
    if program.name == "hyperfine":
        given += [w.text for w in rest]  # each operand is a command of its own
    elif not given and rest and (program.name not in ("watch", "sg") or line.flags & {"-x", "--exec"}):
        return commands.run(shell, rest, stdin)
    elif not given:
        given = [" ".join(w.text for w in rest)]
    out = EMPTY
    for text in given:
        out = shell.child().source(text.replace(HOLE, "${_}"), stdin) if text else out
    return out


_SESSIONS = frozenset({"script", "sg"})  # without a command they start a shell


def _session(shell: "Shell", stdin: Flow) -> Flow:
    """A shell that reads what it is given, or waits for somebody to type."""
    if stdin is EMPTY:
        shell.call.add("grant", traits=("open_ended",))
    elif stdin.text is None:
        shell.call.add("opaque", traits=stdin.taints & {"network", "decoded"} or {"code_unknown"})
    else:
        shell.child().source(stdin.text.replace(HOLE, "${_}"))
    return UNKNOWN


def substitute_user(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    code = line.value("-c", "--command")
    if code is None:
        shell.call.add("grant", traits=("as_root",))
        return EMPTY
    with shell.call.lending("as_root"):
        return shell.child().source(shown.for_shell(code.text, code.taints), stdin)


HANDLERS = {
    "as_root": as_root,
    "env": env,
    "xargs": xargs,
    "look_up": look_up,
    "later": later,
    "text_argument": text_argument,
    "substitute_user": substitute_user,
}
