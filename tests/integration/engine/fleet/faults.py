"""What goes wrong with the server of a tenant, and what a test asks of it meanwhile."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from tests.integration.engine.fleet.test_fleet import WHO

from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.pool import PoolExhausted
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.errors import (
    ConnectionLost,
    ServerUnreachable,
    StatementTimeout,
)
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.limits import FleetLimits, PoolLimits
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    SecretText,
    ServerKind,
    TenantId,
    TenantPlace,
    TenantState,
)
from bulkhead.engine.fleet.registry import add_tenant, get_tenant, set_place, set_state
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestFleet

QUICK = FleetLimits(
    statement_timeout_s=0.5,
    answer_slack_s=1.0,
    pool=PoolLimits(size_max=2, acquire_timeout_s=3.0, connect_timeout_s=2.0),
)
"""Quick to give a server up, and not so quick that one of a slow machine is given up."""
AWAY = (
    ConnectionLost,
    DatabaseUnavailable,
    PoolExhausted,
    ServerUnreachable,
    StatementTimeout,
)


async def verify_served(made: TestFleet, tenant: TenantId) -> None:
    """The tenant is answered, within what the fleet's limits let it wait."""
    (row,) = await made.fleet.query(tenant, WHO)
    assert row["tenant_id"] == tenant


async def failure_of(made: TestFleet, tenant: TenantId) -> BulkheadError:
    try:
        await made.fleet.query(tenant, WHO)
    except BulkheadError as error:
        return error
    raise AssertionError


async def until_served(made: TestFleet, tenant: TenantId) -> None:
    while True:
        try:
            await made.fleet.query(tenant, WHO)
        except AWAY:
            await asyncio.sleep(0.05)
        else:
            return


@asynccontextmanager
async def stopped_server(made: TestFleet, name: str) -> AsyncIterator[None]:
    """Every process of an embedded server is stopped, as if its machine hung."""
    postmaster = made.drivers[name].postmaster_pid  # type: ignore[attr-defined]
    pids = [postmaster, *children_of(postmaster)]
    try:
        send(signal.SIGSTOP, pids)
        yield
    finally:
        send(signal.SIGCONT, pids)


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to those that have not ended meanwhile, as backends do."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123
        return [int(child) for child in file.read().split()]


@dataclass
class Silent:
    """A server that takes connections and never answers."""

    port: int = 0
    accepted: int = 0


@asynccontextmanager
async def silent_server() -> AsyncIterator[Silent]:
    """It, until the block ends."""
    silent = Silent()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.accepted += 1
        try:
            while await reader.read(4096):
                pass
        finally:
            writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1")
    try:
        silent.port = server.sockets[0].getsockname()[1]
        yield silent
    finally:
        server.close()


def outside_config(port: int) -> ConnectionConfig:
    return ConnectionConfig(
        ServerKind.POSTGRESQL,
        "127.0.0.1",
        port,
        "shop",
        "shop",
        SecretText("secret"),
        tls=Tls.DISABLE,
    )


def login_config(made: TestFleet, tenant: TenantId, login: str, password: str) -> ConnectionConfig:
    endpoint = made.drivers["shared"]._driver.endpoint  # type: ignore[attr-defined]
    return replace(
        outside_config(endpoint.port),
        database=made.specs[tenant].name,
        username=login,
        password=SecretText(password),
    )


async def add_outside(made: TestFleet, config: ConnectionConfig) -> TenantId:
    tenant = TenantId(new_id())
    sealed = await made.fleet.databases.seals.seal_connection(tenant, config)
    place = TenantPlace(config.kind, None, config.database, None, None, sealed)
    async with made.registry.transaction(SERVICE) as tx:
        await add_tenant(tx, tenant, "test", place)
        await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
    return tenant


async def save(made: TestFleet, tenant: TenantId, config: ConnectionConfig) -> None:
    sealed = await made.fleet.databases.seals.seal_connection(tenant, config)
    async with made.registry.transaction(SERVICE) as tx:
        row = await get_tenant(tx, tenant, lock=True)
        place = replace(row.place, sealed_connection=sealed)
        await set_place(tx, tenant, place, generation=row.generation)
    made.fleet.invalidate(tenant)


async def give_login(made: TestFleet, tenant: TenantId, login: str) -> str:
    password = secrets.token_urlsafe(24)
    async with made.administer(tenant) as admin:
        name = identifier(login)
        await admin.execute(f"drop role if exists {name}; create role {name} login")
        await admin.execute(
            f"grant service_role to {name};"
            f"grant connect on database {identifier(made.specs[tenant].name)} to {name}"
        )
    await set_password(made, tenant, login, password)
    return password


async def set_password(made: TestFleet, tenant: TenantId, login: str, password: str) -> None:
    async with made.administer(tenant) as admin:
        await admin.execute(f"alter role {identifier(login)} password {literal(password)}")


async def end_sessions(made: TestFleet, tenant: TenantId) -> None:
    async with made.administer(tenant) as admin:
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
