"""Use cases of the payment company's events in the orders database."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.apps.commerce.orders.checkout.service import settle_orders
from bulkhead.apps.commerce.orders.refunds.service import settle_refunds
from bulkhead.capabilities.payments.provider import EventType, PaymentEvent
from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

_ATTEMPT_KEY = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d{1,2})")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an event has led to: `settled`, `duplicate`, `unchanged` or `unmatched`."""

    outcome: str
    refund_id: UUID | None = None
    """A refund that the event made necessary: the order had ended before it was charged."""


async def receive_event(tx: Transaction, event: PaymentEvent) -> Receipt:
    """Take in an event with all that follows from it in this database, in one transaction.

    Repeatable and in any order: the event's id is noted in the same transaction.
    """
    order_id, attempt_no = _parse_key(event.charge_key)
    outcome = await _receive(tx, event, order_id, attempt_no)
    if outcome != "open":
        return Receipt(outcome)
    if event.type is EventType.REFUND_SUCCEEDED:
        receipt = await _settle_refund(tx, event)
    else:
        assert order_id is not None and attempt_no is not None, "an attempt was found"  # noqa: PT018
        receipt = await _settle_attempt(tx, event, order_id, attempt_no)
    await tx.execute(QUERIES.note_outcome, event.provider, event.id, receipt.outcome)
    return receipt


async def _receive(
    tx: Transaction, event: PaymentEvent, order_id: UUID | None, attempt_no: int | None
) -> str:
    """Note the event; `open` means that something is left to do."""
    payload = {
        "charge_key": event.charge_key,
        "refund_key": event.refund_key,
        "amount": str(event.amount),
        "currency": event.currency,
        "provider_ref": event.provider_ref,
        "sequence": event.sequence,
    }
    outcome: str | None = await tx.fetchval(
        QUERIES.receive_event,
        event.provider,
        event.id,
        event.type.value,
        order_id,
        attempt_no,
        event.amount,
        event.currency,
        json.dumps(payload),
    )
    return outcome or "duplicate"


def _parse_key(key: str) -> tuple[UUID | None, int | None]:
    match = _ATTEMPT_KEY.fullmatch(key)
    return (None, None) if match is None else (UUID(match[1]), int(match[2]))


async def _settle_attempt(
    tx: Transaction, event: PaymentEvent, order_id: UUID, attempt_no: int
) -> Receipt:
    succeeded = event.type is EventType.PAYMENT_SUCCEEDED
    report = {
        "order_id": str(order_id),
        "attempt_no": attempt_no,
        "outcome": "succeeded" if succeeded else "declined",
        "provider_ref": event.provider_ref,
        "amount": str(event.amount),
        "currency": event.currency,
        "decline_code": event.code,
    }
    [settled] = await settle_orders(tx, [report])
    refund_id = UUID(settled["refund_id"]) if settled["refund_id"] else None
    return Receipt("settled" if settled["changed"] else "unchanged", refund_id)


async def _settle_refund(tx: Transaction, event: PaymentEvent) -> Receipt:
    key = event.refund_key or ""
    if not _UUID.fullmatch(key):
        return Receipt("unmatched")
    report = {"refund_id": key, "state": "succeeded", "provider_ref": event.provider_ref}
    await settle_refunds(tx, [report])
    return Receipt("settled")
