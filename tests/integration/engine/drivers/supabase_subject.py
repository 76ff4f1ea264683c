"""The driver of Supabase's cloud under test, seen from both sides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from supabase_api import SupabaseApi
from supabase_cloud import Organization
from tests.integration.engine.drivers.subject import UsedDriver

from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login
from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.drivers.supabase import SupabaseDriver
from bulkhead.engine.drivers.supabase_api import Patience
from bulkhead.engine.drivers.supabase_project import Account, SupabaseAccess
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.address import LOOPBACK

REGION = "eu-central-1"
PATIENCE = Patience(pause_s=0.01)


def access_to(api: SupabaseApi) -> SupabaseAccess:
    """How the API on this machine, and its projects, are reached."""
    return SupabaseAccess(
        Egress(LOOPBACK, resolve=api.cloud.resolve),
        api.url,
        port=api.cloud.machines.port,
        tls=Tls.DISABLE,
        patience=PATIENCE,
        poll_s=0.02,
    )


def account_of(organization: Organization) -> Account:
    """The account with the organization's token."""
    return Account(SecretText(next(iter(organization.tokens))), organization.slug, REGION)


@dataclass(frozen=True, slots=True)
class SupabaseSubject(UsedDriver):
    """A driver, and the cloud that it works on."""

    driver: SupabaseDriver
    api: SupabaseApi
    organization: Organization
    encrypted: bool = False
    clones: bool = False

    @asynccontextmanager
    async def look_at(self, spec: DatabaseSpec) -> AsyncIterator[Any]:
        """A superuser's connection to a project."""
        (project,) = self.api.cloud.named(spec.name)
        assert project.cluster is not None
        async with project.cluster.look() as admin:
            yield admin

    async def where(self, connection: Any) -> tuple[str, str]:
        """The database, which is known by the address of its server, and the login."""
        row = await connection.fetchrow(
            "select host(inet_server_addr()) as address, session_user as login"
        )
        for project in self.api.cloud.projects.values():
            if project.cluster is not None and project.cluster.address == row["address"]:
                return project.name.partition("-")[0], row["login"]
        return "", row["login"]

    async def leave_half_made(self, spec: DatabaseSpec) -> None:
        """Put the project into the state of one that has just come up."""
        (old,) = self.api.cloud.named(spec.name)
        self.api.cloud.delete(old.ref)
        password = self.driver.projects.password(spec).reveal()
        await self.api.cloud.make_project(self.organization, old.name, password)

    @asynccontextmanager
    async def foreign_database(self, name: str) -> AsyncIterator[None]:
        """A project that somebody else made, which must be there afterwards."""
        project = await self.api.cloud.make_project(self.organization, name, "theirs, not ours")
        yield
        assert self.api.cloud.projects[project.ref] is project
        self.api.cloud.delete(project.ref)

    @asynccontextmanager
    async def foreign_login(self, spec: DatabaseSpec, login: Login) -> AsyncIterator[None]:
        """A login that somebody else made in a project of ours; it goes with the project."""
        name = self.driver.projects.name(spec)
        password = self.driver.projects.password(spec).reveal()
        await self.api.cloud.make_project(self.organization, name, password)
        async with self.look_at(spec) as admin:
            await admin.execute(f'create role "{spec.login(login)}" login')
        yield

    async def limit_connections(self, spec: DatabaseSpec, login: Login, limit: int) -> None:
        """Let the server allow a login no more than `limit` connections."""
        async with self.look_at(spec) as admin:
            await admin.execute(f'alter role "{spec.login(login)}" connection limit {limit}')

    def with_secret(self, secret: bytes) -> Driver:
        """Another installation's driver of the same organization."""
        return SupabaseDriver(self.driver.access, account_of(self.organization), secret)

    async def dial(self, url: str) -> Any:
        """Connect as other programs do, whose resolver knows the cloud's names."""
        parts = urlsplit(url)
        (address,) = await self.api.cloud.resolve(parts.hostname or "", 0)
        place = parts.netloc.replace(parts.hostname or "", address)
        return await asyncpg.connect(urlunsplit(parts._replace(netloc=place)))

    async def stored_password(self, spec: DatabaseSpec, login: Login) -> str:
        """What the server keeps of a password."""
        async with self.look_at(spec) as admin:
            stored: str = await admin.fetchval(
                "select rolpassword from pg_authid where rolname = $1", spec.login(login)
            )
        return stored

    async def catalogue(self, spec: DatabaseSpec) -> list[Any]:
        """Row versions of the roles that are made, and the database's own."""
        if not self.api.cloud.named(spec.name):
            return []
        async with self.look_at(spec) as admin:
            rows: list[Any] = await admin.fetch(
                "select 'role' as kind, oid, xmin::text from pg_authid where rolname like $1 "
                "union all select 'database', oid, xmin::text from pg_database "
                "where datname = 'postgres' order by 1, 2",
                f"{spec.name}\\_%",
            )
        return rows


def fresh_driver(subject: SupabaseSubject) -> SupabaseDriver:
    """The driver of the next process, which remembers nothing."""
    return SupabaseDriver(
        subject.driver.access, subject.driver.projects.account, subject.driver._secret
    )


async def verify_one(subject: SupabaseSubject, spec: DatabaseSpec) -> None:
    """There is one project, it serves, and nothing is left once it is dropped."""
    assert len(subject.api.cloud.named(spec.name)) == 1
    async with subject.opened(spec, Login.SERVICE) as service:
        await service.execute("set role service_role")
    await fresh_driver(subject).drop_database(spec)
    assert subject.api.cloud.named(spec.name) == []
