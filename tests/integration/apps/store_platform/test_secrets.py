"""Keys are rotated while stores are served, by processes that die at it; nobody notices."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.application import vault_of
from bulkhead.apps.store_platform.jobs import tend_secrets
from bulkhead.capabilities.vault.check_up import check_values, check_vault
from bulkhead.capabilities.vault.rotation import RESEALED, REWRAPPED, rotate_master
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.monitoring.findings import Level
from bulkhead.engine.testing import TestServers, crash_at

ROUNDS = 3


@pytest.fixture
async def site(servers: TestServers, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(servers, tmp_path) as site:
        yield site


@dataclass
class Customers:
    """Ask for stores whose databases must be opened with a sealed password each time."""

    site: Site
    owner: Caller
    stores: list[UUID]
    answers: list[int] = field(default_factory=list)
    served: dict[UUID, asyncio.Event] = field(default_factory=dict)

    async def ask(self, store: UUID) -> None:
        while True:
            self.site.system.vault.forget(str(store))
            await self.site.platform.fleet.drain(TenantId(store), 1)
            answer = await self.owner.send("GET", f"/stores/{store}/products")
            self.answers.append(answer.status_code)
            self.served[store].set()

    async def are_served(self) -> None:
        """Every store has answered once more, having been asked after this was called."""
        for _ in range(2):
            for served in self.served.values():
                served.clear()
            async with asyncio.timeout(60):
                for served in self.served.values():
                    await served.wait()


async def test_no_request_fails_while_keys_are_rotated_and_processes_die_at_it(
    site: Site, mariadb: MariadbServer
) -> None:
    owner = await site.caller()
    stores = []
    for _ in range(2):
        config = await make_mariadb(mariadb)
        stores.append((await open_mariadb_store(site, owner, config))[0])
    customers = Customers(site, owner, stores, served={store: asyncio.Event() for store in stores})
    tasks = [asyncio.create_task(customers.ask(store)) for store in stores]
    try:
        for _ in range(ROUNDS):
            another = vault_of(site.system)  # As the command line opens it.
            await another.unlock()
            with crash_at(REWRAPPED):
                await rotate_master(another)
            for store in stores:
                await another.rotate_key(str(store))
            await site.value(
                """update bulkhead.vault_keys set rotated_at = now() - interval '5 minutes'
                where state = 'previous'"""
            )
            with crash_at(RESEALED):
                await tend_secrets(site.system)
            await tend_secrets(site.system)
            await customers.are_served()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert set(customers.answers) == {200}
    left = "select count(*) from bulkhead.vault_keys where state = 'previous'"
    assert await site.value(left) >= ROUNDS * len(stores)
    assert await site.value(f"{left} and emptied_at is null") == 0
    fresh = vault_of(site.system)
    await fresh.unlock()
    findings = [*await check_vault(fresh), *await check_values(fresh)]
    assert {each.level for each in findings} <= {Level.OK, Level.INFO}, findings
    assert await tend_secrets(site.system) == 0
