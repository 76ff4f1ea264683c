"""A database is not served through a login that could pass over row level security."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.roles import RoleUnsafe
from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login
from bulkhead.engine.testing import TestServers

SPEC = DatabaseSpec("guarded")
OTHER = "create role other_people login"

DANGERS = [
    ("client is a superuser", "alter role guarded_client superuser", "client"),
    ("client bypasses policies", "alter role guarded_client bypassrls", "client"),
    ("client replicates", "alter role guarded_client replication", "client"),
    ("client makes roles", "alter role guarded_client createrole", "client"),
    ("client may become the service", "grant service_role to guarded_client", "client"),
    ("client may become the owner", "grant guarded_owner to guarded_client", "client"),
    ("client may become another login", f"{OTHER}; grant other_people to guarded_client", "client"),
    ("client may read any file", "grant pg_read_server_files to guarded_client", "client"),
    ("client may run programs", "grant pg_execute_server_program to guarded_client", "client"),
    ("client may read any row", "grant pg_read_all_data to guarded_client", "client"),
    ("anon bypasses policies", "alter role anon bypassrls", "client"),
    (
        "authenticated owns a table",
        "create table t (); alter table t owner to authenticated",
        "client",
    ),
    ("client owns a table", "create table t (); alter table t owner to guarded_client", "client"),
    ("client owns a view", "create view v as select 1 as x; alter view v owner to anon", "client"),
    ("service is a superuser", "alter role guarded_service superuser", "service"),
    ("service_role is a superuser", "alter role service_role superuser", "service"),
    ("service may become the owner", "grant guarded_owner to guarded_service", "service"),
    ("service may become a client", "grant authenticated to guarded_service", "service"),
    ("service makes roles", "alter role guarded_service createrole", "service"),
    ("service may run programs", "grant pg_execute_server_program to service_role", "service"),
]


@pytest.fixture(scope="module")
async def driver(servers: TestServers) -> Driver:
    """A server of its own, because its roles are ruined."""
    driver = await servers.driver("roles")
    await driver.ensure_database(SPEC)
    return driver


@pytest.fixture
async def admin(driver: Driver) -> AsyncIterator[Any]:
    connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=5)
    yield connection
    await connection.close()


async def verify(driver: Driver) -> None:
    router = Router("guarded", (Placement("guarded", driver, SPEC),))
    try:
        await router.verify()
        async with router.database("guarded").transaction(SERVICE) as tx:
            await tx.execute("select 1")
    finally:
        await router.close()


async def test_what_a_driver_makes_is_safe(driver: Driver) -> None:
    await verify(driver)


@pytest.mark.parametrize(
    ("statements", "login"), [each[1:] for each in DANGERS], ids=[each[0] for each in DANGERS]
)
async def test_it_is_not_served_when(
    driver: Driver, admin: Any, statements: str, login: str
) -> None:
    await admin.execute(statements)
    try:
        with pytest.raises(RoleUnsafe) as refused:
            await verify(driver)
        assert refused.value.details["database"] == "guarded"
        assert login == "client" or "service" in str(refused.value)
    finally:
        await mend(admin)
    await verify(driver)


async def mend(admin: Any) -> None:
    await admin.execute(
        "alter role guarded_client nosuperuser nobypassrls noreplication nocreaterole;"
        "alter role guarded_service nosuperuser nobypassrls noreplication nocreaterole;"
        "alter role anon nobypassrls; alter role service_role nosuperuser;"
        "revoke service_role, guarded_owner, pg_read_server_files, pg_execute_server_program,"
        " pg_read_all_data from guarded_client;"
        "revoke guarded_owner, authenticated from guarded_service;"
        "revoke pg_execute_server_program from service_role;"
        "drop table if exists t; drop view if exists v; drop role if exists other_people"
    )
