"""Deleting a user or a product does in every database what the topology declares."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.apps.commerce.shop import add_user, add_variant, checkout_of, wish

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.invariants import commerce_invariants
from bulkhead.apps.commerce.jobs import tell_of_deletions
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.monitoring.standard import standard_invariants
from bulkhead.engine.references.check import ReferenceChecker, ReferenceMissing
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers, drain
from bulkhead.engine.topology import Column


@pytest.fixture
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    async with servers.system(APPLICATION, settings) as system:
        yield system


async def run(system: System, database: str, sql: str, *args: object) -> None:
    async with system.database(database).transaction(SERVICE) as tx:
        await tx.execute(sql, *args)


async def value(system: System, database: str, sql: str, *args: object) -> Any:
    async with system.database(database).transaction(SERVICE, read_only=True) as tx:
        return await tx.fetchval(sql, *args)


async def settle(system: System) -> None:
    await drain(system)
    await tell_of_deletions(system)
    await drain(system)
    invariants = (*commerce_invariants(grace_s=0), *standard_invariants(TOPOLOGY, saga_grace_s=0))
    report = await run_invariants(system.router, invariants)
    assert report.holds, str(report)


async def test_with_a_user_goes_what_is_personal_and_history_stays(shop: System) -> None:
    variant = await add_variant(shop, stock=5)
    people = [await add_user(shop) for _ in range(2)]
    gone, stays = [claims.subject for claims in people]
    for number, claims in enumerate(people):
        await checkout_of(shop).place(claims, f"key-{number}", wish((variant, 1)))
        user_id = claims.subject
        await run(
            shop,
            "products",
            "insert into wishlists (user_id, product_id) values ($1, $2)",
            user_id,
            variant.product_id,
        )
        await run(
            shop,
            "orders",
            "insert into support_tickets (user_id, assigned_to, subject, body)"
            " values ($1, $2, 'help', 'please')",
            user_id,
            gone,
        )
    await drain(shop)
    await run(shop, "users", "delete from auth.users where id = $1", gone)
    await settle(shop)
    wishes = await value(shop, "products", "select array_agg(user_id) from wishlists")
    assert wishes == [stays], "on_delete=DELETE"
    tickets = await value(
        shop, "orders", "select array_agg(user_id order by created_at) from support_tickets"
    )
    assert tickets == [None, stays], "on_delete=SET_NULL"
    assigned = await value(shop, "orders", "select count(assigned_to) from support_tickets")
    assert assigned == 0, "on_delete=SET_NULL"
    orders = await value(shop, "orders", "select count(*) from orders where user_id = $1", gone)
    assert orders == 1, "on_delete=KEEP"


async def test_a_deleted_product_cannot_be_referred_to_and_what_was_said_of_it_stays(
    shop: System,
) -> None:
    user_id, product_id = (await add_user(shop)).subject, new_id()
    await run(
        shop,
        "products",
        "insert into products (id, slug, title) values ($1, 'never-sold', 'Never sold')",
        product_id,
    )
    await run(
        shop,
        "users",
        "insert into user_activity_logs (user_id, action, subject_kind, subject_id)"
        " values ($1, 'product.viewed', 'product', $2)",
        user_id,
        product_id,
    )
    checker = ReferenceChecker(shop.router, TOPOLOGY, cache_s=0)
    target = Column.parse("products.products.id")
    assert (await checker.check_one(target, product_id)).value == product_id
    await run(shop, "products", "delete from products where id = $1", product_id)
    await settle(shop)
    with pytest.raises(ReferenceMissing):
        await checker.check_one(target, product_id)
    logged = await value(shop, "users", "select subject_id from user_activity_logs")
    assert logged == product_id, "on_delete=KEEP"
