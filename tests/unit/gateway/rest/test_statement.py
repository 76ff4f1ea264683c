from dataclasses import replace

import pytest
from tests.unit.gateway.rest.shop import ask

from bulkhead.gateway.rest.query import Argument, RowRange, Slot
from bulkhead.gateway.rest.request import ApiRequest, Payload, PayloadKind
from bulkhead.gateway.rest.statement import (
    ArgumentsBind,
    Bind,
    BodyBind,
    BytesBind,
    FormBind,
    FormListBind,
    LimitBind,
    ListBind,
    OffsetBind,
    PatternBind,
    Statement,
    TextBind,
    TextsBind,
    bind,
)


def with_values(*values: str) -> ApiRequest:
    return replace(ask("GET", "/orders"), values=values)


def with_payload(payload: Payload) -> ApiRequest:
    return replace(ask("POST", "/rpc/echo"), payload=payload)


def test_a_value_is_the_one_of_the_request_or_of_the_shape() -> None:
    statement = Statement("select", (TextBind(Slot(1)), TextBind("always")))
    assert bind(statement, with_values("a", "b")) == ["b", "always"]


def test_a_star_in_a_pattern_is_any_text() -> None:
    assert PatternBind(Slot(0)).fill(with_values("*a*b%")) == "%a%b%"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("(1,2)", ["1", "2"]),
        ("()", []),
        ('("a,b","c\\"d",e)', ["a,b", 'c"d', "e"]),
        ('("")', []),
        ("(a,)", ["a", ""]),
    ],
)
def test_a_list_is_taken_apart(text: str, values: list[str]) -> None:
    assert ListBind(Slot(0)).fill(with_values(text)) == values


@pytest.mark.parametrize(
    ("asked", "max_rows", "limit"),
    [(None, None, None), (None, 10, 10), (5, None, 5), (5, 10, 5), (50, 10, 10), (0, 10, 0)],
)
def test_a_limit_is_the_smaller_one(
    asked: int | None, max_rows: int | None, limit: int | None
) -> None:
    request = replace(ask("GET", "/orders"), ranges={("items",): RowRange(3, asked)})
    assert LimitBind(("items",), max_rows).fill(request) == limit
    assert OffsetBind(("items",)).fill(request) == 3
    assert OffsetBind(()).fill(request) == 0


def test_a_body_is_text_or_bytes() -> None:
    assert BodyBind().fill(with_payload(Payload(PayloadKind.TEXT, "hi"))) == "hi"
    assert BytesBind().fill(with_payload(Payload(PayloadKind.BYTES, raw=b"\0"))) == b"\0"
    assert BodyBind().fill(ask("GET", "/rpc/echo")) is None


def test_of_a_repeated_field_the_last_one_counts_unless_it_is_variadic() -> None:
    form = (("a", "1"), ("b", "2"), ("a", "3"))
    request = with_payload(Payload(PayloadKind.FORM, form=form))
    assert FormBind("a").fill(request) == "3"
    assert FormBind("c").fill(request) is None
    assert FormListBind("a").fill(request) == ["1", "3"]
    assert ArgumentsBind().fill(request) == '{"a": "3", "b": "2"}'


def test_arguments_of_an_address_are_gathered() -> None:
    request = with_values("x", "y")
    assert TextsBind((Slot(0), Slot(1))).fill(request) == ["x", "y"]
    gathered: Bind = ArgumentsBind((Argument("a", Slot(0)), Argument("ä", Slot(1))))
    assert gathered.fill(request) == '{"a": "x", "ä": "y"}'
