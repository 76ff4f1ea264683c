"""What the web says about real databases, one of which may be away."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter
from quiet_port import quiet_port
from tests.integration.engine.references.shop_application import SHOP

from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import Budget
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.web import health
from bulkhead.web.compose import compose
from bulkhead.web.server import Mount, create_app


@pytest.fixture(scope="module")
async def shop(servers: TestServers) -> AsyncIterator[System]:
    async with servers.system(SHOP) as system:
        yield system


def away(database: OpenDatabase) -> OpenDatabase:
    """The same database on a server that is not there."""
    driver = PostgresDriver(f"postgresql://nobody@127.0.0.1:{quiet_port()}/postgres", b"x" * 32)
    return OpenDatabase("shop", "away", driver, database.spec, Budget(4), statement_timeout_s=1.0)


def connect(app: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_a_process_is_ready_when_every_database_answers(shop: System) -> None:
    async with connect(compose([shop], shop.settings).app) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    databases = answer.json()["databases"]
    assert databases.keys() == {"shop.catalog", "shop.sales"}
    assert all(each["latency_ms"] > 0 for each in databases.values())


async def test_a_database_that_is_away_does_not_take_the_others_traffic(shop: System) -> None:
    here = shop.database("sales")
    async with connect(
        create_app([Mount("shop", "Shop", (), (here, away(here)))], Settings())
    ) as c:
        answer = await c.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    found = answer.json()["databases"]
    assert found["shop.sales"]["status"] == "ready"
    assert (found["shop.away"]["status"], found["shop.away"]["code"]) == (
        "unavailable",
        "server_unreachable",
    )


async def test_a_process_without_any_database_is_not_ready(shop: System) -> None:
    databases = (away(shop.database("sales")),)
    async with connect(create_app([Mount("shop", "Shop", (), databases)], Settings())) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


async def test_probes_that_come_together_ask_a_database_once(
    shop: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ANSWER_AGE_S_MAX", 600.0)
    pool = shop.database("sales").visitors
    async with connect(compose([shop], shop.settings).app) as client:
        before = pool.stats.acquired
        answers = [await client.get("/readyz") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert pool.stats.acquired == before + 1


async def test_a_route_says_which_database_is_away_but_not_where(shop: System) -> None:
    gone = away(shop.database("sales"))
    router = APIRouter()

    @router.get("/lines")
    async def list_lines() -> None:
        async with gone.transaction(ANON):
            pass

    async with connect(create_app([Mount("shop", "Shop", [router])], Settings())) as client:
        answers = [await client.get("/shop/lines") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all("127.0.0.1" not in answer.text for answer in answers)
    last = answers[-1]
    assert (last.json()["code"], last.json()["database"]) == ("database_unavailable", "shop.away")
    assert last.headers["retry-after"] == "1"


async def test_metrics_tell_of_pools(shop: System) -> None:
    async with connect(compose([shop], shop.settings).app) as client:
        await client.get("/readyz")
        text = (await client.get("/metrics")).text
    assert 'bulkhead_breaker_open{application="shop",database="sales"} 0.0' in text
    assert "bulkhead_pool_acquired_total{" in text
