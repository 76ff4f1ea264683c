"""What is done again and again: orders nobody pays for, stock nobody needs, refunds left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.apps.commerce.orders.checkout.service import expire_orders, list_holding
from bulkhead.apps.commerce.orders.refunds.service import list_due_refunds
from bulkhead.apps.commerce.products.inventory.service import expire_stock, list_expired
from bulkhead.apps.commerce.routes import refund_payment
from bulkhead.engine.application import Job
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.engine.system import System

BATCH_MAX = 200


async def end_unpaid_orders(system: System) -> int:
    """Cancel orders that were not paid for in time."""
    async with system.database("orders").transaction(SERVICE) as tx:
        return await expire_orders(tx, BATCH_MAX)


async def free_forgotten_stock(system: System) -> int:
    """Give back holds that have run out, unless their order may still need them.

    The orders database is asked in between, so that stock is never given back while its order is
    being paid for.
    """
    async with system.database("products").transaction(SERVICE, read_only=True) as db:
        expired = await list_expired(db, BATCH_MAX)
    if not expired:
        return 0
    async with system.database("orders").transaction(SERVICE, read_only=True) as db:
        needed = await list_holding(db, expired)
    free = [order for order in expired if order not in needed]
    async with system.database("products").transaction(SERVICE) as tx:
        await expire_stock(tx, free)
    return len(free)


async def carry_out_refunds(system: System) -> int:
    """Carry out refunds that were asked for and that nobody has carried out."""
    async with system.database("orders").transaction(SERVICE, read_only=True) as db:
        due = await list_due_refunds(db, BATCH_MAX)
    for refund_id in due:
        await refund_payment(system.sagas, refund_id)
    return len(due)


JOBS = (
    Job("end_unpaid_orders", 5.0, end_unpaid_orders),
    Job("free_forgotten_stock", 15.0, free_forgotten_stock),
    Job("carry_out_refunds", 5.0, carry_out_refunds),
)
