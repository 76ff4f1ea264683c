"""Use cases of a checkout in the orders database; each works on many orders in one statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.commerce.events import OrderCancelled, OrderConfirmed
from bulkhead.apps.commerce.orders.checkout.model import ATTEMPTS_MAX
from bulkhead.apps.commerce.orders.pricing.model import COUPON_REASONS, Coupon, CouponRefused
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.messaging.outbox import publish_all

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

Report = Mapping[str, Any]
"""What a provider says about an attempt, as `private.settle_orders` takes it; `variants` may name
those of the order where the caller knows them."""


class PaymentNotPossible(Conflict):
    """Order {order_id} cannot be paid for now: {reason}."""

    code = "payment_not_possible"


_ATTEMPT_REASONS = {
    "not_pending": "it has been paid for or has ended",
    "in_flight": "a payment is being made",
    "too_late": "its time to be paid has passed",
    "too_many": "too many payments were declined",
}


async def get_coupon(db: Transaction, code: str, currency: str) -> Coupon:
    """The coupon with this code; raises CouponRefused when it cannot be used now."""
    row = await db.fetchrow(QUERIES.find_coupon, code)
    if row is None or row["currency"] not in (None, currency):
        raise CouponRefused(coupon_code=code, reason=COUPON_REASONS["coupon_invalid"])
    return Coupon(**dict(row))


async def open_orders(
    tx: Transaction, drafts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any] | BulkheadError]:
    """Write pending orders and answer each with what its payment needs to know.

    Repeatable: an order that is there already answers with its present state.
    """
    rows = await tx.fetch(QUERIES.open_orders, json.dumps(drafts))
    answers = {str(row["order_id"]): row for row in rows}
    return [_opened(draft, answers[draft["id"]]) for draft in drafts]


async def start_attempts(
    tx: Transaction, wishes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any] | BulkheadError]:
    """Begin another payment for each of `{order_id, provider}`, and answer with its key.

    Of several wishes for one order the first is granted.
    """
    first = {wish["order_id"]: wish for wish in reversed(wishes)}
    asked = [{**wish, "max_attempts": ATTEMPTS_MAX} for wish in first.values()]
    rows = await tx.fetch(QUERIES.start_attempts, json.dumps(asked))
    answers = {str(row["order_id"]): row for row in rows}
    return [
        _started(wish["order_id"], answers.get(wish["order_id"]))
        if first[wish["order_id"]] is wish
        else PaymentNotPossible(order_id=wish["order_id"], reason=_ATTEMPT_REASONS["in_flight"])
        for wish in wishes
    ]


async def settle_orders(tx: Transaction, reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Take in what providers report; what is confirmed by it is told to the other databases.

    Repeatable, in any order: a payment counts once, and one that comes too late is given back. The
    last of the declined attempts that an order may have ends the order.
    """
    rows = await tx.fetch(QUERIES.settle_orders, json.dumps(reports))
    answers = {(str(row["order_id"]), row["attempt_no"]): _settled(row) for row in rows}
    results = [
        {**answers[r["order_id"], r["attempt_no"]], "decline_code": r.get("decline_code")}
        for r in reports
    ]
    changed = [result for result in results if result["changed"]]
    await _tell_confirmed(tx, [r for r in changed if r["attempt_state"] == "succeeded"], reports)
    given_up = [
        UUID(r["order_id"])
        for r in changed
        if r["attempt_state"] == "declined" and r["attempt_no"] >= ATTEMPTS_MAX
    ]
    for result in await cancel_orders(tx, given_up, reason="payment_refused"):
        for settled in results:
            if settled["order_id"] == result["order_id"]:
                settled["state"] = result["state"]
    return results


async def cancel_orders(
    tx: Transaction, orders: Sequence[UUID], *, reason: str, state: str = "cancelled"
) -> list[dict[str, Any]]:
    """End orders that have not been sent, tell the other databases, and ask for refunds.

    Repeatable; the answers say `changed` for those that this call ended.
    """
    if not orders:
        return []
    asked = [{"order_id": str(order), "state": state, "reason": reason} for order in orders]
    rows = await tx.fetch(QUERIES.cancel_orders, json.dumps(asked))
    results = [{**dict(row), "order_id": str(row["order_id"])} for row in rows]
    await _tell_cancelled(tx, [UUID(r["order_id"]) for r in results if r["changed"]])
    return results


