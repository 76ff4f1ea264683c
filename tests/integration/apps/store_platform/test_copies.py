"""Rows from elsewhere: a store becomes a copy of another, or leaves a shared database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import (
    PASSWORD,
    make_mariadb,
    open_mariadb_store,
)
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.engine.fleet.stalled import stalled

from bulkhead.apps.store_platform.copies import COUNTED, Copied, Copies, Shared
from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.master.metering.model import Hold, Metric
from bulkhead.apps.store_platform.master.metering.service import hold
from bulkhead.apps.store_platform.storage import StorageInUse
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.protocol import Dialect, Login
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.copy_lock import CopyUnderway
from bulkhead.engine.fleet.lifecycle import CloneRefused
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    SecretText,
    ServerKind,
    TenantId,
    TenantState,
)
from bulkhead.engine.fleet.ownership import OwnerUnknown
from bulkhead.engine.fleet.split import OwnColumn, SplitRefused, open_shared, walk_shared
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.testing import TestServers, crash_at

POINTS = (
    "fleet.copying:table_copied",
    "fleet.copying:before_commit",
    "stores.copies:copied",
    "stores.copies:counted",
)
OWN_COLUMN = ("categories", "products", "customers", "orders", "media_library")
LEFT = ("settings", "discounts", "attribute_options", "cms_pages", "seo_settings")


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


@pytest.fixture
async def owner(site: Site) -> Caller:
    return await site.caller()


async def fill(site: Site, owner: Caller, store: UUID, products: int) -> None:
    """Products, a picture of 1,000 bytes for each, and an order of each."""
    path = f"/stores/{store}"
    for _ in range(products):
        slug = f"p{new_id().hex}"
        product = await owner.post(f"{path}/products", {"sku": slug, "slug": slug, "name": "Tea"})
        price = {"product_id": product["id"], "currency": "USD", "amount": "5"}
        await owner.post(f"{path}/prices", price)
        await owner.post(f"{path}/products/{product['id']}/inventory", {"quantity": 3})
        wish = {"email": "ada@example.com", "lines": [{"product_id": product["id"], "quantity": 1}]}
        await owner.post(f"{path}/orders", wish)
        async with site.platform.fleet.transaction(TenantId(store)) as db:
            mark = "$1, $2" if db.dialect is Dialect.POSTGRESQL else "%s, %s"
            await db.execute(
                "insert into media_library (id, storage_key, file_name, content_type, size_bytes)"
                f" values ({mark}, 'a', 'image/png', 1000)",
                [new_id() if db.dialect is Dialect.POSTGRESQL else str(new_id()), slug],
            )


async def clone(site: Site, source: UUID, target: UUID) -> Copied:
    """Without files: `fill` makes rows of such, and no files."""
    return await Copies(site.platform).clone(source, target, with_files=False)


async def figures(owner: Caller, store: UUID) -> tuple[int, int, int]:
    shown = await owner.get(f"/stores/{store}")
    usage = (await owner.get(f"/stores/{store}/usage"))["usage"]
    assert usage["products"]["used"] == shown["product_count"]
    assert usage["storage_bytes"]["used"] == shown["storage_used_bytes"]
    return shown["product_count"], shown["order_count"], shown["storage_used_bytes"]


async def skus(owner: Caller, store: UUID) -> set[str]:
    return {row["sku"] for row in (await owner.get(f"/stores/{store}/products"))["products"]}


async def verify_invariants(site: Site) -> None:
    report = await run_invariants(site.system.router, platform_invariants())
    assert [found for result in report.results for found in result.violations] == []


async def test_a_copy_has_the_rows_and_the_figures_of_its_source(site: Site, owner: Caller) -> None:
    source, target = await site.open_store(owner), await site.open_store(owner)
    await fill(site, owner, source, 3)
    await fill(site, owner, target, 1)
    await site.stores.roll_up(target)
    before = await skus(owner, target)
    assert (await clone(site, source, target)).rows > 3
    assert await skus(owner, target) == await skus(owner, source)
    assert not before & await skus(owner, target)
    assert await figures(owner, target) == (3, 3, 0), "files stay where they are"
    await site.stores.roll_up(target)
    [day] = (await owner.get(f"/stores/{target}/analytics"))["days"]
    assert (day["orders"], day["revenue"]) == (3, "15.00")
    await fill(site, owner, target, 1)
    assert await figures(owner, target) == (4, 4, 0)
    assert await figures(owner, source) == (3, 3, 0)
    entry = await site.value(
        "select details from public.audit_logs where store_id = $1 and action = 'store.cloned'",
        target,
    )
    assert str(source) in entry
    await verify_invariants(site)


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_leaves_the_copy_closed_until_it_is_repeated(
    site: Site, owner: Caller, point: str
) -> None:
    source, target = await site.open_store(owner), await site.open_store(owner)
    await fill(site, owner, source, 2)
    await fill(site, owner, target, 1)
    with crash_at(point), pytest.raises(FailpointReached):
        await clone(site, source, target)
    refused = await owner.refused("GET", f"/stores/{target}/products")
    assert refused == (403, "tenant_suspended")
    await clone(site, source, target)
    row = await site.platform.fleet.describe(TenantId(target))
    assert row.state is TenantState.SUSPENDED, "it was suspended when the repeat began"
    await site.platform.lifecycle.resume(TenantId(target))
    assert await skus(owner, target) == await skus(owner, source)
    assert await figures(owner, target) == (2, 2, 0)
    await verify_invariants(site)


async def test_a_store_that_is_suspended_while_rows_come_stays_so(
    site: Site, owner: Caller
) -> None:
    source, target = await site.open_store(owner), await site.open_store(owner)
    async with stalled(COUNTED, clone(site, source, target)) as copying:
        with pytest.raises(CopyUnderway):
            await clone(site, source, target)
        await site.platform.lifecycle.suspend(TenantId(target), "unpaid")
    await copying
    refused = await owner.refused("GET", f"/stores/{target}/products")
    assert refused == (403, "tenant_suspended")


async def test_a_store_with_files_keeps_its_rows(site: Site, owner: Caller) -> None:
    source, target = await site.open_store(owner), await site.open_store(owner)
    await fill(site, owner, target, 1)
    async with site.platform.master.transaction(SERVICE) as tx:
        wish = Hold(new_id(), target, Metric.STORAGE_BYTES, 1000, new_id())
        await hold(tx, wish, clock.now().date())
    with pytest.raises(StorageInUse):
        await clone(site, source, target)
    assert len(await skus(owner, target)) == 1, "served as before"


async def test_what_cannot_be_copied_is_served_as_before(
    site: Site, owner: Caller, mariadb: MariadbServer
) -> None:
    target = await site.open_store(owner)
    source, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    await fill(site, owner, target, 1)
    with pytest.raises(CloneRefused, match="kinds"):
        await clone(site, source, target)
    with pytest.raises(CloneRefused, match="same"):
        await clone(site, target, target)
    assert await figures(owner, target) == (1, 1, 0)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_store_leaves_a_shared_database(
    site: Site, owner: Caller, mariadb: MariadbServer, kind: str
) -> None:
    if kind == "postgresql":
        shared, target = await site.open_store(owner), await site.open_store(owner)
    else:
        shared, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
        target, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    await fill(site, owner, shared, 4)
    await fill(site, owner, target, 1)
    mine = await share_out(site, shared, target)
    config = await config_of(site, shared)
    with pytest.raises(OwnerUnknown, match="attributes"):
        await Copies(site.platform).split(target, Shared(config, str(target), "store_key"))
    wish = Shared(config, str(target), "store_key", whole=("attributes",), left=LEFT)
    async with site.platform.fleet.transaction(TenantId(target)) as db:
        await db.execute(
            "insert into attributes (id, code, name, kind) values"
            f" ('{new_id()}', 'size', 'Size', 'text')",
            [],
        )
        await db.execute(
            "insert into attribute_options (id, attribute_id, value) select"
            f" '{new_id()}', id, 'XL' from attributes",
            [],
        )
    with pytest.raises(SplitRefused, match="attribute_options"):
        await Copies(site.platform).split(target, wish)
    assert len(await skus(owner, target)) == 1, "served as before"
    async with site.platform.fleet.transaction(TenantId(target)) as db:
        await db.execute("delete from attribute_options", [])
    for _ in range(2):
        rows = (await Copies(site.platform).split(target, wish)).tables
        assert (rows["products"], rows["orders"], rows["order_items"]) == (2, 2, 2)
    assert await skus(owner, target) == mine
    assert await figures(owner, target) == (2, 2, 0)
    assert len(await skus(owner, shared)) == 4, "nothing is changed there"
    await verify_files(config, target, await skus(owner, shared))
    await fill(site, owner, target, 1)
    await verify_invariants(site)


async def verify_files(config: ConnectionConfig, target: UUID, keys: set[str]) -> None:
    """A page of one at a time: the target's two files, of the four that the shared database has."""
    own = {"media_library": OwnColumn("store_key")}
    columns = ("id", "storage_key", "not_there")
    async with open_shared(config) as db:
        pages = walk_shared(db, "media_library", str(target), own, columns, 1)
        files = [dict(row) async for page in pages for row in page]
    assert {len(files), len({row["id"] for row in files})} == {2}
    assert {row["storage_key"] for row in files} <= keys
    assert {row["not_there"] for row in files} == {None}


