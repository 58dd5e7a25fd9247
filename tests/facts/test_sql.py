"""SQL and the clients that carry it: what acts is held however it is wrapped, what reads passes, and long texts stay cheap."""

import time

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.facts.handlers.datastores import methods
from ony_core.facts.sql import understand
from ony_core.facts.sqltext import take_apart
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess

ACTS = {
    "a string that the server ends sooner": ("postgres", r"SELECT '\'; DROP TABLE x; --'"),
    "an escape string that ends later": ("postgres", r"SELECT E'\''; DELETE FROM y"),
    "a comment that MySQL runs": ("mysql", "/*!50000 DROP TABLE users */"),
    "two statements after one G": ("mysql", r"select 1\G drop table x"),
    "no semicolon between": ("tsql", "SELECT 1 DROP TABLE x"),
    "a common table expression": ("postgres", "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d"),
    "taken back in the same text": ("postgres", "BEGIN; DELETE FROM t; ROLLBACK"),
    "explained by running it": ("postgres", "EXPLAIN (ANALYZE, BUFFERS) UPDATE t SET a = 1"),
    "a comment that never ends": ("postgres", "SELECT 1 /* x ; DROP TABLE t"),
    "a string that never ends": ("postgres", "SELECT 'x ; DROP TABLE t"),
    "a word that is no statement": ("mysql", "SHUTDOWN"),
    "two words that look like an alias": ("mysql", "RESET MASTER"),
    "a function with a telling name": ("postgres", "SELECT purge_old_orders()"),
    "no language at all": ("", "please remove everything"),
    "a dollar quote where there is none": ("mysql", "SELECT $$; DROP TABLE x; $$"),
    "a prepared deletion": ("postgres", "PREPARE p AS DELETE FROM t"),
}
READS = {
    "words in a string": ("postgres", "SELECT * FROM t WHERE a = 'DROP TABLE x; DELETE'"),
    "a doubled quote": ("postgres", "select 'it''s; drop table x'"),
    "words in comments": ("postgres", "SELECT 1 -- DROP TABLE x\n/* DELETE FROM t */"),
    "words in a dollar quote": ("postgres", "SELECT $q$DROP TABLE x$q$"),
    "a quoted column": ("postgres", 'SELECT "update" FROM t'),
    "a lock": ("postgres", "SELECT * FROM t FOR NO KEY UPDATE"),
    "a function that computes": ("postgres", "SELECT array_remove(a, 1), replace(b, 'delete', '') FROM t"),
    "an explanation": ("postgres", "EXPLAIN DELETE FROM t"),
    "a measured read": ("postgres", "EXPLAIN ANALYZE SELECT 1"),
    "a backslash in a pattern": ("postgres", r"SELECT * FROM t WHERE a ~ '^\d+$'"),
    "the making of a table": ("mysql", r"SHOW CREATE TABLE t\G"),
    "a setting of the session": ("postgres", "SET statement_timeout = '5s'"),
}


@pytest.mark.parametrize(("dialect", "text"), ACTS.values(), ids=ACTS.keys())
def test_what_acts_is_never_a_read(dialect: str, text: str) -> None:
    assert any(verb != "select" or traits for verb, traits in understand(text, dialect))


@pytest.mark.parametrize(("dialect", "text"), READS.values(), ids=READS.keys())
def test_what_reads_is_a_read(dialect: str, text: str) -> None:
    assert understand(text, dialect) == (("select", frozenset()),)


LONG = {
    "many statements": "INSERT INTO t VALUES (1, 'a');\n" * 20_000,
    "one long statement": "SELECT " + "a, " * 200_000 + "1",
    "many quotes": "'" * 600_000,
    "many escaped quotes": "SELECT '" + "\\'" * 300_000,
    "many open comments": "/*" * 300_000,
    "many dollar tags": "".join(f"$a{i}$" for i in range(80_000)),
}


@pytest.mark.parametrize("dialect", ["postgres", "mysql"])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_long_texts_are_taken_apart_in_linear_time(text: str, dialect: str) -> None:
    begun = time.perf_counter()
    take_apart(text, dialect)
    understand(text, dialect)
    assert time.perf_counter() - begun < 10


def test_a_text_that_is_too_long_is_not_waved_through() -> None:
    assert held("psql <<'EOF'\n" + "SELECT 1;\n" * 30_000 + "EOF")


def held(command: str) -> bool:
    found = assess(derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace()))
    return gate(found, "on") == "hold"


@pytest.mark.parametrize(
    "command",
    [
        "psql <<'EOF'\nDROP TABLE t;\nEOF",
        "echo 'delete from t' | psql",
        "cat drop.sql | psql app",
        "psql -c 'select 1' -c 'truncate t'",
        "psql -c '\\set x `rm -rf ~`'",
        "sqlite3 a.db <<'EOF'\n.shell rm -rf ~\nEOF",
        "sqlite3 a.db \".read '|rm -rf ~'\"",
        "duckdb :memory: \"ATTACH 'app.db' AS a; DROP TABLE a.t\"",
        "docker exec db psql -c 'DROP TABLE t'",
        "echo 'User.objects.all().delete()' | python manage.py shell",
        "redis-cli <<< 'FLUSHALL'",
    ],
)
def test_a_client_is_looked_into(command: str) -> None:
    assert held(command)


@pytest.mark.parametrize(
    "command",
    [
        "psql <<'EOF'\nSELECT 1;\nEOF",
        "sqlite3 a.db <<'EOF'\n.headers on\nSELECT 1;\nEOF",
        "duckdb :memory: 'create table t(a); drop table t'",
        "mysql -psecret -e 'SHOW TABLES'",
        "docker exec db psql -c 'select 1'",
        "mkdir demo && cd demo && django-admin startproject site . && python manage.py migrate",
    ],
)
def test_a_client_that_only_reads_passes(command: str) -> None:
    assert not held(command)


def test_a_script_for_mongodb_is_read_by_its_methods() -> None:
    assert methods("db.t.find({name: 'drop()'}).toArray() // db.t.drop()") == set()
    assert methods("db.getCollectionNames().forEach(c => print(c, db[c].countDocuments()))") == set()
    assert methods('db["t"]["drop"]()') == {"drop"}
    assert "drop" in methods("const c = db.t; c.drop()")
    assert methods("db.t.frobnicate()") == {"unlisted"}


@pytest.mark.parametrize(("lines", "holds"), [(["GET a"] * 50, False), (["GET a"] * 51, True), (["GET a"] * 49 + ["FLUSHALL"], True)])
def test_commands_for_a_cache_are_judged_line_by_line_up_to_a_bound(lines: list[str], holds: bool) -> None:
    assert held("redis-cli <<'EOF'\n" + "\n".join(lines) + "\nEOF") is holds
