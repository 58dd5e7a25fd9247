"""Understands one simple command: finds its program's table, says what it does to files, and hands on to what has its own grammar.

MUST: a program or verb that no table knows becomes a fact with the word "unlisted"; it is never skipped.
"""

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import escapes, files, leash, paths, shown
from ony_core.facts.argv import Line, read
from ony_core.facts.own import built, outputs
from ony_core.facts.targets import targets_of, taught
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.model import UNLISTED, Fact, Target, at_least
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

LONGEST = 1 << 12  # characters of a flag's value that are searched for a command
GATE = "ony"  # the gate's own program
NAME_MAX = 255  # bytes of a file's name on Linux and macOS: no program has a longer one
_SILENT = frozenset({":", "true", "false", "test", "[", "sleep", "wait", "shopt", "break", "continue", "return"})  # they print nothing
_VERSION = re.compile(r"-?\d[\d.]*[a-z]?$")


def run(shell: "Shell", argv: list[Word], stdin: Flow) -> Flow:
    """Runs a command: a function of the script, a program with a table, a script, or something unlisted."""
    from ony_core.facts import handlers, loaded, named, powershell, scripts, written

    while argv and argv[0].text == "" and not argv[0].quoted:
        argv = argv[1:]
    if not argv:
        return EMPTY
    if any("indirection" in word.taints and not word.known and not word.others for word in argv[1:]) and _holds_something(argv[0].text):
        shell.call.opaque("indirection")
    if any(word.others for word in argv):
        return named.each_way(shell, argv, stdin)
    first = argv[0]
    if not shell.call.spend():
        shell.call.opaque("too_deep")
        return UNKNOWN
    if not first.known or first.glob:
        shell.call.note(argv)
        shell.call.opaque("program_unknown")
        return UNKNOWN
    with shell.call.deeper() as fits:
        if not fits:
            shell.call.opaque("too_deep")
            return UNKNOWN
        shell.call.note(argv)
        for word in argv[1:] if first.text != "tee" else []:
            if word.flow is not None and "into_command" in word.taints:
                files.into_command(shell, word, Flow(None, stdin.taints))
        if first.text in shell.functions:
            return named.function(shell, argv, stdin)
        if first.text in shell.aliases and not first.quoted:
            return named.alias(shell, argv, stdin)
        named.left(shell, first.text)
        shell.call.place.starts(first.text, shell.cwd)
        program = program_named(paths.absolute(shell.cwd, first.text) if "../" in first.text else first.text)
        leash.look(shell, program, argv)
        if program is not None:
            escapes.look(shell, program, argv, stdin)
            written.look(shell, argv)
        if program is None and powershell.is_cmdlet(first.text):
            powershell.typed(shell, argv)
            return UNKNOWN
        if program is None:
            system = "/" not in first.text or _program_folder().match(first.text.rpartition("/")[0])
            return unlisted(shell, argv) if system else scripts.run_path(shell, argv, stdin)
        if program.name != GATE and "/" in first.text and scripts.replaced(shell, first.text):
            return scripts.run_path(shell, argv, stdin)
        loaded.look(shell, program)
        return shown.passed_on(program, handlers.of(program)(shell, program, argv[1:], stdin))


@lru_cache(maxsize=4096)
def _holds_something(text: str) -> bool:
    """Whether words that the call hides from this reader could make its program do something that is held: all but those that print."""
    program = program_named(text)
    rules = tables().asked("command", program.name) if program is not None else ()
    worst = any(program is not None and program.name in rule.program and at_least(rule.risk, "high") for rule in rules)
    if program is None or worst:
        return True
    return program.handler not in ("", "echo", "read", "export") or (program.handler == "" and program.operands not in ("none", "text"))


@lru_cache(maxsize=4096)
def program_named(text: str) -> Program | None:
    """The table for a command word: by name, by name without a version, or by a path in a folder where programs live."""
    known = tables()
    name = text
    if "/" in text:
        folder, _, name = text.rpartition("/")
        if known.names.get(name) == GATE:
            return known.programs[GATE]  # wherever a copy of it stands
        if not _program_folder().match(folder):
            return None
    if len(name) > NAME_MAX:
        return None
    name = name.removesuffix(".exe")
    found = known.names.get(name) or known.names.get(_VERSION.sub("", name)) or _family(name)
    return known.programs[found] if found else None


