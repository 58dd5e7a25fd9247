"""What SQL text does: one fact for each statement.

Most of what agents send is a plain read, and words outside of quotes are enough to know it (`sqltext`). Everything else goes through
sqlglot's syntax tree, and what that cannot parse is judged by the gravest word in it.

MUST: text that does not parse, or parses into something without a table word, is an unlisted statement, never a read.
MUST: stay linear and bounded: long texts and long statements are judged by their words alone.
"""

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ony_core.facts.sqltext import Script, Statement, take_apart
from ony_core.facts.words import HOLE
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.call import Call

Found = tuple[str, frozenset[str]]

_WHOLE = 1 << 18  # longest text that is looked into
_PARSED = 8000  # longest statement that is parsed
_MANY = 60  # statements of one text that are parsed
_NO_WHERE = frozenset({"no_where"})
_STATEMENTS = (
    "Query", "DML", "DDL", "Drop", "Alter", "TruncateTable", "Command", "Describe", "Show", "Set", "Use", "Pragma", "Transaction",
    "Commit", "Rollback", "Copy", "Grant", "Revoke", "Kill", "Cache", "Uncache", "Refresh", "Comment", "Analyze", "Attach", "Detach",
    "Export", "Execute", "Summarize", "LoadData", "Declare", "ListStage",
)  # fmt: skip


def dialect_of(client: str) -> str:
    """The dialect that a client speaks; "" where the client speaks many."""
    found: str = tables().words["sql_dialects"].get(client, "")
    return found


def statements(call: "Call", text: str, client: str, traits: set[str]) -> Script:
    """Adds a fact for each statement of the text; the answer has the client's own commands that stood between them."""
    text = text.replace(HOLE, "0").strip()
    if len(text) > _WHOLE:
        call.opaque("sql_unknown")
        return Script()
    script = take_apart(text, dialect_of(client))
    for verb, found in understand(text, dialect_of(client)):
        call.add("sql", verb=(verb,), traits=set(found) | traits)
    return script


@lru_cache(maxsize=1024)
def understand(text: str, dialect: str) -> tuple[Found, ...]:
    """Verb and traits of each statement, the same ones once."""
    found: dict[Found, None] = {}
    parsed = 0
    for statement in take_apart(text, dialect).statements:
        if dialect == "cypher":
            found[_cypher(statement)] = None
            continue
        if _only_reads(statement, dialect):
            found["select", frozenset()] = None
            continue
        parsed += 1
        small = parsed <= _MANY and len(statement.text) <= _PARSED and not statement.broken
        found[_parsed(statement, dialect) if small else _by_words(statement)] = None
    return tuple(found)


# ---- by words


def _only_reads(statement: Statement, dialect: str) -> bool:
    """A statement that begins as a read and has no word and no function in it that could make it more."""
    lists = tables().words["sql"]
    first = statement.first
    plain = first in lists["plain"] or (dialect in ("duckdb", "sqlite") and first in lists["duckdb_plain"])
    if statement.broken or not plain or _acts(statement.calls) or (dialect == "influx" and "to" in statement.calls):
        return False
    if first in ("show", "describe", "desc", "help", "list") or (first in ("attach", "detach") and dialect in ("duckdb", "sqlite")):
        return True
    if first in ("install", "load"):
        return dialect == "duckdb" and not statement.literals
    if first == "explain" and not statement.has("analyze", "analyse"):
        return True
    if first == "set":
        return not statement.has(*lists["sets_for_all"])
    if first == "pragma":
        return not (statement.has(*lists["grave_pragmas"]) and "=" in statement.text)
    if first == "copy":
        return statement.has("to") and statement.has("stdout") and not _risky(statement, dialect)
    return not _risky(statement, dialect)


def _risky(statement: Statement, dialect: str) -> bool:
    lists = tables().words["sql"]
    words = statement.words
    if _another_follows(statement, dialect):
        return True
    for_update = sum(1 for before, word in pairwise(words) if word == "update" and before in ("for", "key"))
    if words.count("update") > for_update:
        return True
    return any(word in lists["not_in_reads"] for word in words)


def _another_follows(statement: Statement, dialect: str) -> bool:
    """In T-SQL a statement may follow another one without a semicolon; a parser may take its verb for a name (`SELECT 1 delete FROM a`)."""
    return dialect == "tsql" and any(word in tables().words["sql"]["bare_verbs"] for word in statement.words[1:])


def _acts(calls: set[str]) -> bool:
    lists = tables().words["sql"]
    if calls & set(lists["running_functions"]):
        return True
    return any(_says_it_acts(name) for name in calls)


def _deeds(statement: Statement) -> set[str]:
    """Functions with side effects, and what starts programs on the database's machine."""
    found = {"runs_function"} if _acts(statement.calls) else set()
    program = statement.first == "copy" and statement.has("program")
    return found | ({"runs_code"} if program or statement.has(*tables().words["sql"]["program_words"]) else set())


def _says_it_acts(name: str) -> bool:
    """A function somebody wrote, whose name says that it does more than compute."""
    lists = tables().words["sql"]
    parts = name.split("_")
    return name != "truncate" and parts[0] not in lists["computing_prefixes"] and bool(set(parts) & set(lists["acting_parts"]))


def _reading_procedure(statement: Statement) -> bool:
    """`EXEC sp_help 'dbo.t'` and nothing beside it."""
    words = statement.words
    return words[0] in ("exec", "execute") and len(words) > 1 and set(words[1:]) <= set(tables().words["sql"]["reading_procedures"])


