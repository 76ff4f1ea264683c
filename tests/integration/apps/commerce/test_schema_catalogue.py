"""The products database: what is shown, put into carts, and said of it in reviews."""

import asyncio
from uuid import UUID

import pytest
from tests.integration.apps.commerce.schema_shop import (
    STAFF,
    Caller,
    make_variant,
    receipt,
    together,
)
from tests.integration.waiting import until_it_waits

from bulkhead.engine.connections.claims import ANON, SERVICE, user
from bulkhead.engine.drivers.errors import (
    CheckViolated,
    NotNullViolated,
    PermissionDenied,
    UniqueViolated,
)
from bulkhead.engine.ids import new_id


async def test_a_category_cannot_move_below_itself(products: Caller) -> None:
    root, child, leaf = new_id(), new_id(), new_id()
    insert = "insert into categories (id, parent_id, slug, name) values ($1, $2, $3, $3)"
    for category, parent in ((root, None), (child, root), (leaf, child)):
        await products.execute(insert, category, parent, f"c-{category}")
    with pytest.raises(CheckViolated) as refusal:
        await products.execute("update categories set parent_id = $1 where id = $2", leaf, root)
    assert refusal.value.constraint == "categories_no_circle"
    await products.execute("update categories set parent_id = null where id = $1", child)
    assert await products.value("select path from categories where id = $1", leaf) == [child, leaf]


async def test_two_moves_at_once_never_close_a_circle(products: Caller) -> None:
    one, other = new_id(), new_id()
    for category in (one, other):
        await products.execute(
            "insert into categories (id, slug, name) values ($1, $2, 'C')",
            category,
            f"c-{category}",
        )
    move = "update categories set parent_id = $1 where id = $2"
    await together([products.execute(move, one, other), products.execute(move, other, one)])
    parents = await products.fetch(
        "select parent_id from categories where id = any($1)", [one, other]
    )
    assert sorted(row["parent_id"] is None for row in parents) == [False, True]


async def test_customers_see_what_is_published_and_staff_see_all(products: Caller) -> None:
    shown = await make_variant(products, 5)
    hidden = await make_variant(products, 5, state="draft")
    for table, column in (("product_variants", "id"), ("stock", "variant_id")):
        sql = f"select {column} from {table} where {column} = any($1)"
        for claims in (ANON, user(new_id())):
            rows = await products.acting_for(claims).fetch(sql, [shown, hidden])
            assert [row[column] for row in rows] == [shown]
        rows = await products.acting_for(STAFF).fetch(sql, [shown, hidden])
        assert {row[column] for row in rows} == {shown, hidden}


