"""Use cases of subscriptions: begin, change, cancel, renew, expire, and charge their periods."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.store_platform.master.audit.service import log_action
from bulkhead.apps.store_platform.master.billing.model import (
    CHARGES_MAX,
    CURRENCY,
    PLANS,
    TRIAL_DAYS,
    PaymentSourceMissing,
    Plan,
    PlanName,
    SubscribeBody,
    SubscriptionMissing,
    period_end,
    retry_after,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import NotFound
from bulkhead.engine.ids import derive_id, new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)
BATCH_MAX = 100
ASK_AGAIN = dt.timedelta(minutes=1)
FREE = SubscribeBody(plan=PlanName.FREE)


async def subscribe(
    tx: Transaction, store: UUID, body: SubscribeBody, now: dt.datetime, *, actor: UUID | None
) -> None:
    """Let a store have a plan from now on, instead of the one it has.

    Without a card the first plan that costs is tried for `TRIAL_DAYS`. Raises NotFound,
    PaymentSourceMissing.
    """
    await _lock(tx, store)
    plan = PLANS[body.plan]
    live = await tx.fetchrow(QUERIES.find_live, store)
    source = body.payment_source or (live["payment_source"] if live is not None else None)
    if _is_same(live, body):
        if body.payment_source is not None and live is not None:
            await tx.execute(QUERIES.set_source, live["id"], source)
        return
    on_trial = not plan.is_free and source is None
    if on_trial and await tx.fetchval(QUERIES.had_trial, store):
        raise PaymentSourceMissing(plan=plan.name.value)
    await tx.execute(QUERIES.end_live, store, "cancelled", None)
    await _begin(tx, store, plan, body, now, source=source, on_trial=on_trial)
    await log_action(
        tx, "store.subscribed", store=store, actor=actor, plan=plan.name.value, trial=on_trial
    )


async def cancel_subscription(
    tx: Transaction, store: UUID, now: dt.datetime, *, actor: UUID | None
) -> None:
    """Let a store go back to the free plan; raises NotFound, SubscriptionMissing."""
    await _lock(tx, store)
    live = await tx.fetchrow(QUERIES.find_live, store)
    if live is None or live["plan_name"] == PlanName.FREE:
        raise SubscriptionMissing
    await tx.execute(QUERIES.end_live, store, "cancelled", None)
    await _begin(tx, store, PLANS[PlanName.FREE], FREE, now, source=None, on_trial=False)
    await log_action(tx, "store.unsubscribed", store=store, actor=actor)


async def end_subscription(tx: Transaction, store: UUID) -> None:
    """Charge no other period of a store that is no more."""
    await tx.execute(QUERIES.end_live, store, "cancelled", None)


async def renew_ended(tx: Transaction, now: dt.datetime) -> int:
    """Let the next period of subscriptions begin; a trial without a card expires.

    Repeatable, by several at once: each subscription is locked, and a period is invoiced once.
    """
    rows = await tx.fetch(QUERIES.list_ended, now, BATCH_MAX)
    for row in rows:
        free = PLANS[PlanName(row["plan_name"])].is_free
        if row["payment_source"] is None and not free:
            reason = "trial" if _on_trial(row) else "no card"
            await expire(tx, row["store_id"], row["id"], reason=reason)
            continue
        start = row["current_period_end"]
        first = row["trial_ends_at"] or row["started_at"]
        end = period_end(start, row["billing_cycle"], day=first.day)
        await tx.execute(QUERIES.begin_period, row["id"], start, end)
        if not free:
            await _invoice(tx, row, start, end)
        if _on_trial(row):
            await tx.execute(
                QUERIES.show_subscription, row["store_id"], row["plan_name"], "active", None, start
            )
    return len(rows)


async def expire(tx: Transaction, store: UUID, subscription: UUID, *, reason: str) -> None:
    """End what a store has: it can be read, and no longer written, until it pays.

    Nothing happens when it has another subscription by now.
    """
    ended = await tx.fetchrow(QUERIES.end_live, store, "expired", subscription)
    if ended is not None:
        await tx.execute(
            QUERIES.show_subscription, store, ended["plan_name"], "expired", None, None
        )
        await log_action(tx, "store.expired", store=store, reason=reason)


async def list_due(db: Transaction, now: dt.datetime) -> Sequence[Any]:
    """Invoices that are to be charged now, with the card that pays."""
    return await db.fetch(QUERIES.list_due, now, BATCH_MAX)


async def complete_invoice(
    tx: Transaction, invoice: Mapping[str, Any], method: str, provider_ref: str | None
) -> None:
    """Note that an invoice was paid; repeatable."""
    await tx.execute(
        QUERIES.complete_invoice, invoice["id"], invoice["attempts"], method, provider_ref
    )


async def decline_invoice(
    tx: Transaction, invoice: Mapping[str, Any], code: str, now: dt.datetime
) -> None:
    """Note that a card was declined; after `CHARGES_MAX` times the subscription expires.

    Not before a card was tried that was given meanwhile. Repeatable: what was noted of the same
    attempt counts once.
    """
    attempts = invoice["attempts"]
    given_up = attempts + 1 >= CHARGES_MAX
    due_at = now + retry_after(attempts)
    if given_up:
        # Whoever gives another card has locked the store first, too.
        await tx.fetchrow(QUERIES.lock_store, invoice["store_id"])
        source = await tx.fetchval(QUERIES.find_source, invoice["subscription_id"])
        if source != invoice["payment_source"]:
            given_up, due_at = False, now
    status = await tx.execute(
        QUERIES.postpone_invoice, invoice["id"], attempts, code[:100], due_at, given_up
    )
    if given_up and status == "UPDATE 1":
        await expire(tx, invoice["store_id"], invoice["subscription_id"], reason="unpaid")


async def put_off_invoice(tx: Transaction, invoice: Mapping[str, Any], now: dt.datetime) -> None:
    """Ask later what became of an attempt, so that those that are open keep no other waiting."""
    due_at = now + ASK_AGAIN
    await tx.execute(QUERIES.put_off_invoice, invoice["id"], invoice["attempts"], due_at)


async def get_subscription(db: Transaction, store: UUID) -> dict[str, Any]:
    """What a store pays for; raises NotFound, also for a store of somebody else."""
    row = await db.fetchrow(QUERIES.find_last, store)
    if row is None:
        raise NotFound(what=f"A subscription of store {store}")
    return dict(row)


async def list_invoices(db: Transaction, store: UUID, limit: int = 100) -> list[dict[str, Any]]:
    """The invoices of a store, the newest first."""
    return [dict(row) for row in await db.fetch(QUERIES.list_invoices, store, limit)]


async def get_invoice(db: Transaction, store: UUID, invoice: UUID) -> dict[str, Any]:
    """One invoice; raises NotFound, also for one of somebody else."""
    row = await db.fetchrow(QUERIES.find_invoice, store, invoice)
    if row is None:
        raise NotFound(what=f"Invoice {invoice}")
    return dict(row)


async def _lock(tx: Transaction, store: UUID) -> None:
    """Be the only one who changes what a store pays for; raises NotFound."""
    row = await tx.fetchrow(QUERIES.lock_store, store)
    if row is None or row["deleted_at"] is not None:
        raise NotFound(what=f"Store {store}")


async def _begin(  # noqa: PLR0913
    tx: Transaction,
    store: UUID,
    plan: Plan,
    body: SubscribeBody,
    now: dt.datetime,
    *,
    source: str | None,
    on_trial: bool,
) -> None:
    trial_ends = now + dt.timedelta(days=TRIAL_DAYS) if on_trial else None
    end = trial_ends or period_end(now, body.billing_cycle)
    status = "trial" if on_trial else "active"
    subscription = new_id()
    await tx.execute(
        QUERIES.add_subscription,
        *(subscription, store, plan.name.value, status, CURRENCY),
        *(plan.price_monthly, plan.price_annual, body.billing_cycle),
        *(plan.max_products, plan.max_orders_per_month),
        *(plan.max_storage_gb, plan.max_api_calls_per_month),
        *(source, trial_ends, now, end),
    )
    await tx.execute(QUERIES.show_subscription, store, plan.name.value, status, trial_ends, now)
    if not on_trial and not plan.is_free:
        row = {
            "id": subscription,
            "store_id": store,
            "plan_name": plan.name.value,
            "billing_cycle": body.billing_cycle,
            "price_monthly": plan.price_monthly,
            "price_annual": plan.price_annual,
            "currency": CURRENCY,
        }
        await _invoice(tx, row, now, end)


async def _invoice(
    tx: Transaction, row: Mapping[str, Any], start: dt.datetime, end: dt.datetime
) -> None:
    annual = row["billing_cycle"] == "annual"
    invoice = derive_id("store_platform.invoice", row["id"], start.isoformat())
    await tx.execute(
        QUERIES.add_invoice,
        *(invoice, row["store_id"], row["id"]),
        *(row["price_annual"] if annual else row["price_monthly"], row["currency"]),
        f"Plan {row['plan_name']}, {start:%Y-%m-%d} to {end:%Y-%m-%d}",
        f"/store_platform/stores/{row['store_id']}/invoices/{invoice}",
        *(start, end, start),
    )


def _is_same(live: Any, body: SubscribeBody) -> bool:  # noqa: ANN401 - a record
    """Whether the store has just this plan; one on trial that is now paid for is another."""
    return (
        live is not None
        and live["plan_name"] == body.plan
        and live["billing_cycle"] == body.billing_cycle
        and not (live["status"] == "trial" and body.payment_source is not None)
    )


def _on_trial(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "trial")
