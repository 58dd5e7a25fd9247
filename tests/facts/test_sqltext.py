"""SQL text taken apart: one row per way a word can be hidden or be no word at all.

A row is (dialect, text, statements, the client's own commands); a statement is its words, then what it calls, its strings, and `broken`.
"""

import pytest

from ony_core.facts.sqltext import Statement, take_apart


def said(one: Statement) -> str:
    parts = [" ".join(one.words)]
    parts += [f"calls={' '.join(sorted(one.calls))}"] if one.calls else []
    parts += [f"strings={'|'.join(one.literals)}"] if one.literals else []
    return "; ".join(parts + (["broken"] if one.broken else []))


ROWS: dict[str, tuple[str, str, list[str], list[str]]] = {
    "nothing": ("", " ;; ", [], []),
    "one": ("", "SELECT a_1 FROM b", ["select a_1 from b"], []),
    "two": ("", "select 1; drop table b;", ["select", "drop table b"], []),
    "a call": ("", "select f(x), g (y)", ["select f x g y; calls=f"], []),
    "no call": ("", "(select 1)", ["select"], []),
    # comments
    "a line of comment": ("", "select 1 -- drop\nfrom b", ["select from b"], []),
    "a block": ("", "select /* drop; */ a", ["select a"], []),
    "a block without end": ("", "select 1 /* drop table", ["select drop table; broken"], []),
    "a mark of MySQL": ("mysql", "/*!50000 drop */ table a", ["drop table a"], []),
    "one without a number": ("mysql", "/*! drop */ table a", ["drop table a"], []),
    "a mark of MariaDB": ("mysql", "/*M!100100 drop */ table a", ["drop table a"], []),
    "a hash in MySQL": ("mysql", "select 1 # drop\nfrom a", ["select from a"], []),
    "a hash to the end": ("mysql", "select 1 # drop", ["select"], []),
    "a hash elsewhere": ("postgres", "select 1 # drop", ["select drop"], []),
    # quotes
    "a string": ("", "select 'drop; table'", ["select; strings=drop; table"], []),
    "a quote in it": ("", "select 'a''b' c", ["select c; strings=a''b"], []),
    "a name": ("postgres", 'select "drop" a', ['select " a'], []),
    "a name in MySQL may be a string": ("mysql", 'select "drop" a', ['select " a; strings=drop'], []),
    "a name in backticks": ("", "select `drop` a", ['select " a'], []),
    "no end": ("", "select 'drop table", ["select drop table; broken"], []),
    "a backslash in MySQL": ("mysql", r"select 'a\'; drop' b", [r"select b; strings=a\'; drop"], []),
    "two of them": ("mysql", r"select 'a\\' drop", [r"select drop; strings=a\\"], []),
    "a backslash in PostgreSQL": ("postgres", r"select 'a\' drop", ["select drop; strings=a\\"], []),
    "a string that says so there": ("postgres", r"select E'a\' drop' b", [r"select e b; strings=a\' drop"], []),
    "in small letters": ("postgres", r"select e'a\' drop' b", [r"select e b; strings=a\' drop"], []),
    "another letter": ("postgres", r"select x'a\' drop", ["select x drop; strings=a\\"], []),
    "a backslash that nobody knows": ("", r"select 'a\' drop", ["select drop; strings=a\\; broken"], []),
    "two that nobody knows": ("", r"select 'a\\' drop", [r"select drop; strings=a\\"], []),
    "a backslash before a backtick": ("", r"select `a\` drop", ['select " drop'], []),
    "a backslash further in": ("", r"select 'a\b' c", [r"select c; strings=a\b"], []),
    # dollars
    "a dollar quote": ("postgres", "do $$ drop; $$ a", ["do a; strings= drop; "], []),
    "with a name": ("postgres", "do $x$ drop $$ $x$ a", ["do a; strings= drop $$ "], []),
    "none in MySQL": ("mysql", "do $$ drop $$ a", ["do drop a"], []),
    "without end": ("postgres", "do $$ drop", ["do drop; strings=; broken"], []),
    # the client's own commands
    "a command": ("postgres", "select 1 \\! rm x\nselect 2", ["select", "select"], ["\\! rm x"]),
    "at the end": ("postgres", "\\d t", [], ["\\d t"]),
    "one that only ends": ("postgres", "select 1 \\; drop a", ["select", "drop a"], []),
    "one of MySQL": ("mysql", "select 1 \\G drop a", ["select", "drop a"], []),
    "a small one": ("mysql", "select 1 \\g drop a", ["select", "drop a"], []),
    "with a rest of its line in PostgreSQL": ("postgres", "select 1 \\g drop a\nselect 2", ["select", "select"], ["\\g drop a"]),
    "of CockroachDB": ("cockroach", "\\! ls", [], ["\\! ls"]),
    "none elsewhere": ("sqlite", "select 1 \\! drop", ["select drop"], []),
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "text", "statements", "commands"), ROWS.values(), ids=ROWS.keys())
def test_a_text_is_taken_apart(dialect: str, text: str, statements: list[str], commands: list[str]) -> None:
    script = take_apart(text, dialect)
    assert [said(one) for one in script.statements] == statements
    assert script.commands == commands


@pytest.mark.parametrize("dialect", ["mysql", "bigquery", "clickhouse", "hive", "spark", "snowflake", "cypher"])
def test_where_a_backslash_hides_a_quote(dialect: str) -> None:
    assert [said(one) for one in take_apart(r"select 'a\'; drop'", dialect).statements] == [r"select; strings=a\'; drop"]


@pytest.mark.parametrize("dialect", ["postgres", "duckdb", "snowflake", "cockroach", ""])
def test_where_dollars_quote(dialect: str) -> None:
    assert [said(one) for one in take_apart("do $$drop$$", dialect).statements] == ["do; strings=drop"]


def test_the_text_of_each_statement() -> None:
    script = take_apart(" select 1 ; drop a \\; delete b\n\\d t\n update c", "postgres")
    assert [one.text for one in script.statements] == ["select 1", "drop a", "delete b", "update c"]
    assert script.statements[1].first == "drop" and script.statements[1].has("x", "a") and not script.statements[1].has("b")
    assert Statement().first == ""
