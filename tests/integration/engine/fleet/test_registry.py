import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from bulkhead.engine.connections.claims import SERVICE, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import PermissionDenied
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantPlace, TenantState
from bulkhead.engine.fleet.placement import (
    Names,
    NoServerFits,
    Wish,
    choose_server,
    drain_server,
    list_left,
    place_tenant,
    replace_tenant,
)
from bulkhead.engine.fleet.registry import (
    DatabaseTaken,
    ServerEntry,
    ServerInUse,
    ServerKindFixed,
    ServerUnknown,
    TenantChanged,
    TenantUnknown,
    add_server,
    add_tenant,
    find_generations,
    get_server,
    get_tenant,
    list_servers,
    list_tenants,
    remove_server,
    remove_tenant,
    set_place,
    set_schema,
    set_state,
)
from bulkhead.engine.ids import new_id

PLACE = TenantPlace(ServerKind.POSTGRESQL, "east", "shop_1", None, None, None)


def east(capacity: int = 10, **labels: str) -> ServerEntry:
    return ServerEntry("east", ServerKind.POSTGRESQL, "east:5432", capacity, labels=labels)


async def test_a_tenant_is_kept_with_its_place_and_its_generation_grows(
    registry: OpenDatabase,
) -> None:
    tenant = TenantId(new_id())
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, east())
        row = await add_tenant(tx, tenant, "shops", PLACE)
    assert (row.state, row.generation, row.place) == (TenantState.PROVISIONING, 1, PLACE)
    async with registry.transaction(SERVICE) as tx:
        assert await add_tenant(tx, tenant, "shops", PLACE) == row
        await set_schema(tx, tenant, 7, "abc")
        row = await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
    assert (row.state, row.generation, row.schema_version) == (TenantState.ACTIVE, 3, 7)
    async with registry.transaction(SERVICE) as tx:
        moved = replace(PLACE, server=None, sealed_connection=b"sealed")
        row = await set_place(tx, tenant, moved, generation=3)
        assert row.place == moved
        assert await find_generations(tx, [tenant, TenantId(new_id())]) == {tenant: 4}
        assert (await get_server(tx, "east")).tenants == 0
        assert await remove_tenant(tx, tenant)
        assert not await remove_tenant(tx, tenant)


async def test_a_change_that_expects_something_else_is_refused(registry: OpenDatabase) -> None:
    tenant = TenantId(new_id())
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, east())
        await add_tenant(tx, tenant, "shops", PLACE)
    with pytest.raises(TenantChanged, match="not active or suspended"):
        async with registry.transaction(SERVICE) as tx:
            await set_state(
                tx,
                tenant,
                TenantState.DELETING,
                expected=[TenantState.ACTIVE, TenantState.SUSPENDED],
            )
    with pytest.raises(TenantChanged, match="generation 9"):
        async with registry.transaction(SERVICE) as tx:
            await set_place(tx, tenant, PLACE, generation=9)
    with pytest.raises(TenantUnknown):
        async with registry.transaction(SERVICE) as tx:
            await set_state(
                tx, TenantId(UUID(int=5)), TenantState.ACTIVE, expected=list(TenantState)
            )


async def test_two_tenants_cannot_have_one_database(registry: OpenDatabase) -> None:
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, east())
        await add_tenant(tx, TenantId(new_id()), "shops", PLACE)
    with pytest.raises(DatabaseTaken, match="shop_1"):
        async with registry.transaction(SERVICE) as tx:
            await add_tenant(tx, TenantId(new_id()), "shops", PLACE)
    with pytest.raises(ServerUnknown, match="west"):
        async with registry.transaction(SERVICE) as tx:
            await add_tenant(tx, TenantId(new_id()), "shops", replace(PLACE, server="west"))


async def test_servers_are_changed_but_never_turned_into_another_kind(
    registry: OpenDatabase,
) -> None:
    async with registry.transaction(SERVICE) as tx:
        first = await add_server(tx, east(5, region="eu"))
        second = await add_server(tx, east(9, region="us"))
        assert (second.capacity, second.labels) == (9, {"region": "us"})
        assert second.generation == first.generation + 1
        await add_tenant(tx, TenantId(new_id()), "shops", PLACE)
    with pytest.raises(ServerKindFixed):
        async with registry.transaction(SERVICE) as tx:
            await add_server(tx, replace(east(), kind=ServerKind.MYSQL))
    with pytest.raises(ServerInUse, match="1 tenants"):
        async with registry.transaction(SERVICE) as tx:
            await remove_server(tx, "east")


