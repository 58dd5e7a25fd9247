"""What a statement does: its verb, and what makes it worse or better. One row per kind of statement and way to say it."""

import pytest

from ony_core.facts.sql import dialect_of, understand

ROWS = [  # dialect, text, verb, traits
    ("postgres", "copy t to stdout", "select", ""),
    ("postgres", "copy t from '/x'", "copy", ""),
    ("postgres", "copy t to program 'sh'", "copy", "runs_code"),
    ("postgres", "explain delete from a", "select", ""),
    ("postgres", "explain analyze delete from a", "delete", "no_where"),
    ("postgres", "explain analyse delete from a", "delete", "no_where"),
    ("", "explain select 1", "select", ""),
    ("postgres", "set x = 1", "select", ""),
    ("mysql", "set global x = 1", "alter", ""),
    ("sqlite", "pragma table_info(a)", "select", ""),
    ("sqlite", "pragma writable_schema = 1", "alter", ""),
    ("sqlite", "pragma writable_schema", "select", ""),
    ("sqlite", "attach 'x' as y", "select", ""),
    ("postgres", "attach 'x' as y", "attach", "no_where"),
    ("duckdb", "install httpfs", "select", ""),
    ("duckdb", "install 'x'", "install", "no_where"),
    ("duckdb", "load httpfs", "select", ""),
    ("mysql", "load data infile 'x' into table t", "import", "no_where"),
    ("", "select a from b for update", "select", ""),
    ("", "select a from b for no key update", "select", ""),
    ("", "with x as (update a set b=1 returning 1) select * from x", "update", "no_where"),
    ("", "with x as (delete from a where b=1) select * from x", "delete", ""),
    ("", "delete from a", "delete", "no_where"),
    ("", "delete from a where b=1", "delete", ""),
    ("", "update a set b=1", "update", "no_where"),
    ("", "update a set b=1 where c=1", "update", ""),
    ("", "update a set b=1 from (select 1 where true) d", "update", "no_where"),
    ("", "drop table a", "drop", ""),
    ("", "drop database a", "drop", "drops_database"),
    ("", "drop schema a", "drop", "drops_database"),
    ("", "drop view a", "drop", "drops_view"),
    ("", "drop index a", "drop", "drops_view"),
    ("mysql", "drop temporary table a", "drop", "temporary"),
    ("", "create table a (b int)", "create", ""),
    ("", "create or replace table a (b int)", "create", ""),
    ("", "create database a", "create", "new_database"),
    ("", "create schema a", "create", ""),
    ("", "create view a as select 1", "create", ""),
    ("", "create or replace view a as select 1", "create", ""),
    ("", "create function f() returns int", "create", ""),
    ("", "create or replace database a", "create", ""),
    ("", "create temp table a (b int)", "create", "temporary"),
    ("", "create temporary table a as select 1", "create", "temporary"),
    ("", "create temp table a as with d as (delete from c returning *) select * from d", "create", "no_where"),
    ("", "create temp table a as select delete_user(1)", "create", "runs_function temporary"),
    ("", "alter table a add column b int", "alter", ""),
    ("", "alter table a drop column b", "alter", ""),
    ("", "alter table a alter column b set default 1", "alter", ""),
    ("", "truncate table a", "truncate", ""),
    ("", "truncate a, b", "truncate", ""),
    ("", "vacuum", "vacuum", ""),
    ("", "vacuum full", "unlisted", ""),
    ("sqlite", "vacuum into 'x'", "unlisted", ""),
    ("", "analyze a", "select", ""),
    ("tsql", "exec sp_help 'dbo.t'", "select", ""),
    ("tsql", "exec sp_configure 'x', 1", "exec", ""),
    ("tsql", "execute sp_help", "select", ""),
    ("tsql", "select 1 delete from a", "delete", "no_where"),
    ("tsql", "select 1 as b", "select", ""),
    ("tsql", "select 1 drop table a", "drop", "no_where"),
    ("", "call f()", "call", ""),
    ("", "comment on table a is 'x'", "comment", ""),
    ("", "select pg_terminate_backend(1)", "select", "runs_function"),
    ("", "select delete_user(1)", "select", "runs_function"),
    ("", "select get_user(1)", "select", ""),
    ("", "select purge()", "select", "runs_function"),
    ("mysql", "select truncate(1.5, 0)", "select", ""),
    ("", "select pg_read_file('x')", "select", "runs_function"),
    ("", "select lo_import('/etc/x')", "select", "runs_function"),
    ("mysql", "select 1 into outfile 'x'", "unlisted", "no_where"),
    ("", "select * into b from a", "select", "into"),
    ("", "merge into a using b on a.c=b.c when matched then delete", "merge", ""),
    ("", "grant all on a to b", "grant", ""),
    ("", "revoke all on a from b", "revoke", ""),
    ("", "insert into a values (1)", "insert", ""),
    ("", "replace into a values (1)", "replace", ""),
    ("", "insert into a select * from b", "insert", ""),
    ("", "frobnicate a", "unlisted", "no_where"),
    ("", "delete frm a where", "delete", ""),
    ("", "delet from a", "unlisted", "no_where"),
    ("", "values (1)", "select", ""),
    ("", "(select 1) union (select 2)", "select", ""),
    ("", "begin", "select", ""),
    ("", "commit", "select", ""),
    ("", "rollback", "select", ""),
    ("", "show tables", "select", ""),
    ("", "use x", "select", ""),
    ("", "describe a", "select", ""),
    ("", "kill 1", "kill", ""),
    ("mysql", "show tables like 'drop'", "select", ""),
    ("influx", "drop measurement a", "drop", ""),
    ("influx", "from(bucket: \"a\") |> to(bucket: \"b\")", "unlisted", "no_where"),
    ("cypher", "match (n) return n", "select", ""),
    ("cypher", "match (n) delete n", "delete", "no_where"),
    ("cypher", "match (n) where n.a=1 detach delete n", "delete", ""),
    ("cypher", "match (n) set n.a=1", "update", "no_where"),
    ("cypher", "call db.labels()", "select", ""),
    ("cypher", "call apoc.do.it()", "call", "no_where"),
    ("cypher", "create (n)", "create", "no_where"),
    ("cypher", "foo", "unlisted", ""),
    ("", "select 'a", "unlisted", "no_where"),
    ("", "refresh materialized view a", "refresh", ""),
    ("", "lock table a", "lock", ""),
    ("", "execute p", "execute", ""),
    ("", "prepare p as delete from a", "prepare", ""),
    ("", "declare c cursor for select 1", "select", ""),
    ("", "do $$ begin delete from a; end $$", "do", ""),
    ("", "select xp_cmdshell('x')", "select", "runs_code runs_function"),
    ("tsql", "exec xp_cmdshell 'x'", "exec", "runs_code"),
    ("", "cluster a", "cluster", "no_where"),
    ("", "reindex table a", "reindex", ""),
    ("", "rename table a to b", "rename", ""),
]


@pytest.mark.parametrize(("dialect", "text", "verb", "traits"), ROWS)
def test_what_a_statement_does(dialect: str, text: str, verb: str, traits: str) -> None:
    assert understand(text, dialect) == ((verb, frozenset(traits.split())),)


def test_every_statement_of_a_text_counts_once() -> None:
    found = understand("select 1; drop table a; select 2; drop table b; delete from c", "")
    assert [verb for verb, _ in found] == ["select", "drop", "delete"]


def test_many_statements_and_long_ones_are_judged_by_their_words() -> None:
    assert understand("delete from a where b=1;" * 61, "") == (("delete", frozenset()),)
    assert understand("update a set b=1 from (select 1 where true) d " + "-" * 8000, "") == (("update", frozenset()),)


def test_the_dialect_of_a_client() -> None:
    assert (dialect_of("psql"), dialect_of("mysql"), dialect_of("no-such-client")) == ("postgres", "mysql", "")
