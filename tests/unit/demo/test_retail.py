import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.demo.retail_rows import EVERYTHING, ORDER, SAME_CODE_TWO_PRICES, file_text, row

from bulkhead.demo.dataset import Kind, Line, is_goods, survey
from bulkhead.demo.generated import generate_retail
from bulkhead.demo.retail import COLUMNS, RetailUnreadable, load_retail, parse_invoices


def test_an_invoice_has_all_its_rows_even_where_they_stand_apart() -> None:
    rows = [list(COLUMNS), ORDER[0], *SAME_CODE_TWO_PRICES, *ORDER[1:]]
    first, second = parse_invoices(rows)
    assert [line.code for line in first.lines] == ["85123A", "71053", "POST"]
    assert len(second.lines) == 3
    assert first.customer == "17850"
    assert first.issued_at == dt.datetime(2011, 3, 4, 10)  # noqa: DTZ001
    assert first.lines[0] == Line("85123A", "LAMP", 6, Decimal("2.55"))


def test_a_limit_counts_invoices_and_keeps_them_whole() -> None:
    rows = [list(COLUMNS), ORDER[0], *SAME_CODE_TWO_PRICES, *ORDER[1:]]
    [only] = parse_invoices(rows, limit=1)
    assert len(only.lines) == 3


def test_the_number_and_what_was_paid_say_what_an_invoice_is() -> None:
    invoices = parse_invoices([list(COLUMNS), *EVERYTHING])
    assert {invoice.number: invoice.kind for invoice in invoices} == {
        "536365": Kind.ORDER,
        "536366": Kind.ORDER,
        "C536383": Kind.CANCELLATION,
        "536414": Kind.STOCK_CORRECTION,
        "536544": Kind.ORDER,
        "A563185": Kind.ADJUSTMENT,
        "550193": Kind.ORDER,
        "C536379": Kind.CANCELLATION,
    }


@pytest.mark.parametrize(("code", "goods"), [("POST", False), ("gift_0001_20", False), ("m", False),
                                             ("85123A", True), ("DCGSSGIRL", True)])  # fmt: skip
def test_postage_fees_and_vouchers_are_no_goods(code: str, *, goods: bool) -> None:
    assert is_goods(code) is goods


def test_a_survey_counts_every_row_and_what_is_odd() -> None:
    seen = survey(parse_invoices([list(COLUMNS), *EVERYTHING]))
    assert sum(seen["invoices"].values()) == 8
    assert seen["rows"] == {
        "all": len(EVERYTHING),
        "duplicates": 1,
        "without_customer": 4,
        "without_description": 1,
        "at_price_zero": 2,
        "returned_or_written_off": 5,
    }
    assert seen["rows_that_are_no_goods"] == {"POST": 2, "B": 1}
    assert seen["codes_that_differ_in_case_only"] == 1
    assert seen["codes_with_several_descriptions"] == 0
    assert (seen["customers"], seen["countries"]) == (2, 2)


@pytest.mark.parametrize("name", ["retail.csv", "retail.csv.gz"])
def test_a_file_is_read_packed_or_not(tmp_path: Path, name: str) -> None:
    path, text = tmp_path / name, file_text(*EVERYTHING).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    dataset = load_retail(path)
    assert len(dataset.invoices) == 8
    assert not dataset.generated
    assert "CC BY 4.0" in dataset.source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n",
        file_text(["536365", "85123A"]),
        file_text(row("536365", "85123A", 6, "cheap")),
        file_text(row("536365", "85123A", 6, "2.55", date="yesterday")),
    ],
)
def test_what_is_not_the_file_is_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RetailUnreadable, match=r"is not Online Retail: ."):
        load_retail(path)


def test_a_file_that_is_not_there_or_not_packed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetailUnreadable):
        load_retail(tmp_path / "missing.csv")
    path = tmp_path / "plain.csv.gz"
    path.write_text("InvoiceNo", encoding="utf-8")
    with pytest.raises(RetailUnreadable):
        load_retail(path)


def test_a_made_up_order_book_is_the_same_every_time_and_says_so() -> None:
    dataset = generate_retail(200)
    assert dataset.generated
    assert dataset.invoices == generate_retail(200).invoices
    kinds = [invoice.kind for invoice in dataset.invoices]
    assert len(kinds) == 200
    assert Kind.CANCELLATION in kinds
