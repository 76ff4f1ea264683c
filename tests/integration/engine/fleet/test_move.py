"""Tenants move between two servers while they are written to; nothing is lost, nothing is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import DatabaseMissing
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_steps import POINTS, Steps
from bulkhead.engine.fleet.move_store import MoveRefused, MoveStep, MoveUnknown
from bulkhead.engine.fleet.refusal import TenantSuspended
from bulkhead.engine.fleet.registry import get_tenant, set_state
from bulkhead.engine.fleet.replication import (
    QUERIES,
    ReplicationStuck,
    TableWithoutKey,
    stop_following,
)
from bulkhead.engine.fleet.rows import RowsDiffer
from bulkhead.engine.testing import TENANT_SCHEMA, TestFleet, TestServers, crash_at

SCHEMA = (
    TENANT_SCHEMA
    + """
create table public.counted (id bigint generated always as identity primary key, word text);
create table private.kept (id integer primary key, twice integer
  generated always as (id * 2) stored);
create function public.note_count() returns bigint language sql
  as 'select count(*) from public.notes';
alter table public.notes enable row level security;
alter table public.notes force row level security;
create policy all_notes on public.notes for all to service_role using (true) with check (true);
create function public.forbid() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' and new.body = 'forbidden' then raise exception 'forbidden'; end if;
  return new;
