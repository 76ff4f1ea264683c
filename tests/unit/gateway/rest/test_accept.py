import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.accept import parse_accept, parse_content_type


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("application/json", ("application/json",)),
        ("text/csv;q=0.5, application/json", ("application/json", "text/csv")),
        ("*/*, text/csv", ("text/csv", "*/*")),
        ("a/b;q=0.1,c/d;q=0.9,e/f;q=x", ("e/f", "c/d", "a/b")),
        (
            "application/vnd.pgrst.object+json; nulls=stripped",
            ("application/vnd.pgrst.object+json;nulls=stripped",),
        ),
        (
            "application/json, application/vnd.pgrst.array+json;nulls=stripped",
            ("application/vnd.pgrst.array+json;nulls=stripped", "application/json"),
        ),
    ],
)
def test_media_types_come_by_quality_and_then_the_more_specific_ones(
    header: str, found: tuple[str, ...]
) -> None:
    assert parse_accept(header) == found


@given(st.text())
def test_any_header_is_read(header: str) -> None:
    assert parse_accept(header)
    parse_content_type(header)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("application/json; charset=utf-8", "application/json"),
        ("Text/CSV", "text/csv"),
        ("application/vnd.pgrst.array+json", "application/json"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        ("image/png; a=b", "image/png; a=b"),
    ],
)
def test_content_types_lose_their_parameters(header: str, found: str) -> None:
    assert parse_content_type(header) == found
