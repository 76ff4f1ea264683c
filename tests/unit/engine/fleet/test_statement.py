import datetime as dt
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Enum,
    MetaData,
    Numeric,
    Sequence,
    Table,
    Text,
    Uuid,
    bindparam,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateTable

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.statement import Compiler

ID = UUID(int=7)
TABLES = MetaData()
NOTES = Table(
    "notes",
    TABLES,
    Column("id", Uuid, primary_key=True, default=lambda: ID),
    Column("body", Text),
    Column("price", Numeric(12, 2)),
    Column("details", JSON),
    Column("kind", Enum("short", "long", name="kind")),
    Column("changed_at", DateTime, onupdate=lambda: dt.datetime(2026, 1, 1)),  # noqa: DTZ001
)
POSTGRESQL, MYSQL = Compiler(Dialect.POSTGRESQL), Compiler(Dialect.MYSQL)
BOTH = pytest.mark.parametrize("compiler", [POSTGRESQL, MYSQL], ids=list(Dialect))


@BOTH
def test_values_are_bound_and_never_rendered(compiler: Compiler) -> None:
    hostile = "x'; drop table notes; --"
    for statement in (
        select(NOTES.c.id).where(NOTES.c.body == hostile),
        select(NOTES.c.id).where(NOTES.c.body.in_([hostile, "b"])),
        insert(NOTES).values(id=ID, body=hostile),
        update(NOTES).where(NOTES.c.body == hostile).values(body="b"),
        select(text(":it")).params(it=hostile),
    ):
        ready = compiler.compile(statement).fill({})
        assert "drop table" not in ready.sql
        assert hostile in ready.args


def test_each_dialect_has_its_placeholders() -> None:
    statement = select(NOTES.c.id).where(NOTES.c.body == bindparam("body"))
    assert POSTGRESQL.compile(statement).sql.endswith("body = $1::VARCHAR")
    assert MYSQL.compile(statement).sql.endswith("body = %s")


def test_types_are_converted_where_the_dialect_needs_it() -> None:
    values = {"id": ID, "details": {"a": [1]}, "kind": "long", "price": Decimal("1.50")}
    statement = insert(NOTES)
    assert POSTGRESQL.compile(statement, values).fill(values).args == [
        ID,
        Decimal("1.50"),
        '{"a": [1]}',
        "long",
    ]
    assert MYSQL.compile(statement, values).fill(values).args[0] == ID.hex


@BOTH
def test_converters_hold_in_statements_whose_lists_expand(compiler: Compiler) -> None:
    statement = select(NOTES.c.id).where(NOTES.c.id == ID, NOTES.c.id.in_([ID, ID]))
    args = compiler.compile(statement).fill({}).args
    assert len(set(args)) == 1
    assert len(args) == 3


@BOTH
def test_lists_may_be_of_any_length(compiler: Compiler) -> None:
    statement = select(NOTES.c.id).where(NOTES.c.body.in_(bindparam("bodies", expanding=True)))
    compiled = compiler.compile(statement)
    for bodies in ([], ["a"], ["a", "b", "c"]):
        assert list(compiled.fill({"bodies": bodies}).args) == bodies


@BOTH
def test_defaults_of_columns_are_made_for_each_row(compiler: Compiler) -> None:
    compiled = compiler.compile(insert(NOTES), {"body": "a"})
    assert len(compiled.fill({"body": "a"}).args) == 2
    values = {"body": "a", "which": ID}
    changed = update(NOTES).where(NOTES.c.id == bindparam("which"))
    ready = compiler.compile(changed, values).fill(values)
    assert "changed_at" in ready.sql
    assert len(ready.args) == 3


@BOTH
def test_missing_and_unknown_values_are_refused(compiler: Compiler) -> None:
    statement = select(NOTES.c.id).where(NOTES.c.id == bindparam("id"))
    compiled = compiler.compile(statement)
    with pytest.raises(Invalid, match="value for id"):
        compiled.fill({})
    with pytest.raises(Invalid, match="no parameter other"):
        compiled.fill({"id": ID, "other": 1})


def test_defaults_that_the_server_makes_are_left_to_it() -> None:
    numbered = Table("numbered", MetaData(), Column("id", Numeric, Sequence("numbers")))
    assert "nextval" in POSTGRESQL.compile(insert(numbered)).fill({}).sql


@BOTH
def test_rows_are_converted_only_where_a_type_asks_for_it(compiler: Compiler) -> None:
    rows = [{"body": "a"}]
    assert compiler.compile(select(NOTES.c.body)).convert(rows) is rows
    compiled = compiler.compile(select(NOTES.c.body, NOTES.c.details))
    assert compiled.convert([{"body": "a", "details": '{"b": 1}'}]) == [
        {"body": "a", "details": {"b": 1}}
    ]
    assert compiled.convert([{"body": "a", "details": None}]) == [{"body": "a", "details": None}]


@BOTH
@given(first=st.text(max_size=20), second=st.text(max_size=20))
def test_statements_of_one_shape_share_what_was_compiled_and_keep_their_values(
    compiler: Compiler, first: str, second: str
) -> None:
    one = compiler.compile(select(NOTES.c.id).where(NOTES.c.body == first))
    two = compiler.compile(select(NOTES.c.id).where(NOTES.c.body == second))
    assert one.compiler is two.compiler
    assert (one.fill({}).args, two.fill({}).args) == ([first], [second])


@BOTH
def test_statements_that_create_are_rendered(compiler: Compiler) -> None:
    assert "CREATE TABLE notes" in compiler.render(CreateTable(NOTES))
