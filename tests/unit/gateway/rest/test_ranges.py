import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.errors import RangeInvalid, UpsertRangeRefused
from bulkhead.gateway.rest.query import EmbedPath, RowRange
from bulkhead.gateway.rest.ranges import plan_ranges

NEGATIVE = "Limit should be greater than or equal to zero."
REVERSED = (
    "The lower boundary must be lower than or equal to the upper boundary in the Range header."
)


@pytest.mark.parametrize(
    ("given_numbers", "header", "ranges"),
    [
        ((), None, {}),
        ((), "0-9", {(): RowRange(0, 10)}),
        ((), "5-", {(): RowRange(5, None)}),
        ((), "0-", {}),
        ((), "bytes=0-9", {}),
        ((("limit", 3),), None, {(): RowRange(0, 3)}),
        ((("offset", 3),), None, {(): RowRange(3, None)}),
        ((("offset", -4),), None, {(): RowRange(0, None)}),
        ((("limit", 0),), "5-9", {(): RowRange(0, 0)}),
        ((("limit", 5), ("offset", 2)), None, {(): RowRange(2, 5)}),
        ((("limit", 5), ("offset", 2)), "4-20", {(): RowRange(4, 3)}),
        ((("limit", 5), ("limit", 6)), None, {(): RowRange(0, 6)}),
        (
            (("a.b.limit", 1), ("a.b.offset", 2), ("a.limit", 0)),
            None,
            {("a", "b"): RowRange(2, 1), ("a",): RowRange(0, 0)},
        ),
        ((("limit", 10**29),), None, {(): RowRange(0, 2**63 - 1)}),
    ],
)
def test_limits_offsets_and_the_header_meet(
    given_numbers: tuple[tuple[str, int], ...],
    header: str | None,
    ranges: dict[EmbedPath, RowRange],
) -> None:
    assert plan_ranges("GET", given_numbers, header) == ranges


@pytest.mark.parametrize(
    ("given_numbers", "header", "details"),
    [
        ((), "1-0", REVERSED),
        ((("limit", -1),), None, NEGATIVE),
        ((("offset", 20),), "0-9", NEGATIVE),
    ],
)
def test_a_range_without_rows_is_refused(
    given_numbers: tuple[tuple[str, int], ...], header: str | None, details: str
) -> None:
    with pytest.raises(RangeInvalid) as caught:
        plan_ranges("GET", given_numbers, header)
    assert caught.value.http_status == 416
    assert caught.value.to_body()["details"] == details


def test_the_header_is_heeded_for_get_only() -> None:
    assert plan_ranges("HEAD", (), "1-0") == {}
    assert plan_ranges("DELETE", (), "5-9") == {}


def test_put_takes_no_range() -> None:
    with pytest.raises(UpsertRangeRefused):
        plan_ranges("PUT", (("limit", 1),), None)
    assert plan_ranges("PUT", (), "0-9") == {}


@given(st.text(alphabet="0123456789-", max_size=70))
def test_any_header_is_a_range_or_refused(header: str) -> None:
    try:
        ranges = plan_ranges("GET", (), header)
    except RangeInvalid:
        return
    assert all(one.offset >= 0 for one in ranges.values())
