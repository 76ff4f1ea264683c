import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.errors import BulkheadError
from bulkhead.web.strict_json import (
    DEPTH_MAX,
    JsonDuplicateKey,
    JsonInvalid,
    JsonNumberUnusable,
    JsonTextUnusable,
    JsonTooDeep,
    verify_json,
)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


def refusal_of(body: bytes) -> BulkheadError | None:
    try:
        verify_json(body)
    except BulkheadError as error:
        return error
    return None


@given(VALUES, st.booleans())
def test_what_means_one_thing_passes(value: Any, ascii_only: bool) -> None:
    verify_json(json.dumps(value, ensure_ascii=ascii_only).encode())


@given(st.binary(max_size=60) | st.text('{}[]",:\\u0dfe+-.1ENaI ', max_size=60).map(str.encode))
def test_whatever_is_sent_is_accepted_or_refused_with_a_code(body: bytes) -> None:
    refusal = refusal_of(body)
    if refusal is None:
        json.loads(body)
    else:
        assert 400 <= refusal.status < 500
        assert refusal.code.startswith("json_")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b"nul",
        b"1 2",
        b'"\x01"',
        b'"\x00"',
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        '{"a":1}'.encode("utf-16"),
        b"01",
        b"+1",
        b"0x10",
        b"// comment",
    ],
)
def test_what_is_not_json_in_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(JsonInvalid):
        verify_json(body)


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b'[{"b":{"a":1,"\\u0061":2}}]', b'{"":1,"":1}'])
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(JsonDuplicateKey):
        verify_json(body)


def test_the_same_key_in_two_objects_is_fine() -> None:
    verify_json(b'[{"a":1},{"a":{"a":2}}]')


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400 + ".0", "9" * 5000]
)
def test_a_number_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(JsonNumberUnusable):
        verify_json(f'{{"a":[{number}]}}'.encode())


@pytest.mark.parametrize(
    "body",
    [b'"\\u0000"', b'{"\\u0000":1}', b'"\\ud800"', b'"\\udc00\\ud800"', b'{"a":["\\uDFFFx"]}'],
)
def test_text_that_no_column_holds_is_refused(body: bytes) -> None:
    with pytest.raises(JsonTextUnusable):
        verify_json(body)


@pytest.mark.parametrize(
    "body", [b'"\\\\u0000"', b'"\\ud83d\\ude00"', '"😀"'.encode(), b'"\\u00e9"']
)
def test_text_that_only_looks_like_it_passes(body: bytes) -> None:
    verify_json(body)


@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
def test_nesting_is_bounded(pair: str) -> None:
    opening, closing = pair[:-1], pair[-1]
    inner = "1" if pair == '{"a":}' else ""
    verify_json((opening * DEPTH_MAX + inner + closing * DEPTH_MAX).encode())
    for depth in (DEPTH_MAX + 1, 500, 100_000):
        with pytest.raises(JsonTooDeep):
            verify_json((opening * depth + inner + closing * depth).encode())


def test_width_is_not_depth() -> None:
    verify_json(b"[" + b"[],{}," * 1000 + b"[]]")
    verify_json(b'"' + b"[" * 1000 + b'"')
