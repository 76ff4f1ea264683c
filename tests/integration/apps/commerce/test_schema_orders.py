"""The orders database: paid once, refunds within payments."""

import json
from uuid import UUID

import pytest
from tests.integration.apps.commerce.schema_shop import (
    STAFF,
    Caller,
    Draft,
    cancel,
    open_order,
    pay_order,
    read,
    settle,
    together,
)

from bulkhead.engine.connections.claims import ANON, user
from bulkhead.engine.drivers.errors import CheckViolated, PermissionDenied, ValueInvalid
from bulkhead.engine.ids import new_id


async def test_an_order_is_opened_once(orders: Caller) -> None:
    draft = Draft()
    (first,) = await orders.call("open_orders", [draft.to_json()])
    (again,) = await orders.call("open_orders", [draft.to_json()])
    assert (first["state"], again["state"]) == ("opened", "exists")
    summary = json.loads(first["summary"])
    assert summary == json.loads(again["summary"])
    assert summary["state"] == "pending"
    assert summary["total"] == "20.00"
    assert summary["idempotency_key"] == f"{draft.order_id}-1"
    assert summary["request_hash"] == "hash"


async def test_the_same_order_from_two_clients_at_once_is_opened_once(orders: Caller) -> None:
    draft = Draft()
    results = await together(orders.call("open_orders", [draft.to_json()]) for _ in range(10))
    states = [row["state"] for rows in results if isinstance(rows, list) for row in rows]
    assert sorted(states) == ["exists"] * 9 + ["opened"]


async def test_order_numbers_are_readable_and_differ(orders: Caller) -> None:
    drafts = [Draft() for _ in range(20)]
    await orders.call("open_orders", [draft.to_json() for draft in drafts])
    numbers = {await read(orders, draft, "order_number") for draft in drafts}
    assert len(numbers) == 20
    assert all(len(number) == 12 and number[0] == "A" for number in numbers)


@pytest.mark.parametrize(
    "damage",
    [
        {"items_total": "19.00", "total": "19.00"},
        {"items": []},
        {"items": None},
        {"total": "20.001", "tax_total": "0.001"},
        {"user_id": None},
    ],
)
async def test_an_order_that_does_not_add_up_is_named(
    orders: Caller, damage: dict[str, object]
) -> None:
    draft, other = Draft(more=damage), Draft()
    with pytest.raises(ValueInvalid, match=str(draft.order_id)):
        await orders.call("open_orders", [other.to_json(), draft.to_json()])
    assert await read(orders, other) is None


async def test_the_total_of_an_order_is_what_its_parts_make(orders: Caller) -> None:
    with pytest.raises(CheckViolated) as refusal:
        await orders.call("open_orders", [Draft(more={"tax_total": "3.80"}).to_json()])
    assert refusal.value.constraint == "orders_total_adds_up"


async def test_money_is_never_nan(orders: Caller) -> None:
    with pytest.raises(CheckViolated):
        await orders.value("select 'NaN'::public.money_amount")


async def test_a_payment_confirms_once_whoever_reports_it(orders: Caller) -> None:
    draft = await open_order(orders)
    results = await together(settle(orders, draft.report()) for _ in range(10))
    rows = [row for row in results if isinstance(row, dict)]
    assert [row["state"] for row in rows] == ["confirmed"] * 10
    assert sum(row["changed"] for row in rows) == 1
    paid = await orders.fetch("select amount from payments where order_id = $1", draft.order_id)
    assert [str(row["amount"]) for row in paid] == ["20.00"]
    assert await read(orders, draft, "confirmed_at") is not None


async def test_a_declined_payment_leaves_the_order_open_for_another(orders: Caller) -> None:
    draft = await open_order(orders)
    row = await settle(orders, draft.report("declined", decline_code="no_funds"))
    assert (row["state"], row["attempt_state"]) == ("pending", "declined")
    ask = [{"order_id": draft.order_id, "provider": "local", "max_attempts": 2}]
    (started,) = await orders.call("start_attempts", ask)
    assert (started["code"], started["attempt_no"]) == ("started", 2)
    assert started["idempotency_key"] == f"{draft.order_id}-2"
    (busy,) = await orders.call("start_attempts", ask)
    assert busy["code"] == "in_flight"
    await settle(orders, draft.report("declined", 2))
    assert (await orders.call("start_attempts", ask))[0]["code"] == "too_many"


async def test_an_unknown_payment_is_settled_later(orders: Caller) -> None:
    draft = await open_order(orders)
    assert (await settle(orders, draft.report("unknown")))["attempt_state"] == "unknown"
    assert not (await settle(orders, draft.report("unknown")))["changed"]
    assert (await settle(orders, draft.report()))["state"] == "confirmed"


