import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.rest import grammar

from bulkhead.gateway.rest.errors import QueryInvalid
from bulkhead.gateway.rest.split import parse_list, render_canonical, split_query


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("(1,2)", ["1", "2"]),
        ("()", [""]),
        ("( a , b )", ["a ", " b "]),
        ('("a,b","c\\"d","e\\\\")', ["a,b", 'c"d', "e\\"]),
        ('("x"y,z)', ['"x"y', "z"]),
        ('(a"b",c)', ['a"b"', "c"]),
        ('("a,b)', ['"a', "b"]),
        (" \t(1)rest", ["1"]),
        ("(1,)", ["1", ""]),
        ('("")', [""]),
    ],
)
def test_lists_are_read_with_their_quotes(text: str, elements: list[str]) -> None:
    assert parse_list(text) == elements


@given(st.lists(st.text(), min_size=1))
def test_a_list_reads_back_as_it_was_written(elements: list[str]) -> None:
    assert parse_list(grammar.render_list(elements)) == elements


@pytest.mark.parametrize("text", ["", "1", "(1", '("', "(1,"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(QueryInvalid):
        parse_list(text)
    with pytest.raises(QueryInvalid):
        split_query(f"a=in.{text}".encode(), is_call_read=False)


def test_a_list_of_a_hundred_thousand_elements_is_one_value() -> None:
    raw = b"a=in.(" + b",".join(b'"%d"' % n for n in range(100_000)) + b")"
    split = split_query(raw, is_call_read=False)
    assert split.shape == "a=in."
    assert len(parse_list(split.values[0])) == 100_000


def test_the_shape_keeps_the_order_and_numbers_leave_it() -> None:
    split = split_query(b"offset=2&a=eq.1&limit=-1&b.limit=x&select=a", is_call_read=False)
    assert split.shape == "offset=&a=eq.&limit=&select=a"
    assert split.ranges == (("offset", 2), ("limit", -1))


def test_a_value_cannot_pretend_to_be_shape() -> None:
    split = split_query(b"a=eq.%26b%3Deq.1", is_call_read=False)
    assert split.shape == "a=eq."
    assert split.values == ("&b=eq.1",)
    group = split_query(b"or=(%22a%26b%3D%22.eq.1)", is_call_read=False)
    assert "&" not in group.shape


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", ""),
        (b"b=2&a=1&c", "a=1&b=2&c="),
        (b"select=id,name&id=eq.a+b", "id=eq.a%20b&select=id%2Cname"),
        (b"a=1&b=2&a=3", "a=1,3&b=2"),
        (b"a=%C3%A9~_.-", "a=%C3%A9~_.-"),
    ],
)
def test_the_canonical_query_is_sorted_and_encoded_anew(raw: bytes, canonical: str) -> None:
    assert render_canonical(raw) == canonical
