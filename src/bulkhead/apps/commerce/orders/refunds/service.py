"""Use cases of refunds in the orders database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError, Conflict, NotFound

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

DUE_AFTER_S = 5.0


class NotRefundable(Conflict):
    """Order {order_id} has not been paid that much, or it went back before."""

    code = "not_refundable"


async def request_refund(
    tx: Transaction,
    order_id: UUID,
    request_key: str,
    *,
    amount: Decimal | None,
    reason: str,
    requested_by: UUID | None,
) -> UUID:
    """Ask for `amount`, or all that is left, to go back; return the refund's id.

    Repeatable: the same request key is the same refund. Raises NotRefundable.
    """
    wish = {
        "order_id": str(order_id),
        "request_key": request_key,
        "amount": None if amount is None else str(amount),
        "reason": reason,
        "requested_by": None if requested_by is None else str(requested_by),
    }
    row = await tx.fetchrow(QUERIES.request_refund, json.dumps([wish]))
    if row is None or row["code"] != "refunding":
        raise NotRefundable(order_id=order_id)
    refund_id: UUID = row["refund_id"]
    return refund_id


async def get_refunds(db: Transaction, refunds: Sequence[UUID]) -> list[Any | BulkheadError]:
    """What the payment company must know of refunds, in their order."""
    rows = {row["id"]: row for row in await db.fetch(QUERIES.list_refunds, list(refunds))}
    return [
        {
            "refund_id": str(refund_id),
            "order_id": str(rows[refund_id]["order_id"]),
            "charge_key": rows[refund_id]["idempotency_key"],
            "amount": str(rows[refund_id]["amount"]),
            "currency": rows[refund_id]["currency"],
        }
        if refund_id in rows
        else NotFound(what=f"Refund {refund_id}")
        for refund_id in refunds
    ]


async def settle_refunds(
    tx: Transaction, reports: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Note what became of refunds: `{refund_id, state, provider_ref}`; repeatable."""
    await tx.execute(QUERIES.settle_refunds, json.dumps(list(reports)))
    return reports


async def list_due_refunds(db: Transaction, limit: int) -> list[UUID]:
    """Refunds that were asked for a while ago and that nobody has carried out."""
    return [row["id"] for row in await db.fetch(QUERIES.list_due, DUE_AFTER_S, limit)]
