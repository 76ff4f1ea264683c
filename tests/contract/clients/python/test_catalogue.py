"""A stranger looks around: everything is read with the anon key of the products database."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from postgrest.types import CountMethod
from supabase import AsyncClient, PostgrestAPIError
from tests.contract.clients.storefront import Row, Storefront, row, rows

Filter = Callable[[Any], Any]
Predicate = Callable[[Row], bool]

BRAND = "Lumen & Daughters"
PRODUCTS = "id, slug, title, brand, category_id, rating_count, published_at"
VARIANTS = "id, sku, title, options, price, compare_at_price, weight_grams"


@pytest.fixture(scope="module")
async def stranger(shop: Storefront) -> AsyncClient:
    return await shop.client("products")


@pytest.fixture(scope="module")
async def products(stranger: AsyncClient) -> list[Row]:
    return rows(await stranger.table("products").select(PRODUCTS).execute())


@pytest.fixture(scope="module")
async def variants(stranger: AsyncClient) -> list[Row]:
    return rows(await stranger.table("product_variants").select(VARIANTS).execute())


async def test_a_product_comes_with_all_that_belongs_to_it(
    stranger: AsyncClient, products: list[Row]
) -> None:
    answer = await (
        stranger.table("products")
        .select(
            "slug, shelf:categories(name, above:parent_id(name)), product_images(url, alt),"
            "product_variants(sku, price, stock(available)), collections(slug),"
            "product_attribute_values(text_value, product_attributes!inner(code))"
        )
        .eq("slug", products[0]["slug"])
        .single()
        .execute()
    )
    product = row(answer)
    assert product["slug"] == products[0]["slug"]
    assert product["shelf"]["above"]["name"], "to-one embeddings are objects"
    assert [image["alt"] for image in product["product_images"]] == [products[0]["title"]]
    assert all(each["stock"]["available"] >= 0 for each in product["product_variants"])
    assert {type(each["price"]) for each in product["product_variants"]} <= {float, int}
    assert isinstance(product["collections"], list), "through the table between the two"
    assert all(each["product_attributes"] for each in product["product_attribute_values"])


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        (lambda q: q.eq("brand", BRAND), lambda p: p["brand"] == BRAND),
        (lambda q: q.neq("brand", BRAND), lambda p: p["brand"] != BRAND),
        (lambda q: q.gt("rating_count", 3), lambda p: p["rating_count"] > 3),
        (lambda q: q.gte("rating_count", 3), lambda p: p["rating_count"] >= 3),
        (lambda q: q.lt("rating_count", 3), lambda p: p["rating_count"] < 3),
        (lambda q: q.lte("rating_count", 3), lambda p: p["rating_count"] <= 3),
        (lambda q: q.like("title", "B%"), lambda p: p["title"].startswith("B")),
        (lambda q: q.ilike("title", "*LAMP*"), lambda p: "lamp" in p["title"].lower()),
        (
            lambda q: q.like_all_of("title", "%e%,%a%"),
            lambda p: "e" in p["title"] and "a" in p["title"],
        ),
        (
            lambda q: q.ilike_any_of("title", "b%,%s"),
            lambda p: p["title"][0] in "bB" or p["title"][-1] in "sS",
        ),
        (lambda q: q.is_("category_id", None), lambda p: p["category_id"] is None),
        (lambda q: q.not_.is_("brand", None), lambda p: p["brand"] is not None),
        (lambda q: q.in_("rating_count", [0, 2, 4]), lambda p: p["rating_count"] in {0, 2, 4}),
        (
            lambda q: q.not_.in_("rating_count", [0, 2, 4]),
            lambda p: p["rating_count"] not in {0, 2, 4},
        ),
        (lambda q: q.match({"rating_count": 2}), lambda p: p["rating_count"] == 2),
        (
            lambda q: q.filter("title", "match", "^[A-C].*[a-m]$"),
            lambda p: p["title"][0] in "ABC" and "a" <= p["title"][-1] <= "m",
        ),
        (
            lambda q: q.filter("rating_count", "isdistinct", "2"),
            lambda p: p["rating_count"] != 2,
        ),
        (
            lambda q: q.or_("rating_count.eq.0,and(rating_count.gt.3,title.ilike.*s)"),
            lambda p: p["rating_count"] == 0 or (p["rating_count"] > 3 and p["title"][-1] in "sS"),
        ),
        (
            lambda q: q.not_.or_("rating_count.eq.0,rating_count.eq.1"),
            lambda p: p["rating_count"] not in {0, 1},
        ),
        (
            lambda q: q.gt("rating_count", 1).lt("rating_count", 5).neq("rating_count", 3),
            lambda p: p["rating_count"] in {2, 4},
        ),
    ],
)
async def test_filters_find_what_they_say(
    stranger: AsyncClient, products: list[Row], narrow: Filter, expected: Predicate
) -> None:
    found = rows(await narrow(stranger.table("products").select(PRODUCTS)).execute())
    assert sorted(each["id"] for each in found) == sorted(
        each["id"] for each in products if expected(each)
    )


async def test_a_title_with_every_awkward_character_is_found(
    shop: Storefront, stranger: AsyncClient
) -> None:
    title = 'Commas, (parens), "quotes", back\\slash & 100 % = ü.'
    server = await shop.service("products")
    made = row(
        await server.table("products")
        .insert({"slug": "awkward", "title": title, "state": "published"})
        .execute()
    )
    quoted = title.replace("\\", "\\\\").replace('"', '\\"')
    narrows: list[Filter] = [
        lambda q: q.eq("title", title),
        lambda q: q.in_("title", [title, "nothing"]),
        lambda q: q.or_(f'title.eq."{quoted}"'),
    ]
    for narrow in narrows:
        found = await narrow(stranger.table("products").select("id")).execute()
        assert rows(found) == [{"id": made["id"]}]
    await server.table("products").delete().eq("id", made["id"]).execute()


async def test_json_and_arrays_are_searched(stranger: AsyncClient, variants: list[Row]) -> None:
    key, value = next(iter(variants[0]["options"].items()))
    expected = sorted(each["id"] for each in variants if each["options"].get(key) == value)
    table = stranger.table("product_variants")
    for query in (
        table.select("id").contains("options", {key: value}),
        table.select("id").eq(f"options->>{key}", value),
        table.select("id").filter(f"options->{key}", "eq", f'"{value}"'),
    ):
        assert sorted(each["id"] for each in rows(await query.execute())) == expected
    [named] = rows(
        await table.select(f"picked:options->>{key}, price::text").eq("id", expected[0]).execute()
    )
    assert named["picked"] == value
    assert Decimal(named["price"]) > 0


async def test_arrays_contain_and_overlap(stranger: AsyncClient) -> None:
    table = stranger.table("categories")
    tree = rows(await table.select("id, path, depth, parent_id").execute())
    shelf = next(each for each in tree if each["depth"] == 2)
    department = shelf["parent_id"]
    below = rows(await table.select("id").contains("path", [department]).execute())
    assert {each["id"] for each in below} == {
        each["id"] for each in tree if department in each["path"]
    }
    within = rows(await table.select("id").contained_by("path", shelf["path"]).execute())
    assert {each["id"] for each in within} == {department, shelf["id"]}
    touching = rows(await table.select("id").overlaps("path", [shelf["id"]]).execute())
    assert [each["id"] for each in touching] == [shelf["id"]]


@pytest.mark.parametrize("kind", ["plain", "phrase", "web_search", None])
async def test_words_are_searched(stranger: AsyncClient, kind: str | None) -> None:
    options = {"config": "english"} | ({"type": kind} if kind else {})
    found = await (
        stranger.table("product_search")
        .select("product_id, products(title)")
        .text_search("document", "lamp", options)
        .limit(3)
        .execute()
    )
    assert rows(found), "there are lamps in the shop"


@pytest.mark.parametrize(
    ("narrow", "days"),
    [
        (lambda q: q.overlaps("hours", "[18,19)"), ["friday"]),
        (lambda q: q.contains("hours", "[9,10)"), ["friday", "monday"]),
        (lambda q: q.contained_by("hours", "[9,17)"), ["monday", "saturday"]),
        (lambda q: q.range_gt("hours", (1, 9)), ["friday", "monday", "saturday"]),
        (lambda q: q.range_gte("hours", (9, 12)), ["saturday"]),
        (lambda q: q.range_lt("hours", (17, 30)), ["monday", "saturday"]),
        (lambda q: q.range_lte("hours", (1, 17)), ["monday", "saturday"]),
        (lambda q: q.range_adjacent("hours", (16, 30)), ["monday"]),
    ],
)
async def test_ranges_are_compared(stranger: AsyncClient, narrow: Filter, days: list[str]) -> None:
    query = stranger.rpc("opening_hours", get=True).select("day").order("day")
    answer = await narrow(query).execute()
    assert [each["day"] for each in answer.data] == days


async def test_rows_come_in_order_and_in_pages(stranger: AsyncClient) -> None:
    table = stranger.table("product_variants")
    pages = [
        rows(
            await table.select("id, price, compare_at_price")
            .order("compare_at_price", desc=True, nullsfirst=False)
            .order("price")
            .order("id")
            .range(start, start + 49)
            .execute()
        )
        for start in (0, 50, 100)
    ]
    seen = [each for page in pages for each in page]
    assert len(seen) == len({each["id"] for each in seen}) == 150

    def place(each: Row) -> tuple[bool, Any, Any, str]:
        reduced = each["compare_at_price"]
        return reduced is None, -(reduced or 0), each["price"], each["id"]

    assert seen == sorted(seen, key=place)
    rest = await table.select("id").order("id").limit(5).offset(100_000).execute()
    assert rest.data == []


async def test_what_is_embedded_is_filtered_ordered_and_limited(stranger: AsyncClient) -> None:
    found = rows(
        await stranger.table("products")
        .select("title, product_variants!inner(price)")
        .gt("product_variants.price", 100)
        .order("price", desc=True, foreign_table="product_variants")
        .limit(1, foreign_table="product_variants")
        .order("title")
        .limit(10)
        .execute()
    )
    assert found
    assert all(len(each["product_variants"]) == 1 for each in found)
    assert all(each["product_variants"][0]["price"] > 100 for each in found)


async def test_rows_are_ordered_and_found_by_what_they_belong_to(stranger: AsyncClient) -> None:
    found = rows(
        await stranger.table("products")
        .select("slug, categories!inner(slug), collections()")
        .not_.is_("collections", None)
        .order("categories(slug)")
        .execute()
    )
    shelves = [each["categories"]["slug"] for each in found]
    assert shelves == sorted(shelves)
    assert set(found[0]) == {"slug", "categories"}


async def test_to_one_columns_are_spread(stranger: AsyncClient) -> None:
    [found] = rows(
        await stranger.table("products")
        .select("slug, ...categories(shelf:name)")
        .limit(1)
        .execute()
    )
    assert set(found) == {"slug", "shelf"}


@pytest.mark.parametrize("method", list(CountMethod))
async def test_rows_are_counted(
    stranger: AsyncClient, products: list[Row], method: CountMethod
) -> None:
    table = stranger.table("products")
    shown = await table.select("id", count=method).range(0, 4).execute()
    assert len(shown.data) == 5
    headless = await table.select("id", count=method, head=True).execute()
    assert headless.data == []
    for answer in (shown, headless):
        assert answer.count is not None
        if method is not CountMethod.planned:
            assert answer.count == len(products)


async def test_rows_are_summed_up(stranger: AsyncClient, products: list[Row]) -> None:
    table = stranger.table("products")
    brands = rows(await table.select("brand, id.count(), most:rating_count.max()").execute())
    assert {each["brand"]: each["count"] for each in brands} == Counter(
        each["brand"] for each in products
    )
    assert max(each["most"] for each in brands) == max(each["rating_count"] for each in products)


async def test_functions_are_called_by_get_and_post(stranger: AsyncClient) -> None:
    assert (await stranger.rpc("add_up", {"a": 2, "b": 3}).execute()).data == 5
    assert (await stranger.rpc("add_up", {"a": 2, "b": 3}, get=True).execute()).data == 5
    found = await (
        stranger.rpc("search_titles", {"words": "a", "at_most": 50}, count=CountMethod.exact)
        .select("title, categories(name)")
        .order("title", desc=True)
        .limit(3)
        .execute()
    )
    titles = [each["title"] for each in rows(found)]
    assert titles == sorted(titles, reverse=True)
    assert found.count == 50
    assert all(each["categories"]["name"] for each in rows(found))
    one = await stranger.rpc("search_titles", {"words": "a"}).limit(1).single().execute()
    assert row(one)["title"]


async def test_a_column_can_be_computed(stranger: AsyncClient) -> None:
    found = rows(
        await stranger.table("products")
        .select("title, mean_rating")
        .gte("mean_rating", 4)
        .order("mean_rating", desc=True)
        .limit(5)
        .execute()
    )
    ratings = [each["mean_rating"] for each in found]
    assert ratings == sorted(ratings, reverse=True)
    assert ratings[-1] >= 4


async def test_none_one_and_many_are_told_apart(stranger: AsyncClient) -> None:
    table = stranger.table("products")
    with pytest.raises(PostgrestAPIError) as none:
        await table.select("id").eq("slug", "no-such-thing").single().execute()
    assert none.value.code == "PGRST116"
    assert none.value.details == "The result contains 0 rows"
    with pytest.raises(PostgrestAPIError) as many:
        await table.select("id").single().execute()
    assert many.value.code == "PGRST116"
    maybe = await table.select("id").eq("slug", "no-such-thing").maybe_single().execute()
    assert maybe is None
    one = await table.select("slug").limit(1).maybe_single().execute()
    assert one is not None
    assert row(one)["slug"]


async def test_rows_come_as_csv_and_without_nulls(stranger: AsyncClient) -> None:
    table = stranger.table("product_variants")
    text = (await table.select("sku, price").order("sku").limit(2).csv().execute()).data
    assert isinstance(text, str)
    assert text.splitlines()[0] == "sku,price"
    assert len(text.splitlines()) == 3
    bare = rows(await table.select("sku, barcode, archived_at").limit(3).strip_nulls().execute())
    assert [set(each) for each in bare] == [{"sku"}] * 3


async def test_a_stranger_sees_only_what_is_published_and_writes_nothing(
    shop: Storefront, stranger: AsyncClient
) -> None:
    server = await shop.service("products")
    draft = row(
        await server.table("products").insert({"slug": "draft", "title": "Draft"}).execute()
    )
    found = await stranger.table("products").select("id").eq("id", draft["id"]).execute()
    assert found.data == []
    for attempt in (
        stranger.table("products").insert({"slug": "mine", "title": "Mine"}),
        stranger.table("products").update({"title": "Mine"}).eq("id", draft["id"]),
        stranger.table("products").delete().eq("id", draft["id"]),
        stranger.table("wishlists").select("*"),
        stranger.table("stock_reservations").select("*"),
    ):
        with pytest.raises(PostgrestAPIError) as refused:
            await attempt.execute()
        assert refused.value.code == "42501"
    await server.table("products").delete().eq("id", draft["id"]).execute()