async def test_tenants_are_listed_page_by_page(registry: OpenDatabase) -> None:
    ids = sorted(TenantId(new_id()) for _ in range(5))
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, east())
        for number, tenant in enumerate(ids):
            await add_tenant(tx, tenant, "shops", replace(PLACE, database=f"shop_{number}"))
        first = await list_tenants(tx, fleet="shops", limit=3)
        rest = await list_tenants(tx, fleet="shops", after=first[-1].id, limit=3)
        assert [row.id for row in (*first, *rest)] == ids
        assert await list_tenants(tx, fleet="others") == ()
        assert len(await list_tenants(tx, state=TenantState.PROVISIONING)) == 5
        assert await list_tenants(tx, state=TenantState.ACTIVE) == ()


async def test_users_see_nothing_of_the_registry(registry: OpenDatabase) -> None:
    with pytest.raises(PermissionDenied):
        async with registry.transaction(user(new_id())) as tx:
            await list_servers(tx)


async def test_a_tenant_goes_to_the_emptiest_server_that_fits(registry: OpenDatabase) -> None:
    async with registry.transaction(SERVICE) as tx:
        for name, capacity, region in (("a", 4, "eu"), ("b", 10, "eu"), ("c", 100, "us")):
            labels = {"region": region, "tier": "gold"}
            await add_server(
                tx, ServerEntry(name, ServerKind.POSTGRESQL, name, capacity, labels=labels)
            )
        wish = Wish(labels={"region": "eu"})
        chosen = []
        for number in range(14):
            row = await place_tenant(tx, TenantId(new_id()), "shops", wish, Names(f"shop_{number}"))
            chosen.append(row.place.server)
        assert (chosen.count("a"), chosen.count("b")) == (4, 10)
        assert chosen[:3] == ["b", "a", "b"]
    with pytest.raises(NoServerFits, match="wanted: label region=eu"):
        async with registry.transaction(SERVICE) as tx:
            await choose_server(tx, wish)
    async with registry.transaction(SERVICE) as tx:
        assert (await choose_server(tx, Wish())).name == "c"
        with pytest.raises(NoServerFits):
            await choose_server(tx, Wish(elsewhere_than="c"))


async def test_placing_a_tenant_again_leaves_it_where_it_is(registry: OpenDatabase) -> None:
    tenant = TenantId(new_id())
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, east(1))
        first = await place_tenant(tx, tenant, "shops", Wish(), Names("shop_1"))
        assert await place_tenant(tx, tenant, "shops", Wish(), Names("shop_1")) == first


async def test_many_placements_at_once_never_overfill_a_server(registry: OpenDatabase) -> None:
    async with registry.transaction(SERVICE) as tx:
        for name, capacity in (("a", 7), ("b", 5), ("c", 3)):
            await add_server(tx, ServerEntry(name, ServerKind.POSTGRESQL, name, capacity))
    refused = 0

    async def place(number: int) -> None:
        nonlocal refused
        try:
            async with registry.transaction(SERVICE) as tx:
                await place_tenant(tx, TenantId(new_id()), "shops", Wish(), Names(f"shop_{number}"))
        except NoServerFits:
            refused += 1

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(place(number))
    async with registry.transaction(SERVICE) as tx:
        counts = {server.name: server.tenants for server in await list_servers(tx)}
    assert counts == {"a": 7, "b": 5, "c": 3}
    assert refused == 5


async def test_moves_in_both_directions_at_once_do_not_block_each_other(
    registry: OpenDatabase,
) -> None:
    async with registry.transaction(SERVICE) as tx:
        for name in ("a", "b"):
            await add_server(tx, ServerEntry(name, ServerKind.POSTGRESQL, name, 100))
        rows = [
            await place_tenant(tx, TenantId(new_id()), "shops", Wish(), Names(f"shop_{number}"))
            for number in range(20)
        ]

    async def move(tenant: TenantId, number: int) -> None:
        async with registry.transaction(SERVICE) as tx:
            row = await get_tenant(tx, tenant, lock=True)
            await replace_tenant(
                tx, row, Wish(elsewhere_than=row.place.server), Names(f"shop_{number}_moved")
            )

    async with asyncio.TaskGroup() as group:
        for number, row in enumerate(rows):
            group.create_task(move(row.id, number))
    async with registry.transaction(SERVICE) as tx:
        assert [server.tenants for server in await list_servers(tx)] == [10, 10]


async def test_a_server_that_is_drained_takes_no_new_tenants(registry: OpenDatabase) -> None:
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, east())
        row = await place_tenant(tx, TenantId(new_id()), "shops", Wish(), Names("shop_1"))
        drained = await drain_server(tx, "east")
        assert drained.draining_at is not None
        with pytest.raises(NoServerFits):
            await choose_server(tx, Wish())
        assert [left.id for left in await list_left(tx, "east")] == [row.id]
        await remove_tenant(tx, row.id)
        assert await list_left(tx, "east") == ()
        await drain_server(tx, "east", draining=False)
        assert (await choose_server(tx, Wish())).name == "east"
        with pytest.raises(ServerUnknown):
            await drain_server(tx, "nowhere")
