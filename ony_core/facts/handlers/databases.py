"""Database clients: the SQL or commands they are given in a flag, an operand, a file or on standard input."""

from itertools import pairwise
from typing import TYPE_CHECKING

from ony_core.facts import commands, own, scripts
from ony_core.facts.argv import Line, read
from ony_core.facts.sql import statements
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Made, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


_READ_ONLY = {"-readonly", "-safe", "--readonly"}


def sql_client(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """psql, mysql, sqlite3, duckdb, sqlcmd …"""
    line, _ = read(program, words)
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    if "help" in line.traits:
        return UNKNOWN
    texts = [v for f, v in line.values if program.roles.get(f) == "text"]
    texts += [b for a, b in pairwise(words) if a.text == HOLE and b in line.operands]  # a word only the run knows may be `-c`
    files = [v for f, v in line.values if program.roles.get(f) == "script"]
    taints = stdin.taints
    if (
        program.name in tables().words["names"]["sql_verb_clients"]
        and line.operands
        and line.operands[0].text in ("query", "config", "open")
    ):
        texts += line.operands[1:] if line.operands[0].text == "query" else [Word("select 1")]
    if program.name in tables().words["names"]["sql_operand_clients"]:
        taints |= _database_file(shell, line)
        texts += line.operands[1:]
    for word in texts:
        _text(shell, program, line, word.text if word.known or word.text.strip(HOLE + " ") else None, word.taints)
    for word in files:
        _file(shell, program, line, word)
    if not texts and not files:
        if stdin.text is not None and stdin.text:
            _text(shell, program, line, stdin.text, stdin.taints)
        elif stdin.text is None:
            shell.call.add("opaque", traits=stdin.taints & {"network", "decoded", "secret"} or {"sql_unknown"})
        elif not line.flags & {"--list", "-l"} | _READ_ONLY:
            shell.call.add("grant", traits=("open_ended",))
    return Flow(None, taints | {"database_output"})


def _database_file(shell: "Shell", line: Line) -> frozenset[str]:
    if line.operands and line.operands[0].text not in (":memory:", ""):
        return commands.read_file(shell, line.operands[0])
    return frozenset()


def _traits(shell: "Shell", program: Program, line: Line) -> set[str]:
    """Where the statements would act: a database of this session's own making can be lost."""
    if line.flags & _READ_ONLY:
        return {"made_by_session"}
    if program.name not in tables().words["names"]["sql_operand_clients"] or not line.operands:
        return set()
    name = line.operands[0]
    if name.text in (":memory:", "") or own.session_made(shell, name):
        return {"made_by_session"}
    return set()


def _text(shell: "Shell", program: Program, line: Line, text: str | None, taints: frozenset[str]) -> None:
    if text is None:
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"sql_unknown"})
        return
    rest = []
    for row in text.split("\n"):
        first = row.lstrip()
        if first[:1] == "\\" or (first[:1] == "." and program.name in ("sqlite3", "duckdb") and first[1:2].isalpha()):
            _client_command(shell, program, first)
        else:
            rest.append(row)
    statements(shell.call, "\n".join(rest), program.name, _traits(shell, program, line))


def _client_command(shell: "Shell", program: Program, text: str) -> None:
    """psql's backslash and sqlite's dot commands: most show something; a few start programs or read files."""
    word, _, rest = text.partition(" ")
    lists = tables().words["names"]
    if word.startswith("\\!") or word in (".shell", ".system"):
        shell.child().source((word[2:] + " " + rest if word.startswith("\\!") else rest).replace(HOLE, "${_}"))
    elif word in lists["sql_client_files"] and rest:
        if rest.startswith("|"):
            shell.child().source(rest[1:])
        elif word in (".output", ".once", ".backup", ".save", ".dump", "\\o", "\\w"):
            commands.write_file(shell, Word(rest.split()[-1]), UNKNOWN)
        else:
            statements_file(shell, program, Word(rest.split()[0]))
    elif word.split("+")[0] not in lists["sql_client_reads"]:
        shell.call.add("sql", verb=("unlisted",))


def statements_file(shell: "Shell", program: Program, word: Word) -> None:
    _file(shell, program, Line(program), word)


def _file(shell: "Shell", program: Program, line: Line, word: Word) -> None:
    if word.text == "-":
        return
    content = scripts.content_of(shell, word) if word.known else None
    if isinstance(content, Made) and content.text is not None:
        _text(shell, program, line, content.text, content.taints)
    else:
        shell.call.add("opaque", traits=("sql_unknown",))


def words_client(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """redis-cli and its like: the operands are one command; standard input holds one command a line."""
    line, _ = read(program, [_upper(w) if program.name == "redis-cli" else w for w in words])
    if not line.verb and "help" not in line.traits:
        if stdin.text:
            for row in stdin.text.strip().split("\n")[:50]:
                inner, _ = read(program, [_upper(Word(t)) for t in row.split()])
                commands.finish(shell, inner, UNKNOWN)
            return UNKNOWN
        shell.call.add("grant" if stdin.text == "" else "opaque", traits=("open_ended",) if stdin.text == "" else ("sql_unknown",))
        return UNKNOWN
    return commands.finish(shell, line, stdin)


def _upper(word: Word) -> Word:
    """Commands are case-insensitive; flags are not."""
    return word if word.text.startswith("-") else word.part(word.text.upper())


def mongo(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """mongosh, mongo: --eval text, a script file, or standard input, all JavaScript."""
    from ony_core.facts.handlers.interpreters import inline

    line, _ = read(program, words)
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    if "help" in line.traits:
        return UNKNOWN
    codes = line.all("--eval", "-e")
    for word in codes:
        inline(shell, "mongosh", word.text, word.taints)
    for word in line.operands:
        if word.text.endswith((".js", ".mongodb")):
            content = scripts.content_of(shell, word)
            inline(shell, "mongosh", content.text if isinstance(content, Made) else None, frozenset())
    if not codes and not any(w.text.endswith((".js", ".mongodb")) for w in line.operands):
        if stdin.text:
            inline(shell, "mongosh", stdin.text, stdin.taints)
        elif stdin.text is None:
            shell.call.opaque("code_unknown")
        else:
            shell.call.add("grant", traits=("open_ended",))
    return Flow(None, frozenset({"database_output"}))


HANDLERS = {"sql_client": sql_client, "words_client": words_client, "mongo": mongo}
