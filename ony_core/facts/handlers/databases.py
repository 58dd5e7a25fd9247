"""Database clients that speak SQL: what they are given in a flag, an operand, a file or on standard input, and their own commands.

A program that is a client only with some of its verbs (`bq query`, `cockroach sql`) is read by its table otherwise.
"""

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, scripts
from ony_core.facts.argv import Line, read
from ony_core.facts.handlers.local_databases import where
from ony_core.facts.place import Unknown
from ony_core.facts.sql import dialect_of, statements
from ony_core.facts.sqltext import take_apart
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Made, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


_ONLY_TRIES = {"--dry_run"}
_PIPE = re.compile(r"(?:^|\s)['\"]?\|(.*)", re.DOTALL)
_EXPORT = re.compile(r"(?is)^(?:\(.*\)|[^\s(]+(?:\s*\([^)]*\))?)\s+to\s+(?:'([^']*)'|(\S+))")
_COPY_TO = re.compile(r"(?is)^copy\s+(?:\((.*)\)|[^\s(]+)\s+to\s+'([^']*)'")
_PREFIXES = ("\\!", "\\.", ":!!", "!!", "@@", "@", "\\|")
# lines that are commands of the client, by dialect
_LINES = {
    "sqlite": re.compile(r"\.[a-z]"),
    "duckdb": re.compile(r"\.[a-z]"),
    "mysql": re.compile(r"(?i)(?:system|source|tee|pager|notee|nopager|delimiter|warnings|nowarning|rehash)\b"),
    "oracle": re.compile(r"(?i)@|!|(?:ho|hos|host|start|spool|connect|conn|prompt|column|define|whenever|exit|quit|rem|accept|pause)\b"),
    "tsql": re.compile(r"(?i):[a-z!]|!!"),
    "hive": re.compile(r"(?i)!|source\b|dfs\b"),
    "spark": re.compile(r"(?i)!|source\b|dfs\b"),
    "snowflake": re.compile(r"!"),
    "cql": re.compile(r"(?i)(?:source|capture|consistency|expand|paging|tracing|login|exit|quit|cls)\b"),
}


def sql_client(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """psql, mysql, sqlite3, duckdb, sqlcmd …"""
    words = [w.part("-p") if program.name == "mysql" and re.match(r"-p.", w.text) else w for w in words]
    line, _ = read(program, words)
    texts = [v for f, v in line.values if program.roles.get(f) == "text"]
    if not _is_client(program, line):
        line.values = [(flag, value) for flag, value in line.values if program.roles.get(flag) != "script"]
        return commands.finish(shell, line, stdin)
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    if "help" in line.traits or line.flags & _ONLY_TRIES:
        return UNKNOWN
    texts += [b for a, b in pairwise(words) if a.text == HOLE and b in line.operands]  # a word only the run knows may be `-c`
    texts += _operands(program, line)
    sources = [v for f, v in line.values if program.roles.get(f) == "script"]
    if program.name == "sqlplus":
        sources += [w.part(w.text.lstrip("@")) for w in line.operands if w.text.startswith("@")]
    _options(shell, program, line)
    taints = stdin.taints
    if program.name in tables().words["sql_clients"]["operand_clients"]:
        taints |= _database_file(shell, line)
    traits = where(shell, program, line, texts, stdin)
    for word in texts:
        _text(shell, program, word.text if word.known or word.text.strip(HOLE + " ") else None, word.taints, traits)
    for word in sources:
        _file(shell, program, word, traits)
    if not texts and not sources:
        _standard_input(shell, program, line, stdin, traits)
    return Flow(None, taints)


def _is_client(program: Program, line: Line) -> bool:
    """A program with verbs of its own speaks SQL under some of them, but for what it does on this computer alone."""
    verbs = tables().words["sql_clients"]["verbs"].get(program.name)
    return verbs is None or (" ".join(line.verb) in verbs and "--local" not in line.flags)


def _operands(program: Program, line: Line) -> list[Word]:
    """The operands that are SQL: all of them, or those after the database's file."""
    lists = tables().words["sql_clients"]
    if program.name in (*lists["operand_clients"], *lists["after_a_name"]):
        return line.operands[1:]
    return [w for w in line.operands if not w.text.startswith("@")] if program.name in lists["text_operands"] else []


def _options(shell: "Shell", program: Program, line: Line) -> None:
    """Where the output goes, and programs that flags name."""
    for flag, value in line.values:
        role = program.roles.get(flag)
        if role == "write" and value.text.startswith("|"):
            shell.child().source(value.text[1:].replace(HOLE, "${_}"))
        elif role in ("write", "run"):
            commands.use(shell, value, role, frozenset())


def _standard_input(shell: "Shell", program: Program, line: Line, stdin: Flow, traits: set[str]) -> None:
    if stdin.text is not None and stdin.text:
        _text(shell, program, stdin.text, stdin.taints, traits)
    elif "absent" in stdin.taints:
        shell.call.add("command", "project_code", traits=stdin.taints & {"names_deploy", "names_destroy", "names_migrate"})
    elif stdin.text is None:
        shell.call.add("opaque", traits=stdin.taints & {"network", "decoded", "secret"} or {"sql_unknown"})
    elif not line.flags & {"--list", "-l"}:
        shell.call.add("grant", traits=("open_ended",))


def _database_file(shell: "Shell", line: Line) -> frozenset[str]:
    if line.operands and line.operands[0].text not in (":memory:", ""):
        return files.read_file(shell, line.operands[0])
    return frozenset()


def _text(shell: "Shell", program: Program, text: str | None, taints: frozenset[str], traits: set[str]) -> None:
    if text is None:
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"sql_unknown"})
        return
    dialect = dialect_of(program.name)
    command = _LINES.get(dialect)
    rest = []
    for row in text.split("\n"):
        if command is not None and command.match(row.lstrip()):
            _client_command(shell, program, row.strip())
        elif dialect != "tsql" or row.strip().lower() != "go":
            rest.append(row)
        else:
            rest.append(";")
    sql = "\n".join(rest)
    if program.name in tables().words["sql_clients"]["file_readers"]:
        sql = _files_in(shell, sql, dialect)
    for own_command in statements(shell.call, sql, program.name, traits).commands:
        _client_command(shell, program, own_command)


