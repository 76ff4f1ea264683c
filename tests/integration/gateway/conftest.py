"""The shop with its gateway, served, and what a front end knows of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.apps import load_application
from bulkhead.engine.connections.claims import Role
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.keyring import ApiKeyRing, open_keyring
from bulkhead.gateway.keys import KeyKind
from bulkhead.web.compose import compose
from bulkhead.web.serving import serving

ADA = {"email": "ada@example.com", "password": "harbour lights"}


@dataclass(frozen=True)
class Shop:
    """A served shop."""

    system: System
    http: httpx.AsyncClient
    ring: ApiKeyRing
    """As another process sees the keys."""
    token: str
    """Of a signed-in user."""

    def key(
        self, database: str, kind: KeyKind = KeyKind.PUBLISHABLE, role: Role = Role.ANON
    ) -> str:
        return self.ring.keys(database).current(kind, role)

    def secret(self, database: str) -> str:
        return self.key(database, KeyKind.SECRET, Role.SERVICE)

    async def get(self, path: str, key: str = "", bearer: str = "") -> httpx.Response:
        headers = {"apikey": key} if key else {}
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        return await self.http.get(f"/commerce{path}", headers=headers)


@pytest.fixture(scope="module")
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), autoconfirm=True)
    async with servers.system(load_application("commerce"), settings) as system:
        composed = compose([system], settings)
        async with (
            composed.workers(),
            serving(composed.app) as running,
            httpx.AsyncClient(base_url=running.url, verify=TRUSTS_NOBODY) as http,
        ):
            signed_up = await http.post("/commerce/auth/v1/signup", json=ADA)
            token: str = signed_up.raise_for_status().json()["access_token"]
            ring = open_keyring("commerce", settings)
            yield Shop(system, http, ring, token)