def _family(name: str) -> str | None:
    """The family of programs that a name belongs to by its pattern."""
    lists = tables().words.get("program_patterns", {})
    return next((family for family, patterns in lists.items() if any(fnmatchcase(name, p) for p in patterns)), None)


@lru_cache(maxsize=1)
def _program_folder() -> re.Pattern[str]:
    return paths.glob_pattern(tables().words["locations"]["programs"])


def unlisted(shell: "Shell", argv: list[Word]) -> Flow:
    """A program without a table. Asking a program for its version or help is the one use that needs none."""
    asks = len(argv) == 2 and argv[1].text in ("--version", "--help")
    told = taught(shell.call, argv[0].text.rpartition("/")[2], argv[1:])
    kept = told and shell.call.place.context(f"recipe:{argv[0].text}") == "kept"
    traits = {trait for trait, holds in (("help", asks), ("recipe_kept", kept)) if holds}
    if told and any(not word.known for word in argv):
        traits.add("unknown_word")
    shell.call.add("command", UNLISTED, args=len(argv) - 1, targets=told, traits=traits)
    return Flow(None, frozenset(t for w in argv for t in w.taints))


def plain(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """A program that its table describes in full."""
    line, _ = read(program, words)
    flow = finish(shell, line, stdin)
    return EMPTY if program.name in _SILENT else flow


def finish(
    shell: "Shell", line: Line, stdin: Flow, traits: frozenset[str] = frozenset(), role: str = "", seen: tuple[Target, ...] = ()
) -> Flow:
    """Adds the facts of a parsed line: the command itself, then each file it touches. seen: targets that its handler found."""
    program = line.program
    line.traits |= traits | _test_data(shell, program, line)
    taints = stdin.taints.union(*(w.taints for w in line.operands), *(v.taints for _, v in line.values))
    targets = targets_of(shell.call, line) + seen
    if UNLISTED in line.verb:
        targets += taught(shell.call, program.name, [*(Word(w) for w in line.verb if w != UNLISTED), *line.operands])
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), targets, line.traits | files.carried(taints))
    if "help" in line.traits:
        return Flow(None)
    if program.name in tables().words["names"]["names_only"]:
        role = "none"  # what it prints of a file is not its content
        if any("secret" in paths.traits_of(shell.call, shell.cwd, word) for word in line.operands):
            taints |= {"names_secret"}
    if line.blind is not None and could_be_worse(program.name, line.blind):
        shell.call.opaque("program_unknown")
    taints |= _touch(shell, line, role or program.operands, stdin)
    verb = " ".join(word for word in line.verb if word != UNLISTED)
    outputs(shell, line, program.name, verb)
    built(shell, program.name, verb)
    return Flow(None, taints | frozenset(tables().words["outputs"].get(program.name, ())))


def _test_data(shell: "Shell", program: Program, line: Line) -> set[str]:
    """`RAILS_ENV=test rails db:drop`: a variable of the call sends the program to the data of the tests."""
    names = tables().words["test_environment"].get(program.name, ())
    said = any(shell.variables.get(name, Word("")).text == "test" for name in names)
    return {"test_data"} if said or any(word.text == f"{name}=test" for name in names for word in line.operands) else set()


@lru_cache(maxsize=1024)
def could_be_worse(program: str, path: tuple[str, ...]) -> bool:
    """Whether a word that nobody knows yet could turn `program path …` into something that is held.

    Where the words so far are a whole verb by themselves, the next one is most often an operand: only a critical verb counts there.
    """
    from ony_core.taxonomy.engine import assess

    trie = tables().trie(program)
    for step in path:
        trie = trie.get(step, {})
    whole = bool(path) and " ".join(path) in tables().whole(program)
    floor = "critical" if whole and " ".join((program, *path)) not in tables().words["names"]["verb_follows"] else "high"
    words = [word for word in trie if word != UNLISTED and "*" not in word]
    return any(at_least(assess((Fact("command", program, (*path, word)),)).risk, floor) for word in words)


