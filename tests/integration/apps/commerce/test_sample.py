import json
from collections.abc import AsyncIterator

import pytest

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.products.catalogue.model import parse_listing
from bulkhead.apps.commerce.products.catalogue.service import list_category_tree, list_products
from bulkhead.apps.commerce.products.search.model import parse_search
from bulkhead.apps.commerce.products.search.service import search_products
from bulkhead.apps.commerce.sample import PASSWORD, load_sample
from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers

COUNTS = {
    "products": ("products", "product_variants", "product_reviews", "inventory_movements"),
    "users": ("user_profiles", "user_addresses"),
    "orders": ("coupons",),
}


@pytest.fixture(scope="module")
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    async with servers.system(APPLICATION, settings) as system:
        assert any(PASSWORD in line for line in await load_sample(system))
        yield system


async def counts(shop: System) -> dict[str, int]:
    found = {}
    for database, tables in COUNTS.items():
        async with shop.database(database).transaction(SERVICE) as tx:
            for table in tables:
                found[table] = await tx.fetchval(f"select count(*) from {table}")
    return found


async def test_loading_the_sample_again_changes_nothing_and_what_was_taken_out_stays_out(
    shop: System,
) -> None:
    before = await counts(shop)
    await load_sample(shop)
    assert await counts(shop) == before
    assert (before["products"], before["user_profiles"], before["coupons"]) == (200, 16, 4)
    async with shop.database("orders").transaction(SERVICE) as tx:
        await tx.execute("delete from coupons where code = 'FIVER'")
    assert "200 products in 25 categories" in await load_sample(shop)
    assert (await counts(shop))["coupons"] == 3


async def test_every_product_of_the_sample_is_listed(shop: System) -> None:
    async with shop.database("products").transaction(ANON, read_only=True) as db:
        page = json.loads(await list_products(db, parse_listing([("sort", "rating")])))
        found = json.loads(await search_products(db, parse_search([("facets", "true")])))
        tree = await list_category_tree(db)
    assert len(page["items"]) == 20
    assert found["total"] == 200
    assert 0 < found["facets"]["in_stock"] < 201
    assert [root["product_count"] for root in tree] == [40] * 5


@pytest.mark.parametrize(
    ("text", "slug", "corrected"),
    [
        ("wireless keyboard", "clerk-wireless-keyboard", None),
        ("hedphones", "foghorn-wireless-headphones", "headphones"),
        ("copper pan", "copper-jam-pan", None),
        ("fountian pen", "quill-fountain-pen", "fountain pen"),
    ],
)
async def test_the_sample_can_be_searched(
    shop: System, text: str, slug: str, corrected: str | None
) -> None:
    async with shop.database("products").transaction(ANON, read_only=True) as db:
        found = json.loads(await search_products(db, parse_search([("q", text)])))
    assert slug in [item["slug"] for item in found["items"]]
    assert found["corrected"] == corrected


async def test_stock_of_the_sample_is_the_sum_of_its_movements(shop: System) -> None:
    async with shop.database("products").transaction(SERVICE) as tx:
        wrong = await tx.fetchval(
            "select count(*) from stock s where s.on_hand <> coalesce("
            "(select sum(m.quantity) from inventory_movements m"
            " where m.variant_id = s.variant_id), 0)"
        )
    assert wrong == 0
