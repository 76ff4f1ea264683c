"""Owners' databases behind a real PgBouncer in transaction mode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pgbouncer_server import PgbouncerServer
from sqlalchemy import insert, select
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.drivers.pooled import upstream
from tests.integration.engine.fleet.faults import (
    AWAY,
    QUICK,
    end_sessions,
    failure_of,
    give_login,
    login_config,
    save,
    until_served,
)
from tests.integration.engine.fleet.migrating import migrations, note_version, tenant_row
from tests.integration.engine.fleet.test_fleet import NOTES, WHO

from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import (
    CommitUnknown,
    ConnectionLost,
    PoolerExhausted,
    PoolerUndeclared,
    UniqueViolated,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.fleet.archive import verify_archive
from bulkhead.engine.fleet.export import export_tenant
from bulkhead.engine.fleet.limits import FleetLimits, PoolLimits
from bulkhead.engine.fleet.migrate import FleetMigrator
from bulkhead.engine.fleet.migrate_tenant import FleetMigrations
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    TenantId,
)
from bulkhead.engine.fleet.outside import SETTINGS
from bulkhead.engine.ids import new_id
from bulkhead.engine.migrations.files import build_set, parse_migration
from bulkhead.engine.testing import TestFleet, TestServers

SECRETS = """
select nullif(current_setting('my.secret', true), '') as secret
"""
LOCKS = "select count(*) from pg_locks where locktype = 'advisory' and objid = 4714"


@asynccontextmanager
async def owned(
    servers: TestServers,
    registry: OpenDatabase,
    pgbouncer: PgbouncerServer,
    tenants: int = 1,
    limits: FleetLimits | None = None,
) -> AsyncIterator[TestFleet]:
    """Tenants whose owners reach their databases by logins of their own, through the pooler."""
    async with servers.fleet(registry, tenants=tenants, limits=limits) as made:
        for number, tenant in enumerate(made.tenants):
            await save(made, tenant, await give_config(made, tenant, pgbouncer, f"pooled{number}"))
        yield made


async def give_config(
    made: TestFleet, tenant: TenantId, pgbouncer: PgbouncerServer, login: str
) -> ConnectionConfig:
    password = await give_login(made, tenant, login)
    config = login_config(made, tenant, login, password)
    return replace(config, port=pgbouncer.port, pooled=True)


async def test_each_transaction_has_its_time_outs_and_nothing_stays_in_its_session(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        for _ in range(2):
            rows = await made.fleet.query(
                tenant,
                "select current_setting('statement_timeout') as statement,"
                " current_setting('lock_timeout') as lock,"
                " current_setting('idle_in_transaction_session_timeout') as idle,"
                " (select count(*) from pg_prepared_statements) as prepared,"
                " nullif(current_setting('my.secret', true), '') as secret",
            )
            assert tuple(rows[0].values()) == ("8s", "5s", "15s", 0, None)
            async with made.fleet.transaction(tenant) as tx:
                assert await tx.fetch_value("show statement_timeout") == "8s"
                await tx.execute("select set_config('my.secret', 'left behind', false)")
                await tx.execute("select pg_advisory_lock(4714)")
        assert (await made.fleet.query(tenant, LOCKS))[0]["count"] == 0


async def test_a_statement_that_takes_too_long_is_stopped_on_the_server(
    servers: TestServers,
    registry: OpenDatabase,
    start_pgbouncer: StartPgbouncer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when the caller has gone, and nobody is left who could cancel it."""
    monkeypatch.setitem(SETTINGS, "statement_timeout", "1s")
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer, limits=QUICK) as made:
        (tenant,) = made.tenants
        error = await failure_of_sleep(made, tenant)
        assert error in {"statement_timeout", "connection_lost"}
        async with made.administer(tenant) as admin, asyncio.timeout(10):
            running = (
                "select count(*) from pg_stat_activity where query like 'select pg_sleep%'"
                " and state = 'active' and datname = current_database()"
            )
            while await admin.fetchval(running):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await until_served(made, tenant)


async def failure_of_sleep(made: TestFleet, tenant: TenantId) -> str:
    try:
        await made.fleet.query(tenant, "select pg_sleep(60)")
    except AWAY as error:
        return error.code
    return "none"


