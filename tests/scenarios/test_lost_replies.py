"""A commit whose reply is lost has happened or not: nobody knows, and it makes no difference."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.integration.apps.commerce.shop import checkout_of
from tests.integration.engine.messaging.faulty_proxy import FaultyProxy, proxy_for, through_proxy
from tests.scenarios.books import INVARIANTS, kept, verify_books
from tests.scenarios.market import Market, Order, open_market

from bulkhead.engine.errors import Unavailable
from bulkhead.engine.messaging.saga_errors import SagaInProgress, SagaPending
from bulkhead.engine.testing import TestServers, drain, expire_leases

TRIES_MAX = 10
POSITIONS = 8


@pytest.fixture(scope="module")
async def market(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Market]:
    async with open_market(servers, tmp_path_factory.mktemp("home")) as market:
        yield market
        await verify_books(market, invariants=INVARIANTS)


@pytest.fixture(scope="module", params=["orders", "products", "users"])
async def far(
    market: Market, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Market, FaultyProxy]]:
    """The shop, one of whose databases is reached over a line that loses replies."""
    proxy = proxy_for(market.system, request.param)
    await proxy.open()
    system = through_proxy(market.system, request.param, proxy)
    yield market.after(system), proxy
    await system.close()
    await proxy.close()


async def insist(market: Market, order: Order) -> str:
    """What a customer is told who repeats the request for as long as there is no answer."""
    for _ in range(TRIES_MAX):
        answer = await market.told(order)
        if answer not in {
            "unavailable",
            "commit_unknown",
            "connection_lost",
            "saga_in_progress",
            "saga_pending",
            "database_unavailable",
            "server_unreachable",
        }:
            return answer
    return "nothing"


async def deliver(market: Market) -> None:
    """Deliver and settle everything, however often it takes."""
    for _ in range(TRIES_MAX):
        try:
            await drain(market.system, allow_dead=True)
        except Unavailable:
            continue
        return


async def settle(market: Market) -> None:
    """What the process behind the bad line has taken is left to it for a while."""
    await expire_leases(market.system)
    await market.settle_down()


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("passed", range(POSITIONS))
async def test_an_order_whose_commits_get_no_reply_is_placed_once(
    market: Market, far: tuple[Market, FaultyProxy], passed: int, lost: int
) -> None:
    remote, proxy = far
    order = await market.order()
    proxy.commits_to_pass, proxy.commits_to_lose = passed, lost
    assert await insist(remote, order) == "confirmed"
    await deliver(remote)
    proxy.commits_to_pass = proxy.commits_to_lose = 0
    assert await insist(remote, order) == "confirmed"
    await settle(market)
    assert kept(market)[str(order.id)] == order.total * 100
    assert await market.stock(order.variant) == (3, 0)
    await verify_books(market)


@pytest.mark.parametrize("passed", range(POSITIONS))
async def test_a_cancellation_whose_commits_get_no_reply_gives_back_once(
    market: Market, far: tuple[Market, FaultyProxy], passed: int
) -> None:
    remote, proxy = far
    order = await market.order()
    await market.place(order)
    proxy.commits_to_pass, proxy.commits_to_lose = passed, 1
    for _ in range(TRIES_MAX):
        try:
            checkout = checkout_of(remote.system)
            await checkout.cancel(order.claims, order.id, "changed my mind")
        except (Unavailable, SagaPending, SagaInProgress):
            continue
        break
    await deliver(remote)
    proxy.commits_to_pass = proxy.commits_to_lose = 0
    await market.run("orders", "update refunds set created_at = 'epoch' where state = 'requested'")
    await settle(market)
    assert kept(market)[str(order.id)] == 0
    assert await market.stock(order.variant) == (5, 0)
    await verify_books(market)


async def test_a_refused_order_stays_refused_when_replies_are_lost(
    market: Market, far: tuple[Market, FaultyProxy]
) -> None:
    remote, proxy = far
    for passed in range(POSITIONS):
        order = replace(await market.order(), quantity=6)
        proxy.commits_to_pass, proxy.commits_to_lose = passed, 1
        assert await insist(remote, order) == "stock_exhausted"
        proxy.commits_to_pass = proxy.commits_to_lose = 0
        assert await insist(remote, order) == "stock_exhausted"
    await settle(market)
    await verify_books(market)


async def test_replies_were_lost(far: tuple[Market, FaultyProxy]) -> None:
    assert far[1].lost >= POSITIONS
