import asyncio
from pathlib import Path

import pytest

from bulkhead.engine.application import Application, Job
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import Driver
from bulkhead.engine.errors import ConfigurationInvalid, Unavailable
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, build_system, place
from bulkhead.engine.topology import Database, Table, Topology

SHOP = Application(
    "shop",
    "Shop",
    Topology(
        "shop",
        tuple(Database(name, (Table(f"{name}_rows"),), Path()) for name in ("goods", "orders")),
    ),
)
POOLER = "postgresql://admin:p@pooler.example:6432/postgres"
SERVER = "postgresql://admin:p@server.example/postgres"


def drivers(settings: Settings) -> dict[str, Driver]:
    return {placement.database: placement.driver for placement in place(SHOP, settings)}


def test_without_settings_everything_is_embedded_on_one_server(tmp_path: Path) -> None:
    found = drivers(Settings(home=tmp_path))
    assert isinstance(found["goods"], EmbeddedDriver)
    assert found["goods"] is found["orders"]


def test_a_direct_dsn_makes_the_other_one_a_poolers(tmp_path: Path) -> None:
    found = drivers(
        Settings(
            home=tmp_path,
            server_url=SERVER,
            database_urls={"shop.orders": POOLER},
            database_direct_urls={"shop.orders": SERVER},
        )
    )
    goods, orders = found["goods"], found["orders"]
    assert isinstance(goods, PostgresDriver)
    assert isinstance(orders, PostgresDriver)
    assert goods.pooler is None
    assert orders.pooler is not None
    assert (orders.pooler.name, orders.endpoint.name) == (
        "pooler.example:6432",
        "server.example:5432",
    )
    assert goods.server == orders.server == "server.example:5432"


def test_the_shared_server_may_have_a_pooler_too(tmp_path: Path) -> None:
    found = drivers(Settings(home=tmp_path, server_url=POOLER, server_direct_url=SERVER))
    assert isinstance(found["goods"], PostgresDriver)
    assert found["goods"].pooler is not None
    assert found["goods"].server == "server.example:5432"
    assert found["goods"] is found["orders"]


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (Settings(server_direct_url=SERVER), "BULKHEAD_SERVER_URL"),
        (
            Settings(database_direct_urls={"shop.orders": SERVER}),
            "BULKHEAD_DATABASE_SHOP__ORDERS_URL",
        ),
    ],
)
def test_a_direct_dsn_alone_says_what_is_missing(settings: Settings, variable: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=variable):
        place(SHOP, settings)


async def test_a_job_that_fails_while_it_is_stopped_is_not_begun_again(tmp_path: Path) -> None:
    settings, begun = Settings(home=tmp_path), asyncio.Event()

    async def fail_once(_: System) -> None:
        is_first = not begun.is_set()
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            if is_first:
                raise Unavailable(what="What it leased")

    system = build_system(SHOP, settings, place(SHOP, settings))
    repeating = asyncio.create_task(system._repeat(Job("failing", 0.0, fail_once)))
    await begun.wait()
    repeating.cancel()
    done, _ = await asyncio.wait([repeating], timeout=5)
    assert done
