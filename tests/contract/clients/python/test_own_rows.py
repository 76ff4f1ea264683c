"""A customer reads and writes what is theirs in three databases, signed in once."""

from uuid import uuid5

import pytest
from postgrest.types import CountMethod, ReturnMethod
from supabase import PostgrestAPIError
from tests.contract.clients.storefront import Customer, Row, Storefront, row, rows, run

from bulkhead.engine.ids import new_id

REVIEW = "id, product_id, rating, title, state"
HOME: Row = {
    "kind": "shipping",
    "recipient": "Ada Lind",
    "line1": "Hafenstrasse 12",
    "city": "Hamburg",
    "country": "DE",
}


@pytest.fixture(scope="module")
async def ada(shop: Storefront) -> Customer:
    return await shop.customer("ada")


@pytest.fixture(scope="module")
async def eve(shop: Storefront) -> Customer:
    return await shop.customer("eve")


@pytest.fixture(scope="module")
async def variants(shop: Storefront) -> list[Row]:
    """Some that can be bought."""
    stranger = await shop.client("products")
    query = stranger.table("product_variants").select(
        "id, product_id, price, stock!inner(available)"
    )
    return rows(await query.gte("stock.available", 10).order("sku").limit(4).execute())


@pytest.fixture(scope="module")
async def order(ada: Customer, variants: list[Row]) -> Row:
    return await ada.place_order((variants[0], 1), (variants[1], 2))


async def test_signing_up_made_a_profile_that_its_owner_changes(ada: Customer) -> None:
    profiles = ada.users.table("user_profiles")
    [mine] = rows(await profiles.select("id, full_name, user_preferences(currency)").execute())
    assert (mine["id"], mine["full_name"]) == (ada.id, "Ada")
    assert mine["user_preferences"]["currency"] == "EUR"
    changed = await (
        profiles.update({"display_name": "Ada L.", "birth_on": "1990-12-10"})
        .eq("id", ada.id)
        .select("display_name, birth_on")
        .execute()
    )
    assert row(changed) == {"display_name": "Ada L.", "birth_on": "1990-12-10"}


async def test_addresses_are_written_one_by_one_and_many_at_a_time(ada: Customer) -> None:
    addresses = ada.users.table("user_addresses")
    first = row(await addresses.insert({**HOME, "is_default": True}).execute())
    assert (first["user_id"], first["is_default"]) == (ada.id, True)
    more = await addresses.insert(
        [{**HOME, "label": "office", "is_default": True}, {**HOME, "kind": "billing"}],
        count=CountMethod.exact,
        default_to_null=False,
    ).execute()
    assert more.count == 2
    assert [each["is_default"] for each in rows(more)] == [True, False]
    defaults = await addresses.select("label").eq("is_default", value=True).execute()
    assert rows(defaults) == [{"label": "office"}], "a trigger took the former one's place"
    gone = await addresses.delete().eq("id", first["id"]).execute()
    assert row(gone)["id"] == first["id"]
    silent = await addresses.delete(returning=ReturnMethod.minimal).neq("kind", "none").execute()
    assert silent.data == []
    assert (await addresses.select("id").execute()).data == []


async def test_a_cart_is_upserted(ada: Customer, variants: list[Row]) -> None:
    products = await ada.client("products")
    cart = products.table("shopping_cart")
    for quantity in (1, 3):
        kept = await cart.upsert(
            {"variant_id": variants[2]["id"], "quantity": quantity},
            on_conflict="user_id,variant_id",
        ).execute()
        assert (row(kept)["quantity"], row(kept)["user_id"]) == (quantity, ada.id)
    ignored = await cart.upsert(
        [{"variant_id": each["id"], "quantity": 9} for each in variants[2:4]],
        on_conflict="user_id,variant_id",
        ignore_duplicates=True,
    ).execute()
    assert [each["variant_id"] for each in rows(ignored)] == [variants[3]["id"]]
    with pytest.raises(PostgrestAPIError) as refused:
        await (
            products.table("wishlists")
            .upsert(
                {"product_id": variants[2]["product_id"], "note": "the key would be written, too"}
            )
            .execute()
        )
    assert refused.value.code == "42501", "only the note was granted for update"
    shown = await (
        cart.select("quantity, product_variants(sku, products(title))").order("quantity").execute()
    )
    assert [each["quantity"] for each in rows(shown)] == [3, 9]
    assert all(each["product_variants"]["products"]["title"] for each in rows(shown))


async def test_a_wish_is_noted_changed_and_forgotten(ada: Customer, variants: list[Row]) -> None:
    wishes = (await ada.client("products")).table("wishlists")
    product = variants[0]["product_id"]
    await wishes.insert({"product_id": product, "note": "for June"}).execute()
    await wishes.update({"note": "for July"}).eq("product_id", product).execute()
    noted = await wishes.select("note, products(id)").execute()
    assert row(noted) == {"note": "for July", "products": {"id": product}}
    for criterion in ({"product_id": product}, {"note": "for July"}):
        gone = await wishes.delete().match({**criterion, "user_id": ada.id}).execute()
        if criterion == {"product_id": product}:
            assert row(gone)["note"] == "for July"
        else:
            assert gone.data == []


