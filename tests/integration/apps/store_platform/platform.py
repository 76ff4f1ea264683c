"""The platform over HTTP, with workers that run when a test wants them to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from bulkhead.apps.store_platform.application import APPLICATION, mount
from bulkhead.apps.store_platform.fleet import Platform
from bulkhead.apps.store_platform.views import Stores
from bulkhead.capabilities.identity import Identity, create_user, sign_in_as
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.spares import drop_own
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.web.server import Mount, create_app

BASE = "http://platform.test/store_platform"


@dataclass(frozen=True)
class Caller:
    """Somebody with a client."""

    http: httpx.AsyncClient
    token: str | None = None

    async def send(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> httpx.Response:
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, BASE + path, headers=named, json=body)

    async def get(self, path: str) -> Any:
        answer = await self.send("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object = None, **headers: str) -> Any:
        answer = await self.send("POST", path, body, **headers)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        answer = await self.send(method, path, body)
        return answer.status_code, answer.json()["code"]

    async def make_store(self, name: str = "My Shop") -> UUID:
        slug = f"shop-{new_id().hex[-12:]}"
        return UUID((await self.post("/stores", {"name": name, "slug": slug}))["id"])


@dataclass(frozen=True)
class Site:
    """The platform as its users see it."""

    system: System
    platform: Platform
    http: httpx.AsyncClient

    @property
    def people(self) -> Identity:
        assert self.system.application.people is not None
        people: Identity = self.system.application.people(self.system)
        return people

    @property
    def stores(self) -> Stores:
        return Stores(self.platform.master, self.platform.fleet)

    async def caller(self, role: str | None = None) -> Caller:
        email = f"{new_id().hex}@example.com"
        metadata = {"role": role} if role else {}
        await create_user(
            self.people, email=email, password="long and odd", app_metadata=metadata  # noqa: S106
        )  # fmt: skip
        return Caller(self.http, (await sign_in_as(self.people, email)).access_token)

    async def provision(self, owner: Caller, store: UUID) -> Any:
        """Give a store its database, and return the status of the job."""
        started = await owner.post("/provision", {"storeId": str(store)})
        await self.platform.provisioning.run_once()
        return await owner.get(f"/provision/{started['jobId']}/status")

    async def open_store(self, owner: Caller) -> UUID:
        store = await owner.make_store()
        assert (await self.provision(owner, store))["status"] == "active"
        return store

    async def value(self, sql: str, *args: object) -> Any:
        async with self.platform.master.transaction(SERVICE) as tx:
            return await tx.fetchval(sql, *args)


@asynccontextmanager
async def open_site(servers: TestServers, home: Path) -> AsyncIterator[Site]:
    """The platform with a master of its own, and a server on which stores are made."""
    settings = Settings(home=home)
    async with servers.system(APPLICATION, settings) as system:
        await system.vault.unlock()
        mounted = mount(system)
        platform: Platform = system.outside.platform(system)
        routers: Any = mounted.routers  # The engine does not know FastAPI.
        app = create_app([Mount("store_platform", "Store platform", routers)], settings)
        transport = httpx.ASGITransport(app)
        try:
            async with httpx.AsyncClient(transport=transport) as http:
                yield Site(system, platform, http)
        finally:
            await drop_stores(platform)
            await platform.close()


async def drop_stores(platform: Platform) -> None:
    """Drop what was made on the server that all tests share."""
    driver = platform.master.driver
    async with platform.master.transaction(SERVICE) as tx:
        rows = await tx.fetch("select database, login_prefix from bulkhead.fleet_tenants")
        spares = await tx.fetch("select name as database from bulkhead.fleet_spares")
    await platform.fleet.close()
    for row in [*rows, *spares]:
        name = row["database"]
        spec = DatabaseSpec(name, role_prefix="stores", login_prefix=name)
        await drop_own(driver, spec)
