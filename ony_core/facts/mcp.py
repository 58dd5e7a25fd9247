"""What a call of an MCP server does: the tool's class by its server's table or by the words of its name, then what its arguments name.

MUST: a tool that neither a server's table nor a reading word explains is unlisted; a server's own description of it never counts.
Paths, addresses, SQL and commands in the arguments are judged as if they stood in a tool of the agent's own.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from ony_core.facts import commands, edits, files, notebooks, paths
from ony_core.facts.handlers.network import carries, host_of, url_traits
from ony_core.facts.secrets import token_shaped
from ony_core.facts.sql import statements
from ony_core.facts.words import EMPTY, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import MCP_ANY, PAGE, mcp_program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_VALUES = 2000
LONGEST_PATH = 4096  # bytes, PATH_MAX of Linux
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_URL = re.compile(r"(?:https?|wss?|ftp|file)://", re.IGNORECASE)
_PATH = re.compile(r"(?:~|\.{1,2}|file:/)?/\S|~$|[\w.-]+/[\w./-]+$")


def understand(shell: "Shell", tool: str, given: dict[str, Any]) -> None:
    """Adds the facts of one call `mcp__server__tool`."""
    parts = tool.split("__") if "__" in tool else tool.split(".")
    server, name = (parts[1], "__".join(parts[2:])) if len(parts) > 2 else ("", parts[-1])
    known = known_server(server)
    kind = classed(known, tool_words(name, server))
    traits: set[str] = set()
    for key, value in _values(shell, given):
        traits |= _argument(shell, kind, key, value)
    judged = _judged(shell, kind, given, known)
    if kind in ("sql", "run", "edit") and not judged:
        kind = UNLISTED  # a statement or command that is nowhere to be seen
    shell.call.add("mcp", mcp_program(known) if known else MCP_ANY, (kind,), args=len(given), traits=traits)


# ---- which server, which tool


@cache
def known_server(name: str) -> str:
    """The table whose name stands in the server's own: `plugin_playwright_playwright`, `claude_ai_Linear`, `my-postgres`."""
    words = "_".join(_split(name))
    found = [
        server
        for server, table in tables().words["mcp_servers"].items()
        if any(f"_{'_'.join(_split(spelling))}_" in f"_{words}_" for spelling in (server, *table.get("names", ())))
    ]
    return max(found, key=len, default="")


