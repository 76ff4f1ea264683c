"""An order book that is made up, for machines without the real one: always the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from bulkhead.demo.dataset import Dataset, Invoice, Line
from bulkhead.engine.ids import derive_id

SOURCE = "made up, because there is no file with real orders here"
INVOICES = 3000
FIRST_AT = dt.datetime(2025, 1, 2, 8, 30)  # noqa: DTZ001 - an invoice bears no time zone
APART = dt.timedelta(minutes=173)
PRODUCTS = 600
CUSTOMERS_PER_INVOICE = 3
LINES_MAX = 20
COUNTRIES = ("United Kingdom", "United Kingdom", "United Kingdom", "Germany", "France", "EIRE")
THINGS = ("LANTERN", "MUG", "TEA TOWEL", "PHOTO FRAME", "CANDLE", "BUNTING", "CAKE STAND", "CLOCK")
STYLES = ("RED", "WHITE", "VINTAGE", "RETROSPOT", "HEART", "WOODEN", "GLASS", "ZINC", "PAISLEY")
CANCELLED_OF = 12
"""One of so many invoices cancels another, every other one of them as a whole."""


def generate_retail(limit: int = 0) -> Dataset:
    """Make `limit` invoices, or as many as is worth a look when it is 0."""
    return Dataset(SOURCE, list(_invoices(limit or INVOICES)), generated=True)


def _invoices(count: int) -> Iterator[Invoice]:
    orders: list[Invoice] = []
    for place in range(count):
        number, at = f"{700_000 + place}", FIRST_AT + APART * place
        if orders and _number(place, "cancel") % CANCELLED_OF == 0:
            yield _cancellation(orders.pop(), f"C{number}", at, whole=len(orders) % 2 == 0)
            continue
        customer = _number(place, "customer") % (count // CUSTOMERS_PER_INVOICE + 1)
        country = COUNTRIES[_number(customer, "country") % len(COUNTRIES)]
        lines = tuple(_lines(place))
        orders.append(Invoice(number, at, str(20_000 + customer), country, lines))
        yield orders[-1]


def _lines(place: int) -> Iterator[Line]:
    for nth in range(1 + _number(place, "lines") % LINES_MAX):
        product = _number(place, nth, "product") % PRODUCTS
        style, thing = STYLES[product % len(STYLES)], THINGS[product // 9 % len(THINGS)]
        pence = 45 + 10 * (product * 37 % 120)
        quantity = 1 + _number(place, nth, "quantity") % 12
        # Whoever takes many pays less, as in the real file.
        price = Decimal(pence - 10 if quantity > 10 else pence) / 100  # noqa: PLR2004
        yield Line(f"{50_000 + product}", f"{style} {thing} No {product}", quantity, price)


def _cancellation(order: Invoice, number: str, at: dt.datetime, *, whole: bool) -> Invoice:
    lines = order.lines if whole else order.lines[: len(order.lines) // 2 + 1]
    back = tuple(replace(line, quantity=-line.quantity) for line in lines)
    return replace(order, number=number, issued_at=at, lines=back)


def _number(*parts: object) -> int:
    return derive_id("demo.number", *parts).int & 0xFFFF_FFFF
