"""What owners and customers write for others to read has nothing in it that nobody sees."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bulkhead.apps.store_platform.data_routes import StockBody
from bulkhead.apps.store_platform.master.stores.model import StoreBody, StoreChange
from bulkhead.apps.store_platform.store.media.model import FileSaid
from bulkhead.apps.store_platform.store.resources import PRODUCTS, RESOURCES
from bulkhead.apps.store_platform.store.sales.model import OrderBody
from bulkhead.engine.ids import new_id

CHANGES = {each.name: each.change for each in (PRODUCTS, *RESOURCES)}
ORDER = {"email": "a@example.com", "lines": [{"product_id": str(new_id()), "quantity": 1}]}
LINES: list[tuple[type[BaseModel], str, dict[str, Any]]] = [
    (StoreBody, "name", {}),
    (StoreChange, "name", {}),
    (StockBody, "location", {"quantity": 1}),
    (FileSaid, "alt", {"file_name": "a.png"}),
    (OrderBody, "name", ORDER),
    (CHANGES["products"], "name", {}),
    (CHANGES["categories"], "name", {}),
    (CHANGES["customers"], "name", {}),
    (CHANGES["customer-addresses"], "line1", {}),
    (CHANGES["cms-pages"], "title", {}),
    (CHANGES["discounts"], "name", {}),
]
TEXTS: list[tuple[type[BaseModel], str, dict[str, Any]]] = [
    (StockBody, "note", {"quantity": 1}),
    (OrderBody, "note", ORDER),
    (CHANGES["categories"], "description", {}),
    (CHANGES["cms-pages"], "body", {}),
]


def refused(model: type[BaseModel], body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The places for which `model` refuses `body`."""
    try:
        model.model_validate(body)
    except ValidationError as error:
        return [each["loc"] for each in error.errors()]
    return []


@pytest.mark.parametrize(("model", "field", "rest"), LINES)
def test_a_name_is_one_line_that_reads_as_it_is_written(
    model: type[BaseModel], field: str, rest: dict[str, Any]
) -> None:
    for bad in ("lamp\u202egnp.exe", "\u2066Ada", "Ada\u200b", "Ada\nLovelace", "Ada\0", "\x1b[2J"):
        assert refused(model, {**rest, field: bad}) == [(field,)], ascii(bad)
    assert refused(model, {**rest, field: "Zoë & 東京\u3000👩\u200d🚀"}) == []


@pytest.mark.parametrize(("model", "field", "rest"), TEXTS)
def test_a_text_has_lines_and_nothing_that_nobody_sees(
    model: type[BaseModel], field: str, rest: dict[str, Any]
) -> None:
    for bad in ("to be\u202eread\u202c", "zero\u200bwidth", "bell\x07", "nul\0"):
        assert refused(model, {**rest, field: bad}) == [(field,)], ascii(bad)
    assert refused(model, {**rest, field: "One line,\r\n\tand the next."}) == []


def test_an_address_of_an_order_is_shown_too_with_its_words() -> None:
    for address in ({"line1": "1 Mill\u202eteertS"}, {"li\u200bne1": "1 Mill Street"}):
        [place] = refused(OrderBody, {**ORDER, "shipping_address": address})
        assert place[0] == "shipping_address"
    lines = {"address": "1 Mill Street\nMelton"}
    assert refused(OrderBody, {**ORDER, "shipping_address": lines}) == []


@pytest.mark.parametrize("name", ["", " ", "\u3000", "\t"])
def test_the_name_of_a_store_says_something(name: str) -> None:
    assert refused(StoreBody, {"name": name}) == [("name",)]
