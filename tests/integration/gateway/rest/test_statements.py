"""Statements about every kind of column and relationship, tried on a real server."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.gateway.rest.library import CONFIG, Library, api

from bulkhead.gateway.rest.errors import RestError
from bulkhead.gateway.rest.plan import make_plan
from bulkhead.gateway.rest.read_request import read_request
from bulkhead.gateway.rest.schema import ComputedRelationship, Schema
from bulkhead.gateway.rest.sql import render
from bulkhead.gateway.rest.statement import bind, bind_explain

REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.GroupingError,
    asyncpg.WrongObjectTypeError,
    asyncpg.CannotCoerceError,
    asyncpg.DatatypeMismatchError,
    asyncpg.AmbiguousColumnError,
    asyncpg.InvalidColumnReferenceError,
    asyncpg.IndeterminateDatatypeError,
    asyncpg.GeneratedAlwaysError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""What a client may be told: the request asks for what columns cannot do."""

VALUES = ("1", "x", "{1,2}", "0101", "t", "2026-01-01", "(1,2)", "null", "", "[1,2)", "paper")
TRUTH = st.booleans()
OPERATORS = (
    *("eq", "neq", "gt", "lte", "like", "ilike", "match", "cs", "cd", "ov", "sl", "adj"),
    *("isdistinct", "fts", "plfts(english)", "eq(any)", "like(any)", "imatch(all)"),
)


def columns_of(schema: Schema, table: str) -> list[str]:
    computed = [name for of, name in schema.computed_columns if of == api(table)]
    return [*schema.tables[api(table)].columns, *computed]


def relations_of(schema: Schema, table: str) -> list[str]:
    """What can be embedded in a table, each in the words that mean one relationship only."""
    found = []
    for each in schema.relationships.get((api(table), "api"), ()):
        if isinstance(each, ComputedRelationship):
            found.append(each.function.name)
        else:
            hint = each.junction.table.name if each.junction else each.constraint
            found.append(f"{each.target.name}!{hint}")
    return found


@st.composite
def targets(draw: st.DrawFn, schema: Schema) -> str:
    """A table and a query about it."""
    table = draw(st.sampled_from(sorted(n.name for n in schema.tables if n.schema == "api")))
    column = st.sampled_from(columns_of(schema, table))
    items = draw(st.lists(st.one_of(column, st.just("*")), max_size=3))
    known = relations_of(schema, table)
    relations = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
    for relation in relations:
        spread = draw(st.sampled_from(("", "", "...")))
        join = draw(st.sampled_from(("", "!inner")))
        inside = draw(st.sampled_from(("*", "", "count()", "*,authors(*)", "*,subjects(*)")))
        items.append(f"{spread}{relation}{join}({inside})")
    if not draw(st.integers(0, 5)):
        items.append(f"{draw(column)}.max()")
    parts = [f"select={','.join(items)}"] if items else []
    for _ in range(draw(st.integers(0, 2))):
        value = draw(st.sampled_from(VALUES))
        parts.append(f"{draw(column)}={draw(st.sampled_from(OPERATORS))}.{value}")
    if draw(TRUTH):
        listed = [draw(st.sampled_from(("1", "2", "x"))) for _ in range(3)]
        parts.append(f"{draw(column)}=in.({','.join(listed)})")
    if draw(TRUTH):
        parts.append(f"{draw(column)}->>a=not.eq.1&{draw(column)}->0=is.null")
    if draw(TRUTH) and relations:
        parts.append(f"{relations[0].partition('!')[0]}=not.is.null")
    if draw(TRUTH):
        parts.append(f"order={draw(column)}.desc.nullslast&limit=2&offset=1")
    return f"/{table}?{'&'.join(parts)}"


async def attempt(library: Library, schema: Schema, method: str, target: str, body: str) -> bool:
    """Run one request and take it back; whether the server did not refuse it."""
    path, _, query = target.partition("?")
    headers = [
        (b"prefer", b"return=representation, count=estimated, missing=default"),
        (b"prefer", b"resolution=merge-duplicates"),
        (b"content-type", b"application/json"),
    ]
    try:
        request = read_request(method, path, query.encode(), headers, body.encode(), CONFIG)
        statement = render(make_plan(request, schema, CONFIG))
    except RestError:
        return False
    transaction = library.admin.transaction()
    await transaction.start()
    try:
        await library.admin.execute("set local search_path = api, tools")
        rows = await library.admin.fetch(statement.sql, *bind(statement, request))
        if statement.explain_sql is not None:
            await library.admin.fetch(statement.explain_sql, *bind_explain(statement, request))
    except REFUSALS:
        return False
    finally:
        await transaction.rollback()
    assert len(rows) == 1
    return True


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=st.data())
async def test_the_server_understands_every_read(
    library: Library, schema: Schema, draw: st.DataObject
) -> None:
    await attempt(library, schema, "GET", draw.draw(targets(schema)), "")


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=st.data(), method=st.sampled_from(["POST", "PATCH", "DELETE", "PUT"]))
async def test_the_server_understands_every_write(
    library: Library, schema: Schema, draw: st.DataObject, method: str
) -> None:
    target = draw.draw(targets(schema))
    table = target[1:].partition("?")[0]
    names = draw.draw(
        st.lists(st.sampled_from(list(schema.tables[api(table)].columns)), unique=True)
    )
    row = "{" + ",".join(f'"{name}":null' for name in names) + "}"
    body = draw.draw(st.sampled_from([row, f"[{row},{row}]", "[]"]))
    await attempt(library, schema, method, target, body)


@pytest.mark.parametrize(
    "target",
    [
        "/books?code=eq.ab&flags=eq.0101&isbn=eq.x&binding=eq.paper&size=eq.(1,2)",
        "/books?tags=cs.{a}&bindings=cs.{paper}&stars=gte.1&added_at=gt.2026-01-01",
        "/books?words=eq.2&select=id,words",
        "/authors?initials=in.(A,B)&select=initials,first_book(title)&order=initials",
        "/books?select=*,authors!books_author(name,books!books_editor(*)),subjects(name)",
        "/books?select=title,...subjects(name,weights:books_subjects(weight))",
        "/visits?day=eq.2026-05-01&select=books(title)",
        "/catalogue?select=id,author,books_subjects(weight)",
        "/shelves?select=room,places(note,books(title))&places.note=ilike.*x*",
    ],
)
async def test_requests_about_every_kind_of_column_are_answered(
    library: Library, schema: Schema, target: str
) -> None:
    assert await attempt(library, schema, "GET", target, "")
