"""Changes that touch more than one database, or the payment company besides.

Placing an order: the order is written in `orders` while its stock is held in `products`; only when
both are durable is the customer charged; confirmation and its events are one commit in `orders`,
and the relay carries them to `products` and `users`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.commerce.orders.checkout.model import DEADLINE_S, HOLD_S
from bulkhead.apps.commerce.orders.checkout.service import (
    cancel_orders,
    open_orders,
    settle_orders,
    start_attempts,
    void_attempts,
)
from bulkhead.apps.commerce.orders.refunds.service import get_refunds, settle_refunds
from bulkhead.apps.commerce.products.inventory.model import Hold, Line
from bulkhead.apps.commerce.products.inventory.service import release_stock, reserve_stock
from bulkhead.capabilities.payments.provider import (
    Charge,
    ChargeResult,
    ChargeState,
    PaymentProvider,
    RefundState,
)
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.messaging.saga import (
    Absent,
    DatabaseStep,
    Done,
    ExternalStep,
    Json,
    Refused,
    Reply,
    Saga,
    StepItem,
    Unknown,
)

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

PLACE_ORDER = "place_order"
PAY_ORDER = "pay_order"
REFUND_PAYMENT = "refund_payment"

STOCK_REASONS = frozenset({"stock_exhausted", "reservation_closed"})


class ChargeDeclined(Conflict):
    """The payment company declined: {decline_code}."""

    code = "charge_declined"
    status = 402


class RefundDeclined(Conflict):
    """The payment company declined the refund: {decline_code}."""

    code = "refund_declined"


def build_sagas(provider: PaymentProvider) -> tuple[Saga, ...]:
    """The sagas of the application, charging through `provider`."""
    charging = Charging(provider)
    charge = ExternalStep(
        "charge",
        charging.charge,
        charging.settle,
        charging.take_back,
        timeout_s=6.0,
        compensate_on_refusal=False,
    )
    settle = DatabaseStep("settle", "orders", _settle)
    place_order = Saga(
        PLACE_ORDER,
        (
            (
                DatabaseStep("open_order", "orders", _open_order, _end_order),
                DatabaseStep("reserve_stock", "products", _reserve_stock, _release_stock),
            ),
            (charge,),
            (settle,),
        ),
        pivot="charge",
        answer=lambda item: item.outputs["settle"],
    )
    pay_order = Saga(
        PAY_ORDER,
        (
            (DatabaseStep("start_attempt", "orders", _start_attempt, _void_attempt),),
            (charge,),
            (settle,),
        ),
        pivot="charge",
        answer=lambda item: item.outputs["settle"],
    )
    refund_payment = Saga(
        REFUND_PAYMENT,
        (
            (DatabaseStep("load_refund", "orders", _load_refund),),
            (
                ExternalStep(
                    "refund", charging.refund, charging.refund, compensate_on_refusal=False
                ),
            ),
            (DatabaseStep("settle_refund", "orders", _settle_refund),),
        ),
        pivot="refund",
        answer=lambda item: item.outputs["settle_refund"],
        deadline_s=86_400,
    )
    return place_order, pay_order, refund_payment


@dataclass(frozen=True, slots=True)
class Charging:
    """The calls to the payment company, each under a key that was stored before."""

    provider: PaymentProvider

    async def charge(self, _: str, item: StepItem) -> Reply:
        """Charge the customer's card for the attempt that was begun."""
        attempt = _attempt(item)
        source = item.transient.get("source")
        if not isinstance(source, str):
            return await self.settle(_, item)
        amount = Decimal(attempt["total"])
        if not amount:
            return _free(attempt)
        result = await self.provider.charge(
            attempt["idempotency_key"],
            amount,
            attempt["currency"],
            source,
            {"order_id": _order_id(item)},
        )
        return _charge_reply(result, attempt)

    async def settle(self, _: str, item: StepItem) -> Reply:
        """Ask what became of the attempt's key; when nothing did, nothing ever will."""
        attempt = _attempt(item)
        if not Decimal(attempt["total"]):
            return _free(attempt)
        charge = await self.provider.close_key(attempt["idempotency_key"])
        if charge is None:
            return Absent()
        return _charge_reply(charge, attempt)

    async def take_back(self, _: str, item: StepItem) -> Reply:
        """Make sure that the attempt's key ends up with nothing charged."""
        if not {"open_order", "start_attempt"} & item.outputs.keys():
            return Absent()
        key = _attempt(item)["idempotency_key"]
        charge = await self.provider.close_key(key)
        if charge is None or charge.state is ChargeState.DECLINED:
            return Absent()
        if charge.state is ChargeState.PENDING:
            return Unknown()
        if not (left := charge.amount - charge.refunded):
            return Done(None)
        refund = await self.provider.refund(f"{key}-undo", key, left)
        return Done(None) if refund.state is RefundState.SUCCEEDED else Unknown()

    async def refund(self, _: str, item: StepItem) -> Reply:
        """Give money back; the same refund id is the same refund, so that asking is repeating."""
        refund = item.outputs["load_refund"]
        result = await self.provider.refund(
            refund["refund_id"], refund["charge_key"], Decimal(refund["amount"])
        )
        if result.state is RefundState.DECLINED:
            return Refused(RefundDeclined(decline_code=result.code or "declined"))
        return Done({"provider_ref": result.provider_ref})


