import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.errors import BodyInvalid
from bulkhead.gateway.rest.payload import parse_payload
from bulkhead.gateway.rest.request import Payload, PayloadKind

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def read(
    body: bytes, content_type: str = JSON, *, is_call: bool = False, has_columns: bool = False
) -> Payload:
    return parse_payload(body, content_type, is_call=is_call, has_columns=has_columns)


def refusal_of(body: bytes, content_type: str = JSON, *, is_call: bool = False) -> str:
    with pytest.raises(BodyInvalid) as caught:
        read(body, content_type, is_call=is_call)
    return caught.value.message


def test_json_stays_as_it_came_and_its_keys_are_known() -> None:
    body = b'[ {"b": 1.10, "a": null}, {"a": 2, "b": 12345678901234567890} ]'
    payload = read(body)
    assert payload.text.encode() == body
    assert payload.keys == {"a", "b"}
    assert read(b'{"a": 1}').keys == {"a"}


@pytest.mark.parametrize("body", [b"[]", b"5", b'"text"', b"null"])
def test_what_has_no_rows_is_an_empty_list(body: bytes) -> None:
    payload = read(body)
    assert payload.is_empty_list
    assert payload.text == "[]"


def test_a_row_without_values_is_a_row() -> None:
    assert not read(b"[{}]").is_empty_list
    assert not read(b"{}").is_empty_list


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"}{ x = 2", b"{'a': 1}", b"[NaN]", b'{"a": Infinity}', b"\xff", b"[" * 100_000),
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refusal_of(body) == "Empty or invalid json"


@pytest.mark.parametrize("body", [b'[{"a":1},{"b":1}]', b'[{"a":1},{}]', b"[1,2]", b'[{"a":1},2]'])
def test_rows_with_other_keys_are_refused(body: bytes) -> None:
    assert refusal_of(body) == "All object keys must match"


def test_with_columns_json_is_not_looked_into() -> None:
    payload = read(b"[1, {", has_columns=True)
    assert payload.kind is PayloadKind.RAW_JSON
    assert payload.text == "[1, {"


def test_a_call_may_have_no_body_or_one_of_another_type() -> None:
    assert read(b"", is_call=True).keys == frozenset()
    assert read("é".encode(), "text/plain", is_call=True).text == "é"
    assert read(b"<a/>", "text/xml", is_call=True).kind is PayloadKind.TEXT
    assert read(b"\xff\0", "application/octet-stream", is_call=True).raw == b"\xff\0"
    assert refusal_of(b"a", "text/plain") == "Content-Type not acceptable: text/plain"
    assert refusal_of(b"a", "image/png", is_call=True) == "Content-Type not acceptable: image/png"


def test_a_form_is_a_row_of_a_table_and_the_arguments_of_a_call() -> None:
    row = read(b"a=1&b=x+y%26&a=2", FORM)
    assert json.loads(row.text) == {"a": "2", "b": "x y&"}
    call = read(b"a=1&b=x+y%26&a=2&c", FORM, is_call=True)
    assert call.form == (("a", "1"), ("b", "x y&"), ("a", "2"), ("c", ""))
    assert call.keys == {"a", "b", "c"}


def test_csv_becomes_json() -> None:
    payload = read(b"a,b\n1,NULL\n", "text/csv")
    assert json.loads(payload.text) == [{"a": "1", "b": None}]
    assert read(b"a,b\n", "text/csv").is_empty_list


@given(st.binary(max_size=60), st.sampled_from([JSON, FORM, "text/csv", "text/plain", "x/y"]))
def test_any_body_is_read_or_refused(body: bytes, content_type: str) -> None:
    for is_call in (False, True):
        try:
            payload = read(body, content_type, is_call=is_call)
        except BodyInvalid:
            continue
        assert isinstance(payload, Payload)