def _files_in(shell: "Shell", text: str, dialect: str) -> str:
    """duckdb reads and writes files that its strings name; an export to a file of this machine is that and no more."""
    kept = []
    for statement in take_apart(text.replace(HOLE, "0"), dialect).statements:
        for literal in statement.literals:
            files.read_file(shell, Word(literal))
        export = _COPY_TO.match(statement.text)
        if export is not None and "://" not in export[2]:
            files.write_file(shell, Word(export[2]), UNKNOWN)
        elif export is not None:
            shell.call.add("sql", verb=("export",), traits=("sends",))
        kept.append(statement.text if export is None or "://" in export[2] else export[1] or "select 1")
    return ";".join(kept)


# ---- the client's own commands


def _client_command(shell: "Shell", program: Program, text: str) -> None:
    """psql's backslash and sqlite's dot commands and their like: most show something; a few start programs or reach files."""
    lists = tables().words["sql_clients"]
    word, rest = _command_word(text.replace(HOLE, "${_}").rstrip("; "))
    for inner in re.findall(r"`([^`]*)`", rest) if word.startswith("\\") else []:
        shell.child().source(inner)
    piped = _PIPE.search(rest) if word in lists["runs_pipes"] else None
    if word in lists["shell_out"]:
        shell.child().source(rest)
    elif piped is not None or word in ("pager", "\\P"):
        shell.child().source((piped[1] if piped else rest).strip("'\""))
    elif word == "\\copy":
        _copy(shell, program, rest)
    elif word in lists["runs_files"]:
        for name in rest.split()[:1]:
            _file(shell, program, Word(name.strip("'\"")), set())
    elif word in lists["writes_files"]:
        for name in rest.split()[-1:]:
            files.write_file(shell, Word(name.strip("'\"")), UNKNOWN)
    elif word == "\\gexec":
        shell.call.add("opaque", traits=("sql_unknown",))
    elif word == "dfs":
        shell.child().source(f"hdfs dfs {rest}")
    elif word == ".restore":
        shell.call.add("sql", verb=("restore",))
    elif word.split("+")[0] not in lists["reads"] or (word == ".open" and "new" in rest):
        shell.call.add("sql", verb=(UNLISTED,))


def _command_word(text: str) -> tuple[str, str]:
    """The command and the rest; sqlite takes any beginning of a command's name."""
    lists = tables().words["sql_clients"]
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            return prefix, text[len(prefix) :].strip()
    word, _, rest = text.partition(" ")
    word = word if word.startswith("\\") else word.lower()
    if word.startswith("!") and word not in (*lists["reads"], *lists["runs_files"], "!sh"):
        return "!", text[1:]
    if word in ("ho", "hos"):
        return "host", rest
    grave = (*lists["shell_out"], *lists["runs_files"], ".load", ".restore", *lists["writes_files"], *lists["runs_pipes"])
    if word.startswith(".") and word not in lists["reads"] and word not in grave:
        word = next((name for name in (*grave, *lists["reads"]) if name.startswith(word)), word)
    return word, rest.strip()


def _copy(shell: "Shell", program: Program, rest: str) -> None:
    r"""`\copy (query) to 'file'` reads and writes a file; `\copy t from …` writes rows; `program` starts one."""
    parts = take_apart(rest, "postgres").statements
    if parts and parts[0].has("program"):
        for literal in parts[0].literals:
            shell.child().source(literal)
        return
    export = _EXPORT.match(rest)
    if export is None:
        shell.call.add("sql", verb=("copy",))
        return
    statements(shell.call, rest[1 : rest.rfind(")")] if rest.startswith("(") else "", program.name, set())
    into = export[1] or export[2] or ""
    if into.lower() not in ("stdout", "pstdout"):
        files.write_file(shell, Word(into), UNKNOWN)


def _file(shell: "Shell", program: Program, word: Word, traits: set[str]) -> None:
    if word.text == "-":
        return
    content = scripts.content_of(shell, word) if word.known else None
    if isinstance(content, Made) and content.text is not None:
        _text(shell, program, content.text, content.taints, traits)
    elif content in (Unknown.MISSING, Unknown.NO_FOLDER):
        shell.call.add("command", "project_code", traits=scripts.name_traits(word.text))  # it fails by itself
    else:
        shell.call.add("opaque", traits=("sql_unknown",))


HANDLERS = {"sql_client": sql_client}
