"""Programs of clouds, hosts and keepers of secrets that carry something along: a command they run here or elsewhere, SQL, or copies.

Which words of a program carry a command stands in the tables (`runs_here`, `runs_far`, `runs_inside`, `runs_far_flag`, `runs_text`,
`runs_program`, `runs_sql`); the command itself is judged as if it stood alone, one step higher where it runs on another machine.
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, files
from ony_core.facts.argv import Line, read
from ony_core.facts.handlers.files import behind_host
from ony_core.facts.handlers.network import url_traits
from ony_core.facts.handlers.remote import far
from ony_core.facts.sql import statements
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_REMOTE = re.compile(
    r"^(?:(?:s3|gs|az|oss|cos|oci|obs|b2|dbfs|docker)://|@|"
    r"(?!dir:|oci:|oci-archive:|docker-archive:|docker-daemon:|containers-storage:|sif:|file:)[\w.-]{2,}(?:/[\w.-]+)*:)"
)
_COPIES = frozenset({"cp", "sync", "mv", "rsync", "copy", "download"})


def inner(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """A program whose words may carry a command: `op run -- npm test`, `heroku run rake x`, `fly ssh console -C 'ls'`."""
    whole, _ = read(program, words)
    kind, carried, before = _carried(program, whole, words)
    line = read(program, [word for word in words if not any(word is other for other in carried)])[0] if carried else whole
    line.operands += carried
    looked = frozenset({"read_through"}) if carried and kind != "runs_program" else frozenset()
    commands.finish(shell, line, stdin, _direction(shell, line, words) | looked | _emulated(line))
    if "help" in line.traits:
        return UNKNOWN
    _flag_texts(shell, program, line)
    if carried:
        _run(shell, kind, before, carried, stdin)
    return Flow(None, frozenset({"remote_output"}) if kind == "runs_far" else frozenset())


def _emulated(line: Line) -> frozenset[str]:
    """`--endpoint-url http://localhost:4566`: no cloud is asked, but something on this computer that stands for one."""
    address = line.value("--endpoint-url")
    return frozenset({"localhost"}) if address is not None and address.known and "localhost" in url_traits(address.text) else frozenset()


def _carried(program: Program, line: Line, words: list[Word]) -> tuple[str, list[Word], str]:
    """The table that knows the verb, the words of the command, and the program that stands for them, if any."""
    said = [word for word in line.verb if word != UNLISTED]
    for kind in ("runs_here", "runs_far", "runs_inside", "runs_text", "runs_program"):
        table = tables().words.get(kind, {})
        for end in range(len(said), -1, -1):
            value = table.get(" ".join([program.name, *said[:end]]))
            if value is not None:
                skip = 0 if kind == "runs_program" else int(value)
                return kind, _rest(program, _without_own(program, words), said[:end], skip), str(value)
    return "", [], ""


def _without_own(program: Program, words: list[Word]) -> list[Word]:
    """The words but for those flags that the carrier takes out wherever they stand: `heroku run "rake x" -a shop`."""
    taken = tables().words["own_flags"].get(program.name, ())
    kept: list[Word] = []
    at = 0
    while at < len(words) and words[at].text != "--":
        name, equals, _ = words[at].text.partition("=")
        if name in taken:
            at += 1 if equals else 2
        else:
            kept.append(words[at])
            at += 1
    return kept + words[at:]


def _rest(program: Program, words: list[Word], verb: list[str], skip: int) -> list[Word]:
    """The words after the verb and `skip` operands, or after `--`; skip -1: only after `--`."""
    at = after(program, words, verb)
    while at < len(words):
        text = words[at].text
        if text == "--":
            return words[at + 1 :]
        if len(text) > 1 and text[0] == "-":
            at += 2 if text in program.values else 1
            continue
        if skip == 0:
            return words[at:]
        skip -= 1
        at += 1
    return []


def after(program: Program, words: list[Word], verb: list[str]) -> int:
    """Where the words after the verb begin."""
    left, at = list(verb), 0
    while at < len(words) and left:
        text = words[at].text
        if len(text) > 1 and text[0] == "-":
            at += 2 if text in program.values else 1
            continue
        if text == left[0]:
            left.pop(0)
        at += 1
    return at


def _run(shell: "Shell", kind: str, before: str, carried: list[Word], stdin: Flow) -> None:
    if kind == "runs_program":
        commands.run(shell.child(), [Word(before), *carried], stdin)
    elif kind == "runs_text" or " " in carried[0].text:
        text = " ".join(w.text for w in carried)
        if kind == "runs_far":
            far(shell, text, EMPTY)
        else:
            shell.child().source(text.replace(HOLE, "${_}"))
    elif kind == "runs_here":
        commands.run(shell.child(), carried, stdin)
    else:
        child = shell.child()
        child.cwd, child.variables = HOLE, {}
        with shell.call.lending("remote" if kind == "runs_far" else "in_container"):
            commands.run(child, carried, stdin)


def _flag_texts(shell: "Shell", program: Program, line: Line) -> None:
    """Flags that hold a far command or a statement of SQL, for the verbs that have them."""
    said = " ".join([program.name, *(word for word in line.verb if word != UNLISTED)])
    for flag in tables().words.get("runs_far_flag", {}).get(said, ()):
        for value in line.all(flag):
            far(shell, value.text, EMPTY)
    for flag in tables().words.get("runs_sql", {}).get(said, ()):
        for value in line.all(flag) if flag != "operand" else line.operands[-1:]:
            statements(shell.call, value.text, program.name, set())


def _direction(shell: "Shell", line: Line, words: list[Word]) -> frozenset[str]:
    """A copy from a store to this computer only receives; every other copy may send. What it writes here is judged by its path."""
    said = [word for word in line.verb if word != UNLISTED]
    if not set(said) & _COPIES or "help" in line.traits:
        return frozenset()
    begin = after(line.program, words, said)
    ends = [w for w in line.operands if any(w is x for x in words[begin:])]
    return copied(shell, ends[:2] if line.program.name == "aws" else ends)


def copied(shell: "Shell", ends: list[Word]) -> frozenset[str]:
    """The trait `receives` if every source is remote and the last place is not. Local sources are read, a local target is written."""
    if len(ends) < 2 or not all(word.known for word in ends):
        return frozenset()
    far_sources = [bool(_REMOTE.match(word.text)) for word in ends[:-1]]
    for word, remote in zip(ends[:-1], far_sources, strict=True):
        files.read_file(shell, word if not remote else word.part(behind_host(word.text)))
    if _REMOTE.match(ends[-1].text):
        return frozenset()
    if ends[-1].text != "-":
        files.write_file(shell, ends[-1], Flow(None, frozenset({"network"})))
    return frozenset({"receives"}) if all(far_sources) else frozenset()


def ansible(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """ansible: some modules only look."""
    line, _ = read(program, words)
    module = line.value("-m", "--module-name")
    looks = module is not None and module.text.removeprefix("ansible.builtin.") in tables().words["names"]["ansible_reads"]
    return commands.finish(shell, line, stdin, frozenset({"probe"}) if looks else frozenset())


HANDLERS = {"inner": inner, "ansible": ansible}