def _split(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def tool_words(name: str, server: str) -> list[str]:
    """The words of a tool's name, without those of its server in front: `slack_list_channels`, `browser_click`, `getJiraIssue`."""
    words, own = _split(name), set(_split(server))
    while len(words) > 1 and words[0] in own | {"mcp", "api"}:
        words = words[1:]
    return words


def classed(server: str, words: list[str]) -> str:
    """The class of a tool: by its server's table, else by what its words say."""
    name = "_".join(words)
    for kind, patterns in tables().words["mcp_servers"].get(server, {}).items():
        if kind != "names" and any(fnmatchcase(name, pattern) for pattern in patterns):
            return str(kind)
    return by_words(words)


def by_words(words: list[str]) -> str:
    """Reading verbs in front may be followed by nouns that are verbs elsewhere (get_release); an acting word alone never reads."""
    lists = tables().words["mcp"]
    spoken = set(words)
    if spoken & set(lists["secret_words"]) or any(f"_{pair}_" in f"_{'_'.join(words)}_" for pair in lists["secret_pairs"]):
        return "secret"
    for kind in ("delete", "pay", "execute", "deploy", "send", "change"):
        acting = set(lists[kind])
        nouns = set(lists["nouns"]) if words and words[0] in lists["reads"] and not spoken & {"and", "or", "then"} else set()
        if spoken & acting - nouns:
            return kind
    return "read" if spoken & set(lists["reads"]) else UNLISTED


# ---- arguments


def _values(shell: "Shell", given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text anywhere in the arguments, with the key it stands under."""
    waiting: list[tuple[str, Any]] = list(given.items())
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((str(k), v) for k, v in value.items())
        elif isinstance(value, list):
            waiting.extend((key, v) for v in value)
        elif isinstance(value, str):
            yield key, value
    shell.call.opaque("too_deep")


def _argument(shell: "Shell", kind: str, key: str, value: str) -> set[str]:
    """A secret that is handed over, a path of a secret, an address that gives something away."""
    found = {"secret"} if kind != "edit" and token_shaped(value) else set()
    value = value.strip()
    if _URL.match(value):
        return found | _address(shell, value)
    value = value.removeprefix("file:")
    if (_is(key, "path_keys") or _PATH.match(value)) and "\n" not in value and len(value) <= LONGEST_PATH:
        word = Word(value.replace("\0", "?"), glob=bool(re.search(r"[*?\[]", value)) and not value.startswith("*"))
        if "secret" in (where := paths.traits_of(shell.call, shell.cwd, word)) or "ony_files" in where:
            found |= {"secret"}
    return found


def _address(shell: "Shell", value: str) -> set[str]:
    traits = url_traits(value)
    if "local_file" in traits:
        return _argument(shell, "read", "path", value[7:])
    if traits & {"metadata", "drop_host"}:
        shell.call.add("network", MCP_ANY, ("reads",), targets=host_of(shell.call, value), traits=traits)
    return {"secret"} if "localhost" not in traits and carries(value) else set()


def _is(key: str, listed: str) -> bool:
    """Whether a key's words end in one of the listed keys: `filePath`, `relative_path`, `sql_query`."""
    words = _split(key)
    return bool(words) and (words[-1] in tables().words["mcp"][listed] or "".join(words) in tables().words["mcp"][listed])


def _judged(shell: "Shell", kind: str, given: dict[str, Any], server: str) -> bool:
    """Judges what stands in the arguments by itself; whether there was anything."""
    if kind == "edit":
        return _edits(shell, given)
    listed = tables().words["mcp_servers"].get(server, {})
    page, prose = "browse" in listed, server != "" and "sql" not in listed
    found = False
    for key, value in given.items():
        if kind not in ("read", "note", "browse", "share") and _is(key, "command_keys"):
            found |= _command(shell, value)
        elif kind in ("run", "execute") and _is(key, "code_keys") and isinstance(value, str):
            found |= _code(shell, value, page)
        elif (
            _is(key, "sql_keys")
            and isinstance(value, str)
            and (kind == "sql" or (_reads_like_sql(value) and not (prose and _split(key)[-1] in ("query", "queries"))))
        ):
            statements(shell.call, value, "", set())
            found = True
    return found


def _command(shell: "Shell", value: Any) -> bool:
    if isinstance(value, str) and "\0" not in value:
        shell.child().source(value)
        return True
    if isinstance(value, list) and value and all(isinstance(w, str) for w in value):
        commands.run(shell.child(), [Word(w, quoted=True) for w in value], EMPTY)
        return True
    return False


def _code(shell: "Shell", value: str, page: bool) -> bool:
    """Code for a page, or a cell of a notebook: Python whose lines behind `!` are a shell's."""
    from ony_core.facts.handlers.interpreters import inline

    if page or re.search(r"=>|\bfunction\b|\b(?:const|let|var|await)\s|;\s*$", value):
        inline(shell, PAGE if page else "node", value, frozenset())
        return True
    notebooks.cell(shell, value)
    return True


_SQL = re.compile(
    r"(?is)^\s*(?:--[^\n]*\n\s*)*(?:select\b.+\bfrom\b|with\b.+\bas\b|insert\s+into\b|update\s+\S+\s+set\b|delete\s+from\b|truncate\b|merge\s+into\b"
    r"|(?:drop|alter|create)\s+(?:or\s+replace\s+)?(?:unique\s+|temp\w*\s+)?(?:table|database|schema|index|view|role|user|function|extension)\b"
    r"|grant\b.+\bto\b|revoke\b.+\bfrom\b|call\s+\w+\s*\(|copy\s+\w+)"
)


def _reads_like_sql(value: str) -> bool:
    return _SQL.match(value) is not None


def _edits(shell: "Shell", given: dict[str, Any]) -> bool:
    """A tool that writes files: each path by itself, as Write and Edit would be; whether every path was found."""
    taken = given.get("source", given.get("source_path", given.get("from")))
    into = [v for k, v in given.items() if _is(k, "path_keys") and isinstance(v, str) and v is not taken]
    if isinstance(taken, str) and into:
        files.transfer(shell, "move", [edits.named(taken)], edits.named(into[0]), frozenset())
        return True
    for path in into:
        edits.written(shell, edits.named(path), given)
    if not into:
        for key, value in _values(shell, given):
            if _is(key, "path_keys"):
                into.append(value)
                edits.written(shell, edits.named(value), {})
    return bool(into) or not any(_PATH.match(value) for _, value in _values(shell, given))