async def test_customers_change_neither_prices_nor_stock(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    customer = products.acting_for(user(new_id()))
    assert await customer.execute("update product_variants set price = 0.01") == "UPDATE 0"
    for statement in (
        "update stock set on_hand = 99",
        "select private.adjust_stock('[]')",
        "select on_hand from stock",
        f"insert into inventory_movements (variant_id, quantity) values ('{lamp}', 1)",
    ):
        with pytest.raises(PermissionDenied):
            await customer.execute(statement)
    with pytest.raises(PermissionDenied):
        await products.acting_for(STAFF).execute("update stock set on_hand = 99")
    reprice = "update product_variants set price = 11 where id = $1"
    assert await products.acting_for(STAFF).execute(reprice, lamp) == "UPDATE 1"


async def test_a_cart_is_its_customer_s_alone_and_notes_the_price(products: Caller) -> None:
    lamp = await make_variant(products, price="12.50")
    hidden = await make_variant(products, state="draft")
    owner, stranger = (products.acting_for(user(new_id())) for _ in range(2))
    await owner.execute("insert into shopping_cart (variant_id, quantity) values ($1, 2)", lamp)
    assert str(await owner.value("select price_seen from shopping_cart")) == "12.50"
    with pytest.raises(NotNullViolated):
        await owner.execute("insert into shopping_cart (variant_id) values ($1)", hidden)
    assert await stranger.fetch("select quantity from shopping_cart") == []
    assert await stranger.execute("update shopping_cart set quantity = 1") == "UPDATE 0"
    assert await stranger.execute("delete from shopping_cart") == "DELETE 0"


async def test_a_guest_s_cart_joins_that_of_the_user(products: Caller) -> None:
    lamp, desk = await make_variant(products), await make_variant(products)
    guest, customer = new_id(), new_id()
    for owner, variant, quantity in ((guest, lamp, 2), (guest, desk, 1), (customer, lamp, 3)):
        await products.execute(
            "insert into shopping_cart (user_id, variant_id, quantity) values ($1, $2, $3)",
            owner,
            variant,
            quantity,
        )
    assert await products.value("select private.merge_cart($1, $2)", guest, customer) == 2
    rows = await products.fetch(
        "select user_id, variant_id, quantity from shopping_cart where user_id = any($1)",
        [guest, customer],
    )
    assert {(row["user_id"], row["variant_id"]): row["quantity"] for row in rows} == {
        (customer, lamp): 5,
        (customer, desk): 1,
    }


@pytest.fixture
async def lamp(products: Caller) -> UUID:
    variant = await make_variant(products)
    product: UUID = await products.value(
        "select product_id from product_variants where id = $1", variant
    )
    return product


REVIEW = "insert into product_reviews (id, product_id, rating, body) values ($1, $2, $3, 'Bright')"
APPROVE = "update product_reviews set state = 'approved' where id = $1"


async def test_a_review_waits_for_approval_and_an_edit_waits_again(
    products: Caller, lamp: UUID
) -> None:
    author, review = products.acting_for(user(new_id())), new_id()
    await author.execute(REVIEW, review, lamp, 5)
    anonymous = products.acting_for(ANON)
    shown = "select id from product_reviews where product_id = $1"
    assert await anonymous.fetch(shown, lamp) == []
    await products.execute(APPROVE, review)
    assert await anonymous.fetch(shown, lamp) == [{"id": review}]
    await author.execute("update product_reviews set body = 'Dim', rating = 1")
    assert await anonymous.fetch(shown, lamp) == []
    for statement in (
        "update product_reviews set state = 'approved'",
        "update product_reviews set verified_purchase = true",
        "update product_reviews set helpful_count = 99",
    ):
        with pytest.raises(PermissionDenied):
            await author.execute(statement)
    with pytest.raises(UniqueViolated):
        await author.execute(REVIEW, new_id(), lamp, 4)


async def test_a_delivery_verifies_reviews_written_before_and_after(
    products: Caller, lamp: UUID
) -> None:
    early, late = new_id(), new_id()
    await products.acting_for(user(early)).execute(REVIEW, new_id(), lamp, 5)
    told = [
        {"user_id": u, "product_id": lamp, "order_id": new_id(), "delivered_at": "2026-01-01"}
        for u in (early, late)
    ]
    for expected in (2, 0):
        (row,) = await products.call("verify_purchases", told)
        assert row["verify_purchases"] == expected
    await products.acting_for(user(late)).execute(REVIEW, new_id(), lamp, 4)
    await products.acting_for(user(new_id())).execute(REVIEW, new_id(), lamp, 3)
    rows = await products.fetch(
        "select rating, verified_purchase from product_reviews where product_id = $1", lamp
    )
    assert {row["rating"]: row["verified_purchase"] for row in rows} == {5: True, 4: True, 3: False}


async def test_ratings_count_approved_reviews_whatever_happens_at_once(
    products: Caller, lamp: UUID
) -> None:
    reviews = [new_id() for _ in range(12)]
    for review in reviews:
        await products.acting_for(user(new_id())).execute(REVIEW, review, lamp, 4)
    results = await together(products.execute(APPROVE, review) for review in reviews)
    assert [error for error in results if isinstance(error, BaseException)] == []
    await products.execute("delete from product_reviews where id = $1", reviews[0])
    await products.execute("update product_reviews set rating = 1 where id = $1", reviews[1])
    (row,) = await products.fetch(
        "select rating_count, rating_sum from products where id = $1", lamp
    )
    assert row == {"rating_count": 10, "rating_sum": 40}


async def test_a_vote_counts_once_and_not_for_oneself(products: Caller, lamp: UUID) -> None:
    author_id, review = new_id(), new_id()
    author = products.acting_for(user(author_id))
    await author.execute(REVIEW, review, lamp, 5)
    await products.execute(APPROVE, review)
    vote = "insert into review_votes (review_id, helpful) values ($1, true)"
    with pytest.raises(PermissionDenied):
        await author.execute(vote, review)
    voters = [products.acting_for(user(new_id())) for _ in range(10)]
    results = await together(voter.execute(vote, review) for voter in voters)
    assert [error for error in results if isinstance(error, BaseException)] == []
    with pytest.raises(UniqueViolated):
        await voters[0].execute(vote, review)
    await voters[0].execute("update review_votes set helpful = false")
    await voters[1].execute("delete from review_votes")
    (row,) = await products.fetch(
        "select helpful_count, unhelpful_count from product_reviews where id = $1", review
    )
    assert row == {"helpful_count": 8, "unhelpful_count": 1}


async def test_a_product_that_is_listed_while_its_first_stock_arrives_is_in_stock(
    products: Caller,
) -> None:
    variant = await make_variant(products, state="draft")
    product = await products.value("select product_id from product_variants where id = $1", variant)
    async with asyncio.TaskGroup() as group, products.database.transaction(SERVICE) as tx:
        await tx.execute("update products set state = 'published' where id = $1", product)
        arriving = products.call("adjust_stock", [receipt(variant, 5)])
        await until_it_waits(group.create_task(arriving), tx)
    listed = "select in_stock from product_search where product_id = $1"
    assert await products.value(listed, product)


async def test_a_product_that_is_filed_while_its_category_moves_moves_along(
    products: Caller,
) -> None:
    top, category = new_id(), new_id()
    insert = "insert into categories (id, slug, name) values ($1, $2, 'C')"
    for each in (top, category):
        await products.execute(insert, each, f"c-{each}")
    variant = await make_variant(products)
    product = await products.value("select product_id from product_variants where id = $1", variant)
    async with asyncio.TaskGroup() as group, products.database.transaction(SERVICE) as tx:
        await tx.execute("update categories set parent_id = $1 where id = $2", top, category)
        filing = "update products set category_id = $1 where id = $2"
        await until_it_waits(group.create_task(products.execute(filing, category, product)), tx)
    path = "select category_path from product_search where product_id = $1"
    assert await products.value(path, product) == [top, category]


async def test_a_product_is_not_filtered_by_what_nobody_may_filter_by_any_more(
    products: Caller,
) -> None:
    attribute, variant = new_id(), await make_variant(products)
    product = await products.value("select product_id from product_variants where id = $1", variant)
    await products.execute(
        "insert into product_attributes (id, code, name, kind) values ($1, 'hue', 'Hue', 'text')",
        attribute,
    )
    saying = (
        "insert into product_attribute_values (product_id, attribute_id, kind, text_value)"
        " values ($1, $2, 'text', 'red')"
    )
    async with asyncio.TaskGroup() as group, products.database.transaction(SERVICE) as tx:
        await tx.execute(
            "update product_attributes set filterable = false where id = $1", attribute
        )
        await until_it_waits(group.create_task(products.execute(saying, product, attribute)), tx)
    facts = "select facts from product_search where product_id = $1"
    assert await products.value(facts, product) == []


async def test_a_review_that_is_written_while_its_product_is_delivered_is_that_of_a_buyer(
    products: Caller,
) -> None:
    variant, customer = await make_variant(products), new_id()
    product = await products.value("select product_id from product_variants where id = $1", variant)
    delivery = {"user_id": customer, "product_id": product, "order_id": new_id()}
    async with asyncio.TaskGroup() as group, products.database.transaction(SERVICE) as tx:
        await tx.execute(
            "insert into product_reviews (product_id, user_id, rating) values ($1, $2, 5)",
            product,
            customer,
        )
        noting = products.call("verify_purchases", [{**delivery, "delivered_at": "2026-11-01"}])
        await until_it_waits(group.create_task(noting), tx)
    verified = "select verified_purchase from product_reviews where product_id = $1"
    assert await products.value(verified, product)