@pytest.mark.parametrize("wrong", [{"amount": "19.99"}, {"amount": "20.001"}, {"currency": "USD"}])
async def test_another_amount_than_asked_for_opens_a_ticket(
    orders: Caller, wrong: dict[str, str]
) -> None:
    draft = await open_order(orders)
    for _ in range(2):
        row = await settle(orders, draft.report() | wrong)
        assert (row["state"], row["attempt_state"]) == ("pending", "mismatch")
    tickets = await orders.fetch(
        "select opened_by from support_tickets where order_id = $1", draft.order_id
    )
    assert tickets == [{"opened_by": "system"}]


async def test_a_second_payment_of_one_order_is_never_booked(orders: Caller) -> None:
    draft = await open_order(orders)
    await settle(orders, draft.report("declined"))
    await orders.call("start_attempts", [{"order_id": draft.order_id, "provider": "local"}])
    await settle(orders, draft.report("succeeded", 2))
    row = await settle(orders, draft.report("succeeded", 1))
    assert (row["state"], row["attempt_state"]) == ("confirmed", "declined")
    sql = "select count(*) from support_tickets where order_id = $1"
    assert await orders.value(sql, draft.order_id) == 1


async def test_a_payment_that_comes_too_late_goes_back(orders: Caller) -> None:
    draft = await open_order(orders)
    assert (await cancel(orders, draft))["state"] == "cancelled"
    for changed in (True, False):
        row = await settle(orders, draft.report())
        assert (row["state"], row["changed"]) == ("cancelled", changed)
        assert row["refund_id"] is not None
    refunds = await orders.fetch("select amount from refunds where order_id = $1", draft.order_id)
    assert [str(row["amount"]) for row in refunds] == ["20.00"]


async def test_a_report_for_an_attempt_that_is_not_there_is_named(orders: Caller) -> None:
    draft = await open_order(orders)
    with pytest.raises(ValueInvalid, match=str(draft.order_id)):
        await settle(orders, draft.report(attempt_no=2))


async def test_cancelling_a_paid_order_asks_for_its_money_back_once(orders: Caller) -> None:
    draft = await pay_order(orders)
    assert (await cancel(orders, draft, "rejected"))["state"] == "confirmed"
    row = await cancel(orders, draft)
    assert (row["state_before"], row["changed"]) == ("confirmed", True)
    assert str(row["refund_amount"]) == "20.00"
    again = await cancel(orders, draft)
    assert (again["changed"], again["refund_id"]) == (False, row["refund_id"])


async def test_an_order_that_was_sent_is_not_cancelled(orders: Caller) -> None:
    draft = await pay_order(orders)
    await orders.execute("update orders set state = 'shipped' where id = $1", draft.order_id)
    row = await cancel(orders, draft)
    assert (row["state"], row["changed"]) == ("shipped", False)
    assert (await cancel(orders, Draft()))["state"] == "missing"


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'delivered'", "orders_edges"),
        ("total = 0, items_total = 0", "orders_keep_amounts"),
        ("user_id = gen_random_uuid()", "orders_keep_user"),
    ],
)
async def test_an_order_changes_only_along_its_edges(
    orders: Caller, change: str, constraint: str
) -> None:
    draft = await open_order(orders)
    with pytest.raises(CheckViolated) as refusal:
        await orders.execute(f"update orders set {change} where id = $1", draft.order_id)
    assert refusal.value.constraint == constraint


async def test_refunds_never_exceed_what_was_captured(orders: Caller) -> None:
    draft = await pay_order(orders)

    def ask(key: str, amount: str | None) -> dict[str, object]:
        return {"order_id": draft.order_id, "request_key": key, "amount": amount}

    results = await together(
        orders.call("request_refunds", [ask(f"part {number}", "3.00")]) for number in range(20)
    )
    codes = [row["code"] for rows in results if isinstance(rows, list) for row in rows]
    assert codes.count("refunding") == 6
    assert codes.count("not_refundable") == 14
    (rest,) = await orders.call("request_refunds", [ask("rest", None)])
    assert str(rest["amount"]) == "2.00"
    (again,) = await orders.call("request_refunds", [ask("rest", None)])
    assert again == rest
    await orders.execute("update refunds set state = 'failed' where id = $1", rest["refund_id"])
    (other,) = await orders.call("request_refunds", [ask("other", "2.00")])
    assert other["code"] == "refunding"
    with pytest.raises(CheckViolated) as refusal:
        await orders.execute(
            "insert into refunds (order_id, payment_id, request_key, amount, currency)"
            " select order_id, id, 'direct', 0.01, currency from payments where order_id = $1",
            draft.order_id,
        )
    assert refusal.value.constraint == "payments_refunded"


async def send(orders: Caller, draft: Draft) -> UUID:
    await orders.execute("update orders set state = 'shipped' where id = $1", draft.order_id)
    shipment = new_id()
    await orders.execute(
        "insert into shipments (id, order_id, carrier) values ($1, $2, 'post')",
        shipment,
        draft.order_id,
    )
    return shipment