async def void_attempts(tx: Transaction, attempts: Sequence[tuple[UUID, int]]) -> None:
    """Close attempts, by order and number, under whose keys nothing can be charged any more."""
    orders, numbers = [order for order, _ in attempts], [number for _, number in attempts]
    await tx.execute(QUERIES.void_attempts, orders, numbers)


async def expire_orders(tx: Transaction, limit: int) -> int:
    """Cancel orders that nobody paid for in time; return how many."""
    locked = [row["id"] for row in await tx.fetch(QUERIES.lock_overdue, limit)]
    # Asked again, because a payment may have begun between the look and the lock.
    overdue = [row["id"] for row in await tx.fetch(QUERIES.list_unpaid, locked)]
    results = await cancel_orders(tx, overdue, reason="payment_overdue")
    return sum(result["changed"] for result in results)


async def list_holding(db: Transaction, orders: Sequence[UUID]) -> set[UUID]:
    """Those of `orders` that may still need the stock they hold."""
    return {row["id"] for row in await db.fetch(QUERIES.list_holding, list(orders))}


async def _tell_confirmed(
    tx: Transaction, settled: Sequence[Mapping[str, Any]], reports: Sequence[Report]
) -> None:
    """Publish what was confirmed; a report from the checkout names the variants, others do not."""
    variants = {
        r["order_id"]: [UUID(variant) for variant in r["variants"]]
        for r in reports
        if "variants" in r
    }
    unknown = [UUID(r["order_id"]) for r in settled if r["order_id"] not in variants]
    if unknown:
        rows = await tx.fetch(QUERIES.list_variants, unknown)
        variants |= {str(row["order_id"]): list(row["variants"]) for row in rows}
    events = [
        OrderConfirmed(
            order_id=UUID(each["order_id"]),
            user_id=UUID(each["user_id"]),
            order_number=each["order_number"],
            total=Decimal(each["total"]),
            currency=each["currency"],
            variants=tuple(variants[each["order_id"]]),
        )
        for each in settled
        if each["state"] == "confirmed"
    ]
    publish_all(tx, events)


async def _tell_cancelled(tx: Transaction, orders: Sequence[UUID]) -> None:
    if not orders:
        return
    rows = await tx.fetch(QUERIES.list_cancelled, list(orders))
    events = [
        OrderCancelled(
            order_id=row["id"],
            user_id=row["user_id"],
            order_number=row["order_number"],
            reason=row["end_reason"] or "",
            was_confirmed=row["was_confirmed"],
            lines=tuple(
                (UUID(variant), quantity) for variant, quantity in json.loads(row["lines"])
            ),
        )
        for row in rows
    ]
    publish_all(tx, events)


def _opened(draft: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any] | BulkheadError:
    if row["state"] == "refused":
        return CouponRefused(coupon_code=draft["coupon_code"], reason=COUPON_REASONS[row["code"]])
    return _summary(row["summary"])


def _started(order_id: str, row: Mapping[str, Any] | None) -> dict[str, Any] | BulkheadError:
    if row is None:
        return PaymentNotPossible(order_id=order_id, reason="there is no such order")
    if row["code"] != "started":
        return PaymentNotPossible(order_id=order_id, reason=_ATTEMPT_REASONS[row["code"]])
    return {
        "order_id": order_id,
        "attempt_no": row["attempt_no"],
        "idempotency_key": row["idempotency_key"],
        "total": str(row["amount"]),
        "currency": row["currency"],
    }


def _settled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_summary(row["summary"]),
        "order_id": str(row["order_id"]),
        "attempt_no": row["attempt_no"],
        "attempt_state": row["attempt_state"],
        "state": row["state"],
        "changed": row["changed"],
        "refund_id": str(row["refund_id"]) if row["refund_id"] else None,
    }


def _summary(text: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(text)
    return summary
