"""One tenant's server hangs, dies, lies or changes its password; the others notice nothing."""

import asyncio
import secrets
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import select
from tests.integration.engine.fleet.faults import (
    AWAY,
    QUICK,
    add_outside,
    end_sessions,
    failure_of,
    give_login,
    login_config,
    outside_config,
    save,
    set_password,
    silent_server,
    stopped_server,
    until_served,
    verify_served,
)
from tests.integration.engine.fleet.test_fleet import NOTES, WHO

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import (
    CommitUnknown,
    ConnectionLost,
    LoginRefused,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.fleet.limits import FleetLimits, PoolLimits
from bulkhead.engine.fleet.model import (
    SecretText,
    TenantId,
)
from bulkhead.engine.fleet.registry import get_tenant, set_place
from bulkhead.engine.sealing import SealBroken
from bulkhead.engine.testing import TestFleet, TestServers


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
                for _ in range(3):
                    try:
                        await made.fleet.query(tenant, WHO)
                    except AWAY:
                        failures += 1
                        await asyncio.sleep(0.02)

            async with asyncio.TaskGroup() as group:
                for tenant in there:
                    for _ in range(10):
                        group.create_task(hammer(tenant))
                for number in range(200):
                    await verify_served(made, here[number % 4])
            assert failures == 120
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
            failures = served = 0

            async def hammer() -> None:
                nonlocal failures
                while not stop.is_set():
                    try:
                        await made.fleet.query(stuck, select(NOTES))
                    except AWAY:
                        failures += 1
                        await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(hammer())
                # Before it is known to hang, and after.
                while failures < 20 or served < 44:
                    await verify_served(made, others[served % 11])
                    served += 1
                stop.set()
        async with asyncio.timeout(20):
            await until_served(made, stuck)


async def test_a_server_that_accepts_and_says_nothing_costs_its_tenant_alone(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with (
        servers.fleet(registry, tenants=2, limits=QUICK) as made,
        silent_server() as silent,
    ):
        rogue = await add_outside(made, outside_config(silent.port))
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(failure_of(made, rogue)) for _ in range(50)]
            for number in range(100):
                await verify_served(made, made.tenants[number % 2])
        assert {type(task.result()) for task in attempts} <= set(AWAY)
        entry = made.fleet.cache.peek(rogue)
        assert entry is not None
        assert entry.pool is not None
        while not entry.pool.breaker.is_open:
            # Most have only waited for their turn, and few have tried to connect.
            assert isinstance(await failure_of(made, rogue), AWAY)
        entry.pool.breaker.closed_again_at_s = monotonic_s() + 60
        accepted = silent.accepted
        for _ in range(20):
            assert isinstance(await failure_of(made, rogue), DatabaseUnavailable)
        assert silent.accepted == accepted > 0


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


async def test_a_wrong_password_is_told_again_and_again(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        password = await give_login(made, tenant, "wrong")
        good = login_config(made, tenant, "wrong", password)
        await save(made, tenant, replace(good, password=SecretText("guessed")))
        for _ in range(10):
            with pytest.raises(LoginRefused):
                await made.fleet.query(tenant, WHO)
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
        await made.fleet.query(tenant, WHO)

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