async def test_a_late_event_does_not_move_a_parcel_backwards(orders: Caller) -> None:
    draft = await pay_order(orders)
    shipment = await send(orders, draft)
    insert = (
        "insert into shipping_events (shipment_id, order_id, carrier_event_id, state, occurred_at)"
        " values ($1, $2, $3, $3, $4::text::timestamptz) on conflict do nothing"
    )
    for state, day in (
        ("in_transit", "2026-01-02"),
        ("delivered", "2026-01-04"),
        ("out_for_delivery", "2026-01-03"),
        ("shipped", "2026-01-01"),
        ("delivered", "2026-01-05"),
    ):
        await orders.execute(insert, shipment, draft.order_id, state, day)
    (row,) = await orders.fetch(
        "select state, shipped_at::date::text as shipped, delivered_at::date::text as delivered"
        " from shipments where id = $1",
        shipment,
    )
    assert row == {"state": "delivered", "shipped": "2026-01-01", "delivered": "2026-01-04"}


RETURN = (
    "insert into returns (order_id, line_number, quantity, reason) values ($1, 1, $2, 'damaged')"
)


async def test_a_customer_sends_back_what_was_bought_and_no_more(orders: Caller) -> None:
    customer = new_id()
    draft = await pay_order(orders, Draft(customer, quantity=3))
    owner = orders.acting_for(user(customer))
    with pytest.raises(PermissionDenied):
        await owner.execute(RETURN, draft.order_id, 1)
    await send(orders, draft)
    results = await together(owner.execute(RETURN, draft.order_id, 1) for _ in range(6))
    refusals = [error for error in results if isinstance(error, CheckViolated)]
    assert [error.constraint for error in refusals] == ["order_items_returned"] * 3
    with pytest.raises(PermissionDenied):
        await orders.acting_for(user(new_id())).execute(RETURN, draft.order_id, 1)
    with pytest.raises(PermissionDenied):
        await owner.execute("update returns set state = 'approved'")
    await orders.execute("update returns set state = 'refused' where order_id = $1", draft.order_id)
    await owner.execute(RETURN, draft.order_id, 3)


async def test_a_customer_opens_tickets_about_own_orders_only(orders: Caller) -> None:
    customer = new_id()
    mine, other = await open_order(orders, Draft(customer)), await open_order(orders)
    owner = orders.acting_for(user(customer))
    insert = "insert into support_tickets (order_id, subject, body) values ($1, 'Late', 'Where?')"
    await owner.execute(insert, mine.order_id)
    await owner.execute(insert, None)
    with pytest.raises(PermissionDenied):
        await owner.execute(insert, other.order_id)
    with pytest.raises(PermissionDenied):
        await owner.execute(
            "insert into support_tickets (subject, body, priority) values ('x', 'y', 'high')"
        )
    assert await owner.execute("update support_tickets set state = 'resolved'") == "UPDATE 0"
    mine_sql = "select id from support_tickets where user_id = $1"
    assert len(await owner.fetch(mine_sql, customer)) == 2
    staff = orders.acting_for(STAFF)
    resolve = "update support_tickets set state = 'resolved' where user_id = $1"
    assert await staff.execute(resolve, customer) == "UPDATE 2"


OWNED = ["orders", "order_items", "payments", "payment_attempts", "refunds", "shipments"]


@pytest.mark.parametrize("table", OWNED)
async def test_an_order_and_all_about_it_is_seen_by_its_customer_and_staff_alone(
    orders: Caller, table: str
) -> None:
    customer = new_id()
    draft = await pay_order(orders, Draft(customer))
    await send(orders, draft)
    refund = {"order_id": draft.order_id, "request_key": "part", "amount": "1.00"}
    await orders.call("request_refunds", [refund])
    key = "id" if table == "orders" else "order_id"
    sql = f"select count(*) from {table} where {key} = $1"
    for claims, expected in ((user(customer), 1), (STAFF, 1), (user(new_id()), 0)):
        assert await orders.acting_for(claims).value(sql, draft.order_id) == expected
    with pytest.raises(PermissionDenied):
        await orders.acting_for(ANON).value(sql, draft.order_id)
    for write in (f"delete from {table}", f"update {table} set {key} = {key}"):
        for claims in (user(customer), STAFF):
            with pytest.raises(PermissionDenied):
                await orders.acting_for(claims).execute(write)


async def test_only_the_service_calls_what_changes_orders(orders: Caller) -> None:
    functions = await orders.fetch(
        "select p.oid::regprocedure::text as name from pg_proc p"
        " where p.pronamespace = 'private'::regnamespace"
        " and has_function_privilege('authenticated', p.oid, 'execute')"
    )
    assert [row["name"] for row in functions] == ["private.is_staff()"]
