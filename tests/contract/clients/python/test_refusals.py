"""What a client is told when something cannot be done: the codes that programs branch on."""

from collections.abc import Callable
from typing import Any

import pytest
from supabase import AsyncClient, PostgrestAPIError
from tests.contract.clients.storefront import Customer, Storefront

Attempt = Callable[[AsyncClient], Any]

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
async def customer(shop: Storefront) -> Customer:
    return await shop.customer()


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (lambda c: c.table("product").select("*"), "PGRST205"),
        (lambda c: c.table("products").select("price_tag"), "42703"),
        (lambda c: c.table("products").select("id").eq("id", "seven"), "22P02"),
        (lambda c: c.table("products").select("id").filter("id", "same", "1"), "PGRST100"),
        (lambda c: c.table("products").select("id, orders(*)"), "PGRST200"),
        (lambda c: c.table("products").select("id").order("product_images(url)"), "PGRST108"),
        (lambda c: c.rpc("no_such_function", {}), "PGRST202"),
        (lambda c: c.rpc("add_up", {"a": 1}), "PGRST202"),
        (lambda c: c.rpc("pay_first", {}), "PT402"),
        (lambda c: c.schema("private").table("products").select("*"), "PGRST106"),
        (lambda c: c.table("product_reviews").insert({"rating": 5, "stars": 5}), "PGRST204"),
        (lambda c: c.table("wishlists").delete(), "21000"),
        (lambda c: c.table("wishlists").update({"note": "all"}), "21000"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(
    shop: Storefront, attempt: Attempt, code: str
) -> None:
    stranger = await shop.client("products")
    with pytest.raises(PostgrestAPIError) as refused:
        await attempt(stranger).execute()
    assert refused.value.code == code
    assert refused.value.message


async def test_a_misspelt_table_gets_a_hint(shop: Storefront) -> None:
    stranger = await shop.client("products")
    with pytest.raises(PostgrestAPIError) as refused:
        await stranger.table("product").select("*").execute()
    assert refused.value.message == (
        "Could not find the table 'public.product' in the schema cache"
    )
    assert refused.value.hint == "Perhaps you meant the table 'public.products'"


async def test_a_function_chooses_its_own_status_and_words(shop: Storefront) -> None:
    answer = await shop.http.post(
        f"{shop.url('products')}/rest/v1/rpc/pay_first",
        headers={"apikey": shop.keys["products"].anon},
        json={},
    )
    assert answer.status_code == 402
    assert answer.json() == {
        "code": "PT402",
        "message": "Payment Required",
        "details": "The quota is used up",
        "hint": "Upgrade the plan",
    }


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"rating": 9}, "23514"),
        ({"rating": None}, "23502"),
        ({"rating": "five"}, "22P02"),
        ({"product_id": NOBODY}, "42501"),
        ({"user_id": NOBODY}, "42501"),
        ({"state": "approved"}, "42501"),
    ],
)
async def test_a_row_that_breaks_a_rule_is_refused(
    shop: Storefront, customer: Customer, values: dict[str, Any], code: str
) -> None:
    products = await customer.client("products")
    found = await products.table("products").select("id").limit(1).execute()
    [product] = found.data
    assert isinstance(product, dict)
    review = {"product_id": product["id"], "rating": 4, **values}
    with pytest.raises(PostgrestAPIError) as refused:
        await products.table("product_reviews").insert(review).select("id").execute()
    assert refused.value.code == code


async def test_a_reference_to_nothing_is_a_conflict(shop: Storefront) -> None:
    server = await shop.service("products")
    orphan = {"product_id": NOBODY, "sku": "ORPHAN", "price": 1, "currency": "EUR"}
    with pytest.raises(PostgrestAPIError) as refused:
        await server.table("product_variants").insert(orphan).execute()
    assert refused.value.code == "23503"
    assert "is not present in table" in str(refused.value.details)


async def test_columns_that_were_not_granted_are_refused(
    shop: Storefront, customer: Customer
) -> None:
    products = await customer.client("products")
    with pytest.raises(PostgrestAPIError) as refused:
        await products.table("product_reviews").select("moderation_note").execute()
    assert refused.value.code == "42501"
    with pytest.raises(PostgrestAPIError) as stock:
        await products.table("stock").select("*").execute()
    assert stock.value.code == "42501"


async def test_plans_are_kept_to_the_house(shop: Storefront) -> None:
    stranger = await shop.client("products")
    with pytest.raises(PostgrestAPIError) as refused:
        await stranger.table("products").select("id").explain().execute()
    assert refused.value.code == "PGRST107"
