import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkhead.engine.migrations.mysql_statements import (
    find_mysql_refusal,
    split_mysql_statements,
)
from bulkhead.engine.migrations.statements import SqlUnreadable

BODY = """create trigger t before update on notes for each row
begin
  declare x int default if(1 > 0, 1, 2);
  if new.a < 0 then
    set new.a = repeat('x', 3);
  elseif new.a > 9 then
    case new.b when 1 then set new.a = 1; else set new.a = 2; end case;
  end if;
  while x < 3 do set x = x + 1; end while;
end"""


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split_mysql_statements(sql)]


def test_strings_names_and_comments_hide_semicolons() -> None:
    pieces = [
        r"insert into a values ('it\'s; ''here''', \"x;\\\"y\")".replace('\\"', '"', 1),
        "select 1 from `a;``b`",
        "select 2 /* ; */ as x",
    ]
    sql = ";\n".join(pieces[1:]) + "; -- last; one\n# and; this\nselect 3;"
    assert texts(sql) == [*pieces[1:], "select 3"]


def test_a_backslash_escapes_in_strings() -> None:
    assert texts(r"select 'a\';b'; select '\\'; select 1") == [
        r"select 'a\';b'",
        r"select '\\'",
        "select 1",
    ]


def test_the_body_of_a_trigger_is_one_statement() -> None:
    assert texts(f"select 1;\n{BODY};\nselect 2;") == ["select 1", BODY, "select 2"]


def test_lines_are_those_of_the_file() -> None:
    statements = split_mysql_statements("\n-- first\nselect 1;\n\nselect\n2;")
    assert [statement.line for statement in statements] == [3, 5]


@pytest.mark.parametrize("sql", ["select 'a", "select `a", "select 1 /* a", 'select "a\\"'])
def test_what_is_never_closed_is_refused(sql: str) -> None:
    with pytest.raises(SqlUnreadable):
        split_mysql_statements(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "begin",
        "start transaction",
        "commit",
        "set names utf8mb4",
        "use other",
        "lock tables a write",
        "load data infile 'x' into table a",
        "drop table a, b",
        "rename table a to b, c to d",
        "create database other",
        "drop database other",
        "create user x",
        "delimiter $$",
    ],
)
def test_what_a_journal_cannot_follow_is_refused(sql: str) -> None:
    (statement,) = split_mysql_statements(sql)
    assert find_mysql_refusal(statement) is not None


@pytest.mark.parametrize(
    "sql",
    ["drop table `a,b`", "alter table a add b int, add c int", BODY, "update a set b = 1"],
)
def test_what_takes_effect_as_a_whole_is_allowed(sql: str) -> None:
    (statement,) = split_mysql_statements(sql)
    assert find_mysql_refusal(statement) is None


@given(st.text())
@example("\xa0")
@example("\x1f;\xa0 \x1f")
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        statements = split_mysql_statements(text)
    except SqlUnreadable:
        return
    for statement in statements:
        assert statement.text in text
        assert statement.text.strip(" \t\r\n")