async def share_out(site: Site, shared: UUID, target: UUID) -> set[str]:
    """Let every second product, with what belongs to it, be the target's; return their SKUs."""
    row = await site.platform.fleet.describe(TenantId(shared))
    is_mysql = row.place.kind is ServerKind.MYSQL
    statements = [f"alter table {name} add column store_key varchar(36)" for name in OWN_COLUMN]
    statements += [
        f"update {name} set store_key = '{target}'" for name in ("categories", "customers")
    ]
    half = (
        "select id from (select id, row_number() over (order by {by}) % 2 as part"
        " from {table}) as halves where part = 0"
    )
    keys = {"products": "sku", "media_library": "storage_key", "orders": "placed_at, id"}
    for table in ("products", "media_library"):
        chosen = half.format(table=table, by=keys[table])
        statements.append(f"update {table} set store_key = '{target}' where id in ({chosen})")
    statements.append(
        f"update orders set store_key = '{target}' where id in (select i.order_id"
        f" from order_items i join products p on p.id = i.product_id"
        f" where p.store_key = '{target}')"
    )
    async with open_shared(await config_of(site, shared)) as db:
        for statement in statements:
            await db.execute(statement, (), timeout_s=10)
        mark = "%s" if is_mysql else "$1"
        rows = await db.fetch(
            f"select sku from products where store_key = {mark}", [str(target)], timeout_s=10
        )
    return {found["sku"] for found in rows}


async def config_of(site: Site, store: UUID) -> ConnectionConfig:
    """How an operator reaches the database of a store, past all policies."""
    place = (await site.platform.fleet.describe(TenantId(store))).place
    if place.sealed_connection is not None:
        return await site.platform.databases.seals.open_connection(
            TenantId(store), place.sealed_connection
        )
    driver: Any = site.platform.master.driver
    raw = await driver.connect(site.platform.master.spec, Login.ADMIN, timeout_s=10)
    try:
        await raw.execute(
            "do $$ begin create role split_reader superuser login password '" + PASSWORD + "';"
            " exception when duplicate_object then null; end $$"
        )
    finally:
        raw.terminate()
    endpoint = getattr(driver, "_driver", driver).endpoint
    return ConnectionConfig(
        ServerKind.POSTGRESQL,
        "127.0.0.1",
        endpoint.port,
        place.database,
        "split_reader",
        SecretText(PASSWORD),
        Tls.DISABLE,
    )
