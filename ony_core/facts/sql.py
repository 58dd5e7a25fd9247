"""What SQL text does: one fact for each statement, by sqlglot's syntax tree.

MUST: text that does not parse, or parses into something without a table word, is an unlisted statement.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ony_core.facts.words import HOLE
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.call import Call

_DIALECTS = {
    "psql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite3": "sqlite",
    "duckdb": "duckdb",
    "sqlcmd": "tsql",
    "bq": "bigquery",
}
_FIRST = re.compile(r"^\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(*\s*([A-Za-z]+)", re.DOTALL)
_SELECT_ONLY = re.compile(r"^\s*(?:select|show|values)\b[^;()]*;?\s*$", re.IGNORECASE)
_RISKY_WORD = re.compile(r"\b(?:into|delete|update|insert|merge|outfile|dumpfile|for\s+update)\b", re.IGNORECASE)


def statements(call: "Call", text: str, client: str, traits: set[str]) -> None:
    """Adds a fact for each statement of the text."""
    text = text.replace(HOLE, "0").strip()
    if not text.strip("; \n"):
        return
    for verb, found in _understand(text, _DIALECTS.get(client, "")):
        call.add("sql", verb=(verb,), traits=set(found) | traits)


@lru_cache(maxsize=1024)
def _understand(text: str, dialect: str) -> tuple[tuple[str, frozenset[str]], ...]:
    if _SELECT_ONLY.match(text) and not _RISKY_WORD.search(text):
        return (("select", frozenset()),)
    import logging

    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        parsed = sqlglot.parse(text, dialect=dialect or None)
    except (SqlglotError, RecursionError, ValueError):
        return tuple(_by_first_word(part) for part in text.split(";") if part.strip())
    return tuple(_statement(tree) for tree in parsed if tree is not None)


def _by_first_word(part: str) -> tuple[str, frozenset[str]]:
    """Text that does not parse: the first word tells, but never that it is harmless."""
    found = _FIRST.match(part)
    word = found[1].lower() if found else UNLISTED
    harmless = word in tables().words["sql"]["reads"]
    return (word if word in tables().words["sql"]["verbs"] and not harmless else UNLISTED, frozenset({"no_where"}))


def _statement(tree: Any) -> tuple[str, frozenset[str]]:
    from sqlglot import exp

    traits = set()
    worst = "select"
    for node in tree.walk():
        verb = _verb(node, exp)
        if verb in ("delete", "update") and node.args.get("where") is None:
            traits.add("no_where")
        if verb is not None and worst == "select" and (node is tree or isinstance(node, exp.DML | exp.DDL | exp.Command)):
            worst = verb
        if isinstance(node, exp.Anonymous | exp.Func) and _function(node) in tables().words["sql"]["running_functions"]:
            traits.add("runs_function")
        if isinstance(node, exp.Into):
            traits.add("into")
    if isinstance(tree, exp.Alter) and any(isinstance(a, exp.Drop) for a in tree.args.get("actions") or []):
        traits.add("drops_part")
    if isinstance(tree, exp.Drop):
        kind = str(tree.args.get("kind") or "").lower()
        traits |= {"drops_database"} if kind in ("database", "schema") else {"drops_view"} if kind in ("view", "index") else set()
        traits |= {"temporary"} if tree.args.get("temporary") else set()
    return worst, frozenset(traits)


def _function(node: Any) -> str:
    name = node.this if isinstance(node.this, str) else type(node).__name__
    return name.lower()


def _verb(node: Any, exp: Any) -> str | None:
    name: str = type(node).__name__.lower()
    if name == "truncatetable":
        return "truncate"
    if name == "command":
        return _command(node)
    if name in ("altercolumn", "altersession", "dropindex"):
        return None
    if isinstance(node, exp.Select | exp.SetOperation | exp.Values | exp.Table):
        return None
    known = tables().words["sql"]["verbs"]
    return name if name in known else None if not isinstance(node, exp.DDL | exp.DML) or name in ("select", "subquery") else UNLISTED


def _command(node: Any) -> str:
    """Statements that sqlglot keeps as text: EXPLAIN, VACUUM, CALL …; EXPLAIN ANALYZE runs what it explains."""
    word = str(node.this).lower()
    rest = str(node.args.get("expression") or "")
    if word == "explain":
        if re.search(r"\banalyze\b", rest, re.IGNORECASE) and re.search(r"\b(?:delete|update|insert|drop|truncate)\b", rest, re.IGNORECASE):
            return "delete"
        return "explain"
    return word if word in tables().words["sql"]["verbs"] else UNLISTED
