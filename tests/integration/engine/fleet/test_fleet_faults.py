"""One tenant's server hangs, dies, lies or changes its password; the others notice nothing."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import select
from tests.integration.engine.fleet.test_fleet import NOTES, WHO

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import PoolExhausted
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.errors import (
    CommitUnknown,
    ConnectionLost,
    LoginRefused,
    ServerUnreachable,
    StatementTimeout,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
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
from bulkhead.engine.sealing import SealBroken
from bulkhead.engine.testing import TestFleet, TestServers

QUICK = FleetLimits(
    statement_timeout_s=0.3,
    answer_slack_s=0.7,
    pool=PoolLimits(size_max=2, acquire_timeout_s=1.0, connect_timeout_s=0.5),
)
AWAY = (
    ConnectionLost,
    DatabaseUnavailable,
    PoolExhausted,
    ServerUnreachable,
    StatementTimeout,
)


async def test_tenants_of_other_servers_do_not_notice_that_one_server_hangs(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=8, on=("shared", "second"), limits=QUICK) as made:
        here = [tenant for tenant in made.tenants if made.servers[tenant] == "shared"]
        there = [tenant for tenant in made.tenants if made.servers[tenant] == "second"]
        for tenant in made.tenants:
            await made.fleet.query(tenant, WHO)
        async with stopped_server(made, "second"):
            failures = 0

            async def hammer(tenant: TenantId) -> None:
                nonlocal failures
                for _ in range(10):
                    try:
                        await made.fleet.query(tenant, WHO)
                    except AWAY:
                        failures += 1
                        await asyncio.sleep(0.02)

            async with asyncio.TaskGroup() as group:
                for tenant in there:
                    for _ in range(10):
                        group.create_task(hammer(tenant))
                times = sorted([await time_of(made, here[number % 4]) for number in range(200)])
            assert failures == 400
            assert times[-3] < 0.25
        async with asyncio.timeout(20):
            for tenant in there:
                await until_served(made, tenant)


async def test_a_tenant_whose_statements_hang_does_not_slow_those_of_its_server(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=12, connections=8, limits=QUICK) as made:
        stuck, *others = made.tenants
        for tenant in made.tenants:
            await made.fleet.query(tenant, WHO)
        async with made.administer(stuck) as admin, admin.transaction():
            await admin.execute("lock table notes")
            stop = asyncio.Event()

            async def hammer() -> None:
                while not stop.is_set():
                    try:
                        await made.fleet.query(stuck, select(NOTES))
                    except AWAY:
                        await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(hammer())
                for number in range(150):
                    async with asyncio.timeout(1):
                        await made.fleet.query(others[number % len(others)], WHO)
                stop.set()
        async with asyncio.timeout(20):
            await until_served(made, stuck)


async def test_a_server_that_accepts_and_says_nothing_costs_its_tenant_alone(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with (
        servers.fleet(registry, tenants=2, limits=QUICK) as made,
        silent_server() as port,
    ):
        rogue = await add_outside(made, outside_config(port))
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(failure_of(made, rogue)) for _ in range(50)]
            for number in range(100):
                async with asyncio.timeout(1):
                    await made.fleet.query(made.tenants[number % 2], WHO)
        assert {type(task.result()) for task in attempts} <= set(AWAY)
        began_s = monotonic_s()
        for _ in range(20):
            assert isinstance(await failure_of(made, rogue), DatabaseUnavailable)
        assert monotonic_s() - began_s < 0.5


@dataclass
class Load:
    """Transactions of one tenant, one after another."""

    made: TestFleet
    tenant: TenantId
    served: int = 0
    _progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while True:
            async with self.made.fleet.transaction(self.tenant) as tx:
                assert await tx.fetch_value(WHO) == self.tenant
            self.served += 1
            self._progress.set()

    async def go_on(self, more: int) -> None:
        wanted = self.served + more
        while self.served < wanted:
            self._progress.clear()
            await self._progress.wait()


async def test_credentials_change_under_load_without_a_failed_request(
    servers: TestServers, registry: OpenDatabase
) -> None:
    limits = FleetLimits(pool=PoolLimits(size_max=3, age_s_max=0.05))
    async with servers.fleet(registry, tenants=1, limits=limits) as made:
        (tenant,) = made.tenants
        password = await give_login(made, tenant, "rotated")
        await save(made, tenant, login_config(made, tenant, "rotated", password))
        load = Load(made, tenant)
        users = [asyncio.create_task(load.run()) for _ in range(6)]
        for number in range(8):
            await load.go_on(20)
            password = secrets.token_urlsafe(24)
            config = login_config(made, tenant, "rotated", password)
            if number % 2:  # In either order there is a moment in which the two differ.
                await save(made, tenant, config)
                await asyncio.sleep(0.1)
                await set_password(made, tenant, "rotated", password)
            else:
                await set_password(made, tenant, "rotated", password)
                await asyncio.sleep(0.1)
                await save(made, tenant, config)
        await load.go_on(20)
        for task in users:
            task.cancel()
        for ended in await asyncio.wait(users):
            assert all(task.cancelled() or task.result() for task in ended)


async def test_behind_a_pooler_nothing_is_prepared_and_time_outs_are_set_in_each_transaction(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        password = await give_login(made, tenant, "pooled")
        config = replace(login_config(made, tenant, "pooled", password), pooled=True)
        await save(made, tenant, config)
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant
        async with made.fleet.transaction(tenant) as tx:
            assert await tx.fetch_value(WHO) == tenant
            assert await tx.fetch_value("show statement_timeout") == "8s"
            left = "select count(*) from pg_prepared_statements where name <> ''"
            assert await tx.fetch_value(left) == 0
        async with made.administer(tenant) as admin:
            await admin.execute("update _identity set tenant_id = gen_random_uuid()")
        with pytest.raises(IdentityMismatch):
            await made.fleet.query(tenant, WHO)


async def test_a_wrong_password_is_told_again_and_again_and_at_once(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        password = await give_login(made, tenant, "wrong")
        good = login_config(made, tenant, "wrong", password)
        await save(made, tenant, replace(good, password=SecretText("guessed")))
        began_s = monotonic_s()
        for _ in range(10):
            with pytest.raises(LoginRefused):
                await made.fleet.query(tenant, WHO)
        assert monotonic_s() - began_s < 2
        await save(made, tenant, good)
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


async def test_a_seal_that_was_moved_from_another_tenant_does_not_open(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        first, second = made.tenants
        password = await give_login(made, first, "moved")
        await save(made, first, login_config(made, first, "moved", password))
        async with registry.transaction(SERVICE) as tx:
            sealed = (await get_tenant(tx, first)).place
            row = await get_tenant(tx, second)
            stolen = replace(row.place, sealed_connection=sealed.sealed_connection)
            await set_place(tx, second, stolen, generation=row.generation)
        made.fleet.invalidate(second)
        with pytest.raises(SealBroken):
            await made.fleet.query(second, WHO)


async def test_tenants_are_served_while_the_registry_is_away(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2, on=("second",)) as made:
        known, unknown = made.tenants
        await made.fleet.query(known, WHO)
        made.fleet.cache.expire()
        pools = list(registry.pools.values())
        for pool in pools:
            pool.breaker.opened, pool.breaker.closed_again_at_s = 1, monotonic_s() + 60
        try:
            assert (await made.fleet.query(known, WHO))[0]["tenant_id"] == known
            with pytest.raises(DatabaseUnavailable):
                await made.fleet.query(unknown, WHO)
        finally:
            for pool in pools:
                pool.breaker.opened = 0


async def test_a_session_that_ended_while_idle_is_replaced_before_anything_is_sent(
    servers: TestServers, registry: OpenDatabase
) -> None:
    limits = FleetLimits(pool=PoolLimits(identity_every_s=0))
    async with servers.fleet(registry, tenants=1, limits=limits) as made:
        (tenant,) = made.tenants
        for _ in range(10):
            await made.fleet.query(tenant, WHO)
            await end_sessions(made, tenant)
            assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


async def test_a_session_that_ends_within_a_transaction_is_reported_and_replaced(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants

        async def write() -> None:
            async with made.fleet.transaction(tenant) as tx:
                await tx.fetch(WHO)
                await end_sessions(made, tenant)
                await tx.fetch(WHO)

        with pytest.raises(ConnectionLost):
            await write()
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant

        async def commit() -> None:
            async with made.fleet.transaction(tenant) as tx:
                await tx.fetch(WHO)
                await end_sessions(made, tenant)

        with pytest.raises((CommitUnknown, ConnectionLost)):
            await commit()
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


async def test_a_caller_that_gives_up_leaves_no_connection_behind(
    servers: TestServers, registry: OpenDatabase
) -> None:
    limits = FleetLimits(pool=PoolLimits(size_max=2))
    async with servers.fleet(registry, tenants=1, limits=limits) as made:
        (tenant,) = made.tenants

        async def give_up(after_s: float) -> None:
            try:
                async with asyncio.timeout(after_s):
                    await made.fleet.query(tenant, "select pg_sleep(1)")
            except TimeoutError:
                pass

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(give_up(number / 1000))
        entry = made.fleet.cache.peek(tenant)
        assert entry is not None
        assert entry.pool is not None
        assert (entry.pool.in_use, entry.pool.stats.waiting) == (0, 0)
        assert entry.pool.is_quiet
        (taken, idle, _) = made.fleet.stats().servers[made.drivers["shared"].server]
        assert taken == idle
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant


async def time_of(made: TestFleet, tenant: TenantId) -> float:
    began_s = monotonic_s()
    await made.fleet.query(tenant, WHO)
    return monotonic_s() - began_s


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
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123
        return [int(child) for child in file.read().split()]


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A server that takes connections and never answers."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(4096):
                pass
        finally:
            writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
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
