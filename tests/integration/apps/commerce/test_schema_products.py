"""The products database: stock that is never sold twice, and who may touch what."""

from random import Random
from uuid import UUID

import pytest
from tests.integration.apps.commerce.schema_shop import (
    Caller,
    make_variant,
    receipt,
    together,
    wish,
)

from bulkhead.engine.drivers.errors import (
    CheckViolated,
    DeadlockDetected,
    ValueInvalid,
)
from bulkhead.engine.ids import new_id


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
