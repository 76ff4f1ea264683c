"""Rows in the form of Online Retail, with every kind of dirt that the file has."""

import csv
import io

from bulkhead.demo.retail import COLUMNS, Row

LAMP, FELT, LONG = "LAMP", "FELT CAT", "A" * 35


def row(  # noqa: PLR0913
    number: str,
    code: str,
    quantity: int,
    price: str,
    *,
    description: str = LAMP,
    date: str = "2011-03-04 10:00:00",
    customer: str = "17850.0",
    country: str = "United Kingdom",
) -> Row:
    return [number, code, description, str(quantity), date, price, customer, country]


def file_text(*rows: Row) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([list(COLUMNS), *rows])
    return text.getvalue()


ORDER = [
    row("536365", "85123A", 6, "2.55"),
    row("536365", "71053", 6, "3.39", description=FELT),
    row("536365", "POST", 1, "18.0", description="POSTAGE"),
]
SAME_CODE_TWO_PRICES = [
    row("536366", "85123a", 1, "2.95", description="LAMP, WHITE", customer="13047.0"),
    row("536366", "85123A", 32, "2.55", customer="13047.0"),
    row("536366", "85123A", 32, "2.55", customer="13047.0"),
]
WHOLE_CANCELLATION = [
    row("C536379", "85123A", -6, "2.55", date="2011-04-01 09:00:00"),
    row("C536379", "71053", -6, "3.39", description=FELT, date="2011-04-01 09:00:00"),
    row("C536379", "POST", -1, "18.0", description="POSTAGE", date="2011-04-01 09:00:00"),
]
PART_CANCELLATION = [row("C536383", "85123A", -1, "2.55", customer="13047.0")]
WALK_IN = [
    row("536544", "21773", 1, "7.62", customer="", country="EIRE"),
    row("536544", "21774", 2, "0.0", customer="", country="EIRE"),
]
CORRECTION = [row("536414", "22139", -56, "0.0", description="", customer="")]
ADJUSTMENT = [row("A563185", "B", 1, "11062.06", customer="", description="Adjust bad debt")]
TOO_FINE = [row("550193", "PADS", 1, "0.001"), row("550193", "21773", 1, "1.00")]
EVERYTHING = [
    *ORDER,
    *SAME_CODE_TWO_PRICES,
    *PART_CANCELLATION,
    *CORRECTION,
    *WALK_IN,
    *ADJUSTMENT,
    *TOO_FINE,
    *WHOLE_CANCELLATION,
]
