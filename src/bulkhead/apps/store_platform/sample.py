"""Three sample stores with products and orders, each in a database of its own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from bulkhead.apps.store_platform.fleet import FLEET, Platform
from bulkhead.apps.store_platform.master.billing.model import PlanName, SubscribeBody
from bulkhead.apps.store_platform.master.billing.service import subscribe
from bulkhead.apps.store_platform.master.stores.model import StoreBody
from bulkhead.apps.store_platform.master.stores.service import create_store
from bulkhead.apps.store_platform.store.catalogue_tables import CATEGORIES, PRICES
from bulkhead.apps.store_platform.store.records.service import (
    add_record,
    has_record,
    move_stock,
    set_categories,
)
from bulkhead.apps.store_platform.store.sales.model import LineBody, OrderBody
from bulkhead.apps.store_platform.views import Stores
from bulkhead.capabilities.identity import Identity, create_user
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.fleet.model import ServerKind, TenantId
from bulkhead.engine.ids import derive_id
from bulkhead.engine.provisioning.job import JobState, ProvisioningRequest

if TYPE_CHECKING:
    from bulkhead.engine.system import System

QUERIES = load_queries(__package__, "sample/queries.sql")
PASSWORD: Final = "harbour lights"  # noqa: S105 - of people who exist in samples only
OWNER: Final = "owner@example.com"
STAFF: Final = "platform@example.com"
STOCK: Final = 40
ORDERS_EACH: Final = 2
UNFINISHED: Final = frozenset({"none", "provisioning", "failed", "active"})
STORES: Final[tuple[tuple[str, str, PlanName, tuple[str, ...]], ...]] = (
    (
        "Nordlicht Lamps",
        "Lamps",
        PlanName.PROFESSIONAL,
        ("Paper moon", "Reading lamp", "Pier lantern"),
    ),
    ("Mill Street Tea", "Teas", PlanName.STARTER, ("Green hill", "Smoked pine", "Morning rose")),
    ("Alder & Ash", "Boards", PlanName.FREE, ("Bread board", "Cheese board", "Small tray")),
)


async def load_sample(system: System) -> Sequence[str]:
    """Make three stores with their databases, and say what there is to try; repeatable."""
    platform: Platform = system.outside.platform(system)
    await platform.prepare()
    assert system.application.people is not None, "the platform has users"
    owner = await _ensure_people(system.application.people(system))
    for number, (name, category, plan, products) in enumerate(STORES):
        store = derive_id("store_platform.sample", name)
        if await _is_settled(platform, store):
            continue
        slug = await _ensure_store(platform, store, owner, name, plan)
        if await _ensure_database(platform, store, slug):
            await _fill(Stores(platform.master, platform.fleet), store, number, category, products)
    names = ", ".join(name for name, *_ in STORES)
    return (
        f"{len(STORES)} stores, each in its own database: {names}",
        f"Sign in as {OWNER} or, with more rights, {STAFF}; their password is '{PASSWORD}'",
        "One more, on PostgreSQL or MariaDB of your own: docs/how-to/run-stores.md",
    )


async def _ensure_people(people: Identity) -> UUID:
    accounts: tuple[tuple[str, dict[str, Any]], ...] = ((OWNER, {}), (STAFF, {"role": "staff"}))
    async with people.users.transaction(SERVICE) as tx:
        rows = await tx.fetch(QUERIES.list_known, [email for email, _ in accounts])
    known = {row["email"]: row["id"] for row in rows}
    for email, metadata in accounts:
        if email not in known:
            user = await create_user(
                people, email=email, password=PASSWORD, app_metadata=metadata, user_metadata={}
            )
            known[email] = user.id
    return UUID(str(known[OWNER]))


async def _is_settled(platform: Platform, store: UUID) -> bool:
    """Whether a store is filled, or somebody has done something else with it."""
    async with platform.master.transaction(SERVICE, read_only=True) as tx:
        row = await tx.fetchrow(QUERIES.find_store, store)
    if row is None:
        return False
    unfinished = row["database_status"] in UNFINISHED and row["order_count"] < ORDERS_EACH
    return row["deleted_at"] is not None or not unfinished


async def _ensure_store(
    platform: Platform, store: UUID, owner: UUID, name: str, plan: PlanName
) -> str:
    slug = "-".join(name.lower().replace("&", "and").split())
    async with platform.master.transaction(SERVICE) as tx:
        if await tx.fetchrow(QUERIES.find_store, store) is None:
            body = StoreBody(name=name, slug=slug, currency="EUR")
            await create_store(tx, store, owner, body, clock.now())
            chosen = SubscribeBody(plan=plan, payment_source="tok_visa")
            await subscribe(tx, store, chosen, clock.now(), actor=owner)
    return slug


async def _ensure_database(platform: Platform, store: UUID, slug: str) -> bool:
    request = ProvisioningRequest(TenantId(store), FLEET, slug, ServerKind.POSTGRESQL)
    job = await platform.provisioning.start(request)
    if not job.has_ended:
        await platform.provisioning.run_once()
        job = await platform.provisioning.get(job.id)
    return job.state is JobState.ACTIVE


async def _fill(
    stores: Stores, store: UUID, number: int, category: str, products: Sequence[str]
) -> None:
    shelf = derive_id("store_platform.sample", store, category)
    async with stores.fleet.transaction(TenantId(store)) as db:
        if not await has_record(db, CATEGORIES, shelf):
            await add_record(db, CATEGORIES, shelf, {"slug": category.lower(), "name": category})
    made = []
    for position, name in enumerate(products):
        product = derive_id("store_platform.sample", store, name)
        made.append(product)
        if not await _has_product(stores, store, product):
            price = Decimal(9 + 4 * position + 7 * number)
            sku = f"S{number + 1}-{position + 1}"
            await _add_product(stores, store, product, shelf, (sku, name, price))
    for index in range(ORDERS_EACH):
        lines = [LineBody(product_id=made[index], quantity=index + 1)]
        body = OrderBody(email="ada@example.com", name="Ada", lines=lines)
        order = derive_id("store_platform.sample.order", store, index)
        await stores.place_order(store, order, body, "EUR", f"sample-{index}")


async def _has_product(stores: Stores, store: UUID, product: UUID) -> bool:
    async with stores.fleet.connection(TenantId(store)) as db:
        statement = sa.select(PRICES.c.id).where(PRICES.c.product_id == product)
        return await db.fetch_one(statement) is not None


async def _add_product(
    stores: Stores, store: UUID, product: UUID, shelf: UUID, words: tuple[str, str, Decimal]
) -> None:
    sku, name, amount = words
    values = {
        "sku": sku,
        "slug": "-".join(name.lower().split()),
        "name": name,
        "published_at": clock.now(),
    }
    await stores.add_product(store, product, values)
    async with stores.fleet.transaction(TenantId(store)) as db:
        await set_categories(db, product, [shelf])
        key = derive_id("store_platform.sample.price", product)
        price = {"product_id": product, "currency": "EUR", "amount": amount}
        await add_record(db, PRICES, key, price)
        await move_stock(db, product, STOCK, kind="receipt")
