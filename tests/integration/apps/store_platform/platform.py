"""The platform over HTTP, with workers that run when a test wants them to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from tests.integration.apps.store_platform.described import Description

from bulkhead.apps.store_platform.application import APPLICATION, mount, people_of
from bulkhead.apps.store_platform.fleet import Platform
from bulkhead.apps.store_platform.master.stores.model import STORES_SETTING
from bulkhead.apps.store_platform.views import Stores
from bulkhead.capabilities.identity import Identity, create_user, sign_in_as
from bulkhead.capabilities.identity.passwords import Passwords
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.fleet.supabase import SupabaseAccess
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.spares import drop_own
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.web.server import Mount, create_app

BASE = "http://platform.test/store_platform"
PASSWORD_COST = 4


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


async def at_once(calls: Iterable[Coroutine[Any, Any, httpx.Response]]) -> list[httpx.Response]:
    """The answers to calls that are made at the same time."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]


@dataclass(frozen=True)
class Site:
    """The platform as its users see it."""

    system: System
    platform: Platform
    http: httpx.AsyncClient
    people: Identity

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

    async def let_owners_have(self, stores: int) -> None:
        """Let each owner have so many stores."""
        setting = "insert into platform_settings (name, value) values ($1, to_jsonb($2::int))"
        await self.value(setting, STORES_SETTING, stores)

    async def value(self, sql: str, *args: object) -> Any:
        async with self.platform.master.transaction(SERVICE) as tx:
            return await tx.fetchval(sql, *args)


@asynccontextmanager
async def open_site(
    servers: TestServers, home: Path, supabase: SupabaseAccess | None = None
) -> AsyncIterator[Site]:
    """The platform with a master of its own, and a server on which stores are made.

    Answers to its client are held against the description. `supabase` is a cloud on this machine
    instead of Supabase's own.
    """
    settings = Settings(home=home)
    async with servers.system(APPLICATION, settings) as system:
        await system.vault.unlock()
        if supabase is not None:
            system.outside._platform = Platform.build(system, supabase)
        mounted = mount(system)
        platform: Platform = system.outside.platform(system)
        routers: Any = mounted.routers  # The engine does not know FastAPI.
        streamed: Any = mounted.streamed
        whole = Mount("store_platform", "Store platform", routers, streamed=streamed)
        app = create_app([whole], settings)
        transport = httpx.ASGITransport(app)
        # Whom the tests make signs in without the password.
        people = replace(people_of(system), passwords=Passwords(PASSWORD_COST))
        try:
            hooks = {"response": [Description.of(routers, "/store_platform").verify]}
            async with httpx.AsyncClient(transport=transport, event_hooks=hooks) as http:
                yield Site(system, platform, http, people)
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
