"""One database is away: what does not need it goes on, and what does is told so at once."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from tests.integration.apps.commerce.shop import checkout_of, wish
from tests.integration.engine.messaging.faulty_proxy import proxy_for, through_proxy
from tests.scenarios.books import INVARIANTS, verify_books
from tests.scenarios.market import Market, Order, open_market, website

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_process import find_processes
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.testing import TestServers, drain, expire_leases

DATABASES = ("orders", "products", "users")
CLIENTS = 24
OK = 200
POOL_SIZE = 4
STATEMENT_TIMEOUT_S = 2.0
ACQUIRE_S = 1.0
"""For a connection to the database that is away; for others everybody waits as long as it takes."""
RECOVERY_S = 40.0
"""How long a test waits at most; it goes on as soon as what it waits for is there."""

Act = Callable[[Market], Awaitable[object]]


@pytest.fixture(scope="module")
async def market(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Market]:
    home = tmp_path_factory.mktemp("home")
    async with open_market(
        servers, home, apart=True, pool_size=POOL_SIZE, statement_timeout_s=STATEMENT_TIMEOUT_S
    ) as market:
        be_patient(market, RECOVERY_S)
        yield market
        await verify_books(market, invariants=INVARIANTS)


def driver_of(market: Market, database: str) -> EmbeddedDriver:
    placements = market.system.router.placements
    driver = next(each.driver for each in placements if each.database == database)
    assert isinstance(driver, EmbeddedDriver)
    return driver


@asynccontextmanager
async def stopped(market: Market, database: str) -> AsyncIterator[Market]:
    """The server was shut down, and is started again."""
    driver = driver_of(market, database)
    await driver.stop()
    yield market
    await driver.start()


@asynccontextmanager
async def hanging(market: Market, database: str) -> AsyncIterator[Market]:
    """The server accepts connections and answers nothing, and then goes on as if nothing was."""
    data = driver_of(market, database).home.data
    for process in find_processes(data):
        process.send(signal.SIGSTOP)
    try:
        yield market
    finally:
        for process in find_processes(data):
            process.send(signal.SIGCONT)


@asynccontextmanager
async def refusing(market: Market, database: str) -> AsyncIterator[Market]:
    """Nobody listens at the server's address any more, and then somebody does again."""
    proxy = proxy_for(market.system, database)
    await proxy.open()
    system = through_proxy(market.system, database, proxy)
    try:
        for _ in range(POOL_SIZE):
            await reach(market.after(system), database)
        await proxy.close()
        yield market.after(system)
        await proxy.open()
        await back(market.after(system), database)
    finally:
        await system.close()
        await proxy.close()


FAULTS = {"stopped": stopped, "hanging": hanging, "refusing": refusing}


@asynccontextmanager
async def broken(market: Market, fault: str, database: str) -> AsyncIterator[Market]:
    """One of the faults, and nobody waits for long for a connection to its database."""
    async with FAULTS[fault](market, database) as shop:
        be_patient(shop, RECOVERY_S)
        be_patient(shop, ACQUIRE_S, {database})
        try:
            yield shop
        finally:
            be_patient(shop, RECOVERY_S)


def be_patient(market: Market, patience_s: float, names: Container[str] = DATABASES) -> None:
    """Let whoever needs one of the databases wait so long for a connection."""
    for database in market.system.router:
        if database.name in names:
            for pool in database.pools.values():
                pool.acquire_timeout_s = patience_s


async def reach(market: Market, database: str) -> None:
    async with market.system.database(database).transaction(SERVICE) as tx:
        await tx.fetchval("select 1")


async def back(market: Market, database: str) -> None:
    """Wait until the database answers; its breaker lets somebody try every now and then."""
    async with asyncio.timeout(RECOVERY_S):
        while True:
            try:
                await reach(market, database)
            except BulkheadError:
                await asyncio.sleep(0.05)
            else:
                return


async def outcomes(market: Market, *acts: Act) -> Counter[str]:
    """What many clients at once are told."""

    async def one(act: Act) -> str:
        try:
            await act(market)
        except BulkheadError as error:
            return f"{error.status}"
        return "served"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(act)) for act in acts]
    return Counter(task.result() for task in tasks)


def acts_of(site: httpx.AsyncClient, known: Order) -> dict[str, Act]:
    """For each database, something that needs no other."""

    async def list_products(_: Market) -> None:
        answer = await site.get("/commerce/products")
        if answer.status_code != OK:
            raise Unavailable(what=answer.text)

    async def read_order(shop: Market) -> None:
        async with shop.system.database("orders").transaction(known.claims, read_only=True) as tx:
            assert await tx.fetchval("select count(*) from orders") == 1

    async def read_activity(shop: Market) -> None:
        async with shop.system.database("users").transaction(known.claims, read_only=True) as tx:
            assert await tx.fetchval("select count(*) from user_activity_logs") == 1

    return {"products": list_products, "orders": read_order, "users": read_activity}


def verify_nothing_waits(market: Market) -> None:
    """No request waits for a connection or holds one, and no pool has grown past its limit."""
    for database in market.system.router:
        for pool in database.pools.values():
            assert (pool.stats.waiting, pool.stats.in_use) == (0, 0), database.name
            assert pool.size <= POOL_SIZE


def open_breakers(market: Market) -> set[str]:
    return {database.name for database in market.system.router if database.breaker.is_open}


@pytest.mark.parametrize("away", DATABASES)
@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_what_does_not_need_the_database_goes_on(
    market: Market, fault: str, away: str
) -> None:
    known = await market.order()
    await market.place(known)
    await drain(market.system)
    orders = [await market.order() for _ in range(CLIENTS // 2)]
    async with broken(market, fault, away) as shop, website(shop.system) as site:
        acts = acts_of(site, known)
        needs = acts.pop(away)
        async with asyncio.TaskGroup() as group:
            refused = group.create_task(outcomes(shop, *[needs] * CLIENTS))
            served = group.create_task(outcomes(shop, *list(acts.values()) * CLIENTS))
        assert set(refused.result()) <= {"503", "504"}
        assert served.result() == {"served": 2 * CLIENTS}
        assert open_breakers(shop) == {away}
        verify_nothing_waits(shop)
        placed = await outcomes(shop, *[partial(Market.place, order=order) for order in orders])
        assert set(placed) == {"served"} if away == "users" else set(placed) <= {"202", "503"}
        if away == "users":
            await shop.system.relay.drain(allow_dead=True)
            assert {await shop.stock(order.variant) for order in orders} == {(3, 0)}
        verify_nothing_waits(shop)
    await back(market, away)
    assert open_breakers(market) == set()
    await expire_leases(market.system)
    assert {await market.told(order) for order in orders} == {"confirmed"}
    await market.settle_down()
    await verify_books(market)


@pytest.mark.parametrize(
    ("away", "patience", "code"),
    [
        ("orders", {"answer_s": 0.5}, "saga_unanswered"),
        ("products", {"read_s": 0.3}, "unavailable"),
    ],
)
async def test_a_customer_is_answered_before_all_time_outs_are_over(
    market: Market, away: str, patience: dict[str, Any], code: str
) -> None:
    """Of what was only read nothing is begun; what may be written is asked after by its key."""
    order = await market.order()
    checkout = replace(checkout_of(market.system), **patience)
    wanted = wish((order.variant, order.quantity))
    async with hanging(market, away):
        with pytest.raises(Unavailable) as told:
            await checkout.place(order.claims, order.key, wanted)
    assert told.value.code == code
    await back(market, away)
    assert await market.told(order) == "confirmed"
    await market.settle_down()
    await verify_books(market)
