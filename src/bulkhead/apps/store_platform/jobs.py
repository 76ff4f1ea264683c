"""What is done again and again: periods and invoices, holds left over, roll-ups, partitions."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.apps.store_platform.master.billing import service as billing
from bulkhead.apps.store_platform.master.intelligence import service as intelligence
from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.stores.service import end_deletions
from bulkhead.apps.store_platform.views import Stores
from bulkhead.capabilities.identity import tidy
from bulkhead.capabilities.payments.provider import (
    ChargeResult,
    ChargeState,
    PaymentKeyReused,
)
from bulkhead.capabilities.vault.rotation import tend_rotation
from bulkhead.engine import clock, failpoints
from bulkhead.engine.application import Job
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.capabilities.payments.provider import PaymentProvider
    from bulkhead.capabilities.vault import Vault
    from bulkhead.engine.system import System

log = logging.getLogger(__name__)

CHARGED = failpoints.register("billing:charged")


async def renew_subscriptions(system: System) -> int:
    """Begin the next periods; let trials without a card expire."""
    renewed = 0
    while True:
        async with system.database("master").transaction(SERVICE) as tx:
            batch = await billing.renew_ended(tx, clock.now())
        renewed += batch
        if batch < billing.BATCH_MAX:
            return renewed


async def charge_invoices(system: System) -> int:
    """Charge what is due.

    The id of the invoice is the key of the payment, so that whoever comes after a crash asks the
    payment company for the same charge, and the card is charged once. An invoice that cannot be
    charged keeps no other waiting.
    """
    master = system.database("master")
    provider: PaymentProvider = system.outside.payments
    async with master.transaction(SERVICE, read_only=True) as db:
        due = await billing.list_due(db, clock.now())
    for invoice in due:
        try:
            await _charge(system, provider, dict(invoice))
        except (TimeoutError, BulkheadError) as error:
            log.warning("invoice %s: %s", invoice["id"], error)
            with suppress(BulkheadError):
                async with master.transaction(SERVICE) as tx:
                    await billing.put_off_invoice(tx, invoice, clock.now())
    return len(due)


async def sweep_holds(system: System) -> int:
    """Settle or release what was held by who is gone."""
    return await _stores(system).sweep_holds()


async def sweep_media(system: System) -> int:
    """End uploads and deletions of files whose process is gone."""
    swept: int = await system.outside.platform(system).media.sweep()
    return swept


async def roll_up_stores(system: System) -> int:
    """Roll up every store that can be read; one that cannot does not keep the others waiting."""
    master, stores = system.database("master"), _stores(system)
    after, rolled = UUID(int=0), 0
    while True:
        async with master.transaction(SERVICE, read_only=True) as db:
            page = await intelligence.list_stores(db, after)
        if not page:
            break
        for store in page:
            try:
                rolled += await stores.roll_up(store)
            except BulkheadError as error:
                log.warning("store %s was not rolled up: %s", store, error)
        after = page[-1]
    async with master.transaction(SERVICE) as tx:
        await metering.show_calls(tx)
        await intelligence.sum_up(tx)
    return rolled


async def recount_products(system: System) -> int:
    """Count the products of stores whose number is in doubt; what is written meanwhile waits."""
    master, stores = system.database("master"), _stores(system)
    after, counted = UUID(int=0), 0
    while True:
        async with master.transaction(SERVICE, read_only=True) as db:
            page = await metering.list_doubted(db, after)
        if not page:
            return counted
        for store, as_of in page:
            try:
                counted += await stores.recount_products(store, as_of)
            except BulkheadError as error:
                log.warning("the products of store %s were not counted: %s", store, error)
        after = page[-1][0]


async def purge_deleted(system: System) -> int:
    """Archive and drop the databases of stores whose time of grace is over, then the stores."""
    lifecycle = system.outside.platform(system).lifecycle
    purged = 0
    while count := await lifecycle.purge_due():
        purged += count
    async with system.database("master").transaction(SERVICE) as tx:
        await end_deletions(tx)
    return purged


async def tell_servers(system: System) -> int:
    """Tell servers that were away which stores they may let in."""
    told: int = await system.outside.platform(system).lifecycle.tell_servers()
    return told


async def tend_moves(system: System) -> int:
    """Go on with moves whose process died, and end those whose time is over."""
    late: int = await system.outside.platform(system).mover.tend()
    return late


async def tend_secrets(system: System) -> int:
    """Finish rotations of keys that were begun anywhere, and seal anew what is left of them."""
    vault: Vault = system.vault
    return await tend_rotation(vault)


async def make_partitions(system: System) -> int:
    """Have partitions for the calls of the coming months."""
    async with system.database("master").transaction(SERVICE) as tx:
        return await metering.ensure_partitions(tx)


async def tidy_identities(system: System) -> None:
    """Forget sessions, codes and mails that are over."""
    assert system.application.people is not None, "this application has users"
    await tidy(system.application.people(system))


async def _charge(system: System, provider: PaymentProvider, invoice: dict[str, object]) -> None:
    master = system.database("master")
    amount, currency, source = invoice["amount"], invoice["currency"], invoice["payment_source"]
    if source is None:
        async with master.transaction(SERVICE) as tx:
            await billing.decline_invoice(tx, invoice, "no_card", clock.now())
        return
    # A declined card may be another one the next time, and is asked anew.
    key = f"invoice-{invoice['id']}-{invoice['attempts']}"
    try:
        result = await provider.charge(key, amount, str(currency), str(source))  # type: ignore[arg-type]
    except PaymentKeyReused:
        # Another card was given since this attempt was made, whose end nobody has heard of.
        made = await provider.find_charge(key)
        assert made is not None, "a key that was used has its charge"
        result = ChargeResult(made.state, made.provider_ref, made.code)
        invoice = {**invoice, "payment_source": None}  # That one has not been tried.
    await failpoints.reach(CHARGED)
    async with master.transaction(SERVICE) as tx:
        match result.state:
            case ChargeState.SUCCEEDED:
                await billing.complete_invoice(tx, invoice, provider.name, result.provider_ref)
            case ChargeState.DECLINED:
                await billing.decline_invoice(tx, invoice, result.code or "declined", clock.now())
            case ChargeState.PENDING:
                # The same key is asked again until it is known.
                await billing.put_off_invoice(tx, invoice, clock.now())


def _stores(system: System) -> Stores:
    platform = system.outside.platform(system)
    return Stores(platform.master, platform.fleet)


JOBS = (
    Job("renew_subscriptions", 30.0, renew_subscriptions),
    Job("charge_invoices", 15.0, charge_invoices),
    Job("sweep_holds", 30.0, sweep_holds),
    Job("sweep_media", 60.0, sweep_media),
    Job("roll_up_stores", 60.0, roll_up_stores),
    Job("recount_products", 60.0, recount_products),
    Job("purge_deleted", 60.0, purge_deleted),
    Job("tell_servers", 10.0, tell_servers),
    Job("tend_moves", 30.0, tend_moves),
    Job("tend_secrets", 60.0, tend_secrets),
    Job("make_partitions", 3600.0, make_partitions),
    Job("tidy_identities", 600.0, tidy_identities),
)
