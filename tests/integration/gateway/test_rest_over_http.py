"""The REST APIs of a served application: who is let in, within which bounds."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import jwt
import pytest
from quiet_port import quiet_port
from tests.integration.gateway.conftest import Shop
from tests.integration.web.raw import send_raw
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.apps import load_application
from bulkhead.apps.commerce.sample import load_sample
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.claims import ANON, Role
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import build_system
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.keyring import RELOAD_S, open_keyring
from bulkhead.gateway.keys import KeyKind
from bulkhead.web.compose import compose
from bulkhead.web.serving import Serving, serving

FUNCTIONS = """
create function public.whoami() returns json language sql stable
  return json_build_object('user', current_user, 'claims', auth.jwt());
create function public.doze(seconds float) returns text language sql volatile
  as $$ select 'rested' from pg_catalog.pg_sleep(seconds) $$;
notify pgrst, 'reload schema';
"""


@pytest.fixture(scope="module", autouse=True)
async def functions(shop: Shop) -> None:
    for database in shop.system.router:
        async with administer(database) as connection:
            await connection.execute(FUNCTIONS)


def headers_of(shop: Shop, database: str, bearer: str = "") -> dict[str, str]:
    authorization = {"authorization": f"Bearer {bearer}"} if bearer else {}
    return {"apikey": shop.key(database), **authorization}


@pytest.mark.parametrize("database", ["users", "products", "orders"])
async def test_one_token_names_the_same_user_in_every_database(shop: Shop, database: str) -> None:
    answer = await shop.get(f"/{database}/rest/v1/rpc/whoami", shop.key(database), shop.token)
    told = answer.raise_for_status().json()
    assert told["user"] == "authenticated"
    assert told["claims"]["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        (KeyKind.PUBLISHABLE, Role.ANON),
        (KeyKind.JWT, Role.ANON),
        (KeyKind.SECRET, Role.SERVICE),
        (KeyKind.JWT, Role.SERVICE),
    ],
)
async def test_a_key_is_for_its_role(shop: Shop, kind: KeyKind, role: Role) -> None:
    key = shop.key("orders", kind, role)
    for bearer in ("", key):
        told = (await shop.get("/orders/rest/v1/rpc/whoami", key, bearer)).json()
        assert (told["user"], told["claims"]["role"]) == (role.value, role.value)


async def test_a_stranger_and_the_keys_of_another_database_are_refused(shop: Shop) -> None:
    for key in ("", "nonsense", shop.key("products"), shop.secret("users")):
        answer = await shop.get("/orders/rest/v1/orders", key)
        assert answer.status_code == 401
        assert answer.json().keys() == {"code", "details", "hint", "message"}


async def test_a_forged_token_is_refused_in_the_words_of_postgrest(shop: Shop) -> None:
    payload = jwt.decode(shop.token, options={"verify_signature": False})
    forged = jwt.encode({**payload, "role": "service_role"}, "x" * 32, algorithm="HS256")
    answer = await shop.get("/orders/rest/v1/orders", shop.key("orders"), forged)
    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST301")
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


async def test_the_root_answers_with_and_without_a_slash(shop: Shop) -> None:
    for path in ("/orders/rest/v1", "/orders/rest/v1/"):
        answer = await shop.get(path, shop.key("orders"))
        assert answer.headers["content-type"].startswith("application/openapi+json")
        assert answer.json()["basePath"] == "/commerce/orders/rest/v1"


async def test_what_a_request_does_stands_in_the_metrics_by_template(shop: Shop) -> None:
    await shop.get("/orders/rest/v1/nothing_like_it", shop.key("orders"))
    text = (await shop.http.get("/metrics")).text
    assert 'route="/commerce/orders/rest/v1/{table}",status="404"' in text
    assert "nothing_like_it" not in text
    assert (
        'bulkhead_pool_connections{application="commerce",database="orders",pool="visitor"' in text
    )


async def test_a_long_list_of_ids_fits_into_an_address(shop: Shop) -> None:
    ids = ",".join(["6b4f5d0a-0000-4000-8000-000000000000"] * 1_700)
    path = f"/products/rest/v1/products?select=id&id=in.({ids})"
    assert 62_000 < len(path) < 65_000
    answer = await shop.get(path, shop.key("products"))
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_body_above_the_setting_is_refused(shop: Shop) -> None:
    body = b"[" + b" " * shop.system.settings.rest_body_bytes_max + b"]"
    answer = await shop.http.post(
        "/commerce/products/rest/v1/products",
        content=body,
        headers=headers_of(shop, "products", shop.token),
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_visitors_wait_less_long_than_users_and_these_less_than_the_service(
    shop: Shop,
) -> None:
    async def doze(key: str, bearer: str = "") -> httpx.Response:
        headers = {"apikey": key, **({"authorization": f"Bearer {bearer}"} if bearer else {})}
        return await shop.http.post(
            "/commerce/orders/rest/v1/rpc/doze", json={"seconds": 3.2}, headers=headers
        )

    key = shop.key("orders")
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(doze(key)),
            group.create_task(doze(key, shop.token)),
            group.create_task(doze(shop.secret("orders"))),
        ]
    visitor, user, service = (each.result() for each in asked)
    assert (visitor.status_code, visitor.json()["code"]) == (500, "57014")
    assert [user.json(), service.json()] == ["rested", "rested"]


async def test_a_flood_of_visitors_leaves_users_their_connections(shop: Shop) -> None:
    orders = shop.system.database("orders")
    size, orders.visitors.size_max = orders.visitors.size_max, 1
    try:
        async with orders.transaction(ANON, read_only=True):
            waiting = asyncio.create_task(
                shop.get("/orders/rest/v1/rpc/whoami", shop.key("orders"))
            )
            user = await shop.get("/orders/rest/v1/rpc/whoami", shop.key("orders"), shop.token)
            assert user.status_code == 200
            assert not waiting.done()
        assert (await waiting).status_code == 200
    finally:
        orders.visitors.size_max = size


async def test_no_read_fails_while_the_key_is_rotated(shop: Shop) -> None:
    former, stop = shop.key("orders"), asyncio.Event()

    async def read() -> set[int]:
        found = set()
        while not stop.is_set():
            answer = await shop.get("/orders/rest/v1/rpc/whoami", former, shop.token)
            found.add(answer.status_code)
        return found

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read()) for _ in range(4)]
        shop.ring.rotate("orders", KeyKind.PUBLISHABLE)
        async with asyncio.timeout(RELOAD_S + 4):
            while (await shop.get("/orders/rest/v1/rpc/whoami", shop.key("orders"))).is_error:
                pass
        stop.set()
    assert {status for reader in readers for status in reader.result()} == {200}


async def test_tokens_of_another_application_are_refused(
    shop: Shop, servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same application of another installation: everything has the same name but the keys."""
    settings = Settings(home=tmp_path_factory.mktemp("other"), autoconfirm=True)
    async with servers.system(load_application("commerce"), settings) as system:
        app = compose([system], settings).app
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            made = await http.post(
                "/commerce/auth/v1/signup",
                json={"email": "eve@example.com", "password": "harbour lights"},
            )
            token = made.raise_for_status().json()["access_token"]
    answer = await shop.get("/orders/rest/v1/orders", shop.key("orders"), token)
    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST301")
    other = open_keyring("commerce", settings).keys("orders")
    for key in other.keys:
        assert (await shop.get("/orders/rest/v1/orders", key.text)).status_code == 401


