import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.openapi import Place, parse_place, render_openapi, split_comment
from bulkhead.gateway.rest.openapi_facts import OpenApiFacts
from bulkhead.gateway.rest.openapi_types import (
    compact,
    describe_items,
    parse_default,
    swagger_format,
    swagger_type,
)
from bulkhead.gateway.rest.schema import (
    Column,
    Function,
    Name,
    Parameter,
    ReturnType,
    Schema,
    Table,
    Volatility,
)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("https://example.com", Place("https", "example.com", 443, "/")),
        ("https://example.com/openapi.json", Place("https", "example.com", 443, "/openapi.json")),
        ("http://127.0.0.1:54321/a/b/rest/v1", Place("http", "127.0.0.1", 54321, "/a/b/rest/v1")),
        ("http://[::1]:3000", Place("http", "[::1]", 3000, "/")),
        ("http://", Place()),
    ],
)
def test_a_place_is_read_from_its_address(uri: str, place: Place) -> None:
    assert parse_place(uri) == place


@pytest.mark.parametrize(
    ("comment", "parts"),
    [
        (None, (None, None)),
        ("title", ("title", "")),
        ("title\n\nsome\nlines", ("title", "some\nlines")),
        ("", ("", "")),
    ],
)
def test_the_first_line_of_a_comment_is_its_title(
    comment: str | None, parts: tuple[str | None, str | None]
) -> None:
    assert split_comment(comment) == parts


@pytest.mark.parametrize(
    ("name", "kind", "form", "items"),
    [
        ("integer", "integer", "int32", None),
        ("bigint", "integer", "int64", None),
        ("numeric", "number", "numeric", None),
        ("jsonb", None, "jsonb", None),
        ("api.binding", "string", "api.binding", None),
        ("text[]", "array", "text[]", {"type": "string"}),
        ("json[]", "array", "json[]", {}),
    ],
)
def test_types_are_translated(
    name: str, kind: str | None, form: str, items: dict[str, str] | None
) -> None:
    assert (swagger_type(name), swagger_format(name)) == (kind, form)
    assert describe_items(name) == items


@pytest.mark.parametrize(
    ("name", "expression", "value"),
    [
        ("text", "'default'::text", "default"),
        ("character varying", "'x y'::character varying", "x y"),
        ("boolean", "false", False),
        ("integer", "42", 42),
        ("integer", "nextval('a'::regclass)", None),
        ("numeric", "42.2", 42.2),
        ("date", "'1900-01-01'::date", "1900-01-01"),
        ("date", "now()", "now()"),
        ("text", "'say \"hi\"'::text", None),
        ("jsonb", "'{}'::jsonb", None),
        ("text", None, None),
    ],
)
def test_a_default_is_told_when_it_is_a_value(
    name: str, expression: str | None, value: object
) -> None:
    assert parse_default(name, expression) == value


@given(st.text(), st.sampled_from(["text", "integer", "jsonb", "text[]"]))
def test_any_expression_of_a_default_can_be_described(expression: str, name: str) -> None:
    json.dumps(parse_default(name, expression))


def test_what_says_nothing_is_left_out_but_for_items_of_any_type() -> None:
    assert compact(a=None, b=[], c={}, items={}, d=False, e="", f=0) == {
        "items": {},
        "d": False,
        "e": "",
        "f": 0,
    }


def column(name: str) -> Column:
    return Column(name, "integer", "integer", "integer")


def test_a_table_that_cannot_be_written_has_no_operations_that_write() -> None:
    name = Name("api", "counted")
    table = Table(
        name,
        {"books": column("books")},
        is_view=True,
        insertable=False,
        updatable=False,
        deletable=False,
    )
    described = render_openapi(
        OpenApiFacts([table], {}), Schema(1, {name: table}, {}, {}), Place(), secured=False
    )
    assert set(described["paths"]["/counted"]) == {"get"}
    assert "security" not in described
    assert described["info"]["title"] == "PostgREST API"


def test_a_function_that_may_write_is_not_called_by_get() -> None:
    def function(volatility: Volatility) -> Function:
        parameter = Parameter("many", "text[]", is_required=False, is_variadic=True)
        returns = ReturnType(Name("pg_catalog", "text"), is_set=False, is_composite=False)
        return Function(Name("api", volatility.name), (parameter,), returns, volatility)

    functions = {each.name: (each,) for each in map(function, Volatility)}
    paths = render_openapi(
        OpenApiFacts([], functions), Schema(1, {}, {}, functions), Place(), secured=True
    )["paths"]
    assert set(paths["/rpc/VOLATILE"]) == {"post"}
    assert set(paths["/rpc/STABLE"]) == {"get", "post"}
    [argument] = paths["/rpc/STABLE"]["get"]["parameters"]
    assert argument["collectionFormat"] == "multi"