async def test_single_statements_take_effect_or_fail_as_they_do_elsewhere(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        note = {"id": new_id(), "owner": new_id(), "body": "one"}
        assert await made.fleet.execute(tenant, insert(NOTES), note) == 1
        for _ in range(3):  # The one connection is of use after each refusal.
            with pytest.raises(UniqueViolated):
                await made.fleet.execute(tenant, insert(NOTES), note)
        async with made.fleet.connection(tenant) as connection:
            many = [{"id": new_id(), "owner": new_id(), "body": f"{n}"} for n in range(5)]
            await connection.execute_many(insert(NOTES), many)
            with pytest.raises(UniqueViolated):
                await connection.execute_many(insert(NOTES), [{**note, "id": new_id()}, note])
        assert len(await made.fleet.query(tenant, select(NOTES.c.id))) == 6


async def test_every_transaction_is_checked_to_be_the_tenants_own(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    """A pooler may lead elsewhere from one transaction to the next."""
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        write = insert(NOTES)
        note = {"id": new_id(), "owner": new_id(), "body": "kept out"}
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant
        for spoil, repair in (
            ("update _identity set tenant_id = gen_random_uuid()", None),
            ("insert into _identity values (gen_random_uuid())", None),
            ("delete from _identity", None),
            ("alter table _identity rename to gone", "alter table gone rename to _identity"),
        ):
            async with made.administer(tenant) as admin:
                await admin.execute(spoil)
            with pytest.raises(IdentityMismatch):
                await made.fleet.execute(tenant, write, note)
            with pytest.raises(IdentityMismatch):
                async with made.fleet.transaction(tenant):
                    pass
            async with made.administer(tenant) as admin:
                assert await admin.fetchval("select count(*) from notes") == 0
                if repair:
                    await admin.execute(repair)
                await admin.execute("truncate _identity")
                await admin.execute("insert into _identity values ($1)", tenant)
            await until_served(made, tenant)


@pytest.mark.parametrize(
    "ignored", ["", "statement_timeout,lock_timeout,idle_in_transaction_session_timeout"]
)
async def test_a_pooler_that_nobody_declared_is_found_out(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer, ignored: str
) -> None:
    """Whether it refuses what a session begins with, or drops it in silence."""
    pgbouncer = start_pgbouncer(await upstream(servers), ignore_startup_parameters=ignored)
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        config = await give_config(made, tenant, pgbouncer, "undeclared")
        await save(made, tenant, replace(config, pooled=False))
        with pytest.raises(PoolerUndeclared) as caught:
            await made.fleet.query(tenant, WHO)
        assert "pooled" in caught.value.advice
        if ignored:
            pgbouncer.restart(pool_mode="session")
            await until_served(made, tenant)
        await save(made, tenant, config)
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


@pytest.mark.parametrize("size", [1, 3])
async def test_many_tenants_share_a_pooler_and_see_their_own(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer, size: int
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=size)
    limits = FleetLimits(pool=PoolLimits(acquire_timeout_s=60.0))
    async with owned(servers, registry, pgbouncer, tenants=5, limits=limits) as made:

        async def use(number: int) -> str:
            tenant = made.tenants[number % 5]
            if number % 4 == 0:
                assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant
                return "queried"
            async with made.fleet.transaction(tenant) as tx:
                assert await tx.fetch_value(WHO) == tenant
                assert await tx.fetch_value(SECRETS) is None
                await tx.execute(f"select set_config('my.secret', '{tenant}', false)")
                if number % 4 == 1:
                    raise asyncio.CancelledError
            return "committed"

        tasks = [asyncio.create_task(use(number)) for number in range(160)]
        await asyncio.wait(tasks)
        ended = [task.result() if not task.cancelled() else "cancelled" for task in tasks]
        assert {word: ended.count(word) for word in set(ended)} == {
            "queried": 40, "committed": 80, "cancelled": 40
        }  # fmt: skip


async def test_sessions_and_poolers_that_die_are_reported_and_replaced(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        with pytest.raises(ConnectionLost):  # noqa: PT012
            async with made.fleet.transaction(tenant) as tx:
                await tx.fetch(WHO)
                await end_sessions(made, tenant)
                await tx.fetch(WHO)
        await until_served(made, tenant)
        with pytest.raises((CommitUnknown, ConnectionLost)):  # noqa: PT012
            async with made.fleet.transaction(tenant) as tx:
                await tx.fetch(WHO)
                pgbouncer.stop()
        assert isinstance(await failure_of(made, tenant), AWAY)
        pgbouncer.start()
        async with asyncio.timeout(20):
            await until_served(made, tenant)


async def test_a_pooler_that_hangs_costs_its_tenants_alone(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    async with owned(servers, registry, pgbouncer, tenants=2, limits=QUICK) as made:
        behind, direct = made.tenants
        password = await give_login(made, direct, "direct")
        await save(made, direct, login_config(made, direct, "direct", password))
        for tenant in made.tenants:
            await made.fleet.query(tenant, WHO)
        pgbouncer.pause()
        failures = [await failure_of(made, behind) for _ in range(6)]
        assert {type(error) for error in failures} <= set(AWAY)
        assert DatabaseUnavailable in {type(error) for error in failures}
        for _ in range(20):
            assert (await made.fleet.query(direct, WHO))[0]["tenant_id"] == direct
        pgbouncer.resume()
        async with asyncio.timeout(20):
            await until_served(made, behind)


async def test_a_pooler_that_is_full_says_so_once_and_not_three_times(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1, query_wait_timeout=1)
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        async with made.fleet.transaction(tenant) as tx:
            await tx.fetch(WHO)
            waited = pgbouncer.log().count("query_wait_timeout")
            with pytest.raises((PoolerExhausted, *AWAY)):
                async with made.fleet.transaction(tenant):
                    pass
            assert pgbouncer.log().count("query_wait_timeout") <= waited + 1
        async with asyncio.timeout(20):
            await until_served(made, tenant)


UNBOUNDED = """
do $$ begin
  assert current_setting('statement_timeout') = '0', current_setting('statement_timeout');
end $$;
-- migrate:down
select 1;
"""


@pytest.mark.parametrize("pooled", [False, True])
async def test_every_migration_may_take_its_time(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer, pooled: bool
) -> None:
    """Whatever the one before it has reset: sessions elsewhere begin with a time-out."""
    pgbouncer = start_pgbouncer(await upstream(servers))
    files = [
        parse_migration("test", f"{number:04}_step.sql", UNBOUNDED, Dialect.POSTGRESQL)
        for number in (1, 2, 3)
    ]
    sets = {Dialect.POSTGRESQL: build_set("test", files)}
    async with owned(servers, registry, pgbouncer) as made:
        (tenant,) = made.tenants
        if not pooled:
            password = await give_login(made, tenant, "direct")
            await save(made, tenant, login_config(made, tenant, "direct", password))
        login = "pooled0" if pooled else "direct"
        async with made.administer(tenant) as admin:
            await admin.execute(f"grant create on schema public to {login}")
        migrator = FleetMigrator(made.fleet.databases, FleetMigrations("test", sets), "tester")
        outcome = await migrator.apply()
        assert (outcome.state, outcome.done) == ("done", 1)


async def test_migrations_and_exports_go_through_the_pooler(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer, tmp_path: Path
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer, tenants=2) as made:
        tenant = made.tenants[0]
        for each, login in zip(made.tenants, ("pooled0", "pooled1"), strict=True):
            async with made.administer(each) as admin:
                await admin.execute(
                    f"alter table notes owner to {login}; alter table _identity owner to {login};"
                    f"grant create on schema public to {login}"
                )
        await note_version(made, 1)
        note = {"id": new_id(), "owner": new_id(), "body": "exported"}
        await made.fleet.execute(tenant, insert(NOTES), note)
        migrator = FleetMigrator(made.fleet.databases, migrations(3), "tester")
        outcome = await migrator.apply()
        assert (outcome.state, outcome.done) == ("done", 2)
        colors = await made.fleet.query(tenant, "select color from notes")
        assert [dict(row) for row in colors] == [{"color": "red!"}]
        path = tmp_path / "pooled.zip"
        manifest = await export_tenant(made.fleet.databases, await tenant_row(made, tenant), path)
        assert {table.table: table.rows for table in manifest.tables}["public.notes"] == 1
        verify_archive(path)
        back = await migrator.roll_back(1)
        assert (back.state, back.done) == ("done", 2)
