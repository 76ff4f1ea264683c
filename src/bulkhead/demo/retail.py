"""Reads UCI Online Retail: half a million rows of a British shop for gifts, 2010 and 2011.

Source: Chen, Sain and Guo, Data mining for the online retail industry, 2012,
doi 10.1057/dbm.2012.17; the data set is doi 10.24432/C5BW33, licence CC BY 4.0.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO

from bulkhead.demo.dataset import Dataset, Invoice, Line
from bulkhead.engine.errors import Invalid

SOURCE = "Online Retail, UCI Machine Learning Repository (doi 10.24432/C5BW33, CC BY 4.0)"
COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

Row = list[str]


class RetailUnreadable(Invalid):
    """'{path}' is not Online Retail: {reason}."""

    code = "retail_unreadable"
    hint = (
        "Give the file with --data PATH, as CSV or as CSV.gz; without one an order book is made up."
    )


def load_retail(path: Path, limit: int = 0) -> Dataset:
    """Read the first `limit` invoices of the file at `path`, or all when it is 0.

    Raises RetailUnreadable.
    """
    try:
        with _open(path) as file:
            invoices = parse_invoices(csv.reader(file), limit)
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, ValueError) as error:
        raise RetailUnreadable(path=path, reason=str(error)) from error
    return Dataset(SOURCE, invoices)


def parse_invoices(rows: Iterable[Row], limit: int = 0) -> list[Invoice]:
    """Put rows together to invoices, in the order of their first rows; raises ValueError.

    The rows of an invoice may stand apart; every row becomes one line, repeated ones too.
    """
    iterator = iter(rows)
    if tuple(next(iterator, ())) != COLUMNS:
        message = f"the first line must be {','.join(COLUMNS)}"
        raise ValueError(message)
    found: dict[str, list[Row]] = {}
    for row in iterator:
        if len(row) != len(COLUMNS):
            message = f"a line has {len(row)} fields: {','.join(row)[:80]}"
            raise ValueError(message)
        if row[0] in found:
            found[row[0]].append(row)
        elif not limit or len(found) < limit:
            found[row[0]] = [row]
    return [parse_invoice(rows) for rows in found.values()]


def parse_invoice(rows: list[Row]) -> Invoice:
    """Read the rows of one invoice, which has the date of its first row; raises ValueError."""
    number, _, _, _, date, _, customer, country = rows[0]
    return Invoice(
        number,
        dt.datetime.fromisoformat(date),
        customer.removesuffix(".0"),
        country,
        tuple(_lines(rows)),
    )


def _lines(rows: list[Row]) -> Iterator[Line]:
    for _, code, description, quantity, _, price, _, _ in rows:
        try:
            yield Line(code, description.strip(), int(quantity), Decimal(price))
        except InvalidOperation:
            message = f"'{price}' is not a price"
            raise ValueError(message) from None


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
