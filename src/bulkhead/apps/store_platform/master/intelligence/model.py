"""What is known of a day of a store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class DayOfSales:
    """What a store sold on a day of UTC, in one currency."""

    day: dt.date
    currency: str
    orders: int
    cancelled: int
    items: int
    revenue: Decimal
    customers: int
