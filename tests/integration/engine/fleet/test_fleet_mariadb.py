"""A fleet whose tenants live on PostgreSQL and on MariaDB: statements and promises are the same."""

import asyncio
import random
from contextlib import suppress
from decimal import Decimal

import pytest
from mariadb_server import MariadbServer
from sqlalchemy import (
    JSON,
    Column,
    MetaData,
    Numeric,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)
from tests.integration.engine.fleet.conftest import AddTenant
from tests.integration.engine.fleet.faults import AWAY, until_served

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import TransactionFailed
from bulkhead.engine.drivers.errors import (
    UniqueViolated,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.portable import Id
from bulkhead.engine.fleet.limits import FleetLimits, PoolLimits
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestFleet, TestServers

TABLES = MetaData()
NOTES = Table(
    "notes",
    TABLES,
    Column("id", Id, primary_key=True, default=new_id),
    Column("owner", Id, nullable=False),
    Column("body", Text, nullable=False),
    Column("price", Numeric(12, 2)),
    Column("details", JSON),
)
WHO = select(Table("_identity", TABLES, Column("tenant_id", Id)).c.tenant_id)
ONE = FleetLimits(pool=PoolLimits(size_max=1, acquire_timeout_s=60.0))


async def who(made: TestFleet, tenant: TenantId) -> object:
    return (await made.fleet.query(tenant, WHO))[0]["tenant_id"]


async def test_the_same_statements_mean_the_same_on_both(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        for tenant in (made.tenants[0], await add_mariadb_tenant(made)):
            assert await who(made, tenant) == tenant
            note = {
                "id": new_id(),
                "owner": tenant,
                "body": "100 % 'quoted' \\ ünï",
                "price": Decimal("9.90"),
                "details": {"tags": ["a", None]},
            }
            async with made.fleet.transaction(tenant) as tx:
                assert await tx.execute(insert(NOTES), note) == 1
            assert [dict(row) for row in await made.fleet.query(tenant, select(NOTES))] == [note]
            like = select(NOTES.c.id).where(NOTES.c.body.like("100 \\% %", escape="\\"))
            assert len(await made.fleet.query(tenant, like)) == 1
            changed = update(NOTES).where(NOTES.c.owner.in_([tenant, new_id()]))
            assert await made.fleet.execute(tenant, changed, {"body": "new"}) == 1
            async with made.fleet.connection(tenant) as connection:
                rows = [{"owner": tenant, "body": str(number)} for number in range(50)]
                await connection.execute_many(insert(NOTES), rows)
                found = select(func.count(NOTES.c.id)).where(NOTES.c.owner == bindparam("who"))
                assert await connection.fetch_value(found, {"who": tenant}) == 51


async def test_transactions_and_savepoints_hold_on_both(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        for tenant in (made.tenants[0], await add_mariadb_tenant(made)):
            note = {"id": new_id(), "owner": tenant, "body": "first"}

            async def fail(tenant: TenantId, note: dict[str, object]) -> None:
                async with made.fleet.transaction(tenant) as tx:
                    await tx.execute(insert(NOTES), note)
                    with suppress(UniqueViolated):
                        await tx.execute(insert(NOTES), note)

            with pytest.raises(TransactionFailed):
                await fail(tenant, note)
            assert list(await made.fleet.query(tenant, select(NOTES))) == []
            async with made.fleet.transaction(tenant) as tx:
                await tx.execute(insert(NOTES), note)
                with suppress(UniqueViolated):
                    async with tx.savepoint():
                        await tx.execute(insert(NOTES), {**note, "id": new_id()})
                        await tx.execute(insert(NOTES), note)
            assert len(await made.fleet.query(tenant, select(NOTES))) == 1


async def test_a_session_that_was_led_elsewhere_is_not_lent_again(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    async with servers.fleet(registry, tenants=1, limits=ONE) as made:
        tenant = await add_mariadb_tenant(made)
        mode = (await made.fleet.query(tenant, "select @@sql_mode as mode"))[0]["mode"]
        for statement in (
            "use information_schema",
            "set sql_mode = ''",
            "select get_lock('x', 0)",
            "create temporary table notes (id int)",
        ):
            async with made.fleet.connection(tenant) as connection:
                await connection.execute(statement)
            async with made.fleet.transaction(tenant) as tx:
                await tx.execute(statement)
            assert await who(made, tenant) == tenant
            ask = "select @@sql_mode as mode, is_free_lock('x') as free"
            (row,) = await made.fleet.query(tenant, ask)
            assert (row["mode"], row["free"]) == (mode, 1)
            assert list(await made.fleet.query(tenant, select(NOTES))) == []


async def test_tenants_of_both_kinds_share_few_connections_and_never_meet(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    async with servers.fleet(registry, tenants=6, connections=3, limits=ONE) as made:
        tenants = [*made.tenants, *[await add_mariadb_tenant(made) for _ in range(8)]]
        chooser = random.Random(3)  # noqa: S311

        async def ask() -> None:
            for _ in range(20):
                tenant = chooser.choice(tenants)
                async with made.fleet.transaction(tenant) as tx:
                    assert await tx.fetch_value(WHO) == tenant
                    await tx.execute(insert(NOTES), {"owner": tenant, "body": str(tenant)})
                rows = await made.fleet.query(tenant, select(NOTES.c.owner))
                assert {row["owner"] for row in rows} == {tenant}

        async with asyncio.TaskGroup() as group:
            for _ in range(15):
                group.create_task(ask())
        for taken, idle, limit in made.fleet.stats().servers.values():
            assert taken == idle <= limit


async def test_tenants_elsewhere_do_not_notice_that_mariadb_hangs_or_restarts(
    servers: TestServers,
    registry: OpenDatabase,
    add_mariadb_tenant: AddTenant,
    mariadb: MariadbServer,
) -> None:
    limits = FleetLimits(
        statement_timeout_s=1.0, answer_slack_s=1.0, pool=PoolLimits(connect_timeout_s=2.0)
    )
    async with servers.fleet(registry, tenants=3, limits=limits) as made:
        stuck = await add_mariadb_tenant(made)
        assert await who(made, stuck) == stuck
        mariadb.pause()
        try:

            async def hammer() -> None:
                for _ in range(2):
                    with pytest.raises(AWAY):
                        await made.fleet.query(stuck, WHO)

            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(hammer())
                for number in range(100):
                    tenant = made.tenants[number % 3]
                    async with asyncio.timeout(20):
                        assert await who(made, tenant) == tenant
        finally:
            mariadb.resume()
        await served_soon(made, stuck)
        mariadb.restart(kill=True)
        await served_soon(made, stuck)


async def test_a_database_on_mariadb_that_is_not_the_tenants_is_never_read(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    limits = FleetLimits(pool=PoolLimits(identity_every_s=0))
    async with servers.fleet(registry, tenants=1, limits=limits) as made:
        tenant = await add_mariadb_tenant(made)
        await made.fleet.execute(tenant, "update _identity set tenant_id = %s", [new_id()])
        for _ in range(5):
            with pytest.raises(IdentityMismatch, match="another tenant"):
                await made.fleet.query(tenant, WHO)


async def test_each_tenant_says_which_sql_it_speaks(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        for tenant, dialect in (
            (made.tenants[0], Dialect.POSTGRESQL),
            (await add_mariadb_tenant(made), Dialect.MYSQL),
        ):
            async with made.fleet.connection(tenant) as connection:
                assert connection.dialect is dialect


async def served_soon(made: TestFleet, tenant: TenantId) -> None:
    async with asyncio.timeout(20):
        await until_served(made, tenant)