async def _open_order(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return await open_orders(tx, [item.input for item in items])


async def _end_order(tx: Transaction, items: Sequence[StepItem]) -> None:
    for item in items:
        code = str((item.error or {}).get("code", ""))
        state = "rejected" if code in STOCK_REASONS else "cancelled"
        await cancel_orders(tx, [item.saga_id], reason=code, state=state)
    await void_attempts(tx, [(item.saga_id, _attempt(item)["attempt_no"]) for item in items])


async def _reserve_stock(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return await reserve_stock(tx, [_hold(item) for item in items])


async def _release_stock(tx: Transaction, items: Sequence[StepItem]) -> None:
    await release_stock(tx, [item.saga_id for item in items])


async def _start_attempt(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return await start_attempts(tx, [item.input for item in items])


async def _void_attempt(tx: Transaction, items: Sequence[StepItem]) -> None:
    attempts = [(UUID(_order_id(item)), _attempt(item)["attempt_no"]) for item in items]
    await void_attempts(tx, attempts)


async def _settle(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return list(await settle_orders(tx, [_report(item) for item in items]))


async def _load_refund(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return await get_refunds(tx, [UUID(item.input["refund_id"]) for item in items])


async def _settle_refund(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return list(await settle_refunds(tx, [_refund_report(item) for item in items]))


def _order_id(item: StepItem) -> str:
    return str(item.input.get("id") or item.input["order_id"])


def _attempt(item: StepItem) -> dict[str, Any]:
    attempt: dict[str, Any] = item.outputs.get("open_order") or item.outputs["start_attempt"]
    return attempt


def _hold(item: StepItem) -> Hold:
    lines = tuple(Line(UUID(i["variant_id"]), i["quantity"]) for i in item.input["items"])
    return Hold(item.saga_id, lines, HOLD_S)


def _free(attempt: dict[str, Any]) -> Reply:
    """An order that costs nothing is paid for without asking anybody."""
    reference = f"free-{attempt['idempotency_key']}"
    return Done({"provider_ref": reference, "amount": "0.00", "currency": attempt["currency"]})


def _charge_reply(charge: ChargeResult | Charge, attempt: dict[str, Any]) -> Reply:
    match charge.state:
        case ChargeState.SUCCEEDED:
            amount = charge.amount if isinstance(charge, Charge) else attempt["total"]
            currency = charge.currency if isinstance(charge, Charge) else attempt["currency"]
            return Done(
                {
                    "provider_ref": charge.provider_ref,
                    "amount": str(amount),
                    "currency": currency,
                }
            )
        case ChargeState.DECLINED:
            return Refused(ChargeDeclined(decline_code=charge.code or "declined"))
        case ChargeState.PENDING:
            return Unknown()


def _report(item: StepItem) -> dict[str, Any]:
    """What the charge's outcome says to the orders database."""
    charge = item.outputs["charge"]
    report: dict[str, Any] = {
        "order_id": _order_id(item),
        "attempt_no": _attempt(item)["attempt_no"],
    }
    if "items" in item.input:
        report["variants"] = [line["variant_id"] for line in item.input["items"]]
    if "refused" in charge:
        details = charge["refused"].get("details", {})
        return {**report, "outcome": "declined", "decline_code": details.get("decline_code")}
    return {**report, "outcome": "succeeded", **charge}


def _refund_report(item: StepItem) -> dict[str, Any]:
    refund = item.outputs["refund"]
    return {
        "refund_id": item.input["refund_id"],
        "state": "failed" if "refused" in refund else "succeeded",
        "provider_ref": refund.get("provider_ref"),
    }


assert DEADLINE_S < HOLD_S, "an order must not outlive its hold on stock"