end $$;
create trigger forbid before insert on public.notes for each row execute function public.forbid();
grant all on all tables in schema public, private to service_role;
"""
)
ON = ("shared", "second")
PAUSE_S = 0.005
"""Of each writer; without it the writers take both servers from the move."""


@dataclass(slots=True)
class Writers:
    """Write into a tenant without end, and know what was acknowledged."""

    made: TestFleet
    tenant: TenantId
    written: list[int] = field(default_factory=list)
    refused: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    wrote: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self) -> None:
        while not self.stop.is_set():
            try:
                rows = await self.made.fleet.query(
                    self.tenant, "insert into counted (word) values ('w') returning id"
                )
            except BulkheadError:
                self.refused += 1
                await asyncio.sleep(0.005)
            else:
                self.written.append(rows[0]["id"])
                self.wrote.set()
                await asyncio.sleep(PAUSE_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(self.write())
            try:
                yield
            finally:
                self.stop.set()

    async def more(self, count: int) -> None:
        """Wait until so many more are written."""
        enough = len(self.written) + count
        while len(self.written) < enough:
            self.wrote.clear()
            await self.wrote.wait()

    async def verify(self) -> None:
        """Every acknowledged row is there."""
        rows = await self.made.fleet.query(self.tenant, "select id from counted")
        there = {row["id"] for row in rows}
        assert len(set(self.written)) == len(self.written)
        assert set(self.written) <= there


@asynccontextmanager
async def moving(
    servers: TestServers, registry: OpenDatabase, tenants: int = 3
) -> AsyncIterator[tuple[TestFleet, TenantId]]:
    """A fleet on two servers; the first tenant is on the first and has some rows."""
    async with servers.fleet(registry, tenants=tenants, on=ON, schema=SCHEMA) as made:
        tenant = made.tenants[0]
        await made.fleet.execute(
            tenant,
            "insert into notes (owner, body) select gen_random_uuid(), 'note ' || n"
            " from generate_series(1, 500) n",
        )
        await made.fleet.execute(tenant, "insert into private.kept values (1), (2)")
        try:
            yield made, tenant
        finally:
            async with registry.transaction(SERVICE) as tx:
                made.servers[tenant] = (await get_tenant(tx, tenant)).place.server or ""
                await tx.execute("delete from bulkhead.fleet_moves")
            await verify_nothing_left(made)


async def verify_nothing_left(made: TestFleet) -> None:
    """No slot, no subscription, no publication, and each database once."""
    for name, driver in made.drivers.items():
        spec = next(spec for tenant, spec in made.specs.items() if made.servers[tenant] == name)
        admin = await driver.connect(spec, Login.ADMIN, timeout_s=10)
        assert await admin.fetch("select slot_name from pg_replication_slots") == []
        assert await admin.fetch("select subname from pg_subscription") == []
        for tenant, own in made.specs.items():
            count = await admin.fetchval(
                "select count(*) from pg_database where datname = $1", own.name
            )
            assert count == (made.servers[tenant] == name), own.name
        await admin.close()


async def where(made: TestFleet, tenant: TenantId) -> tuple[str | None, TenantState]:
    async with made.registry.transaction(SERVICE, read_only=True) as tx:
        row = await get_tenant(tx, tenant)
    return row.place.server, row.state


async def count(made: TestFleet, tenant: TenantId) -> int:
    rows = await made.fleet.query(tenant, "select note_count() as notes")
    return int(rows[0]["notes"])


async def test_a_tenant_moves_under_writes_and_loses_nothing(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        writers = Writers(made, tenant)
        async with writers.running():
            move = await mover.start(tenant)
            assert (move.source, move.target) == ON
            assert (await mover.start(tenant)).id == move.id
            move = await mover.run(tenant)
            await writers.more(50)
        assert move.step is MoveStep.VERIFIED
        assert move.fence_ms is not None
        assert move.report is not None
        assert move.report["public.notes"]["rows"] == 500
        assert await where(made, tenant) == ("second", TenantState.ACTIVE)
        await writers.verify()
        assert await count(made, tenant) == 500
        with pytest.raises(BulkheadError):
            await made.fleet.execute(
                tenant, "insert into notes (owner, body) values (gen_random_uuid(), 'forbidden')"
            )
        await mover.confirm(tenant)
        await writers.verify()
        with pytest.raises(MoveUnknown):
            await mover.confirm(tenant)


async def test_a_move_that_is_taken_back_keeps_what_was_written_since(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        writers = Writers(made, tenant)
        async with writers.running():
            await mover.start(tenant, server="second")
            await mover.run(tenant)
            await writers.more(50)
            await mover.revert(tenant)
            await writers.more(20)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        await writers.verify()
        assert await count(made, tenant) == 500


FORWARD = [
    name
    for name in POINTS
    if name
    not in {
        "back_unfollowed",
        "source_dropped",
        "fenced_back",
        "reverting",
        "returned",
        "target_dropped",
    }
]


BACK = ("schema_copied", "subscribed", "closed", "arrived", "flipped", "followed_back", "verified")
WAYS = [(point, "on") for point in FORWARD[1:]] + [(point, "back") for point in BACK]


@pytest.mark.parametrize(("point", "way"), WAYS)
async def test_a_move_that_died_goes_on_or_back(
    servers: TestServers, registry: OpenDatabase, point: str, way: str
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        writers = Writers(made, tenant)
        async with writers.running():
            await mover.start(tenant)
            with crash_at(POINTS[point]):
                await mover.run(tenant)
            if way == "on":
                if point != "verified":
                    await mover.tend()
                assert (await mover.get(tenant)).step is MoveStep.VERIFIED
                await mover.confirm(tenant)
            else:
                await mover.revert(tenant)
        place = "second" if way == "on" else "shared"
        assert await where(made, tenant) == (place, TenantState.ACTIVE)
        await writers.verify()
        assert await count(made, tenant) == 500


@pytest.mark.parametrize("point", ["back_unfollowed", "source_dropped"])
async def test_a_confirmation_that_died_is_repeated(
    servers: TestServers, registry: OpenDatabase, point: str
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        await mover.run(tenant)
        with crash_at(POINTS[point]):
            await mover.confirm(tenant)
        await mover.confirm(tenant)
        assert await count(made, tenant) == 500


async def test_two_processes_that_work_on_one_move_do_it_once(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await Mover(made.fleet).start(tenant)
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(Mover(made.fleet).run(tenant)) for _ in range(2)]
        assert {task.result().step for task in runs} == {MoveStep.VERIFIED}
        await Mover(made.fleet).confirm(tenant)
        assert await count(made, tenant) == 500


async def test_moves_that_are_late_leave_no_slot_behind(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant, deadline_s=-1)
        with crash_at(POINTS["slot_made"]):
            await mover.run(tenant)
        assert await mover.tend() == 1
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        await mover.start(tenant, deadline_s=-1)
        await mover.run(tenant)
        assert await mover.tend() == 1
        with pytest.raises(MoveRefused, match="time is over"):
            await mover.revert(tenant)
        await mover.confirm(tenant)


@pytest.mark.parametrize("tended", [False, True])
async def test_a_move_can_be_taken_back_after_the_new_server_was_restarted(
    servers: TestServers, registry: OpenDatabase, *, tended: bool
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant, server="second")
        move = await mover.run(tenant)
        ends = await Steps(made.fleet, mover.limits).ends(move)
        await stop_following(ends.source, move.backward)  # As PostgreSQL does when it ends.
        await made.fleet.query(tenant, "insert into counted (word) values ('late')")
        if tended:
            await mover.tend()
            async with ends.source.administer() as admin:
                row = await admin.fetchrow(QUERIES.find_subscription, move.backward)
            assert row["enabled"]
        await mover.revert(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await made.fleet.query(tenant, "select 1 from counted where word = 'late'")


async def test_a_suspended_tenant_moves_and_stays_suspended(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        async with registry.transaction(SERVICE) as tx:
            await set_state(
                tx, tenant, TenantState.SUSPENDED, expected=[TenantState.ACTIVE], reason="unpaid"
            )
        mover = Mover(made.fleet)
        await mover.start(tenant)
        await mover.run(tenant)
        await mover.confirm(tenant)
        made.fleet.invalidate(tenant)
        with pytest.raises(TenantSuspended):
            await count(made, tenant)
        assert await where(made, tenant) == ("second", TenantState.SUSPENDED)


async def test_rows_that_did_not_arrive_take_the_move_back(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        with crash_at(POINTS["caught_up"]):
            await mover.run(tenant)
        spec = made.specs[tenant]
        admin: Any = await made.drivers["second"].connect(spec, Login.ADMIN, timeout_s=10)
        await admin.execute("delete from notes where body = 'note 7'")
        await admin.close()
        with pytest.raises(RowsDiffer, match=r"public\.notes has 499 rows"):
            await mover.run(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)


async def test_a_server_that_does_not_follow_in_time_lets_the_tenant_be_served_where_it_was(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        spec = made.specs[tenant]
        with crash_at(POINTS["slot_made"]):
            await mover.run(tenant)
        hasty = Mover(made.fleet, replace(mover.limits, arrive_s=0.0, lag_bytes_max=1 << 40))
        admin: Any = await made.drivers["second"].connect(spec, Login.ADMIN, timeout_s=10)
        async with admin.transaction():
            await admin.execute("lock table counted in exclusive mode")
            await made.fleet.execute(tenant, "insert into counted (word) values ('held up')")
            with pytest.raises(ReplicationStuck):
                await hasty.run(tenant)
        await admin.close()
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await count(made, tenant) == 500
        await mover.run(tenant)
        await mover.confirm(tenant)


async def test_what_cannot_be_moved_is_refused_before_anything_is_done(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        with pytest.raises(MoveRefused, match="there already"):
            await mover.start(tenant, server="shared")
        async with made.administer(tenant) as admin:
            await admin.execute("create table public.loose (word text)")
        with pytest.raises(TableWithoutKey, match=r"public\.loose"):
            await mover.start(tenant)
        async with registry.transaction(SERVICE) as tx:
            await set_state(tx, tenant, TenantState.DELETING, expected=[TenantState.ACTIVE])
        with pytest.raises(MoveRefused, match="deleting"):
            await mover.start(tenant)
        with pytest.raises(MoveUnknown):
            await mover.run(tenant)
        with pytest.raises(DatabaseMissing):
            await made.drivers["second"].connect(made.specs[tenant], Login.ADMIN, timeout_s=5)
