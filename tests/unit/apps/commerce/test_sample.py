import re
from collections import Counter
from decimal import Decimal

import pytest

from bulkhead.apps.commerce.sample import SampleShop, build_shop, draw, load_words, slug_of


@pytest.fixture(scope="module")
def shop() -> SampleShop:
    return build_shop(load_words())


def test_the_sample_is_a_shop_of_some_size(shop: SampleShop) -> None:
    assert len(shop.products) == 200
    assert len(shop.categories) == 25
    assert len(shop.variants) > 400
    assert len(shop.reviews) > 400


def test_the_sample_is_always_the_same(shop: SampleShop) -> None:
    assert build_shop(load_words()) == shop


@pytest.mark.parametrize("table", SampleShop.__dataclass_fields__)
def test_no_id_is_used_twice(shop: SampleShop, table: str) -> None:
    ids = Counter(row.get("id") or tuple(row.items()) for row in getattr(shop, table))
    assert ids.most_common(1)[0][1] == 1


def test_slugs_and_skus_are_unique(shop: SampleShop) -> None:
    for rows, name in ((shop.products, "slug"), (shop.variants, "sku")):
        assert len({row[name] for row in rows}) == len(rows)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["slug"]) for row in shop.products)


def test_prices_make_sense(shop: SampleShop) -> None:
    for row in shop.variants:
        assert row["price"] % 1 == Decimal("0.90")
        assert row["compare_at_price"] is None or row["compare_at_price"] > row["price"]


def test_some_things_are_sold_out_and_some_reviews_wait(shop: SampleShop) -> None:
    assert 0 < len(shop.receipts) < len(shop.variants)
    assert {review["state"] for review in shop.reviews} == {"approved", "pending"}


def test_a_title_becomes_a_slug() -> None:
    assert slug_of("Gannet Chef's Knife") == "gannet-chefs-knife"
    assert slug_of("Pantry Drop-Leaf Table") == "pantry-drop-leaf-table"


def test_a_picture_is_short_and_can_stand_in_an_attribute() -> None:
    picture = draw("Oak Lamp", 3)
    assert len(picture) < 400
    assert not set(picture) & set("\"'<> ")
