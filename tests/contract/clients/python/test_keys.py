"""Which keys and tokens open which database."""

import jwt
import pytest
from postgrest import APIError
from supabase import AsyncClient, AsyncClientOptions, AuthApiError, create_async_client
from tests.contract.clients.storefront import PASSWORD, Customer, Storefront, row, rows

from bulkhead.engine.clock import now

DATABASES = ("users", "products", "orders")


@pytest.fixture(scope="module")
async def ada(shop: Storefront) -> Customer:
    return await shop.customer()


async def refusal(client: AsyncClient, table: str = "products") -> APIError:
    with pytest.raises(APIError) as refused:
        await client.table(table).select("*").limit(1).execute()
    return refused.value


@pytest.mark.parametrize("kind", ["anon", "publishable"])
async def test_a_public_key_reads_what_is_public(shop: Storefront, kind: str) -> None:
    client = await shop.client("products", key=getattr(shop.keys["products"], kind))
    assert rows(await client.table("products").select("id").limit(1).execute())
    assert (await refusal(client, "wishlists")).code == "42501"


@pytest.mark.parametrize("kind", ["service_role", "secret"])
async def test_a_secret_key_reads_everything(shop: Storefront, kind: str) -> None:
    client = await shop.client("orders", key=getattr(shop.keys["orders"], kind))
    assert rows(await client.table("coupons").select("id").execute())
    me = row(await client.rpc("whoami").execute())
    assert (me["role"], me["user"]) == ("service_role", "service_role")


@pytest.mark.parametrize("kind", ["anon", "publishable"])
@pytest.mark.parametrize("database", DATABASES)
async def test_one_sign_in_is_good_at_every_database(
    shop: Storefront, ada: Customer, database: str, kind: str
) -> None:
    tables = {"users": "user_profiles", "products": "wishlists", "orders": "orders"}
    key = getattr(shop.keys[database], kind)
    token = await ada.token()
    by_header = await shop.client(database, key=key, token=token)
    by_session = await shop.client(database, key=key)
    session = await ada.users.auth.get_session()
    assert session is not None
    await by_session.auth.set_session(token, session.refresh_token)
    later = await shop.client(database, key=key)
    later.postgrest.auth(token)
    for client in (by_header, by_session, later):
        await client.table(tables[database]).select("*").execute()
    user = await by_session.auth.get_user()
    assert user is not None
    assert user.user.id == ada.id


@pytest.mark.parametrize("database", DATABASES)
async def test_one_can_sign_in_at_every_database(
    shop: Storefront, ada: Customer, database: str
) -> None:
    client = await shop.client(database)
    answer = await client.auth.sign_in_with_password({"email": ada.email, "password": PASSWORD})
    assert answer.session is not None
    claims = jwt.decode(answer.session.access_token, options={"verify_signature": False})
    assert claims["iss"] == f"{shop.address}/auth/v1"
    refreshed = await ada.users.auth.refresh_session(answer.session.refresh_token)
    assert refreshed.session is not None


@pytest.mark.parametrize("kind", ["anon", "service_role", "publishable", "secret"])
async def test_the_keys_of_another_database_are_refused(shop: Storefront, kind: str) -> None:
    client = await shop.client("products", key=getattr(shop.keys["orders"], kind))
    assert (await refusal(client)).message == "Invalid API key"
    users = await shop.client("users", key=getattr(shop.keys["orders"], kind))
    with pytest.raises(AuthApiError) as refused:
        await users.auth.sign_in_with_password({"email": "ada@example.com", "password": PASSWORD})
    assert refused.value.status == 401


@pytest.mark.parametrize("key", ["wrong", "sb_publishable_wrong", "sb_secret_wrong", "a.b.c"])
async def test_a_wrong_key_is_refused(shop: Storefront, key: str) -> None:
    client = await shop.client("products", key=key)
    assert (await refusal(client)).message == "Invalid API key"


async def test_no_key_is_refused(shop: Storefront) -> None:
    answer = await shop.http.get(f"{shop.url('products')}/rest/v1/products")
    assert answer.status_code == 401
    assert answer.json()["message"] == "No API key found in request"


async def test_tokens_that_nobody_here_signed_are_refused(shop: Storefront, ada: Customer) -> None:
    good = await ada.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    header, payload, signature = good.split(".")
    forged = {
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "signed with a guess": jwt.encode(claims, "secret" * 8, algorithm="HS256"),
        "signed with a public key": jwt.encode(
            {**claims, "role": "service_role"}, shop.keys["orders"].anon, algorithm="HS256"
        ),
        "changed": f"{header}.{payload[:-2]}AA.{signature}",
        "cut off": f"{header}.{payload}.",
    }
    for name, token in forged.items():
        client = await shop.client("orders", token=token)
        assert (await refusal(client, "orders")).code == "PGRST301", name


async def test_tokens_of_another_application_are_refused(
    shop: Storefront, club: Storefront
) -> None:
    member = await club.customer()
    client = await shop.client("orders", token=await member.token())
    assert (await refusal(client, "orders")).code == "PGRST301"
    with pytest.raises(AuthApiError) as refused:
        await (await shop.client("users")).auth.get_user(await member.token())
    assert refused.value.code == "bad_jwt"


@pytest.mark.filterwarnings("ignore:The '.*' parameter is deprecated:DeprecationWarning")
async def test_the_client_needs_no_options(shop: Storefront, ada: Customer) -> None:
    """As its documentation has it: an address, a key, and its own defaults."""
    client = await create_async_client(shop.url("users"), shop.keys["users"].anon)
    await client.auth.sign_in_with_password({"email": ada.email, "password": PASSWORD})
    profile = await client.table("user_profiles").select("id").execute()
    assert row(profile) == {"id": ada.id}
    await client.postgrest.aclose()
    await client.auth.sign_out()
    await client.auth.close()


async def test_a_token_that_has_expired_is_refused(shop: Storefront, ada: Customer) -> None:
    session = await ada.users.auth.get_session()
    assert session is not None
    stale = shop.sign(
        {
            **jwt.decode(session.access_token, options={"verify_signature": False}),
            "exp": int(now().timestamp()) - 60,
        }
    )
    client = await shop.client("orders", token=stale)
    with pytest.raises(APIError) as refused:
        await client.table("orders").select("id").execute()
    assert (refused.value.code, refused.value.message) == ("PGRST303", "JWT expired")


async def test_profiles_of_a_schema_are_named_in_headers(shop: Storefront) -> None:
    options = AsyncClientOptions(schema="public", httpx_client=shop.http)
    client = await create_async_client(shop.url("products"), shop.keys["products"].anon, options)
    assert rows(await client.table("products").select("id").limit(1).execute())
