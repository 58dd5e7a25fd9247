"""Whether a database is one that can be lost: this session's own, one in a temporary folder, or the tests', which every run fills anew.

MUST: count a database as any other as soon as a host, a variable, a script or a statement may lead elsewhere.
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, own, paths
from ony_core.facts.argv import Line, read
from ony_core.facts.words import Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_READ_ONLY = {"-readonly", "--readonly"}  # -safe is none: it keeps other files from harm, not this one
_ELSEWHERE = re.compile(r"(?i)\battach\b|^\s*\.(?:op|res)", re.MULTILINE)
_NAME = r"(?:\w+[_-])?test(?:s|ing|_?\d+)?"
_TEST_DATA = re.compile(r"(?:\w+://(?:[\w.:]*@)?(?:localhost|127\.0\.0\.1)(?::\d+)?/)?" + _NAME)
_TEST_FILE = re.compile(r"(?:[^/]+/)*" + _NAME + r"\.(?:db|sqlite3?|duckdb)")
_ABOUT_TABLES = re.compile(
    r"(?i)(?:drop\s+table|truncate(?:\s+table)?|delete\s+from)\s+(?:if\s+exists\s+)?\w+(?:\s*,\s*\w+)*(?:\s+cascade)?\s*;?"
)
_HERE = ("localhost", "127.0.0.1", "::1")
_HOSTS = ("-h", "--host")
_SETTINGS = {"--defaults-file", "--defaults-extra-file", "--defaults-group-suffix", "--login-path"}  # of mysql: they may name a host


def where(shell: "Shell", program: Program, line: Line, texts: list[Word], stdin: Flow) -> set[str]:
    """The traits of the statements by where they act; a file is no server."""
    if program.name not in tables().words["sql_clients"]["operand_clients"]:
        names = line.all("-d", "--dbname", "-D", "--database") or line.operands[:1]
        return {"test_data"} if _plain(program, line, texts) and _tests_own(shell, line, names) else set()
    said = [*(word.text for word in texts), stdin.text or ""]
    if any(_ELSEWHERE.search(text) for text in said) or line.all("-f", "-init"):
        return set()
    file = line.operands[0] if line.operands else Word("")
    if line.flags & _READ_ONLY or file.text in (":memory:", "") or own.session_made(shell, file):
        return {"made_by_session"}
    return _of_file(shell, file, _plain(program, line, texts))


def _of_file(shell: "Shell", file: Word, plain: bool) -> set[str]:
    """A database's file: what a temporary folder holds can be lost, as the file itself could be deleted there."""
    if not file.known or "://" in file.text:
        return set()
    found = paths.traits_of(shell.call, shell.cwd, file)
    if "tmp" in found and "secret" not in found:
        return {"local_file", "tmp"}
    return {"local_file"} | ({"test_data"} if plain and "project" in found and _TEST_FILE.fullmatch(file.text) else set())


def _plain(program: Program, line: Line, texts: list[Word]) -> bool:
    """Statements about tables alone, and no file of more of them."""
    read_from = any(program.roles.get(flag) in ("script", "load") for flag, _ in line.values)
    return bool(texts) and not read_from and all(word.known and _ABOUT_TABLES.fullmatch(word.text.strip()) for word in texts)


def _tests_own(shell: "Shell", line: Line, names: list[Word]) -> bool:
    """A database on this computer that everybody takes for the tests' own (`app_test`)."""
    named = bool(names) and all(word.known and _TEST_DATA.fullmatch(word.text) for word in names)
    led_away = any(name in shell.variables for name in tables().words["sql_clients"]["led_by"])
    return named and not led_away and not line.flags & _SETTINGS and all(host.text in _HERE for host in line.all(*_HOSTS))


def database_named(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """dropdb, mysqladmin drop: whether the database is the tests' own."""
    line, _ = read(program, words)
    return commands.finish(shell, line, stdin, frozenset({"test_data"} if _tests_own(shell, line, line.operands) else ()))


HANDLERS = {"database_named": database_named}
