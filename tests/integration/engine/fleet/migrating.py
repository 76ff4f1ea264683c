"""Tenants on PostgreSQL and MariaDB, and migrations for both."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mariadb_server import MariadbServer

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.endpoint import Endpoint
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.mysql_connection import MysqlConnection
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, Login
from bulkhead.engine.fleet.migrate_tenant import FleetMigrations
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantPlace, TenantRow, TenantState
from bulkhead.engine.fleet.registry import (
    ServerEntry,
    add_server,
    add_tenant,
    find_tenant,
    remove_tenant,
    set_schema,
    set_state,
)
from bulkhead.engine.ids import new_id
from bulkhead.engine.migrations.files import MigrationSet, build_set, parse_migration
from bulkhead.engine.testing import TestFleet

POSTGRESQL = (
    """
    create table public._identity (tenant_id uuid primary key);
    create table public.notes (
      id uuid primary key default gen_random_uuid(), owner uuid not null, body text not null,
      price numeric(12, 2), details jsonb
    );
    -- migrate:down
    drop table public.notes;
    drop table public._identity;
    """,
    """
    alter table public.notes add column color text not null default 'red';
    create table public.tags (id integer primary key, name text not null unique);
    insert into public.tags values (1, '50% off; today'), (2, 'new');
    create index notes_color on public.notes (color);
    -- migrate:down
    drop index public.notes_color;
    drop table public.tags;
    alter table public.notes drop column color;
    """,
    """
    alter table public.notes add constraint notes_body check (length(body) < 10);
    update public.notes set color = color || '!';
    -- migrate:down
    update public.notes set color = left(color, -1);
    alter table public.notes drop constraint notes_body;
    """,
)
MYSQL = (
    """
    create table _identity (tenant_id char(36) primary key);
    create table notes (id char(36) primary key, body varchar(100) not null, amount int not null);
    -- migrate:down
    drop table notes;
    drop table _identity;
    """,
    r"""
    alter table notes add column color varchar(20) not null default 'red';
    create table tags (id int primary key auto_increment, name varchar(50) not null unique);
    insert into tags (name) values ('50% off; it\'s today'), ('new');
    create index notes_color on notes (color);
    update notes set amount = amount + 1;
    create view cheap as select id from notes where amount < 5;
    create trigger notes_change before update on notes for each row
    begin
      if new.amount < 0 then
        set new.amount = 0;
      end if;
    end;
    create procedure forget() begin delete from tags; end;
    alter table notes modify column amount bigint not null;
    -- migrate:down
    alter table notes modify column amount int not null;
    drop procedure forget;
    drop trigger notes_change;
    drop view cheap;
    update notes set amount = amount - 1;
    drop index notes_color on notes;
    drop table tags;
    alter table notes drop column color;
    """,
    """
    alter table notes add constraint notes_body check (char_length(body) < 10);
    update notes set color = concat(color, '!');
    -- migrate:down
    update notes set color = left(color, char_length(color) - 1);
    alter table notes drop constraint notes_body;
    """,
)
DIALECTS = {Dialect.POSTGRESQL: POSTGRESQL, Dialect.MYSQL: MYSQL}


def migrations(versions: int) -> FleetMigrations:
    """The first so many versions."""
    return FleetMigrations(
        "test", {dialect: _set(dialect, texts[:versions]) for dialect, texts in DIALECTS.items()}
    )


def _set(dialect: Dialect, texts: Sequence[str]) -> MigrationSet:
    return build_set(
        "test",
        [
            parse_migration("test", f"{number:04}_step.sql", text, dialect)
            for number, text in enumerate(texts, start=1)
        ],
    )


async def tenant_row(made: TestFleet, tenant: TenantId) -> TenantRow:
    """The tenant as the registry has it."""
    async with made.registry.transaction(SERVICE, read_only=True) as tx:
        row = await find_tenant(tx, tenant)
    assert row is not None
    return row


async def note_version(made: TestFleet, version: int) -> None:
    """Let the registry say that every tenant has had so many migrations."""
    async with made.registry.transaction(SERVICE) as tx:
        for tenant in made.tenants:
            await set_schema(tx, tenant, version, None)


@dataclass(slots=True)
class MysqlTenants:
    """Tenants of a fleet on a MariaDB server."""

    made: TestFleet
    driver: MysqlDriver
    tenants: list[TenantId] = field(default_factory=list)
    specs: dict[TenantId, DatabaseSpec] = field(default_factory=dict)

    async def add(self, *, version: int = 0) -> TenantId:
        """Another tenant; with its first tables when it has had `version` 1."""
        tenant = TenantId(new_id())
        spec = DatabaseSpec(f"m_{tenant.hex[-12:]}")
        await self.driver.ensure_database(spec)
        self.specs[tenant] = spec
        place = TenantPlace(ServerKind.MYSQL, "maria", spec.name, None, None, None)
        async with self.made.registry.transaction(SERVICE) as tx:
            await add_tenant(tx, tenant, self.made.fleet.name, place)
            await set_schema(tx, tenant, version, None)
            await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
        if version:
            async with self.administer(tenant) as connection:
                for statement in _set(Dialect.MYSQL, MYSQL[:1]).migrations[0].up_statements:
                    await connection.execute(statement.text, (), timeout_s=10)
                await connection.execute(
                    "insert into _identity values (%s)", (str(tenant),), timeout_s=10
                )
        self.tenants.append(tenant)
        return tenant

    @asynccontextmanager
    async def administer(self, tenant: TenantId) -> AsyncIterator[MysqlConnection]:
        """The administrator's connection to the tenant's database."""
        connection = await self.driver.connect(self.specs[tenant], Login.ADMIN, timeout_s=10)
        try:
            yield connection
        finally:
            connection.terminate()


@asynccontextmanager
async def mysql_tenants(made: TestFleet, server: MariadbServer) -> AsyncIterator[MysqlTenants]:
    """The fleet has a MariaDB server too."""
    endpoint = Endpoint("127.0.0.1", server.port, "root", server.password)
    driver = MysqlDriver(endpoint, secrets.token_bytes(32))
    made.fleet.databases.drivers["maria"] = driver
    async with made.registry.transaction(SERVICE) as tx:
        await add_server(tx, ServerEntry("maria", ServerKind.MYSQL, "maria", 1000))
    tenants = MysqlTenants(made, driver)
    try:
        yield tenants
    finally:
        async with made.registry.transaction(SERVICE) as tx:
            for tenant in tenants.tenants:
                await remove_tenant(tx, tenant)
        for spec in tenants.specs.values():
            await driver.drop_database(spec)
