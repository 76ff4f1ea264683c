from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import UUID

import pytest
from tests.integration.apps.commerce.products.storefront import (
    Storefront,
    Ware,
    add_categories,
    move_stock,
    open_storefront,
)

from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers

NOBODY = UUID("018f0000-0000-7000-8000-000000000001")


@pytest.fixture
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    async with open_storefront(servers, tmp_path_factory.mktemp("home")) as shop:
        yield shop


async def test_an_empty_shop_has_empty_lists(shop: Storefront) -> None:
    assert await shop.visitor.get("/products") == {"items": [], "next_cursor": None}
    assert await shop.visitor.get("/categories") == {"items": []}
    assert await shop.visitor.get("/collections") == {"items": []}


async def test_a_product_is_listed_with_all_that_a_card_shows(shop: Storefront) -> None:
    [lamp] = await shop.add(
        Ware("Oak Lamp", ("20.00", "15.50"), (0, 3), brand="Lumen", ratings=(4, 5))
    )
    await shop.run(
        "insert into product_images (product_id, url, alt, position)"
        " values ($1, '/second.jpg', 'B', 2), ($1, '/first.jpg', 'A', 1)",
        lamp.id,
    )
    [item] = (await shop.visitor.get("/products"))["items"]
    variants = item.pop("variants")
    assert item == {
        "id": str(lamp.id),
        "slug": lamp.slug,
        "title": "Oak Lamp",
        "brand": "Lumen",
        "category_id": None,
        "price_min": "15.50",
        "price_max": "20.00",
        "currency": "EUR",
        "in_stock": True,
        "rating": {"count": 2, "average": 4.5},
        "image": {"url": "/first.jpg", "alt": "A", "width": None, "height": None},
    }
    assert [(v["id"], v["price"], v["available"], v["options"]) for v in variants] == [
        (str(lamp.variants[0]), "20.00", 0, {"size": 0}),
        (str(lamp.variants[1]), "15.50", 3, {"size": 1}),
    ]


async def test_only_what_is_for_sale_is_listed(shop: Storefront) -> None:
    await shop.add(
        Ware("Published"),
        Ware("Draft", state="draft"),
        Ware("Archived", state="archived"),
        Ware("Without Variants", prices=()),
    )
    assert await shop.titles("/products") == ["Published"]
    assert await shop.titles("/search") == ["Published"]


