"""The orders database: coupons are used within their limits, and given back."""

import json
from dataclasses import replace
from uuid import UUID

import pytest
from tests.integration.apps.commerce.schema_shop import (
    STAFF,
    Caller,
    Draft,
    cancel,
    open_order,
    read,
    settle,
    together,
)

from bulkhead.engine.connections.claims import user
from bulkhead.engine.drivers.errors import PermissionDenied
from bulkhead.engine.ids import new_id


async def make_coupon(orders: Caller, **more: object) -> UUID:
    coupon = new_id()
    columns = {"id": coupon, "code": f"C{coupon.hex}", "kind": "free_shipping", **more}
    names = ", ".join(columns)
    await orders.execute(
        f"insert into coupons ({names}) select {names} from jsonb_populate_record("
        "jsonb_populate_record(null::coupons, '{\"min_total\": 0}'), $1::jsonb)",
        json.dumps(columns, default=str),
    )
    return coupon


async def counts(orders: Caller, coupon: UUID) -> tuple[int, int]:
    (row,) = await orders.fetch("select held_count, used_count from coupons where id = $1", coupon)
    return row["held_count"], row["used_count"]


async def test_a_coupon_is_never_claimed_above_its_limit(orders: Caller) -> None:
    coupon = await make_coupon(orders, total_limit=10)
    batches = [[Draft(more={"coupon_id": coupon}).to_json() for _ in range(2)] for _ in range(20)]
    results = await together(orders.call("open_orders", batch) for batch in batches)
    assert [error for error in results if isinstance(error, BaseException)] == []
    rows = [row for batch in results if isinstance(batch, list) for row in batch]
    assert [row["code"] for row in rows if row["state"] == "refused"] == ["coupon_exhausted"] * 30
    assert await counts(orders, coupon) == (10, 0)


async def test_a_user_gets_no_more_than_the_slots_of_a_coupon(orders: Caller) -> None:
    coupon, customer = await make_coupon(orders, per_user_limit=2), new_id()
    drafts = [Draft(customer, more={"coupon_id": coupon}) for _ in range(6)]
    results = await together(orders.call("open_orders", [draft.to_json()]) for draft in drafts)
    codes = [row["code"] for rows in results if isinstance(rows, list) for row in rows]
    assert sorted(codes, key=str) == [None, None] + ["coupon_used"] * 4
    other = await open_order(orders, Draft(more={"coupon_id": coupon}))
    assert await counts(orders, coupon) == (3, 0)
    assert await read(orders, other) == "pending"


async def test_guests_with_one_address_share_the_slots_of_a_coupon(orders: Caller) -> None:
    coupon = await make_coupon(orders, per_user_limit=1)
    more = {"coupon_id": coupon, "coupon_user_key": "guest@example.com"}
    rows = await orders.call("open_orders", [Draft(more=more).to_json() for _ in range(2)])
    assert sorted(row["code"] or "" for row in rows) == ["", "coupon_used"]


@pytest.mark.parametrize(
    "terms",
    [
        {"disabled_at": "2026-01-01"},
        {"starts_at": "2999-01-01"},
        {"starts_at": "2001-01-01", "ends_at": "2002-01-01"},
        {"min_total": "20.01"},
        {"kind": "amount", "value": "5", "currency": "USD"},
    ],
)
async def test_an_order_whose_coupon_does_not_hold_is_not_written(
    orders: Caller, terms: dict[str, object]
) -> None:
    coupon = await make_coupon(orders, **terms)
    refused, opened = Draft(more={"coupon_id": coupon}), Draft()
    rows = await orders.call("open_orders", [refused.to_json(), opened.to_json()])
    assert {row["order_id"]: row["code"] for row in rows} == {
        refused.order_id: "coupon_invalid",
        opened.order_id: None,
    }
    assert await read(orders, refused) is None
    assert await counts(orders, coupon) == (0, 0)


async def test_a_coupon_is_used_when_paid_and_given_back_when_cancelled(orders: Caller) -> None:
    coupon, customer = await make_coupon(orders, per_user_limit=1, total_limit=1), new_id()
    draft = await open_order(orders, Draft(customer, more={"coupon_id": coupon}))
    assert await counts(orders, coupon) == (1, 0)
    await settle(orders, draft.report())
    assert await counts(orders, coupon) == (0, 1)
    await cancel(orders, draft)
    assert await counts(orders, coupon) == (0, 0)
    again = await open_order(orders, Draft(customer, more={"coupon_id": coupon}))
    await cancel(orders, again, "rejected")
    assert await counts(orders, coupon) == (0, 0)


async def test_coupons_are_read_and_made_by_staff_alone(orders: Caller) -> None:
    coupon = await make_coupon(orders)
    sql = "select code from coupons where id = $1"
    assert await orders.acting_for(user(new_id())).fetch(sql, coupon) == []
    staff = orders.acting_for(STAFF)
    assert len(await staff.fetch(sql, coupon)) == 1
    await staff.execute("update coupons set total_limit = 5 where id = $1", coupon)
    with pytest.raises(PermissionDenied):
        await staff.execute("update coupons set used_count = 0 where id = $1", coupon)


async def test_twenty_checkouts_at_once_do_not_deadlock(orders: Caller) -> None:
    coupons = [await make_coupon(orders, total_limit=1000) for _ in range(3)]

    async def check_out(number: int) -> None:
        drafts = [
            replace(Draft(), more={"coupon_id": coupons[(number + turn) % 3]}) for turn in range(4)
        ]
        await orders.call("open_orders", [draft.to_json() for draft in drafts])
        await orders.call("settle_orders", [draft.report() for draft in reversed(drafts)])
        await orders.call("cancel_orders", [{"order_id": draft.order_id} for draft in drafts[:2]])

    results = await together(check_out(number) for number in range(40))
    assert [error for error in results if error is not None] == []
    held = [await counts(orders, coupon) for coupon in coupons]
    assert sum(held for held, _ in held) == 0
    assert sum(used for _, used in held) == 80
    wrong = await orders.fetch(
        "select c.id from coupons c where (c.held_count, c.used_count) <> (select"
        " count(*) filter (where u.state = 'held'), count(*) filter (where u.state = 'used')"
        " from coupon_usage u where u.coupon_id = c.id)"
    )
    assert wrong == []
