"""Programs of the machine: rights of files, network settings, processes, phones, Java archives."""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, paths
from ony_core.facts.argv import read
from ony_core.facts.own import noted
from ony_core.facts.words import UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_SETUID = re.compile(r"(?:^|,)[ugoa]*[+=][rwx]*s|^[2467]\d{3}$")
_FILTER = re.compile(r"\s*(?:grep|head|tail|wc|sort|uniq|cut)\b[^;&<>`$(){}\n]*$")
_OF_THE_MACHINE = 1023  # the highest port that only root may open
_WITHOUT_MODE = ("setfacl", "setfattr", "restorecon", "chattr", "xattr")  # what they set stands in a flag, or is no path that matters


def rights(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """chmod, chown …: the mode, then files; a mode that makes programs run as their owner is an action of its own."""
    chmod = program.name == "chmod"  # `chmod -x f`: a mode that looks like flags
    taken = [w for w in words if chmod and re.match(r"-[rwxXst]+$", w.text)]
    line, _ = read(program, [w for w in words if w not in taken])
    whole = bool(taken) or any(w.text.startswith("--reference") for w in words) or program.name in _WITHOUT_MODE
    operands = line.operands if whole else line.operands[1:]
    traits = set(line.traits)
    for word in operands:
        found = paths.traits_of(shell.call, shell.cwd, word)
        traits |= found
        if "ony_files" in found or "agent_settings" in found:
            shell.call.add("file", verb=("write",), traits=found)
    if line.flags & program.recursive:
        traits.add("recursive")
    if line.operands and _SETUID.search(line.operands[0].text):
        traits.add("runs_code")
    shell.call.add("command", program.name, (), line.flags, len(operands), traits=traits)
    return UNKNOWN


def by_words(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """ip, ifconfig, networksetup, sysctl …: one of the words says whether anything changes."""
    line, _ = read(program, words)
    lists = tables().words["changing_words"]
    changing = set(lists.get(program.name, lists["every"]))
    texts = {w.text for w in words}
    if texts & changing or any(t.startswith(tuple(c[:-1] for c in changing if c.endswith("*"))) for t in texts):
        line.traits.add("changes_data")
    if (program.name == "sysctl" and any("=" in t for t in texts)) or (program.name == "ifconfig" and len(line.operands) > 1):
        line.traits.add("changes_data")
    return commands.finish(shell, line, stdin)


def kill(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """kill: process 1 starts all others, and -1 means every process; the first word with a dash is the signal."""
    line, _ = read(program, words)
    texts = [w.text for w in words]
    if texts and texts[0][:1] == "-":
        texts = texts[2 if texts[0] in ("-s", "-n", "--signal") else 1 :]
    if {"1", "-1"} & set(texts):
        line.traits.add("many")
    return commands.finish(shell, line, stdin)


def phone(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """adb: what follows `shell` is one text for the phone's own shell, however it was quoted here."""
    at = next((n for n, w in enumerate(words) if w.text in ("shell", "exec-out")), None)
    odd = False
    if at is not None:
        first, *filters = " ".join(w.text for w in words[at + 1 :]).split("|")
        odd = any(c in first for c in ";&<>`$()\n{}") or any(not _FILTER.match(f) for f in filters)
        words = [*words[: at + 1], *(Word(t) for t in first.split())]
    line, _ = read(program, words)
    if odd:
        line.traits.add("runs_code")
    return commands.finish(shell, line, stdin)


def java(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`java -jar tool.jar …`: archives that are a program of their own are read as that program."""
    for at, word in enumerate(words[:-1]):
        name = words[at + 1].text.rpartition("/")[2].removesuffix(".jar")
        if word.text == "-jar" and name in tables().words["names"]["jar_programs"]:
            return commands.run(shell, [Word(name), *words[at + 2 :]], stdin)
    line, _ = read(program, words)
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits)
    return UNKNOWN


def by_name(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """pkill, killall: a developer's own server, named as such, can be started again; any other name may be anybody's."""
    line, _ = read(program, words)
    names = tables().words["names"]["dev_servers"]
    servers = re.compile(r"(?:\S*/)?(?:" + "|".join(names) + r")(?![\w-])")
    own_run = all(noted(shell, "ran", w.text.rpartition("/")[2]) for w in line.operands)
    if line.operands and (own_run or all(servers.match(w.text) for w in line.operands)):
        line.traits.add("dev_server")
    return commands.finish(shell, line, stdin)


def by_port(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """fuser -k, kill-port: whoever listens on a port that any user may open, and that no database is known by,
    is a developer's server; a file may be open in anything."""
    line, _ = read(program, words)
    named = [*line.operands, *line.all("--port", "-p")]
    kills = program.name != "fuser" or line.flags & {"-k", "--kill"}  # `-M` has no say where a port is named
    bare = program.name != "fuser" or line.value("-n", "--namespace") is not None
    data = tables().words["names"]["data_ports"]
    ports = [re.fullmatch(r"(\d{4,5})" + ("" if bare else "/(?:tcp|udp)"), word.text) for word in named]
    developers = [port and int(port[1]) > _OF_THE_MACHINE and port[1] not in data for port in ports]
    if kills and ports and all(developers) and not line.flags & {"-m", "--mount"}:
        line.traits.add("dev_server")
    return commands.finish(shell, line, stdin)


def ps(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """ps: of BSD's options, which need no dash, `e` adds the environment of each program (ps(1)); on macOS it is `-E`."""
    line, _ = read(program, words)
    shows = any(re.fullmatch(r"[a-zA-Z]*e[a-zA-Z]*", word.text) for word in line.operands) or any(
        re.fullmatch(r"-[A-Za-z]*E[A-Za-z]*", word.text) for word in words
    )
    return commands.finish(shell, line, stdin, frozenset({"prints_environment"}) if shows else frozenset())


HANDLERS = {handler.__name__: handler for handler in (rights, by_words, by_name, by_port, ps, kill, phone, java)}