def _touch(shell: "Shell", line: Line, role: str, stdin: Flow) -> frozenset[str]:
    program = line.program
    deep = program.recursive & line.flags or program.name in tables().words["names"]["always_recursive"]
    extra = frozenset({"recursive"}) if deep else frozenset()
    found: frozenset[str] = frozenset()
    found |= flag_values(shell, line, extra, stdin)
    operands = line.operands[0 if line.value("-e", "--regexp", "-f", "--file", "--from-file") else program.skip :]
    if role in ("copy", "move", "link") and line.value("--target-directory", "-t") is None and len(operands) > 1:
        return found | files.transfer(shell, role, operands[:-1], operands[-1], extra)
    if role in ("copy", "move", "link"):
        into = line.value("--target-directory", "-t")
        return found | files.transfer(shell, role, operands, into, extra)
    for word in operands:
        found |= use(shell, word, role, extra, stdin)
    return found


def flag_values(shell: "Shell", line: Line, extra: frozenset[str] = frozenset(), stdin: Flow = UNKNOWN) -> frozenset[str]:
    """What the values of flags do: files, commands, things to load. Patterns of values are in the table `escapes`."""
    found: frozenset[str] = frozenset()
    for flag, value in line.values:
        role = line.program.roles.get(flag) or ("read" if flag in tables().words["names"]["list_flags"] else "")
        if role == "load":
            load(shell, line.program, value)
        else:
            found |= use(shell, value, role, extra, stdin)
    return found


def by_pattern(shell: "Shell", program: Program, value: Word, kind: str, pattern: str) -> None:
    """run:PATTERN and hold:PATTERN: a value that matches is a command (what the groups catch), or enough to hold the call.

    What is not held and names a file beside the call, such as the module of `node -r ./setup.js`, is read like any source that is run.
    """
    if len(value.text) > LONGEST:  # a pattern may look to the end from every place it could begin
        shell.call.add("command", program.name, traits=("loads_code",))
        return
    found = re.search(pattern, value.text)
    texts = [text for text in found.groups() if text] if found and kind == "run" else []
    for text in texts:
        shell.child().source(text.replace("\\ ", " ").replace(HOLE, "${_}"))
    if kind == "hold" and not found and value.text[:1] == ".":
        _reads_through(shell, value)
    if (found and not texts) or (not found and value.text.startswith(HOLE)):
        shell.call.add("command", program.name, traits=("loads_code",))


def load(shell: "Shell", program: Program, word: Word) -> None:
    """A plugin, library, configuration or script that a program takes into itself; a bare name is one that is installed."""
    if _reads_through(shell, word):
        return
    if files.known_content(shell, word) is not None or not re.fullmatch(r"[A-Za-z][\w-]*", word.text):
        shell.call.add("command", program.name, traits=("loads_code",))


def _reads_through(shell: "Shell", word: Word) -> bool:
    """Says what a file of source does, if it is known and in a language that is read here."""
    from ony_core.facts import scripts

    content = files.known_content(shell, word)
    if content is None or content.text is None or not scripts.readable(word.text, content.text):
        return False
    scripts.run_file(shell, word, [], "")
    return True


def use(shell: "Shell", word: Word, role: str, extra: frozenset[str], stdin: Flow = UNKNOWN) -> frozenset[str]:
    """What a program does with one operand; the answer is what its content brings along."""
    if role == "read":
        return files.read_file(shell, word, extra)
    if role == "write":
        return files.write_file(shell, word, Flow(None, stdin.taints), extra)
    if role == "create":
        return files.write_file(shell, word, UNKNOWN, extra)
    if role == "modify":
        files.read_file(shell, word, extra)
        return files.write_file(shell, word, UNKNOWN, extra | {"modify"})
    if role == "unpack":
        return files.write_file(shell, word, UNKNOWN, extra | {"recursive", "placed"})
    if role == "delete":
        files.delete_file(shell, word, extra)
    elif role == "folder":
        files.make_folder(shell, word)
    elif role == "run":
        shell.child().source(word.text.replace(HOLE, "${_}"))
    elif role == "script":
        from ony_core.facts import scripts

        scripts.run_file(shell, word, [], "shell")
    return word.taints


def line_of(program: Program, words: list[Word]) -> Line:
    return read(program, words)[0]
