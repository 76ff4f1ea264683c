"""What an order costs."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.store_platform.store.sales.model import (
    DiscountRefused,
    Line,
    LineBody,
    OrderBody,
    add_up,
    check_discount,
    choose_price,
)
from bulkhead.engine.ids import new_id

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MONEY = st.decimals(0, 10_000, places=2)
DISCOUNT: dict[str, Any] = {
    "kind": "percent",
    "percent": Decimal(10),
    "amount": None,
    "currency": None,
    "is_active": True,
    "starts_at": None,
    "ends_at": None,
    "min_total": None,
}


def order(**more: Any) -> OrderBody:
    line = LineBody(product_id=new_id(), quantity=1)
    return OrderBody(email="a@example.com", lines=[line], **more)


def price(amount: str, *, quantity: int = 1, since: int = 1, until: int | None = None) -> Any:
    return {
        "amount": Decimal(amount),
        "min_quantity": quantity,
        "valid_from": NOW - since * DAY,
        "valid_until": None if until is None else NOW + until * DAY,
    }


lines = st.lists(
    st.builds(Line, st.uuids(), st.just("S"), st.just("N"), MONEY, st.integers(1, 50)), max_size=8
)


@given(lines, MONEY, MONEY, st.decimals("0.01", 100, places=2))
def test_totals_add_up_and_a_discount_is_never_more_than_the_goods(
    lines: list[Line], tax: Decimal, shipping: Decimal, percent: Decimal
) -> None:
    body = order(tax_total=tax, shipping_total=shipping)
    for discount in (
        None,
        {**DISCOUNT, "percent": percent},
        {**DISCOUNT, "kind": "amount", "amount": percent},
        {**DISCOUNT, "kind": "free_shipping"},
    ):
        found = add_up(lines, body, discount)
        assert found.items == sum((line.unit_price * line.quantity for line in lines), Decimal(0))
        assert 0 <= found.discount <= found.items
        assert found.total == found.items - found.discount + found.tax + found.shipping
        assert found.total >= 0


def test_the_price_is_the_latest_one_for_so_many() -> None:
    prices = [
        price("10", since=9),
        price("9", since=3),
        price("8", quantity=5),
        price("1", since=-1),
        price("2", since=4, until=-2),
    ]
    assert choose_price(prices, 1, NOW) == 9
    assert choose_price(prices, 5, NOW) == 8
    assert choose_price([price("1", since=-1)], 1, NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": False},
        {"starts_at": NOW + DAY},
        {"ends_at": NOW},
        {"kind": "amount", "amount": Decimal(1), "currency": "EUR"},
        {"min_total": Decimal(100)},
    ],
)
def test_a_discount_is_refused_when_it_does_not_fit(change: dict[str, Any]) -> None:
    check_discount(DISCOUNT, Decimal(50), "USD", NOW)
    with pytest.raises(DiscountRefused):
        check_discount({**DISCOUNT, **change}, Decimal(50), "USD", NOW)


def test_lines_of_one_product_are_one_and_all_are_in_one_order() -> None:
    first, second = UUID(int=2), UUID(int=1)
    body = OrderBody(
        email="a@example.com",
        lines=[
            LineBody(product_id=first, quantity=1),
            LineBody(product_id=second, quantity=2),
            LineBody(product_id=first, quantity=3),
        ],
    )
    assert list(body.quantities().items()) == [(second, 2), (first, 4)]
