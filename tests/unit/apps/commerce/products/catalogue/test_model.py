import datetime as dt
import json
from base64 import urlsafe_b64encode
from decimal import Decimal
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.commerce.products.catalogue.model import (
    BEFORE_ALL,
    Filters,
    Listing,
    ParameterInvalid,
    Place,
    Sort,
    parse_cursor,
    parse_listing,
)

NOON = dt.datetime(2026, 1, 31, 12, 0, 0, 123456, dt.UTC)
KNOWN = {"category", "collection", "brand", "price_min", "price_max", "in_stock", "limit", "sort"}
LAMP = UUID("018f0000-0000-7000-8000-000000000001")


def parse(query: str) -> Listing:
    return parse_listing(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))


def cursor(*parts: object) -> str:
    """A cursor as the statement makes it."""
    return urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def test_an_empty_query_asks_for_the_newest() -> None:
    assert parse("") == Listing(Filters(), Sort.NEWEST, 20, BEFORE_ALL[Sort.NEWEST])


def test_every_filter_is_read() -> None:
    query = (
        "category=lamps&collection=summer&brand=Lumen&brand=Oak+Line&price_min=5&price_max=19.90"
        "&in_stock=true&attribute.colour=red&attribute.colour=blue&attribute.watt=7"
    )
    assert parse(query).filters == Filters(
        category="lamps",
        collection="summer",
        brands=("Lumen", "Oak Line"),
        price_min=Decimal(5),
        price_max=Decimal("19.90"),
        in_stock=True,
        attributes=(("colour", ("red", "blue")), ("watt", ("7",))),
    )


def test_the_shape_names_what_matters_only() -> None:
    filters = parse("price_min=0&attribute.colour=red&attribute.watt=7&in_stock=false").filters
    assert filters.shape() == ("price_min", "attribute", "attribute")
    assert filters.parameters()["attribute_0"] == ["colour=red"]
    assert filters.parameters()["attribute_1"] == ["watt=7"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("page=2", "page"),
        ("attribute.Colour=red", "attribute.Colour"),
        ("attribute.=red", "attribute."),
        ("attribute.colour=", "attribute.colour"),
        ("&".join(f"attribute.a{number}=x" for number in range(11)), "attribute."),
        ("&".join(f"brand=b{number}" for number in range(51)), "brand"),
        ("brand=", "brand"),
        ("brand=" + "b" * 201, "brand"),
        ("brand=%00", "brand"),
        ("brand=%ff", "brand"),
        ("category=", "category"),
        ("category=Lamps", "category"),
        ("category=a&category=b", "category"),
        ("collection=../etc", "collection"),
        ("price_min=-1", "price_min"),
        ("price_min=1e3", "price_min"),
        ("price_min=NaN", "price_min"),
        ("price_min=1.999", "price_min"),
        ("price_min=%D9%A1", "price_min"),
        ("price_min=99999999999", "price_min"),
        ("price_min=10&price_max=9", "price_min"),
        ("in_stock=yes", "in_stock"),
        ("sort=cheap", "sort"),
        ("sort=position", "sort"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=" + "1" * 5000, "limit"),
        ("cursor=", "cursor"),
        ("cursor=%21%21", "cursor"),
        ("cursor=" + "A" * 5000, "cursor"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(query: str, parameter: str) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        parse(query)
    assert refused.value.details["parameter"] == parameter
    assert refused.value.status == 422


def test_an_unknown_parameter_is_told_which_are_known() -> None:
    with pytest.raises(ParameterInvalid, match=r"category.*cursor.*attribute\.<code>"):
        parse("colour=red")


@pytest.mark.parametrize(
    ("sort", "key", "read"),
    [
        (
            "newest",
            "2026-01-31T12:00:00.123456+00:00",
            dt.datetime(2026, 1, 31, 12, 0, 0, 123456, dt.UTC),
        ),
        ("price", "19.90", Decimal("19.90")),
        ("-price", "0.00", Decimal(0)),
        ("name", "lampe über alles", "lampe über alles"),
        ("rating", 3.857142857142857, 3.857142857142857),
        ("rating", 3, 3.0),
    ],
)
def test_a_cursor_goes_on_after_the_last_product(sort: str, key: object, read: object) -> None:
    listing = parse(f"sort={sort}&cursor={cursor(sort, key, str(LAMP))}")
    assert listing.after == Place(read, LAMP)


def test_a_cursor_of_a_collection_goes_on_after_the_last_product() -> None:
    query = f"collection=summer&sort=position&cursor={cursor('position', -7, str(LAMP))}"
    assert parse(query).after == Place(-7, LAMP)


@pytest.mark.parametrize(
    "parts",
    [
        ("price", "19.90", str(LAMP)),
        ("newest", "2026-01-31T12:00:00", str(LAMP)),
        ("newest", "yesterday", str(LAMP)),
        ("newest", None, str(LAMP)),
        ("newest", 5, str(LAMP)),
        ("newest", "2026-01-31T12:00:00Z", "no id"),
        ("newest", "2026-01-31T12:00:00Z", 5),
        ("newest", "2026-01-31T12:00:00Z"),
        ("oldest", "2026-01-31T12:00:00Z", str(LAMP)),
        ([], "2026-01-31T12:00:00Z", str(LAMP)),
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(parts: tuple[object, ...]) -> None:
    with pytest.raises(ParameterInvalid):
        parse_cursor(cursor(*parts), Sort.NEWEST)


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        (Sort.PRICE, "1e400"),
        (Sort.PRICE, "NaN"),
        (Sort.PRICE, 5),
        (Sort.NAME, "a\0b"),
        (Sort.NAME, "\ud800"),
        (Sort.NAME, None),
        (Sort.RATING, float("nan")),
        (Sort.RATING, float("inf")),
        (Sort.RATING, "3"),
        (Sort.POSITION, 2**63),
        (Sort.POSITION, True),
        (Sort.POSITION, 1.5),
    ],
)
def test_a_cursor_with_a_key_of_another_type_is_refused(sort: Sort, key: object) -> None:
    with pytest.raises(ParameterInvalid):
        parse_cursor(cursor(sort.value, key, str(LAMP)), sort)


@given(st.text(max_size=300))
def test_no_text_makes_a_cursor_fail_otherwise(text: str) -> None:
    for sort in Sort:
        with pytest.raises(ParameterInvalid):
            parse_cursor(text, sort)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=50)), max_size=6))
def test_no_query_fails_otherwise_than_by_name(pairs: list[tuple[str, str]]) -> None:
    try:
        parse_listing(pairs)
    except ParameterInvalid as refused:
        refused.message.encode()


@given(name=st.sampled_from(sorted(KNOWN)), value=st.text(min_size=1, max_size=8))
def test_a_known_name_with_any_value_is_read_or_refused(name: str, value: str) -> None:
    try:
        limit = parse_listing([(name, value)]).limit
    except ParameterInvalid as refused:
        limit = len([name] if refused.details["parameter"] == name else [])
    assert 1 <= limit <= 100
