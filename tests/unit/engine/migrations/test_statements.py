import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.migrations.statements import (
    SqlUnreadable,
    find_refusal,
    split_statements,
)


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split_statements(sql)]


def refusal(sql: str) -> str | None:
    (statement,) = split_statements(sql)
    return find_refusal(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select ';'",
        "select E'\\';'",
        "select 'it''s; fine'",
        'select 1 as "a;b"',
        "select $$ ; $$",
        "select $body$ $$ ; $$ $body$",
        "select 1 /* ; /* ; */ ; */ + 1",
        "select 1 -- ;\n+ 1",
        "create rule r as on insert to t do also (select 1; select 2)",
        "create function f() returns int language sql begin atomic select 1; select 2; end",
        (
            "create function f() returns int language sql begin atomic "
            "select case when true then 1 else 2 end; select 2; end"
        ),
        "select tag$1, b$c from t",
        "select $1",
    ],
)
def test_a_semicolon_inside_does_not_end_a_statement(statement: str) -> None:
    assert texts(f"{statement};\n{statement}") == [statement, statement]


def test_a_statement_knows_the_line_of_its_first_word() -> None:
    statements = split_statements("-- a comment\n\nselect 1;\n\n/* two\nlines */ select\n2;")
    assert [statement.line for statement in statements] == [3, 6]
    assert statements[1].first_line == "select"


def test_comments_alone_are_no_statement() -> None:
    assert texts("-- nothing\n/* here */ ;;\n") == []


@pytest.mark.parametrize(
    ("sql", "line"),
    [("select 1;\nselect 'open", 2), ("select $a$ open", 1), ("\n\n/* open", 3), ('select "x', 1)],
)
def test_what_is_never_closed_is_reported_with_its_line(sql: str, line: int) -> None:
    with pytest.raises(SqlUnreadable) as caught:
        split_statements(sql)
    assert caught.value.line == line


@given(st.lists(st.sampled_from(["select 1", "select ';'", "select $$;$$", 'select ";"'])))
def test_joining_and_splitting_gives_the_statements_back(statements: list[str]) -> None:
    assert texts(";\n".join(statements)) == statements


@given(st.text(alphabet="ab'\"$-/*;()\\ \n1_é"))
def test_any_text_is_split_or_refused_and_nothing_but_space_and_comments_is_lost(text: str) -> None:
    try:
        statements = split_statements(text)
    except SqlUnreadable:
        return
    position = 0
    for statement in statements:
        found = text.index(statement.text, position)
        assert text.count("\n", 0, found) + 1 <= statement.line
        position = found + len(statement.text)


@pytest.mark.parametrize(
    "sql",
    [
        "begin",
        "BEGIN work",
        "start transaction",
        "commit",
        "end",
        "rollback",
        "abort",
        "savepoint s",
        "release s",
        "prepare transaction 'x'",
        "create index concurrently i on t (a)",
        "create unique index concurrently i on t (a)",
        "drop index concurrently i",
        "reindex table concurrently t",
        "alter table t detach partition p concurrently",
        "vacuum t",
        "create database d",
        "drop database d",
        "alter system set work_mem = '1GB'",
        "create tablespace s location '/x'",
        "copy t from stdin",
        "set role postgres",
        "set local role postgres",
        "set session authorization postgres",
        "reset role",
        "reset all",
        "discard all",
        "set search_path = public",
        "set session search_path = public",
        "\\i other.sql",
    ],
)
def test_a_migration_may_not_contain(sql: str) -> None:
    assert refusal(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "create table begin_here (id int)",
        "create index i on t (concurrently_made)",
        "comment on table t is 'commit; rollback'",
        "set local search_path = ''",
        "set constraints all deferred",
        "alter database postgres set work_mem = '1MB'",
        "refresh materialized view m",
        "do $$ begin perform 1; end $$",
        "alter table t set (fillfactor = 70)",
        "create table t (role text, session text)",
        "update t set role = 'x'",
        "reindex table t",
        "alter table t add column vacuum int",
    ],
)
def test_a_migration_may_contain(sql: str) -> None:
    assert refusal(sql) is None
