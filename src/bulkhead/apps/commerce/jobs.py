"""What is done again and again: orders nobody pays for, stock nobody needs, refunds left over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bulkhead.apps.commerce.orders.checkout.service import expire_orders, list_holding
from bulkhead.apps.commerce.orders.refunds.service import list_due_refunds
from bulkhead.apps.commerce.products.inventory.service import expire_stock, list_expired
from bulkhead.apps.commerce.routes import refund_payment
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.capabilities.identity import tidy
from bulkhead.engine.application import Job
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.references.deletion import announce_deletions
from bulkhead.engine.references.sweep import SweepLimits, sweep_reference

if TYPE_CHECKING:
    from bulkhead.engine.system import System

log = logging.getLogger(__name__)

BATCH_MAX = 200
SWEEP_LIMITS = SweepLimits(rows_per_s=20_000, rows_max=200_000)
"""Gentle: a sweep in the background takes a few minutes for what a command does in seconds."""


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
    """Carry out refunds that were asked for and that nobody has carried out.

    One that cannot be carried out does not keep those behind it waiting.
    """
    async with system.database("orders").transaction(SERVICE, read_only=True) as db:
        due = await list_due_refunds(db, BATCH_MAX)
    for refund_id in due:
        try:
            await refund_payment(system.sagas, refund_id)
        except BulkheadError as error:
            log.warning("refund %s: %s", refund_id, error)
    return len(due)


async def tidy_identities(system: System) -> None:
    """Forget sessions, codes and mails that are over."""
    assert system.application.people is not None, "this application has users"
    await tidy(system.application.people(system))


async def sweep_references(system: System) -> int:
    """Look for rows that refer to nothing; a sweep that was interrupted goes on."""
    orphans = 0
    for reference in TOPOLOGY.references:
        report = await sweep_reference(system.router, TOPOLOGY, reference, limits=SWEEP_LIMITS)
        orphans += report.orphans
    return orphans


async def tell_of_deletions(system: System) -> int:
    """Let the other databases know of deleted rows that they refer to."""
    return await announce_deletions(system.router, TOPOLOGY)


JOBS = (
    Job("end_unpaid_orders", 5.0, end_unpaid_orders),
    Job("free_forgotten_stock", 15.0, free_forgotten_stock),
    Job("carry_out_refunds", 5.0, carry_out_refunds),
    Job("tell_of_deletions", 2.0, tell_of_deletions),
    Job("tidy_identities", 600.0, tidy_identities),
    Job("sweep_references", 900.0, sweep_references),
)