async def test_a_review_waits_for_approval_and_is_written_once(
    shop: Storefront, ada: Customer, eve: Customer, variants: list[Row]
) -> None:
    reviews = (await ada.client("products")).table("product_reviews")
    mine = {"product_id": variants[1]["product_id"], "rating": 5, "title": "Bright"}
    made = row(await reviews.insert(mine).select(REVIEW).execute())
    assert made["state"] == "pending"
    with pytest.raises(PostgrestAPIError) as twice:
        await reviews.insert(mine).select(REVIEW).execute()
    assert twice.value.code == "23505"
    assert "product_reviews_one_each" in str(twice.value.message)
    others = (await eve.client("products")).table("product_reviews")
    assert (await others.select("id").eq("id", made["id"]).execute()).data == []
    server = await shop.service("products")
    await (
        server.table("product_reviews").update({"state": "approved"}).eq("id", made["id"]).execute()
    )
    assert row(await others.select("id, title").eq("id", made["id"]).execute())["title"] == "Bright"
    voted = await (
        (await eve.client("products"))
        .table("review_votes")
        .insert({"review_id": made["id"], "helpful": True})
        .execute()
    )
    assert row(voted)["user_id"] == eve.id


async def test_an_order_is_read_with_its_items_and_payments(
    ada: Customer, order: Row, variants: list[Row]
) -> None:
    orders = await ada.client("orders")
    answer = await (
        orders.table("orders")
        .select(
            "id, state, total, shipping_address->>city,"
            "order_items(line_number, quantity, line_total),"
            "payment_attempts(attempt_no, payments(amount))"
        )
        .eq("state", "confirmed")
        .order("line_number", foreign_table="order_items")
        .single()
        .execute()
    )
    found = row(answer)
    assert found["id"] == order["order_id"]
    assert found["city"] == "London"
    assert [item["quantity"] for item in found["order_items"]] == [1, 2]
    assert found["order_items"][1]["line_total"] == 2 * variants[1]["price"]
    [attempt] = found["payment_attempts"]
    assert f"{attempt['payments']['amount']:.2f}" == order["total"], "one at most: no list"


async def test_nothing_of_others_is_read_or_written(
    shop: Storefront, ada: Customer, eve: Customer, order: Row, variants: list[Row]
) -> None:
    orders = await eve.client("orders")
    for table in ("orders", "order_items", "payments", "shipments", "returns"):
        answer = await orders.table(table).select("*", count=CountMethod.exact).execute()
        assert (answer.data, answer.count) == ([], 0), table
    profiles = eve.users.table("user_profiles")
    assert [each["id"] for each in rows(await profiles.select("id").execute())] == [eve.id]
    changed = await profiles.update({"full_name": "Mallory"}).eq("id", ada.id).execute()
    assert changed.data == []
    wishes = (await eve.client("products")).table("wishlists")
    with pytest.raises(PostgrestAPIError) as refused:
        await wishes.insert({"product_id": variants[0]["product_id"], "user_id": ada.id}).execute()
    assert refused.value.code == "42501"
    assert "row-level security" in str(refused.value.message)
    with pytest.raises(PostgrestAPIError) as pay_less:
        await orders.table("orders").update({"total": 0}).eq("id", order["order_id"]).execute()
    assert pay_less.value.code == "42501"
    assert await run(shop.system, "orders", "select count(*) from orders where total = 0") == 0


async def test_a_function_sees_what_its_caller_sees(
    ada: Customer, eve: Customer, order: Row
) -> None:
    assert order["state"] == "confirmed"
    spent = await (await ada.client("orders")).rpc("spending").execute()
    [each] = rows(spent)
    assert (each["orders"], f"{each['total']:.2f}") == (1, order["total"])
    assert (await (await eve.client("orders")).rpc("spending").execute()).data == []
    me = row(await (await ada.client("orders")).rpc("whoami").execute())
    assert me == {
        "id": ada.id,
        "role": "authenticated",
        "email": ada.email,
        "level": "aal1",
        "user": "authenticated",
    }


async def test_a_server_reads_and_writes_everything(
    shop: Storefront, ada: Customer, order: Row
) -> None:
    server = await shop.service("orders")
    found = await server.table("orders").select("user_id").eq("id", order["order_id"]).execute()
    assert rows(found) == [{"user_id": ada.id}]
    coupon = {"id": str(uuid5(new_id(), "coupon")), "code": "SERVER", "kind": "free_shipping"}
    coupons = server.table("coupons")
    made = row(await coupons.upsert(coupon).execute())
    again = row(await coupons.upsert({**coupon, "description": "Ours"}).execute())
    assert (made["id"], again["description"]) == (again["id"], "Ours")
    assert row(await coupons.delete().eq("id", coupon["id"]).max_affected(1).execute())
    with pytest.raises(PostgrestAPIError) as too_many:
        await coupons.delete().neq("code", "").max_affected(1).execute()
    assert too_many.value.code == "PGRST124"
    assert len(rows(await coupons.select("id").execute())) > 1, "nothing was deleted"
