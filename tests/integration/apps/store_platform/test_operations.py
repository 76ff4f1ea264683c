"""What operators see of the fleet: figures that do not grow with it, and what wants attention."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.fleet import LOCAL_CAPACITY, MIGRATIONS
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.monitoring.findings import Level
from bulkhead.engine.monitoring.metrics import Figure
from bulkhead.engine.provisioning.check_up import check_fleet
from bulkhead.engine.provisioning.figures import FleetSampler
from bulkhead.engine.testing import TestServers
from bulkhead.web.metrics import Metrics


@pytest.fixture
async def site(servers: TestServers, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(servers, tmp_path) as site:
        yield site


@pytest.fixture
async def owner(site: Site) -> Caller:
    return await site.caller()


@pytest.fixture
def sampler(site: Site) -> FleetSampler:
    return FleetSampler(site.platform.fleet, site.platform.migrator)


async def look(sampler: FleetSampler) -> dict[tuple[str, ...], float]:
    """Every figure by its name and the labels that tell it from others."""
    await sampler.sample()
    return {key_of(figure): figure.value for figure in sampler.figures()}


def key_of(figure: Figure) -> tuple[str, ...]:
    assert figure.labels["fleet"] == "stores"
    assert figure.labels["application"] == "store_platform"
    told = {k: v for k, v in figure.labels.items() if k not in {"fleet", "application"}}
    return (figure.name, *told.values())


async def test_figures_tell_of_tenants_jobs_and_connections(
    site: Site, owner: Caller, sampler: FleetSampler, mariadb: MariadbServer
) -> None:
    assert (await look(sampler))["fleet_tenants", "active"] == 0
    first = await site.open_store(owner)
    await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    waiting = await owner.make_store()
    await owner.post("/provision", {"storeId": str(waiting)})
    await site.value("update bulkhead.provisioning_jobs set due_at = now() - interval '1 hour'")
    async with site.platform.fleet.connection(TenantId(first)):
        seen = await look(sampler)
    assert seen["fleet_tenants", "active"] == 2
    assert seen["fleet_tenants", "suspended"] == 0
    assert seen["provisioning_jobs", "queued"] == seen["provisioning_stranded",] == 1
    assert seen["provisioning_oldest_seconds", "queued"] > 0
    assert seen["provisioning_ended_daily", "active"] == 2
    assert seen["fleet_connections", "local", "in_use"] == 1
    assert seen["fleet_connections_limit", "local"] >= 1
    assert seen["fleet_server_tenants", "local"] == 1
    assert seen["fleet_migrations_due",] == 0
    await site.platform.lifecycle.suspend(TenantId(first), "for a test")
    seen = await look(sampler)
    assert (seen["fleet_tenants", "active"], seen["fleet_tenants", "suspended"]) == (1, 1)


async def test_figures_do_not_grow_with_the_fleet_and_name_no_tenant(
    site: Site, owner: Caller, sampler: FleetSampler, mariadb: MariadbServer
) -> None:
    stores = [await site.open_store(owner)]
    outside = await make_mariadb(mariadb)
    stores.append((await open_mariadb_store(site, owner, outside))[0])
    for store in stores:
        await owner.get(f"/stores/{store}/products")
    before = await look(sampler)
    assert before["fleet_pools", "local"] == before["fleet_pools", "outside"] == 1
    assert not any(str(outside["port"]) in part for key in before for part in key)
    for _ in range(2):
        stores.append(await site.open_store(owner))
        await owner.get(f"/stores/{stores[-1]}/products")
    after = await look(sampler)
    assert after.keys() == before.keys()
    assert after["fleet_pools", "local"] == 3
    text = Metrics([sampler.figures]).render().decode()
    assert 'bulkhead_fleet_tenants{application="store_platform",fleet="stores"' in text
    assert not any(str(store) in text for store in stores)


async def test_a_store_whose_database_is_away_shows_in_the_figures(
    site: Site, owner: Caller, sampler: FleetSampler, mariadb: MariadbServer
) -> None:
    config = await make_mariadb(mariadb)
    store, _ = await open_mariadb_store(site, owner, config)
    drop = f"drop database `{config['database']}`"
    async with site.platform.fleet.connection(TenantId(store)) as db:
        await db.execute(drop)
    for _ in range(10):
        await owner.send("GET", f"/stores/{store}/products")
    seen = await look(sampler)
    assert seen["fleet_breakers_open", "outside"] == 1
    assert seen["fleet_hosts_down", "outside"] == 0, "it is its database that is gone"


async def findings(site: Site) -> dict[str, Level]:
    found = await check_fleet(site.platform.migrator)
    assert all(each.subject == "store_platform.stores" for each in found)
    return {each.code: each.level for each in found}


TROUBLES = {
    "tenants_behind": "update bulkhead.fleet_tenants set schema_version = 1",
    "tenants_held_back": """update bulkhead.fleet_tenants set schema_version = 1;
        insert into bulkhead.fleet_moves
          (id, tenant, fleet, source, target, database, resume_state, deadline_at)
        select gen_random_uuid(), id, 'stores', 'local', 'other', 'x', 'active', now() + '1 day'
        from bulkhead.fleet_tenants""",
    "moves_late": """insert into bulkhead.fleet_moves
          (id, tenant, fleet, source, target, database, resume_state, deadline_at)
        select gen_random_uuid(), id, 'stores', 'local', 'other', 'x', 'active', now()
        from bulkhead.fleet_tenants""",
    "tenant_migrations_failed": """insert into bulkhead.fleet_migrations
          (tenant, direction, target, state, owner, leased_until)
        select id, 'up', 2, 'failed', 'x', now() from bulkhead.fleet_tenants""",
    "tenants_drifted": """insert into bulkhead.fleet_tenants
          (id, fleet, kind, server, database, state, schema_version, schema_fingerprint)
        select gen_random_uuid(), fleet, kind, server, 'x', state, schema_version, 'another'
        from bulkhead.fleet_tenants""",
    "tenants_orphaned": "update bulkhead.fleet_tenants set state = 'provisioning'",
    "server_almost_full": "update bulkhead.fleet_servers set capacity = 1",
    "deletions_failing": """insert into bulkhead.fleet_deletions (tenant, fleet, purge_at, error)
        select id, fleet, now(), '{}' from bulkhead.fleet_tenants""",
    "servers_untold": """insert into bulkhead.fleet_notices (tenant, generation, error, due_at)
        select id, generation, '{}', now() from bulkhead.fleet_tenants""",
    "provisioning_stranded": """insert into bulkhead.provisioning_jobs
          (id, tenant, fleet, mode, kind, label, request_hash, due_at)
        values (gen_random_uuid(), gen_random_uuid(), 'stores', 'create', 'postgresql', 'x', 'x',
          now() - interval '1 hour')""",
}


async def test_a_check_up_tells_what_wants_attention_and_nothing_else(
    site: Site, owner: Caller
) -> None:
    assert await findings(site) == {"fleet_well": Level.OK}
    await site.open_store(owner)
    assert await findings(site) == {"fleet_well": Level.OK}
    for code, sql in TROUBLES.items():
        found = await findings_after(site, sql)
        expected: dict[str, Any] = {code: Level.WARNING}
        if code == "tenants_behind":
            expected = {code: Level.INFO, "fleet_well": Level.OK}
        assert found == expected, code


async def findings_after(site: Site, trouble: str) -> dict[str, Level]:
    """What is found once `trouble` was run, which is then taken back."""
    try:
        for statement in trouble.split(";"):
            await site.value(statement)
        return await findings(site)
    finally:
        for sql in (
            "delete from bulkhead.fleet_moves",
            "delete from bulkhead.fleet_migrations",
            "delete from bulkhead.fleet_deletions",
            "delete from bulkhead.fleet_notices",
            "delete from bulkhead.provisioning_jobs where label = 'x'",
            "delete from bulkhead.fleet_tenants where database = 'x'",
            f"update bulkhead.fleet_servers set capacity = {LOCAL_CAPACITY}",
            f"""update bulkhead.fleet_tenants
                set state = 'active', schema_version = {MIGRATIONS.latest}""",
        ):
            await site.value(sql)
