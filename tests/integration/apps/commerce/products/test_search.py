from collections.abc import AsyncIterator
from decimal import Decimal
from urllib.parse import quote

import pytest
from tests.integration.apps.commerce.products.storefront import (
    Storefront,
    Ware,
    add_categories,
    open_storefront,
)

from bulkhead.engine.testing import TestServers

WARES = (
    Ware("Walnut Keyboard", ("120.00",), (2,), "Lumen", "desk", description="Quiet keys of wood."),
    Ware("Desk Lamp", ("45.00",), (0,), "Lumen", "desk", description="Lights up your keyboard."),
    Ware(
        "Running Shoes",
        ("80.00", "95.00"),
        (1, 1),
        "Kestrel",
        "sports",
        description="For runners <b>everywhere</b> & nowhere.",
        attributes=(("colour", "text", "turquoise"), ("grams", "number", Decimal(240))),
    ),
    Ware("Secret Prototype", state="draft", category="sports"),
)


@pytest.fixture(scope="module")
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    async with open_storefront(servers, tmp_path_factory.mktemp("home")) as shop:
        await add_categories(shop, ["home", "home/desk", "sports"])
        await shop.add(*WARES)
        yield shop


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("keyboard", ["Walnut Keyboard", "Desk Lamp"]),
        ("KEYBOARDS", ["Walnut Keyboard", "Desk Lamp"]),
        ("walnut keyboard", ["Walnut Keyboard"]),
        ("run shoe", ["Running Shoes"]),
        ("keyb", ["Walnut Keyboard", "Desk Lamp"]),
        ("walnut key", ["Walnut Keyboard"]),
        ('"desk lamp"', ["Desk Lamp"]),
        ("keyboard -lamp", ["Walnut Keyboard"]),
        ("walnut or lamp", ["Walnut Keyboard", "Desk Lamp"]),
        ("lumen", ["Walnut Keyboard", "Desk Lamp"]),
        ("turquoise", ["Running Shoes"]),
        ("sports", ["Running Shoes"]),
        (f"SKU-{WARES[0].variants[0].hex[-10:]}", ["Walnut Keyboard"]),
        ("prototype", []),
        ("zzzzzz", []),
    ],
    ids=lambda value: "a SKU" if str(value).startswith("SKU-") else None,
)
async def test_words_find(shop: Storefront, text: str, titles: list[str]) -> None:
    assert sorted(await shop.titles(f"/search?q={quote(text)}")) == sorted(titles)


async def test_a_word_in_the_title_weighs_more_than_one_in_the_description(
    shop: Storefront,
) -> None:
    assert await shop.titles("/search?q=keyboard") == ["Walnut Keyboard", "Desk Lamp"]


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("keybord", "keyboard"),
        ("wallnut kyeboard", "walnut keyboard"),
        ("sheos", "shoes"),
        ("turquise", "turquoise"),
        ("lmap xqzzv", "lamp"),
    ],
)
async def test_misspelt_words_are_corrected_and_told(
    shop: Storefront, text: str, corrected: str
) -> None:
    found = await shop.visitor.get(f"/search?q={quote(text)}")
    assert (found["query"], found["corrected"]) == (text, corrected)
    assert found["total"] == len(found["items"]) > 0


async def test_what_is_spelt_right_is_not_corrected(shop: Storefront) -> None:
    assert (await shop.visitor.get("/search?q=lamp"))["corrected"] is None


async def test_words_of_drafts_are_not_given_away(shop: Storefront) -> None:
    found = await shop.visitor.get("/search?q=prototpye")
    assert (found["total"], found["corrected"]) == (0, None)


async def test_a_draft_that_is_published_is_found_and_lost_again(shop: Storefront) -> None:
    move = "update products set state = $2 where id = $1"
    [ware] = await shop.add(Ware("Brass Sextant", state="draft"))
    assert await shop.titles("/search?q=sextant") == []
    await shop.run(move, ware.id, "published")
    assert await shop.titles("/search?q=sextant") == ["Brass Sextant"]
    await shop.run(move, ware.id, "archived")
    assert await shop.titles("/search?q=sextant") == []


