"""One of the three databases hangs or stops for a while: the others go on, and it all ends well."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.apps.commerce.shop import (
    add_user,
    add_variant,
    charged,
    checkout_of,
    states_of,
    stock_of,
    wish,
)

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.engine.connections.claims import ANON, SERVICE, Claims
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers, drain, expire_leases

TRIES_MAX = 60
AWAY = {202, 409, 503, 504}


@asynccontextmanager
async def hung(driver: EmbeddedDriver) -> AsyncIterator[None]:
    """No process of the server runs inside the block, but its sockets stay open."""
    postmaster = psutil.Process(driver.postmaster_pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def stopped(driver: EmbeddedDriver) -> AsyncIterator[None]:
    """The server refuses connections inside the block."""
    await driver.stop()
    try:
        yield
    finally:
        await driver.start()


async def until_answered(order: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat an order with its key until it is answered for good."""
    for _ in range(TRIES_MAX):
        try:
            return await order()
        except BulkheadError as error:
            if error.status not in AWAY:
                raise
        await asyncio.sleep(0.25)
    pytest.fail("the order never got an answer")


@pytest.mark.parametrize("away", [hung, stopped], ids=["hung", "stopped"])
@pytest.mark.parametrize("name", ["orders", "products", "users"])
async def test_a_database_that_is_away_takes_no_other_with_it(
    servers: TestServers, tmp_path: Path, name: str, away: Any
) -> None:
    settings = Settings(home=tmp_path, statement_timeout_s=1.0, lease_s=1.0)
    async with servers.system(APPLICATION, settings, apart=True) as shop:
        claims, variant = await add_user(shop), await add_variant(shop, stock=5)
        checkout = checkout_of(shop)
        first = await checkout.place(claims, "before", wish((variant, 1)))
        assert first["state"] == "confirmed"
        async with away(servers.drivers[name]):
            await _others_serve(shop, name, claims)
            if name == "users":
                # Nobody who buys needs the users' database; it hears of the order later.
                while_away = await checkout.place(claims, "while", wish((variant, 1)))
                assert while_away["state"] == "confirmed"
            else:
                with pytest.raises(BulkheadError) as refused:
                    await checkout.place(claims, "while", wish((variant, 1)))
                assert refused.value.status in AWAY
        answer = await until_answered(lambda: checkout.place(claims, "while", wish((variant, 1))))
        assert answer["state"] == "confirmed"
        await _settle(shop)
        assert await states_of(shop) == ["confirmed", "confirmed"]
        assert await stock_of(shop, variant) == (3, 0)
        assert charged(shop) == Decimal(20)
        async with shop.database("users").transaction(SERVICE) as tx:
            assert await tx.fetchval("select count(*) from user_activity_logs") == 2


async def _others_serve(shop: System, away: str, claims: Claims) -> None:
    statements = {
        "products": (ANON, "select count(*) from products"),
        "orders": (claims, "select count(*) from orders"),
        "users": (claims, "select count(*) from user_profiles"),
    }
    for name, (scope, statement) in statements.items():
        if name != away:
            async with shop.database(name).transaction(scope, read_only=True) as tx:
                assert await tx.fetchval(statement) == 1


async def _settle(shop: System) -> None:
    for _ in range(TRIES_MAX):
        try:
            await expire_leases(shop)
            await drain(shop)
        except BulkheadError:
            await asyncio.sleep(0.25)
        else:
            return
    pytest.fail("it did not settle")
