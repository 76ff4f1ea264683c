"""The products database: stock that is never sold twice, and who may touch what."""

from collections.abc import AsyncIterator
from random import Random
from uuid import UUID

import pytest
from tests.integration.apps.commerce.schema_shop import (
    STAFF,
    Caller,
    make_variant,
    open_alone,
    receipt,
    together,
    wish,
)

from bulkhead.engine.connections.claims import ANON, user
from bulkhead.engine.drivers.errors import (
    CheckViolated,
    DeadlockDetected,
    NotNullViolated,
    PermissionDenied,
    UniqueViolated,
    ValueInvalid,
)
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def products(servers: TestServers) -> AsyncIterator[Caller]:
    async with open_alone(servers, "products") as products:
        yield products


async def reserve(products: Caller, *wishes: dict[str, object]) -> dict[UUID, str]:
    rows = await products.call("reserve_stock", wishes)
    return {row["order_id"]: row["state"] for row in rows}


async def release(products: Caller, order_id: UUID, state: str = "released") -> str:
    sql = "select state from private.release_stock(array[$1::uuid], $2)"
    answer: str = await products.value(sql, order_id, state)
    return answer


async def commit(products: Caller, order_id: UUID) -> str:
    sql = "select state from private.commit_stock(array[$1::uuid])"
    answer: str = await products.value(sql, order_id)
    return answer


async def stock_of(products: Caller, variant: UUID) -> tuple[int, int]:
    (row,) = await products.fetch(
        "select on_hand, reserved from stock where variant_id = $1", variant
    )
    return row["on_hand"], row["reserved"]


async def verify_books(products: Caller) -> None:
    """On hand is what moved, reserved is what is held, and nothing is promised twice."""
    wrong = await products.fetch(
        """
        select s.variant_id, s.on_hand, s.reserved
        from stock s
        where s.on_hand <> (
            select coalesce(sum(m.quantity), 0) from inventory_movements m
            where m.variant_id = s.variant_id
          )
          or s.reserved <> (
            select coalesce(sum(l.quantity), 0) from stock_reservation_lines l
            join stock_reservations r on r.order_id = l.order_id and r.state = 'held'
            where l.variant_id = s.variant_id
          )
        """
    )
    assert wrong == []