async def test_facets_count_what_was_found(shop: Storefront) -> None:
    found = await shop.visitor.get("/search?facets=true")
    facets = found["facets"]
    assert found["total"] == 3
    assert [(c["slug"], c["count"]) for c in facets["categories"]] == [
        ("home", 2),
        ("sports", 1),
        ("desk", 2),
    ]
    assert facets["brands"] == [
        {"value": "Lumen", "count": 2},
        {"value": "Kestrel", "count": 1},
    ]
    assert facets["prices"] == [
        {"from": "25", "to": "50", "count": 1},
        {"from": "50", "to": "100", "count": 1},
        {"from": "100", "to": "250", "count": 1},
    ]
    assert {a["code"]: a["values"] for a in facets["attributes"]} == {
        "colour": [{"value": "turquoise", "count": 1}],
        "grams": [{"value": "240", "count": 1}],
    }
    assert facets["in_stock"] == 2


async def test_facets_follow_words_and_filters(shop: Storefront) -> None:
    found = await shop.visitor.get("/search?q=lumen&in_stock=true&facets=true")
    assert [brand["count"] for brand in found["facets"]["brands"]] == [1]
    assert (await shop.visitor.get("/search?q=lumen"))["facets"] is None


async def test_words_that_fit_are_marked_and_the_rest_is_escaped(shop: Storefront) -> None:
    found = await shop.visitor.get("/search?q=shoe+runners&highlight=true")
    marked = found["items"][0]["highlight"]
    assert marked["title"] == "Running <mark>Shoes</mark>"
    assert "<mark>runners</mark> &lt;b&gt;everywhere&lt;/b&gt; &amp;" in marked["description"]


async def test_pages_follow_one_another(shop: Storefront) -> None:
    seen = []
    for offset in range(4):
        page = await shop.visitor.get(f"/search?sort=name&limit=1&offset={offset}")
        assert (page["total"], page["offset"], page["limit"]) == (3, offset, 1)
        seen += [item["title"] for item in page["items"]]
    assert seen == ["Desk Lamp", "Running Shoes", "Walnut Keyboard"]


@pytest.mark.parametrize(
    ("sort", "titles"),
    [
        ("price", ["Desk Lamp", "Running Shoes", "Walnut Keyboard"]),
        ("-price", ["Walnut Keyboard", "Running Shoes", "Desk Lamp"]),
        ("newest", ["Running Shoes", "Desk Lamp", "Walnut Keyboard"]),
    ],
)
async def test_what_was_found_can_be_put_in_order(
    shop: Storefront, sort: str, titles: list[str]
) -> None:
    assert await shop.titles(f"/search?sort={sort}") == titles


@pytest.mark.parametrize(
    "text",
    [
        "'; drop table products; --",
        "' or '1'='1",
        "& | ! ( ) < > : * \\",
        "a & b | c",
        '"""',
        '" - or',
        "-",
        "-lamp",
        "or or or",
        ":*",
        "lamp:*",
        "%' like '%",
        "$1 {filters} :limit",
        "\\u0000",
        "💡",
        "\u202e\u200b",
        "straße ñandú",
        "<script>alert(1)</script>",
        "a" * 200,
        "a " * 100,
        "(" * 200,
    ],
)
async def test_no_text_breaks_the_search(shop: Storefront, text: str) -> None:
    extras = "&facets=true&highlight=true"
    answer = await shop.visitor.send("GET", f"/search?q={quote(text)}{extras}")
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["total"], int)
    assert await shop.titles("/search?q=walnut") == ["Walnut Keyboard"]


async def test_another_language_knows_its_own_word_forms(shop: Storefront) -> None:
    await shop.run(
        "insert into products (id, slug, title, language, state) values"
        " (gen_random_uuid(), 'haeuser', 'Bunte Häuser', 'german', 'published')"
    )
    await shop.run(
        "insert into product_variants (product_id, sku, price, currency)"
        " values ((select id from products where slug = 'haeuser'), 'HAUS', 9, 'EUR')"
    )
    assert await shop.titles("/search?language=german&q=buntes") == ["Bunte Häuser"]
    await shop.run("delete from products where slug = 'haeuser'")
