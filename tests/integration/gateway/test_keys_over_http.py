"""Which keys open which address of a served application, while keys are rotated and revoked."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from tests.integration.gateway.conftest import ADA, Shop

from bulkhead.capabilities.identity.tokens.keyring import KeyRing
from bulkhead.engine.connections.claims import Role
from bulkhead.gateway import keyring
from bulkhead.gateway.keyring import RELOAD_S
from bulkhead.gateway.keys import KeyKind

DATABASES = ("users", "products", "orders")
CLIENTS = 4
REQUESTS_BETWEEN = 20
NOTICED_S = RELOAD_S + 4.0


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks for other keys ten times as often, so that less load is enough."""
    monkeypatch.setattr(keyring, "RELOAD_S", RELOAD_S / 10)


@pytest.mark.parametrize("database", DATABASES)
async def test_the_users_api_of_a_database_opens_with_its_own_keys(
    shop: Shop, database: str
) -> None:
    path = f"/{database}/auth/v1/settings"
    for kind, role in (
        (KeyKind.PUBLISHABLE, Role.ANON),
        (KeyKind.SECRET, Role.SERVICE),
        (KeyKind.JWT, Role.ANON),
        (KeyKind.JWT, Role.SERVICE),
    ):
        assert (await shop.get(path, shop.key(database, kind, role))).status_code == 200
        for other in set(DATABASES) - {database}:
            refused = await shop.get(path, shop.key(other, kind, role))
            assert (refused.status_code, refused.json()["message"]) == (401, "Invalid API key")
    missing = await shop.get(path, bearer=shop.token)
    assert missing.status_code == 401
    assert missing.json()["message"] == "No API key found in request"


@pytest.mark.parametrize("database", DATABASES)
async def test_a_user_s_token_is_good_at_every_database(shop: Shop, database: str) -> None:
    answer = await shop.get(f"/{database}/auth/v1/user", shop.key(database), shop.token)
    assert (answer.status_code, answer.json()["email"]) == (200, ADA["email"])


async def test_links_and_published_keys_need_no_key(shop: Shop) -> None:
    assert (await shop.get("/orders/auth/v1/.well-known/jwks.json")).status_code == 200
    link = await shop.get("/orders/auth/v1/verify?type=signup&token=x")
    assert link.status_code == 303
    assert (await shop.get("/orders/auth/v1/verifyx")).status_code == 401


async def test_the_application_s_own_address_needs_no_key(shop: Shop) -> None:
    assert (await shop.get("/auth/v1/settings")).status_code == 200
    assert (await shop.get("/auth/v1/user", bearer=shop.token)).status_code == 200


async def test_only_the_database_with_the_users_governs_them(shop: Shop) -> None:
    secret = shop.secret("users")
    assert (await shop.get("/users/auth/v1/admin/users", secret)).status_code == 200
    assert (await shop.get("/auth/v1/admin/users", bearer=secret)).status_code == 200
    for database in ("products", "orders"):
        own = shop.secret(database)
        refused = await shop.get(f"/{database}/auth/v1/admin/users", own, own)
        assert refused.status_code in {401, 403}
        assert (await shop.get("/auth/v1/admin/users", bearer=own)).status_code in {401, 403}
    for bearer in (shop.token, shop.key("users")):
        answer = await shop.get("/users/auth/v1/admin/users", shop.key("users"), bearer)
        assert answer.status_code in {401, 403}


@dataclass
class Load:
    """A client that asks again and again."""

    shop: Shop
    path: str
    key: str
    statuses: Counter[int] = field(default_factory=Counter)

    async def ask(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer = await self.shop.get(self.path, self.key, self.shop.token)
            self.statuses[answer.status_code] += 1


async def until_refused(shop: Shop, path: str, key: str, bearer: str = "") -> None:
    async with asyncio.timeout(NOTICED_S):
        while (await shop.get(path, key, bearer)).status_code == 200:
            pass


@pytest.mark.parametrize("kind", list(KeyKind))
async def test_no_request_fails_while_a_key_is_rotated_and_the_former_is_in_use(
    shop: Shop, kind: KeyKind
) -> None:
    path, role = "/orders/auth/v1/settings", Role.SERVICE if kind is KeyKind.SECRET else Role.ANON
    former = shop.key("orders", kind, role)
    stop, clients = asyncio.Event(), [Load(shop, path, former) for _ in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.ask(stop))
        for _ in range(2):
            shop.ring.rotate("orders", kind)
            current = shop.key("orders", kind, role)
            # The server has noticed once it takes the new key, which then works at once.
            async with asyncio.timeout(NOTICED_S):
                while (await shop.get(path, current, shop.token)).status_code != 200:
                    pass
            # Who has been answered twice has asked once since then.
            wanted, asked = [client.statuses.total() + 2 for client in clients], 0
            while asked < REQUESTS_BETWEEN or any(
                client.statuses.total() < least
                for client, least in zip(clients, wanted, strict=True)
            ):
                assert (await shop.get(path, current, shop.token)).status_code == 200
                asked += 1
        stop.set()
    assert {status for client in clients for status in client.statuses} == {200}
    for key in list(shop.ring.keys("orders").keys):
        if key.kind is kind and not key.is_current and key.role == role:
            shop.ring.revoke("orders", kind, key.number)
    await until_refused(shop, path, former, shop.token)
    assert (await shop.get(path, shop.key("orders", kind, role), shop.token)).status_code == 200


async def test_a_signing_key_is_rotated_by_another_process_without_a_failed_request(
    shop: Shop,
) -> None:
    ring = KeyRing(shop.system.settings.home / "keys" / "commerce.json")
    path, stop = "/products/auth/v1/user", asyncio.Event()
    clients = [Load(shop, path, shop.key("products")) for _ in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.ask(stop))
        for _ in range(2):
            ring.rotate()
            answer = await shop.http.post(
                "/commerce/products/auth/v1/token?grant_type=password",
                json=ADA,
                headers={"apikey": shop.key("products")},
            )
            fresh = answer.raise_for_status().json()["access_token"]
            for database in DATABASES:
                got = await shop.get(f"/{database}/auth/v1/user", shop.key(database), fresh)
                assert got.status_code == 200
        stop.set()
    assert {status for client in clients for status in client.statuses} == {200}
