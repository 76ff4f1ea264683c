"""A driver under test, seen from both sides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import asyncpg

from bulkhead.engine.drivers.endpoint import Endpoint, open_connection
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class UsedDriver:
    """A driver of PostgreSQL, as the engine uses it."""

    driver: Driver

    @asynccontextmanager
    async def database(self, spec: DatabaseSpec | None = None) -> AsyncIterator[DatabaseSpec]:
        """A database of its own for a test, dropped after it."""
        spec = spec or DatabaseSpec(fresh_name())
        await self.driver.ensure_database(spec)
        try:
            yield spec
        finally:
            await self.driver.drop_database(spec)

    @asynccontextmanager
    async def opened(self, spec: DatabaseSpec, login: Login) -> AsyncIterator[Any]:
        """A connection that the driver opened."""
        connection = await self.driver.connect(spec, login, timeout_s=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def migrate(self, spec: DatabaseSpec, sql: str) -> None:
        """Run `sql` as migrations do."""
        async with self.opened(spec, Login.ADMIN) as admin, admin.transaction():
            await admin.execute(f'set local role "{spec.owner}"')
            await admin.execute(sql)


@dataclass(frozen=True, slots=True)
class Subject(UsedDriver):
    """A driver, and a superuser's means to look behind it."""

    superuser: Endpoint
    encrypted: bool = False
    clones: bool = True

    @asynccontextmanager
    async def look(self, database: str = "postgres") -> AsyncIterator[Any]:
        """A superuser's connection that knows nothing of the driver."""
        connection = await open_connection(
            self.superuser, self.superuser.administrator(database), timeout_s=10
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def where(self, connection: Any) -> tuple[str, str]:
        """Database and login of a connection."""
        row = await connection.fetchrow("select current_database() as name, session_user as login")
        return row["name"], row["login"]

    async def leave_half_made(self, spec: DatabaseSpec) -> None:
        """Put the database into the state of one whose making was broken off."""
        async with self.look() as admin:
            await admin.execute(f'drop database "{spec.name}" with (force)')
            await admin.execute(f'create database "{spec.name}" owner "{spec.owner}"')

    @asynccontextmanager
    async def foreign_database(self, name: str) -> AsyncIterator[None]:
        """A database that somebody else made, which must be as it was afterwards."""
        async with self.look() as admin:
            await admin.execute(f'create database "{name}"')
            yield
            acl = await admin.fetchval("select datacl from pg_database where datname = $1", name)
            assert acl is None
            await admin.execute(f'drop database "{name}"')

    @asynccontextmanager
    async def foreign_login(self, spec: DatabaseSpec, login: Login) -> AsyncIterator[None]:
        """A login that somebody else made, which must be as it was afterwards."""
        name = spec.login(login)
        async with self.look() as admin:
            await admin.execute(f'create role "{name}" login')
            yield
            row = await admin.fetchrow("select rolconfig from pg_roles where rolname = $1", name)
            assert row["rolconfig"] is None
            await admin.execute(f'drop role "{name}"')

    async def limit_connections(self, spec: DatabaseSpec, login: Login, limit: int) -> None:
        """Let the server allow a login no more than `limit` connections."""
        async with self.look() as admin:
            await admin.execute(f'alter role "{spec.login(login)}" connection limit {limit}')

    def with_secret(self, secret: bytes) -> Driver:
        """Another installation's driver of the same server."""
        return PostgresDriver(self.superuser, secret)

    async def dial(self, url: str) -> Any:
        """Connect as other programs do."""
        return await asyncpg.connect(url)

    async def stored_password(self, spec: DatabaseSpec, login: Login) -> str:
        """What the server keeps of a password."""
        async with self.look() as admin:
            stored: str = await admin.fetchval(
                "select rolpassword from pg_authid where rolname = $1", spec.login(login)
            )
        return stored

    async def catalogue(self, spec: DatabaseSpec) -> list[Any]:
        """Row versions of everything that ensure_database makes outside of the database."""
        async with self.look() as admin:
            rows: list[Any] = await admin.fetch(
                "select 'role' as kind, oid, xmin::text from pg_authid where rolname like $1 "
                "union all select 'database', oid, xmin::text from pg_database where datname = $2 "
                "order by 1, 2",
                f"{spec.name}\\_%",
                spec.name,
            )
        return rows


def fresh_name() -> str:
    """A name that no other test uses."""
    return f"contract{next(_numbers)}"


def clone_of(template: DatabaseSpec, *, own_logins: bool = False) -> DatabaseSpec:
    """A clone with the roles of its template."""
    name = fresh_name()
    return replace(
        template,
        name=name,
        template=template.name,
        role_prefix=template.name,
        login_prefix=name if own_logins else None,
    )