async def test_staff_see_in_the_shop_what_customers_see(shop: Storefront) -> None:
    [draft] = await shop.add(Ware("Draft", state="draft"))
    staff = await shop.customer("staff")
    assert (await staff.get("/products"))["items"] == []
    assert await staff.refused("GET", f"/products/{draft.id}") == (404, "product_unknown")


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("newest", ["Delta", "Cello", "bravo", "Alpha"]),
        ("price", ["Cello", "Alpha", "Delta", "bravo"]),
        ("-price", ["bravo", "Delta", "Alpha", "Cello"]),
        ("name", ["Alpha", "bravo", "Cello", "Delta"]),
        ("rating", ["bravo", "Delta", "Alpha", "Cello"]),
    ],
)
async def test_pages_follow_one_another_in_every_order(
    shop: Storefront, sort: str, order: list[str]
) -> None:
    await shop.add(
        Ware("Alpha", ("10.00",), ratings=(3,)),
        Ware("bravo", ("30.00",), ratings=(5, 5)),
        Ware("Cello", ("5.00", "50.00"), ratings=(1,)),
        Ware("Delta", ("20.00",), ratings=(5,)),
    )
    assert await shop.titles(f"/products?sort={sort}") == order
    paged, cursor = [], ""
    while cursor is not None:
        page = await shop.visitor.get(f"/products?sort={sort}&limit=1{cursor}")
        paged += [item["title"] for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert paged == order


async def test_products_alike_in_everything_are_each_shown_once(shop: Storefront) -> None:
    await shop.add(*(Ware("Twin") for _ in range(7)))
    await shop.run("update product_search set listed_at = now()")
    for sort in ("newest", "price", "-price", "name", "rating"):
        seen, cursor = [], ""
        while cursor is not None:
            page = await shop.visitor.get(f"/products?sort={sort}&limit=3{cursor}")
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        assert len(seen) == len(set(seen)) == 7


@pytest.fixture
async def stocked(shop: Storefront) -> Storefront:
    await add_categories(shop, ["home", "home/lamps", "home/lamps/desk", "garden"])
    await shop.add(
        Ware("Spade", ("25.00",), (4,), "Fork & Co", "garden",
             attributes=(("colour", "text", "red"),)),
        Ware("Desk Lamp", ("40.00", "60.00"), (0, 0), "Lumen", "desk",
             attributes=(("colour", "text", "red"), ("colour", "text", "blue"),
                         ("watt", "number", Decimal("7.50")))),
        Ware("Floor Lamp", ("90.00",), (1,), "Lumen", "lamps",
             attributes=(("colour", "text", "blue"), ("watt", "number", Decimal(12)),
                         ("dimmable", "boolean", True))),
    )  # fmt: skip
    return shop


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("category=home", ["Floor Lamp", "Desk Lamp"]),
        ("category=lamps", ["Floor Lamp", "Desk Lamp"]),
        ("category=desk", ["Desk Lamp"]),
        ("category=nowhere", []),
        ("brand=Lumen", ["Floor Lamp", "Desk Lamp"]),
        ("brand=Lumen&brand=Fork+%26+Co", ["Floor Lamp", "Desk Lamp", "Spade"]),
        ("brand=lumen", []),
        ("price_min=50", ["Floor Lamp", "Desk Lamp"]),
        ("price_max=40", ["Desk Lamp", "Spade"]),
        ("price_min=41&price_max=59", ["Desk Lamp"]),
        ("in_stock=true", ["Floor Lamp", "Spade"]),
        ("attribute.colour=red", ["Desk Lamp", "Spade"]),
        ("attribute.colour=red&attribute.colour=blue", ["Floor Lamp", "Desk Lamp", "Spade"]),
        ("attribute.colour=blue&attribute.watt=7.5", ["Desk Lamp"]),
        ("attribute.colour=red&attribute.watt=12", []),
        ("attribute.dimmable=true", ["Floor Lamp"]),
        ("attribute.height=1", []),
        ("category=home&in_stock=true&brand=Lumen&attribute.colour=blue", ["Floor Lamp"]),
    ],
)  # fmt: skip
async def test_filters_narrow_lists_and_searches_alike(
    stocked: Storefront, query: str, titles: list[str]
) -> None:
    assert await stocked.titles(f"/products?{query}") == titles
    assert await stocked.titles(f"/search?{query}") == titles


async def test_a_category_may_be_given_by_its_id(stocked: Storefront) -> None:
    category = await stocked.run("select id from categories where slug = 'garden'")
    assert await stocked.titles(f"/products?category={category}") == ["Spade"]


async def test_the_tree_counts_what_is_filed_below(stocked: Storefront) -> None:
    [garden, home] = (await stocked.visitor.get("/categories"))["items"]
    assert (garden["slug"], garden["product_count"], garden["children"]) == ("garden", 1, [])
    [lamps] = home["children"]
    assert (home["product_count"], lamps["product_count"]) == (2, 2)
    assert [child["slug"] for child in lamps["children"]] == ["desk"]


async def test_stock_that_runs_out_and_comes_back_is_noticed(shop: Storefront) -> None:
    [lamp] = await shop.add(Ware("Lamp", ("10.00", "11.00"), (1, 1)))
    await move_stock(shop, lamp.variants[0], -1)
    assert await shop.titles("/products?in_stock=true") == ["Lamp"]
    await move_stock(shop, lamp.variants[1], -1)
    assert await shop.titles("/products?in_stock=true") == []
    await move_stock(shop, lamp.variants[0], 5)
    assert await shop.titles("/products?in_stock=true") == ["Lamp"]
    await shop.run(
        "update product_variants set archived_at = now() where id = $1", lamp.variants[0]
    )
    assert await shop.titles("/products?in_stock=true") == []


