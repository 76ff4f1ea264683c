"""Plans and their periods."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.store_platform.master.billing.model import PLANS, PlanName, period_end

INSTANTS = st.datetimes(
    min_value=dt.datetime(2020, 1, 1),  # noqa: DTZ001 - given a zone below
    max_value=dt.datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)


@given(INSTANTS, st.sampled_from(["monthly", "annual"]))
def test_a_period_ends_on_the_same_day_or_the_last_of_a_shorter_month(
    start: dt.datetime, cycle: str
) -> None:
    end = period_end(start, cycle)
    months = (end.year - start.year) * 12 + end.month - start.month
    assert months == (12 if cycle == "annual" else 1)
    assert end.timetz() == start.timetz()
    assert end.day == start.day or (end.day < start.day and (end + dt.timedelta(days=1)).day == 1)


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-01-31", "2026-02-28"), ("2028-01-31", "2028-02-29"), ("2026-12-15", "2027-01-15")],
)
def test_months_are_of_different_length(start: str, end: str) -> None:
    begun = dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)
    assert period_end(begun, "monthly").date().isoformat() == end


def test_after_a_short_month_periods_end_on_the_day_of_before_again() -> None:
    ends = [dt.datetime(2026, 1, 31, tzinfo=dt.UTC)]
    for _ in range(5):
        ends.append(period_end(ends[-1], "monthly", day=ends[0].day))
    assert [(end.month, end.day) for end in ends[1:]] == [
        (2, 28),
        (3, 31),
        (4, 30),
        (5, 31),
        (6, 30),
    ]
    leap = dt.datetime(2028, 2, 29, tzinfo=dt.UTC)
    years = [leap.replace(year=2031, day=28), leap.replace(year=2032)]
    assert period_end(years[0], "annual", day=29) == years[1]


def test_a_larger_plan_costs_more_and_allows_no_less() -> None:
    plans = [PLANS[name] for name in PlanName]
    for small, large in pairwise(plans):
        assert small.price_monthly < large.price_monthly
        for limit in ("max_products", "max_orders_per_month", "max_storage_gb"):
            few, many = getattr(small, limit), getattr(large, limit)
            assert many is None or (few is not None and few <= many)
