import asyncio
import datetime as dt
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest

from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.cache import Entry, TenantCache
from bulkhead.engine.fleet.model import (
    ServerKind,
    TenantId,
    TenantPlace,
    TenantRow,
    TenantState,
)
from bulkhead.engine.fleet.registry import TenantUnknown

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ONE, TWO, THREE = (TenantId(UUID(int=number)) for number in (1, 2, 3))


def row(tenant: TenantId, database: str = "shop") -> TenantRow:
    place = TenantPlace(ServerKind.POSTGRESQL, "east", database, None, None, None)
    return TenantRow(
        tenant, "shops", place, TenantState.ACTIVE, None, 1, 0, None, created_at=NOW, updated_at=NOW
    )


@dataclass
class Registry:
    """Stands for the registry's database: rows, how often they were read, and what is wrong."""

    rows: dict[TenantId, TenantRow] = field(default_factory=dict)
    reads: int = 0
    failure: BulkheadError | None = None
    during: list[TenantId] = field(default_factory=list)
    """Tenants that change while they are read."""
    cache: TenantCache = field(init=False)

    def __post_init__(self) -> None:
        self.cache = TenantCache(self.read, entries_max=2)
        for tenant in (ONE, TWO, THREE):
            self.rows[tenant] = row(tenant)

    async def read(self, tenant: TenantId) -> TenantRow:
        self.reads += 1
        found = self.rows.get(tenant)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if found is None:
            raise TenantUnknown(tenant=tenant)
        if tenant in self.during:
            self.during.remove(tenant)
            self.rows[tenant] = replace(found, generation=found.generation + 1)
            self.cache.invalidate(tenant)
        return found


def age(entry: Entry, ttls: float) -> None:
    entry.loaded_at_s -= ttls * entry.ttl_s


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_row_is_read_once_however_many_ask_for_it() -> None:
    registry = Registry()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(registry.cache.get(ONE)) for _ in range(50)]
    assert len({task.result() for task in tasks}) == 1
    assert registry.reads == 1


async def test_a_caller_that_gives_up_does_not_stop_the_others() -> None:
    registry = Registry()
    first = asyncio.create_task(registry.cache.get(ONE))
    second = asyncio.create_task(registry.cache.get(ONE))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).row.id == ONE
    assert registry.reads == 1


async def test_an_old_row_serves_on_while_it_is_read_again() -> None:
    registry = Registry()
    entry = await registry.cache.get(ONE)
    registry.rows[ONE] = replace(entry.row, generation=2)
    age(entry, 1.1)
    assert (await registry.cache.get(ONE)).row.generation == 1
    await settle()
    assert (await registry.cache.get(ONE)).row.generation == 2
    assert registry.reads == 2


async def test_a_row_that_has_changed_is_read_before_it_is_used() -> None:
    registry = Registry()
    entry = await registry.cache.get(ONE)
    registry.rows[ONE] = replace(entry.row, generation=2)
    registry.cache.invalidate_text(str(ONE))
    assert (await registry.cache.get(ONE)).row.generation == 2


async def test_a_change_while_the_row_is_read_is_not_missed() -> None:
    registry = Registry(during=[ONE])
    assert (await registry.cache.get(ONE)).row.generation == 2
    assert registry.reads == 2


async def test_changes_that_may_have_been_missed_are_looked_for() -> None:
    registry = Registry()
    for tenant in (ONE, TWO):
        await registry.cache.get(tenant)
    registry.cache.expire()
    for tenant in (ONE, TWO):
        await registry.cache.get(tenant)
    assert registry.reads == 4


async def test_tenants_are_served_for_a_while_when_the_registry_is_away() -> None:
    registry = Registry()
    entry = await registry.cache.get(ONE)
    registry.failure = DatabaseUnavailable(database="master")
    age(entry, 3)
    for _ in range(10):
        assert await registry.cache.get(ONE) is entry
    assert registry.reads == 2
    with pytest.raises(DatabaseUnavailable):
        await registry.cache.get(TWO)
    entry.loaded_at_s -= 10_000
    entry.retry_at_s = 0
    with pytest.raises(DatabaseUnavailable):
        await registry.cache.get(ONE)


async def test_a_row_that_is_known_to_be_wrong_never_serves() -> None:
    registry = Registry()
    await registry.cache.get(ONE)
    registry.failure = DatabaseUnavailable(database="master")
    registry.cache.invalidate(ONE)
    with pytest.raises(DatabaseUnavailable):
        await registry.cache.get(ONE)


async def test_a_tenant_that_is_gone_is_forgotten() -> None:
    registry = Registry()
    await registry.cache.get(ONE)
    del registry.rows[ONE]
    registry.cache.invalidate(ONE)
    with pytest.raises(TenantUnknown):
        await registry.cache.get(ONE)
    assert len(registry.cache) == 0


async def test_the_tenants_that_were_asked_for_last_are_kept() -> None:
    registry = Registry()
    for tenant in (ONE, TWO, ONE, THREE):
        await registry.cache.get(tenant)
    assert registry.cache.peek(TWO) is None
    assert registry.cache.peek(ONE) is not None
    assert len(registry.cache) == 2


async def test_something_that_is_no_tenant_is_passed_over() -> None:
    registry = Registry()
    await registry.cache.get(ONE)
    registry.cache.invalidate_text("nonsense")
    assert (await registry.cache.get(ONE)).row.id == ONE
    assert registry.reads == 1
