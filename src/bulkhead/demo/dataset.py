"""What is replayed: invoices, as a shop's books have them, and what is odd about them."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

FEES = frozenset(
    {"AMAZONFEE", "B", "BANK CHARGES", "C2", "CRUK", "D", "DOT", "M", "POST", "S"},
)
"""Codes of postage, fees, discounts and corrections: they were charged and are no goods."""
VOUCHER = "GIFT_"


class Kind(StrEnum):
    """What an invoice is."""

    ORDER = "order"
    CANCELLATION = "cancellation"
    ADJUSTMENT = "adjustment"
    STOCK_CORRECTION = "stock correction"


@dataclass(frozen=True, slots=True)
class Line:
    """One row: so many units of a code at a price; both may be negative or zero."""

    code: str
    description: str
    quantity: int
    unit_price: Decimal

    @property
    def total(self) -> Decimal:
        """What the row comes to."""
        return self.unit_price * self.quantity


@dataclass(frozen=True, slots=True)
class Invoice:
    """The rows with one number; `customer` is empty where nobody is named."""

    number: str
    issued_at: dt.datetime
    """As printed on it, without a time zone."""
    customer: str
    country: str
    lines: tuple[Line, ...]

    @property
    def kind(self) -> Kind:
        """By its number, and what nobody paid for and nobody ordered is a stock correction."""
        if self.number.startswith("C"):
            return Kind.CANCELLATION
        if not self.number.isdecimal():
            return Kind.ADJUSTMENT
        if not self.customer and not any(line.unit_price for line in self.lines):
            return Kind.STOCK_CORRECTION
        return Kind.ORDER


@dataclass(frozen=True, slots=True)
class Dataset:
    """Invoices in the order of their dates, and where they come from."""

    source: str
    invoices: Sequence[Invoice]
    generated: bool = False


def is_goods(code: str) -> bool:
    """Whether a code stands for something that lies on a shelf."""
    return code.upper() not in FEES and not code.upper().startswith(VOUCHER)


def survey(invoices: Iterable[Invoice]) -> dict[str, Any]:
    """Count what there is and what is odd about it; nothing is left out of the counts."""
    kinds: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    fees: Counter[str] = Counter()
    descriptions: defaultdict[str, set[str]] = defaultdict(set)
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    customers, countries = set(), set()
    for invoice in invoices:
        kinds[invoice.kind.value] += 1
        customers.add(invoice.customer)
        countries.add(invoice.country)
        rows["duplicates"] += len(invoice.lines) - len(set(invoice.lines))
        for line in invoice.lines:
            rows["all"] += 1
            rows["without_customer"] += not invoice.customer
            rows["without_description"] += not line.description
            rows["at_price_zero"] += not line.unit_price
            rows["returned_or_written_off"] += line.quantity <= 0
            spellings[line.code.upper()].add(line.code)
            if line.description:
                descriptions[line.code].add(line.description)
            if not is_goods(line.code):
                fees[line.code] += 1
    return {
        "invoices": dict(kinds),
        "rows": dict(rows),
        "rows_that_are_no_goods": dict(fees.most_common()),
        "codes": sum(len(found) for found in spellings.values()),
        "codes_that_differ_in_case_only": sum(len(found) - 1 for found in spellings.values()),
        "codes_with_several_descriptions": sum(len(found) > 1 for found in descriptions.values()),
        "customers": len(customers - {""}),
        "countries": len(countries),
    }
