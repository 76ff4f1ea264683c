import asyncio
import random
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import (
    JSON,
    Column,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    update,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import PoolExhausted
from bulkhead.engine.connections.transaction import TransactionFailed
from bulkhead.engine.drivers.errors import ConnectionLost, DatabaseMissing, UniqueViolated
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.limits import FleetLimits, PoolLimits
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.refusal import (
    TenantDeleted,
    TenantMoving,
    TenantNotReady,
    TenantSuspended,
)
from bulkhead.engine.fleet.registry import TenantUnknown, get_tenant, set_state
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers

TABLES = MetaData()
NOTES = Table(
    "notes",
    TABLES,
    Column("id", Uuid, primary_key=True, default=new_id),
    Column("owner", Uuid, nullable=False),
    Column("body", Text, nullable=False),
    Column("price", Numeric(12, 2)),
    Column("details", JSON),
)
WHO = select(Table("_identity", TABLES, Column("tenant_id", Uuid)).c.tenant_id)
ONE = FleetLimits(pool=PoolLimits(size_max=1, acquire_timeout_s=60.0))
STRICT = PoolLimits(identity_every_s=0)


async def test_core_statements_reach_the_tenants_own_database(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        first, second = made.tenants
        note = {"owner": first, "body": "it's {here}", "price": Decimal("9.90")}
        async with made.fleet.transaction(first) as tx:
            assert await tx.execute(insert(NOTES), {**note, "details": {"tags": ["a", None]}}) == 1
        row = (await made.fleet.query(first, select(NOTES)))[0]
        assert isinstance(row["id"], UUID)
        assert {**note, "id": row["id"], "details": {"tags": ["a", None]}} == dict(row)
        assert await made.fleet.query(second, select(NOTES)) == []
        changed = update(NOTES).where(NOTES.c.owner == bindparam("who"))
        assert await made.fleet.execute(first, changed, {"who": first, "body": "new"}) == 1
        async with made.fleet.connection(first) as connection:
            count = select(func.count()).select_from(NOTES).where(NOTES.c.body.in_(["new", "x"]))
            assert await connection.fetch_value(count) == 1
            assert await connection.fetch_value("select $1::int + 1", [41]) == 42
            assert await connection.fetch_one("select 1 as one where false") is None
            rows = [{"owner": first, "body": str(number)} for number in range(100)]
            await connection.execute_many(insert(NOTES), rows)
            assert await connection.fetch_value(select(func.count(NOTES.c.id))) == 101


async def test_a_transaction_takes_effect_as_a_whole_or_not_at_all(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        note = {"id": new_id(), "owner": tenant, "body": "first"}

        async def write_twice(*, catch: bool) -> None:
            async with made.fleet.transaction(tenant) as tx:
                await tx.execute(insert(NOTES), note)
                with suppress(UniqueViolated) if catch else nullcontext():
                    await tx.execute(insert(NOTES), note)

        with pytest.raises(UniqueViolated):
            await write_twice(catch=False)
        with pytest.raises(TransactionFailed):
            await write_twice(catch=True)
        assert await made.fleet.query(tenant, select(NOTES)) == []
        async with made.fleet.transaction(tenant) as tx:
            await tx.execute(insert(NOTES), note)
            with suppress(UniqueViolated):
                async with tx.savepoint():
                    await tx.execute(insert(NOTES), {**note, "id": new_id()})
                    await tx.execute(insert(NOTES), note)
        assert len(await made.fleet.query(tenant, select(NOTES))) == 1


async def test_values_are_given_the_way_the_statement_wants_them(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        for statement, params in (
            ("select $1", {"a": 1}),
            (select(NOTES).where(NOTES.c.id == bindparam("id")), [1]),
            (select(NOTES).where(NOTES.c.id == bindparam("id")), {}),
            (select(NOTES), {"id": 1}),
        ):
            with pytest.raises(Invalid):
                await made.fleet.query(tenant, statement, params)


async def test_what_a_session_picked_up_is_not_there_for_the_next_one(
    servers: TestServers, registry: OpenDatabase
) -> None:
    ask = (
        "select current_setting('search_path') as path, current_user::text as role,"
        " (select count(*) from pg_locks where locktype = 'advisory') as locks"
    )
    async with servers.fleet(registry, tenants=1, limits=ONE) as made:
        (tenant,) = made.tenants
        before = await made.fleet.query(tenant, ask)
        assert before[0]["role"] == "service_role"
        async with made.fleet.transaction(tenant) as tx:
            await tx.execute("set search_path = pg_temp")
            await tx.execute("select pg_advisory_lock(5)")
        assert await made.fleet.query(tenant, ask) == before
        for statement in (
            "set search_path = pg_temp",
            "select pg_advisory_lock(6)",
            "do $$ begin set search_path = pg_temp; end $$",
            "prepare p as select 1",
        ):
            await made.fleet.execute(tenant, statement)
            assert await made.fleet.query(tenant, ask) == before


async def test_many_tenants_share_a_few_connections_and_never_meet(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=24, connections=6, limits=ONE) as made:
        chooser = random.Random(4)  # noqa: S311
        most = 0

        async def ask(_: int) -> None:
            nonlocal most
            for _ in range(4):
                tenant = chooser.choice(made.tenants)
                owner = new_id()
                async with made.fleet.transaction(tenant) as tx:
                    most = max(most, *(taken for taken, *_ in made.fleet.stats().servers.values()))
                    assert await tx.fetch_value(WHO) == tenant
                    await tx.execute(insert(NOTES), {"owner": owner, "body": str(tenant)})
                rows = await made.fleet.query(tenant, select(NOTES.c.body))
                assert {row["body"] for row in rows} == {str(tenant)}

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(ask(number))
        (taken, idle, limit) = made.fleet.stats().servers[made.drivers["shared"].server]
        assert (taken, limit) == (idle, 6)
        assert most <= 6


async def test_a_tenant_that_floods_its_server_leaves_the_others_their_turn(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=6, connections=3) as made:
        loud, *quiet = made.tenants
        stop = asyncio.Event()

        async def flood() -> None:
            while not stop.is_set():
                await made.fleet.query(loud, "select pg_sleep(0.01)")

        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(flood())
            for _ in range(10):
                for tenant in quiet:
                    async with asyncio.timeout(20):
                        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant
            stop.set()


async def test_no_more_than_some_may_wait_for_one_tenant(
    servers: TestServers, registry: OpenDatabase
) -> None:
    limits = FleetLimits(pool=PoolLimits(size_max=1, acquire_timeout_s=0.3))
    async with servers.fleet(registry, tenants=1, limits=limits) as made:
        (tenant,) = made.tenants
        refused = 0

        async def ask() -> None:
            nonlocal refused
            try:
                await made.fleet.query(tenant, WHO)
            except PoolExhausted:
                refused += 1

        async with made.fleet.connection(tenant):
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(ask())
            assert refused == 100
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


async def test_a_tenant_that_is_forgotten_while_in_use_is_closed_when_it_comes_back(
    servers: TestServers, registry: OpenDatabase
) -> None:
    limits = FleetLimits(tenants_max=2)
    async with servers.fleet(registry, tenants=5, limits=limits) as made:
        first, *others = made.tenants
        async with made.fleet.transaction(first) as tx:
            for tenant in others:
                await made.fleet.query(tenant, WHO)
            assert made.fleet.cache.peek(first) is None
            assert await tx.fetch_value(WHO) == first
        assert len(made.fleet.cache) == 2
        assert (await made.fleet.query(first, WHO))[0]["tenant_id"] == first
        (taken, idle, _) = made.fleet.stats().servers[made.drivers["shared"].server]
        assert (taken, idle) == (2, 2)


async def test_a_database_that_is_not_the_tenants_is_never_read(
    servers: TestServers, registry: OpenDatabase
) -> None:
    limits = FleetLimits(pool=STRICT)
    async with servers.fleet(registry, tenants=3, limits=limits) as made:
        first, second, third = made.tenants
        await made.fleet.query(first, WHO)
        async with made.administer(first) as admin:
            await admin.execute("update _identity set tenant_id = $1", second)
        with pytest.raises(IdentityMismatch, match="another tenant"):
            await made.fleet.query(first, WHO)
        async with made.administer(second) as admin:
            await admin.execute("delete from _identity")
        with pytest.raises(IdentityMismatch, match="empty"):
            await made.fleet.query(second, WHO)
        async with made.administer(third) as admin:
            await admin.execute("insert into _identity values ($1)", first)
        with pytest.raises(IdentityMismatch, match="several"):
            await made.fleet.query(third, WHO)
        async with made.administer(third) as admin:
            await admin.execute("drop table _identity")
        for _ in range(5):
            with pytest.raises(IdentityMismatch, match="no table"):
                await made.fleet.query(third, WHO)


async def test_databases_that_were_exchanged_behind_our_back_are_refused(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=3) as made:
        first, second, _ = made.tenants
        for tenant in (first, second):
            await made.fleet.query(tenant, WHO)
        names = [made.specs[tenant].name for tenant in (first, second)]
        async with made.administer(made.tenants[2]) as admin:
            for old, new in ((names[0], "exchange"), (names[1], names[0]), ("exchange", names[1])):
                await admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", old
                )
                await admin.execute(f"alter database {old} rename to {new}")
        for tenant in (first, second):
            for _ in range(3):
                with pytest.raises((IdentityMismatch, ConnectionLost)):
                    await made.fleet.query(tenant, WHO)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (TenantState.SUSPENDED, TenantSuspended),
        (TenantState.MOVING, TenantMoving),
        (TenantState.DELETING, TenantDeleted),
        (TenantState.PROVISIONING, TenantNotReady),
    ],
)
async def test_a_tenant_that_is_not_served_says_why(
    servers: TestServers, registry: OpenDatabase, state: TenantState, error: type[Exception]
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        await made.fleet.query(tenant, WHO)
        async with registry.transaction(SERVICE) as tx:
            await set_state(tx, tenant, state, expected=list(TenantState), reason="unpaid")
        made.fleet.invalidate(tenant)
        with pytest.raises(error):
            await made.fleet.query(tenant, WHO)
        async with made.fleet.connection(tenant, states=frozenset({state})) as connection:
            assert await connection.fetch_value(WHO) == tenant
        async with registry.transaction(SERVICE) as tx:
            await set_state(tx, tenant, TenantState.ACTIVE, expected=[state])
        made.fleet.invalidate(tenant)
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


async def test_another_process_hears_of_a_change_without_being_asked(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        made.fleet.start()
        await made.fleet.query(tenant, WHO)
        async with registry.transaction(SERVICE) as tx:
            await set_state(tx, tenant, TenantState.SUSPENDED, expected=[TenantState.ACTIVE])

        async def ask_until_refused() -> None:
            while True:
                await made.fleet.query(tenant, WHO)
                await asyncio.sleep(0.01)

        async with asyncio.timeout(20):  # Less than an entry is believed.
            with pytest.raises(TenantSuspended):
                await ask_until_refused()


async def test_unknown_and_dropped_tenants_are_told_apart(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        with pytest.raises(TenantUnknown):
            await made.fleet.query(TenantId(new_id()), WHO)
        await made.drivers["shared"].drop_database(made.specs[tenant])
        with pytest.raises(DatabaseMissing):
            await made.fleet.query(tenant, WHO)


async def test_draining_a_tenant_waits_for_what_is_in_use(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        async with registry.transaction(SERVICE) as tx:
            row = await get_tenant(tx, tenant)
        async with made.fleet.transaction(tenant) as open_one:
            async with registry.transaction(SERVICE) as tx:
                await set_state(tx, tenant, TenantState.MOVING, expected=[TenantState.ACTIVE])
            assert not await made.fleet.drain(tenant, 0.01)
            with pytest.raises(TenantMoving):
                await made.fleet.query(tenant, WHO)
            draining = asyncio.create_task(made.fleet.drain(tenant, 5))
            await open_one.execute(insert(NOTES), {"owner": tenant, "body": "last"})
        assert await draining
        assert row.generation == 2


async def test_rows_of_types_come_back_as_they_went(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        rows = await made.fleet.query(tenant, select(bindparam("at", at).label("at")))
        assert dict(rows[0]) == {"at": at}
