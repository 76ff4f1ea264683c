import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.prefer import drop_unknown_zone, parse_preferences
from bulkhead.gateway.rest.request import Count, Preferences, Resolution, Return


def test_all_preferences_are_read() -> None:
    header = (
        "return=representation, count=exact,resolution=merge-duplicates , missing=default,"
        "tx=rollback,handling=strict,timezone=America/Los_Angeles,max-affected=100"
    )
    assert parse_preferences(header, tx_allowed=True) == Preferences(
        Return.REPRESENTATION,
        Count.EXACT,
        Resolution.MERGE,
        missing_default=True,
        transaction="rollback",
        handling="strict",
        timezone="America/Los_Angeles",
        max_affected=100,
    )


def test_of_what_repeats_the_first_one_counts() -> None:
    found = parse_preferences("count=exact,count=planned,missing=null", tx_allowed=True)
    assert found.count is Count.EXACT
    assert found.missing_default is False


def test_what_is_not_understood_is_kept_as_it_came() -> None:
    found = parse_preferences("anything, count=many, return=Minimal,, tx=commit", tx_allowed=False)
    assert found.invalid == ("anything", "count=many", "return=Minimal", "")
    assert found.transaction is None


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-1", -1), ("x", None), ("", None)])
def test_a_bound_that_is_no_number_is_none(text: str, number: int | None) -> None:
    found = parse_preferences(f"max-affected={text}", tx_allowed=True)
    assert found.max_affected == number
    assert found.invalid == ()


@given(st.text())
def test_any_header_is_read(header: str) -> None:
    parse_preferences(header, tx_allowed=True)


def test_a_time_zone_that_the_server_does_not_know_is_invalid_and_not_applied() -> None:
    zones = frozenset({"Asia/Tokyo"})
    known = parse_preferences("timezone=Asia/Tokyo", tx_allowed=True)
    assert drop_unknown_zone(known, zones) is known
    found = drop_unknown_zone(parse_preferences("x, timezone=Jupiter", tx_allowed=True), zones)
    assert found.timezone is None
    assert found.invalid == ("x", "timezone=Jupiter")
