"""What requests may say: a field that the store's database would refuse is refused by its name."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bulkhead.apps.store_platform.data_routes import StockBody
from bulkhead.apps.store_platform.fleet import DatabaseBody
from bulkhead.apps.store_platform.store.media.model import UploadBody
from bulkhead.apps.store_platform.store.resources import PRODUCTS, RESOURCES
from bulkhead.apps.store_platform.store.sales.model import LineBody
from bulkhead.engine.ids import new_id

MODELS = {each.name: each.create for each in (PRODUCTS, *RESOURCES)}
CHANGES = {each.name: each.change for each in (PRODUCTS, *RESOURCES)}
UPLOAD = {"file_name": "a.png", "content_type": "image/png"}


def fields(model: type[BaseModel], body: dict[str, Any]) -> set[str]:
    """The fields for which `model` refuses `body`."""
    try:
        model.model_validate(body)
    except ValidationError as refused:
        return {str(each["loc"][0]) for each in refused.errors()}
    return set()


@pytest.mark.parametrize("told", [True, "1", 1.0])
@pytest.mark.parametrize(
    ("model", "field", "rest"),
    [
        (StockBody, "quantity", {}),
        (LineBody, "quantity", {"product_id": str(new_id())}),
        (UploadBody, "size_bytes", UPLOAD),
        (CHANGES["prices"], "min_quantity", {}),
        (CHANGES["discounts"], "total_limit", {}),
        (CHANGES["products"], "weight_grams", {}),
        (CHANGES["categories"], "position", {}),
    ],
)
def test_a_whole_number_is_no_text_and_no_truth(
    model: type[BaseModel], field: str, rest: dict[str, Any], told: object
) -> None:
    assert fields(model, {**rest, field: told}) == {field}
    assert fields(model, {**rest, field: 1}) == set()


@pytest.mark.parametrize("told", [True, 1.0, "", "-1", "x", "65536", "1" * 9000, 0, []])
def test_a_port_is_a_number_or_its_digits(told: object) -> None:
    assert fields(DatabaseBody, {"port": told}) == {"port"}
    assert DatabaseBody(port="5432").port == DatabaseBody(port=5432).port == 5432


@pytest.mark.parametrize("told", [True, [], "much", "NaN", -1])
def test_an_amount_is_a_number_or_its_text(told: object) -> None:
    assert fields(CHANGES["prices"], {"amount": told}) == {"amount"}
    assert fields(CHANGES["prices"], {"amount": "19.90"}) == set()
    assert fields(CHANGES["prices"], {"amount": 0}) == set()


@pytest.mark.parametrize(
    ("name", "field", "refused", "taken"),
    [
        ("products", "sku", "", "A 1"),
        ("products", "name", "", "Lamp"),
        ("products", "slug", "Desk Lamp", "desk-lamp"),
        ("products", "slug", "desk-", "d"),
        ("products", "slug", "desk-lamp\n", "desk"),
        ("products", "weight_grams", -1, 0),
        ("categories", "name", "", "Lamps"),
        ("attributes", "code", "1st", "first_1"),
        ("attributes", "kind", "colour", "text"),
        ("attribute-options", "value", "", "red"),
        ("prices", "currency", "usd", "USD"),
        ("prices", "compare_at_amount", "-0.01", "0.01"),
        ("prices", "min_quantity", 0, 1),
        ("customers", "email", "ada", "ada@example.com"),
        ("customer-addresses", "country", "de", "DE"),
        ("customer-addresses", "city", "", "Ulm"),
        ("discounts", "code", "winter", "WINTER-1"),
        ("discounts", "kind", "gift", "free_shipping"),
        ("discounts", "percent", "0", "0.01"),
        ("discounts", "percent", "100.01", "100"),
        ("discounts", "per_customer_limit", 0, 1),
        ("cms-pages", "title", "", "About"),
        ("cms-pages", "slug", "über", "ueber"),
        ("seo-settings", "subject_kind", "brand", "page"),
        ("seo-settings", "store_wide", 2, 1),
    ],
)
def test_what_a_check_asks_of_a_field_alone_is_asked_by_its_name(
    name: str, field: str, refused: object, taken: object
) -> None:
    assert fields(CHANGES[name], {field: refused}) == {field}
    assert fields(CHANGES[name], {field: taken}) == set()
    assert field in fields(MODELS[name], {field: refused})
    assert field not in fields(MODELS[name], {field: taken})
