import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.errors import GucHeadersInvalid, GucStatusInvalid, NotSingular
from bulkhead.gateway.rest.request import Count, Preferences, Resolution, Return
from bulkhead.gateway.rest.response import (
    content_range,
    parse_guc_headers,
    parse_guc_status,
    preference_applied,
    range_status,
    respond_error,
    respond_options,
)
from bulkhead.gateway.rest.schema import (
    Function,
    Name,
    ReturnType,
    Table,
    Volatility,
)


@pytest.mark.parametrize(
    ("lower", "upper", "total", "header", "status"),
    [
        (0, 9, None, b"0-9/*", 200),
        (0, 9, 10, b"0-9/10", 200),
        (0, 9, 11, b"0-9/11", 206),
        (5, 9, 10, b"5-9/10", 206),
        (0, -1, 0, b"*/0", 200),
        (0, -1, None, b"*/*", 200),
        (10, 9, 10, b"*/10", 206),
        (11, 10, 10, b"*/10", 416),
    ],
)
def test_a_range_is_told_with_what_is_known_of_the_total(
    lower: int, upper: int, total: int | None, header: bytes, status: int
) -> None:
    assert content_range(lower, upper, total) == (b"content-range", header)
    assert range_status(lower, upper, total) == status


def test_preferences_are_told_in_the_order_of_postgrest() -> None:
    preferences = Preferences(
        returning=Return.REPRESENTATION,
        count=Count.EXACT,
        resolution=Resolution.MERGE,
        missing_default=True,
        transaction="rollback",
        handling="strict",
        timezone="Asia/Tokyo",
        max_affected=3,
    )
    assert preference_applied(preferences) == (
        b"preference-applied",
        (
            b"resolution=merge-duplicates, missing=default, return=representation, count=exact, "
            b"tx=rollback, handling=strict, timezone=Asia/Tokyo, max-affected=3"
        ),
    )
    assert preference_applied(Preferences()) is None


def test_headers_of_a_function_are_read_as_a_list_of_objects_of_one_key() -> None:
    text = '[{"Set-Cookie": "a=1"}, {"Set-Cookie": "b=ü"}]'
    assert parse_guc_headers(text) == [
        (b"set-cookie", b"a=1"),
        (b"set-cookie", "b=ü".encode()),
    ]
    assert parse_guc_headers(None) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}x",
        "3",
        '["a"]',
        "[{}]",
        '[{"a": "b", "c": "d"}]',
        '[{"a": 1}]',
        '[{"a": "b\\r\\nset-cookie: c"}]',
        '[{"a\\n": "b"}]',
        '[{"ä": "b"}]',
        "[" * 100_000,
    ],
)
def test_headers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(GucHeadersInvalid):
        parse_guc_headers(text)


@given(st.text())
def test_a_status_is_a_number_of_http_or_refused(text: str) -> None:
    try:
        status = parse_guc_status(text)
    except GucStatusInvalid:
        return
    assert 200 <= status < 600


def test_an_error_is_told_as_postgrest_tells_it() -> None:
    answer = respond_error(NotSingular(count=0))
    assert answer.status == 406
    assert json.loads(answer.body) == {
        "code": "PGRST116",
        "details": "The result contains 0 rows",
        "hint": None,
        "message": "Cannot coerce the result to a single JSON object",
    }
    headers = dict(answer.headers)
    assert headers[b"proxy-status"] == b"PostgREST; error=PGRST116"
    assert int(headers[b"content-length"]) == len(answer.body)


def test_an_error_has_no_body_when_only_its_headers_are_wanted() -> None:
    assert respond_error(NotSingular(count=2), headers_only=True).body == b""


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        (None, b"OPTIONS,GET,HEAD"),
        (
            Table(Name("public", "a"), {}, primary_key=("id",)),
            b"OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE",
        ),
        (Table(Name("public", "a"), {}), b"OPTIONS,GET,HEAD,POST,PATCH,DELETE"),
        (
            Table(Name("public", "a"), {}, insertable=False, updatable=False, deletable=False),
            b"OPTIONS,GET,HEAD",
        ),
    ],
)
def test_options_tell_what_can_be_done(subject: Table | None, allowed: bytes) -> None:
    assert dict(respond_options(subject).headers)[b"allow"] == allowed


@pytest.mark.parametrize(
    ("volatility", "allowed"),
    [(Volatility.VOLATILE, b"OPTIONS,POST"), (Volatility.STABLE, b"OPTIONS,GET,HEAD,POST")],
)
def test_only_functions_that_change_nothing_can_be_called_by_get(
    volatility: Volatility, allowed: bytes
) -> None:
    returns = ReturnType(Name("pg_catalog", "int4"), is_set=False, is_composite=False)
    function = Function(Name("public", "f"), (), returns, volatility)
    assert dict(respond_options(function).headers)[b"allow"] == allowed