async def test_a_collection_keeps_the_order_of_its_products(shop: Storefront) -> None:
    wares = await shop.add(Ware("One"), Ware("Two"), Ware("Three"))
    for name, published in (("summer", True), ("winter", False)):
        await shop.run(
            "insert into collections (slug, name, published_at)"
            " values ($1, $1, case when $2::bool then now() end)",
            *(name, published),
        )
        for position, ware in zip((2, 3, 1), wares, strict=True):
            await shop.run(
                "insert into collection_products (collection_id, product_id, position)"
                " values ((select id from collections where slug = $1), $2, $3)",
                *(name, ware.id, position),
            )
    [listed] = (await shop.visitor.get("/collections"))["items"]
    assert (listed["slug"], listed["product_count"]) == ("summer", 3)
    shown = await shop.visitor.get("/collections/summer")
    assert (shown["name"], shown["product_count"]) == ("summer", 3)
    assert await shop.titles("/products?collection=summer&sort=position") == ["Three", "One", "Two"]
    first = await shop.visitor.get("/products?collection=summer&sort=position&limit=2")
    rest = f"/products?collection=summer&sort=position&cursor={first['next_cursor']}"
    assert await shop.titles(rest) == ["Two"]
    assert await shop.titles("/products?collection=winter") == []
    assert await shop.visitor.refused("GET", "/collections/winter") == (404, "collection_unknown")
    assert await shop.visitor.refused("GET", "/collections/%27--") == (404, "collection_unknown")


async def test_a_product_is_shown_by_id_and_by_slug(stocked: Storefront) -> None:
    [item] = (await stocked.visitor.get("/products?category=desk"))["items"]
    product = await stocked.visitor.get(f"/products/{item['slug']}")
    assert await stocked.visitor.get(f"/products/{item['id']}") == product
    assert [category["slug"] for category in product["categories"]] == ["home", "lamps", "desk"]
    given = {a["code"]: a["values"] for a in product["attributes"]}
    assert given == {"colour": ["blue", "red"], "watt": [7.5]}
    assert [variant["price"] for variant in product["variants"]] == ["40.00", "60.00"]


async def test_a_product_shows_how_it_was_rated(shop: Storefront) -> None:
    [lamp] = await shop.add(Ware("Lamp", ratings=(5, 5, 4, 1)))
    await shop.run(
        "insert into product_reviews (product_id, user_id, rating) values ($1, $2, 1)",
        *(lamp.id, new_id()),
    )
    rating = (await shop.visitor.get(f"/products/{lamp.slug}"))["rating"]
    assert rating == {
        "count": 4,
        "average": 3.75,
        "stars": {"5": 2, "4": 1, "3": 0, "2": 0, "1": 1},
    }


@pytest.mark.parametrize(
    "product", ["nothing-like-it", str(NOBODY), "UPPER", "%F0%9F%92%A1", "a" * 500]
)
async def test_a_product_that_is_not_there_is_not_found(shop: Storefront, product: str) -> None:
    assert await shop.visitor.refused("GET", f"/products/{product}") == (404, "product_unknown")


async def test_a_bad_parameter_and_a_bad_token_are_refused(shop: Storefront) -> None:
    assert await shop.visitor.refused("GET", "/products?limit=0") == (422, "parameter_invalid")
    forged = type(shop.visitor)(shop.http, "not.a.token")
    assert (await forged.send("GET", "/products")).status_code == 401


async def test_the_description_names_every_parameter(shop: Storefront) -> None:
    document = (await shop.http.get("http://shop.test/openapi.json")).json()
    listed = document["paths"]["/commerce/products"]["get"]["parameters"]
    assert {"category", "brand", "attribute", "sort", "limit", "cursor"} <= {
        p["name"] for p in listed
    }
    assert "/commerce/search" in document["paths"]
    assert "/commerce/cart/{variant_id}" in document["paths"]