async def test_reserving_twice_holds_once(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    order = wish((lamp, 2))
    first = await reserve(products, order)
    assert first == {order["order_id"]: "held"}
    assert await reserve(products, order) == first
    assert await stock_of(products, lamp) == (5, 2)


async def test_two_lines_of_one_variant_are_summed(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    (row,) = await products.call("reserve_stock", [wish((lamp, 3), (lamp, 3))])
    assert row["state"] == "refused"
    assert '"quantity": 6' in row["short"]
    assert await reserve(products, order := wish((lamp, 2), (lamp, 3))) == {
        order["order_id"]: "held"
    }
    assert await stock_of(products, lamp) == (5, 5)


async def test_an_order_that_is_short_of_one_line_gets_nothing(products: Caller) -> None:
    lamp, desk = await make_variant(products, 5), await make_variant(products, 1)
    order = wish((lamp, 2), (desk, 2))
    (row,) = await products.call("reserve_stock", [order])
    assert row["state"] == "refused"
    assert str(desk) in row["short"]
    assert '"available": 1' in row["short"]
    assert str(lamp) not in row["short"]
    assert await stock_of(products, lamp) == (5, 0)
    assert await commit(products, order["order_id"]) == "missing"


async def test_an_unknown_variant_is_short(products: Caller) -> None:
    (row,) = await products.call("reserve_stock", [wish((new_id(), 1))])
    assert row["state"] == "refused"
    assert '"available": 0' in row["short"]


async def test_a_batch_is_served_in_its_order_and_what_is_left_goes_on(products: Caller) -> None:
    lamp = await make_variant(products, 10)
    first, greedy, last = wish((lamp, 6)), wish((lamp, 5)), wish((lamp, 4))
    assert await reserve(products, first, greedy, last) == {
        first["order_id"]: "held",
        greedy["order_id"]: "refused",
        last["order_id"]: "held",
    }
    assert await stock_of(products, lamp) == (10, 10)
    await verify_books(products)


async def test_a_reservation_after_its_release_comes_too_late(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    order = wish((lamp, 1))
    assert await release(products, order["order_id"]) == "released"
    assert await reserve(products, order) == {order["order_id"]: "released"}
    assert await stock_of(products, lamp) == (5, 0)


async def test_a_release_gives_back_once(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    await reserve(products, order := wish((lamp, 3)))
    assert await release(products, order["order_id"]) == "released"
    assert await release(products, order["order_id"]) == "released"
    assert await stock_of(products, lamp) == (5, 0)
    assert await commit(products, order["order_id"]) == "released"


async def test_only_what_is_past_its_time_expires_and_may_be_tried_again(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    await reserve(products, fresh := wish((lamp, 1)), stale := wish((lamp, 2), ttl_s=1e-6))
    listed = await products.fetch("select order_id from private.list_expired_reservations(10)")
    assert [row["order_id"] for row in listed] == [stale["order_id"]]
    assert await release(products, fresh["order_id"], "expired") == "held"
    assert await release(products, stale["order_id"], "expired") == "expired"
    assert await stock_of(products, lamp) == (5, 1)
    assert await reserve(products, stale) == {stale["order_id"]: "held"}
    assert await release(products, stale["order_id"]) == "released"
    await verify_books(products)


async def test_committing_sells_once(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    await reserve(products, order := wish((lamp, 2)))
    assert await commit(products, order["order_id"]) == "committed"
    assert await commit(products, order["order_id"]) == "committed"
    assert await stock_of(products, lamp) == (3, 0)
    assert await release(products, order["order_id"]) == "committed"
    assert await reserve(products, order) == {order["order_id"]: "committed"}
    await verify_books(products)


async def test_goods_come_back_once_for_each_return_and_never_more_than_sold(
    products: Caller,
) -> None:
    lamp = await make_variant(products, 5)
    await reserve(products, order := wish((lamp, 2)))
    await commit(products, order["order_id"])
    goods = {"order_id": order["order_id"], "variant_id": lamp, "quantity": 1, "reason": "return"}
    one, other = {**goods, "return_id": new_id()}, {**goods, "return_id": new_id()}
    assert [row["applied"] for row in await products.call("restock", [one])] == [True]
    assert [row["applied"] for row in await products.call("restock", [one, other])] == [False, True]
    assert await stock_of(products, lamp) == (5, 0)
    with pytest.raises(ValueInvalid, match=str(order["order_id"])):
        await products.call("restock", [{**goods, "return_id": new_id()}])
    await verify_books(products)


async def test_stock_that_was_never_sold_cannot_come_back(products: Caller) -> None:
    lamp = await make_variant(products, 5)
    await reserve(products, order := wish((lamp, 2)))
    goods = {"order_id": order["order_id"], "variant_id": lamp, "quantity": 2, "reason": "cancel"}
    with pytest.raises(ValueInvalid, match="more"):
        await products.call("restock", [goods])


async def test_an_adjustment_counts_once_and_cannot_take_what_is_reserved(
    products: Caller,
) -> None:
    lamp = await make_variant(products, 5)
    await reserve(products, wish((lamp, 3)))
    found = receipt(lamp, 4, "adjustment")
    assert [row["applied"] for row in await products.call("adjust_stock", [found])] == [True]
    (again,) = await products.call("adjust_stock", [found])
    assert (again["applied"], again["on_hand"], again["available"]) == (False, 9, 6)
    with pytest.raises(CheckViolated) as refusal:
        await products.call("adjust_stock", [receipt(lamp, -7, "write_off")])
    assert refusal.value.constraint == "stock_never_oversold"


@pytest.mark.parametrize(
    "damage",
    [{"lines": []}, {"lines": None}, {"lines": [{"quantity": 1}]}, {"ttl_s": 0}, "zero", "twice"],
)
async def test_a_malformed_order_is_named(products: Caller, damage: object) -> None:
    lamp = await make_variant(products, 5)
    order = wish((lamp, 1))
    batch = [wish((lamp, 1)), order]
    if damage == "twice":
        batch.append(order)
    elif damage == "zero":
        order["lines"][0]["quantity"] = 0
    elif isinstance(damage, dict):
        order.update(damage)
    with pytest.raises(ValueInvalid, match=str(order["order_id"])):
        await products.call("reserve_stock", batch)
    assert await stock_of(products, lamp) == (5, 0)


async def test_twenty_clients_at_once_neither_oversell_nor_deadlock(products: Caller) -> None:
    random = Random(7)  # noqa: S311
    variants = [await make_variant(products, 25) for _ in range(6)]

    def basket() -> dict[str, object]:
        chosen = random.sample(variants, 3)
        return wish(*((variant, random.randint(1, 2)) for variant in chosen))

    async def buy(batch: list[dict[str, object]], end: float) -> int:
        states = await reserve(products, *batch)
        held = [order_id for order_id, state in states.items() if state == "held"]
        for order_id in held:
            await (release(products, order_id) if end < 0.3 else commit(products, order_id))
        return len(held)

    batches = [[basket() for _ in range(4)] for _ in range(40)]
    results = await together(buy(batch, random.random()) for batch in batches)
    assert [error for error in results if isinstance(error, BaseException)] == []
    sold = [await stock_of(products, variant) for variant in variants]
    assert all(on_hand >= 0 and reserved == 0 for on_hand, reserved in sold)
    await verify_books(products)


async def test_the_last_piece_is_sold_exactly_once(products: Caller) -> None:
    lamp = await make_variant(products, 20)
    results = await together(reserve(products, wish((lamp, 1))) for _ in range(40))
    states = [state for result in results if isinstance(result, dict) for state in result.values()]
    assert (states.count("held"), states.count("refused")) == (20, 20)
    assert await stock_of(products, lamp) == (20, 20)


async def test_a_race_of_reserving_releasing_and_committing_one_order_has_one_end(
    products: Caller,
) -> None:
    lamp = await make_variant(products, 100)
    orders = [wish((lamp, 1)) for _ in range(10)]
    calls = [
        call
        for order in orders
        for call in (
            reserve(products, order),
            release(products, order["order_id"]),
            reserve(products, order),
            commit(products, order["order_id"]),
        )
    ]
    results = await together(calls)
    assert [error for error in results if isinstance(error, DeadlockDetected)] == []
    assert [error for error in results if isinstance(error, BaseException)] == []
    ends = await products.fetch(
        "select state from stock_reservations where order_id = any($1)",
        [order["order_id"] for order in orders],
    )
    assert {row["state"] for row in ends} <= {"released", "committed"}
    await verify_books(products)


async def test_the_ledger_is_never_rewritten(products: Caller) -> None:
    await make_variant(products, 5)
    for statement in (
        "update inventory_movements set quantity = 50",
        "delete from inventory_movements",
    ):
        with pytest.raises(CheckViolated):
            await products.execute(statement)


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