def _by_words(statement: Statement) -> Found:
    """The gravest word decides; where there is none, the first one, but never that it is harmless."""
    lists = tables().words["sql"]
    words = set(statement.words)
    grave = next((word for word in lists["gravest"] if word in words), None)
    traits = set() if grave in ("delete", "update") and "where" in words and not statement.broken else set(_NO_WHERE)
    traits |= _deeds(statement)
    first = statement.first
    if grave == "load" and "data" in words:
        grave = "import"
    verb = grave or (first if first in lists["verbs"] and first not in lists["plain"] and first not in lists["reads"] else UNLISTED)
    return verb, frozenset(traits)


def _cypher(statement: Statement) -> Found:
    """Neo4j's language: clauses in any order, so the gravest one counts; procedures by the namespaces that only look."""
    lists = tables().words["cypher"]
    words = set(statement.words)
    clause = next((word for word in lists["clauses"] if word in words), None)
    calls = {after for word, after in pairwise(statement.words) if word == "call"}
    if clause is not None:
        return lists["clauses"][clause], frozenset(() if "where" in words and not statement.broken else _NO_WHERE)
    if statement.broken or calls - set(lists["reading_procedures"]) or not words & set(lists["reads"]):
        return UNLISTED, frozenset()
    return "select", frozenset()


# ---- by the syntax tree


def _parsed(statement: Statement, dialect: str) -> Found:
    import logging

    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    kinds = tuple(found for name in _STATEMENTS if (found := getattr(exp, name, None)) is not None)
    for tried in dict.fromkeys((dialect, "", "postgres", "mysql")):
        try:
            trees = [tree for tree in sqlglot.parse(statement.text, dialect=_GLOTS.get(tried, tried) or None) if tree is not None]
        except (SqlglotError, RecursionError, ValueError):
            continue
        if len(trees) == 1 and isinstance(trees[0], kinds):
            found = _statement(trees[0], statement)
            return _by_words(statement) if found[0] == "select" and _another_follows(statement, dialect) else found
    return _by_words(statement)


_GLOTS = {"cockroach": "postgres"}  # dialects that the parser knows under another name


def _statement(tree: Any, statement: Statement) -> Found:
    from sqlglot import exp

    traits = _deeds(statement)
    worst = "select"
    for node in tree.walk():
        verb = _verb(node, exp, statement)
        if verb in ("delete", "update") and (node is tree or not isinstance(node, exp.Command)) and node.args.get("where") is None:
            traits.add("no_where")
        if verb is not None and worst == "select" and (node is tree or isinstance(node, exp.DML | exp.DDL | exp.Command)):
            worst = verb
        if isinstance(node, exp.Anonymous | exp.Func) and _function(node) in tables().words["sql"]["running_functions"]:
            traits.add("runs_function")
        if isinstance(node, exp.Into):
            traits.add("into")
    if worst == "select" and statement.has("outfile", "dumpfile"):
        traits.add("into")
    return worst, frozenset(traits | _shape(tree, exp, statement))


def _shape(tree: Any, exp: Any, statement: Statement) -> set[str]:
    """What kind of thing is dropped or made; what is temporary ends with the client's session."""
    kind = str(tree.args.get("kind") or "").lower()
    more = set(statement.words[1:]) & set(tables().words["sql"]["gravest"])
    if isinstance(tree, exp.Drop):
        found = {"drops_database"} if kind in ("database", "schema") else {"drops_view"} if kind in ("view", "index") else set()
        return found | ({"temporary"} if tree.args.get("temporary") and not more else set())
    if isinstance(tree, exp.Create):
        found = {"new_database"} if kind == "database" and not tree.args.get("replace") else set()
        return found | ({"temporary"} if tree.find(exp.TemporaryProperty) and not more else set())
    return set()


def _function(node: Any) -> str:
    name = node.this if isinstance(node.this, str) else type(node).__name__
    return name.lower()


def _verb(node: Any, exp: Any, statement: Statement) -> str | None:
    name: str = type(node).__name__.lower()
    if name == "truncatetable":
        return "truncate"
    if name == "command":
        return _command(node, statement)
    if name == "execute":
        return None if _reading_procedure(statement) else "exec"
    if name == "set":
        return "alter" if statement.has(*tables().words["sql"]["sets_for_all"]) else "set"
    if name == "pragma":
        return "pragma" if _only_reads(statement, "") else "alter"
    if name in ("altercolumn", "altersession", "dropindex"):
        return None
    if isinstance(node, exp.Select | exp.SetOperation | exp.Values | exp.Table):
        return None
    known = tables().words["sql"]["verbs"]
    return name if name in known else None if not isinstance(node, exp.DDL | exp.DML) or name in ("select", "subquery") else UNLISTED


def _command(node: Any, statement: Statement) -> str:
    """Statements that sqlglot keeps as text: EXPLAIN, VACUUM, CALL …; EXPLAIN ANALYZE runs what it explains."""
    word = str(node.this).lower()
    lists = tables().words["sql"]
    if word in ("explain", "analyze"):
        return next((grave for grave in lists["gravest"] if grave in statement.words), word)
    if word == "set":
        return "alter"
    if word == "vacuum":
        return UNLISTED if statement.has("full", "into") else "vacuum"
    if word in ("exec", "execute") and _reading_procedure(statement):
        return "select"
    if word == "comment" or word not in lists["verbs"]:
        return word if word == "comment" else next((grave for grave in lists["gravest"] if grave in statement.words), UNLISTED)
    return word
