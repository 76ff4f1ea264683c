"""Stores that were made with an older schema come along, whatever server they are on."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import (
    make_mariadb,
    open_mariadb_store,
    run_as_root,
)
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.fleet import MIGRATIONS
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, Login
from bulkhead.engine.fleet.migrate import RollOut
from bulkhead.engine.fleet.model import TenantId, TenantRow
from bulkhead.engine.fleet.registry import get_tenant
from bulkhead.engine.migrations.rollback import roll_back
from bulkhead.engine.testing import TestServers, crash_at


@dataclass(frozen=True)
class OldStore:
    """A store at version 1 of the schema, with an order from that time."""

    site: Site
    owner: Caller
    id: UUID
    order: dict[str, Any]
    wish: dict[str, Any]
    new_fingerprint: str | None
    """Of a store that is made today."""

    async def row(self) -> TenantRow:
        async with self.site.platform.master.transaction(SERVICE) as tx:
            return await get_tenant(tx, TenantId(self.id))

    async def place(self, key: str) -> Any:
        return await self.owner.post(f"/stores/{self.id}/orders", self.wish, idempotency_key=key)


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


@pytest.fixture(params=["postgresql", "mysql"])
async def old(request: pytest.FixtureRequest, site: Site, mariadb: MariadbServer) -> OldStore:
    owner = await site.caller()
    if request.param == "postgresql":
        store = await site.open_store(owner)
    else:
        store, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    path = f"/stores/{store}"
    product = await owner.post(f"{path}/products", {"sku": "T1", "slug": "t-1", "name": "Tea"})
    price = {"product_id": product["id"], "currency": "USD", "amount": "5"}
    await owner.post(f"{path}/prices", price)
    await owner.post(f"{path}/products/{product['id']}/inventory", {"quantity": 9})
    wish = {"email": "a@example.com", "lines": [{"product_id": product["id"], "quantity": 1}]}
    order = await owner.post(f"{path}/orders", wish, idempotency_key="early")
    async with site.platform.master.transaction(SERVICE) as tx:
        new = (await get_tenant(tx, TenantId(store))).schema_fingerprint
    back = await site.platform.migrator.roll_back(1, RollOut(tenants=(TenantId(store),)))
    assert (back.state, back.done) == ("done", 1)
    assert await site.platform.fleet.drain(TenantId(store), 5)
    return OldStore(site, owner, store, order, wish, new)


async def test_an_old_store_is_migrated_by_the_first_who_asks_for_it(old: OldStore) -> None:
    assert (await old.row()).schema_version == 1
    path = f"/stores/{old.id}/orders"
    [found] = (await old.owner.get(path))["orders"]
    assert found["id"] == old.order["id"]
    row = await old.row()
    assert row.schema_version == MIGRATIONS.latest
    assert row.schema_fingerprint == old.new_fingerprint
    assert (await old.place("early"))["id"] == old.order["id"]
    late = await old.place("late")
    other = {**old.wish, "note": "another one"}
    answer = await old.owner.send("POST", path, other, idempotency_key="late")
    assert answer.json()["code"] == "idempotency_key_reused"
    assert await old.site.stores.roll_up(old.id)
    [day] = (await old.owner.get(f"/stores/{old.id}/analytics"))["days"]
    assert (day["orders"], late["total"]) == (2, "5.0000")


async def test_a_fleet_with_old_stores_is_migrated_as_a_whole(old: OldStore) -> None:
    migrator = old.site.platform.migrator
    assert await migrator.count_due() >= 1
    outcome = await migrator.apply()
    assert (outcome.state, outcome.failed) == ("done", 0)
    assert await migrator.count_due() == 0
    assert (await old.row()).schema_fingerprint == old.new_fingerprint
    assert (await old.place("early"))["id"] == old.order["id"]


RECORDED: Mapping[str, Any] = {
    "fleet": "stores",
    "mode": "create",
    "kind": "postgresql",
    "wishes": {},
    "sealed_config": None,
    "state": "running",
    "step": "open",
    "progress": 5,
    "message": "Opening the database",
    "tables_created": 0,
    "total_tables": 0,
    "source": "template",
    "error": None,
    "cancel_requested_at": None,
    "attempts": 1,
    "fence": 1,
    "owner": "stores:26014",
    "leased_until": "2026-11-26T21:49:53.20859+00:00",
    "due_at": "2026-11-26T21:47:13.234103+00:00",
    "revision": 3,
    "created_at": "2026-11-26T21:47:13.234103+00:00",
    "updated_at": "2026-11-26T21:49:21.278713+00:00",
    "finished_at": None,
    "swept_at": None,
}
"""A job as the release before version 2 of the stores' schema, and before engine/0007, had it when
it was killed, whether after it had opened the database or after it had written the first rows."""


@pytest.mark.parametrize("point", ["open", "seed"])
async def test_a_job_that_an_older_release_began_goes_on(site: Site, point: str) -> None:
    owner = await site.caller()
    store = await owner.make_store()
    job = (await owner.post("/provision", {"storeId": str(store)}))["jobId"]
    with crash_at(f"provisioning.{point}:after"):
        await site.platform.provisioning.run_once()
    kept = "id, tenant, label, request_hash, server, database"
    async with site.platform.master.transaction(SERVICE) as tx:
        row = await tx.fetchrow(
            f"delete from bulkhead.provisioning_jobs where id = $1 returning {kept}", UUID(job)
        )
        assert row is not None
        recorded = {**RECORDED, **{name: str(value) for name, value in row.items()}}
        columns = ", ".join(recorded)
        await tx.execute(
            f"""insert into bulkhead.provisioning_jobs ({columns})
            select {columns}
            from json_populate_record(null::bulkhead.provisioning_jobs, $1)""",
            json.dumps(recorded),
        )
    await _age(site, row["database"])
    await site.platform.provisioning.run_once()
    assert (await owner.get(f"/provision/{job}/status"))["status"] == "active"
    async with site.platform.master.transaction(SERVICE) as tx:
        assert (await get_tenant(tx, TenantId(store))).schema_version == MIGRATIONS.latest
    [name] = await site.platform.fleet.query(
        TenantId(store), "select value ->> 'text' as text from settings where name = 'store.name'"
    )
    assert name["text"] == row["label"]
    assert (await owner.get(f"/stores/{store}/orders"))["orders"] == []


@pytest.mark.parametrize("point", ["create_tables", "seed"])
async def test_a_job_at_an_owners_mariadb_that_an_older_release_began_goes_on(
    site: Site, mariadb: MariadbServer, point: str
) -> None:
    owner, config = await site.caller(), await make_mariadb(mariadb)
    store = await owner.make_store()
    body = {"storeId": str(store), "databaseType": "mysql", "config": config}
    job = (await owner.post("/provision", body))["jobId"]
    with crash_at(f"provisioning.{point}:after"):
        await site.platform.provisioning.run_once()
    old = ["drop index orders_updated_at_id_idx on orders"]
    old.append("alter table orders drop column request_hash")
    if point == "seed":
        old.append("delete from _migrations where version = 2")
    await run_as_root(mariadb, config["database"], old)
    await site.value("update bulkhead.provisioning_jobs set leased_until = null where id = $1", job)
    await site.platform.provisioning.run_once()
    status = await owner.get(f"/provision/{job}/status")
    assert status["status"] == "active", status
    assert (await owner.get(f"/stores/{store}/orders"))["orders"] == []
    names = await site.platform.fleet.query(
        TenantId(store), "select count(*) as count from settings where name = 'store.name'"
    )
    assert names[0]["count"] == 1


async def _age(site: Site, database: str) -> None:
    """Let a database of a store be as version 1 of the schema left it."""
    spec = DatabaseSpec(database, role_prefix="stores", login_prefix=database)
    raw = await site.platform.master.driver.connect(spec, Login.ADMIN, timeout_s=10)
    try:
        await roll_back(raw, spec, [MIGRATIONS.set_for(Dialect.POSTGRESQL)], {"stores": 1})
    finally:
        await raw.close()