@pytest.fixture(scope="module")
async def sample(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Serving, str]]:
    settings = Settings(home=tmp_path_factory.mktemp("sample"))
    async with servers.system(load_application("commerce"), settings) as system:
        await load_sample(system)
        composed = compose([system], settings)
        async with composed.workers(), serving(composed.app) as running:
            key = open_keyring("commerce", settings).keys("products")
            yield running, key.current(KeyKind.PUBLISHABLE, Role.ANON)


async def test_requests_on_one_connection_are_answered_in_their_order(
    sample: tuple[Serving, str],
) -> None:
    web, key = sample
    text = "".join(
        f"GET /commerce/products/rest/v1/products?select=id&limit={limit} HTTP/1.1\r\n"
        f"Host: x\r\napikey: {key}\r\n{'Connection: close' if limit == 4 else 'X: y'}\r\n\r\n"
        for limit in (1, 2, 3, 4)
    )
    answer = await send_raw(web, text.encode())
    ranges = [
        line.split(": ")[1]
        for line in answer.text.split("\r\n")
        if line.startswith("content-range")
    ]
    assert ranges == ["0-0/*", "0-1/*", "0-2/*", "0-3/*"]


async def test_at_most_a_thousand_rows_are_given_at_once(sample: tuple[Serving, str]) -> None:
    web, key = sample
    async with httpx.AsyncClient(
        base_url=web.url, headers={"apikey": key}, verify=TRUSTS_NOBODY
    ) as client:
        answer = await client.get("/commerce/products/rest/v1/products?select=id&limit=5000")
    assert len(answer.json()) <= 1000


async def test_a_database_that_is_away_is_said_in_time_and_the_others_go_on(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = Settings(home=tmp_path_factory.mktemp("away"))
    async with servers.system(load_application("commerce"), settings) as whole:
        nowhere = PostgresDriver(
            f"postgresql://nobody@127.0.0.1:{quiet_port()}/postgres", b"x" * 32
        )
        placements = [
            replace(each, driver=nowhere) if each.database == "orders" else each
            for each in whole.router.placements
        ]
        system = build_system(whole.application, settings, placements)
        composed = compose([system], settings)
        ring = open_keyring("commerce", settings)
        async with (
            composed.workers(),
            serving(composed.app) as running,
            httpx.AsyncClient(base_url=running.url, verify=TRUSTS_NOBODY) as http,
        ):
            for database, status in (("orders", 503), ("products", 200), ("orders", 503)):
                key = ring.keys(database).current(KeyKind.PUBLISHABLE, Role.ANON)
                answer = await http.get(
                    f"/commerce/{database}/rest/v1/products", headers={"apikey": key}
                )
                assert answer.status_code == status
                if status == 503:
                    assert answer.json()["code"] in {"PGRST000", "PGRST002"}
                    assert answer.headers["retry-after"]
                    assert "127.0.0.1" not in answer.text
        await system.close()
