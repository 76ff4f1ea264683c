"""The synchronous client, in a thread of its own: one customer's visit from door to door."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from postgrest.types import CountMethod
from supabase import AuthApiError, Client, ClientOptions, PostgrestAPIError, create_client
from tests.contract.clients.storefront import PASSWORD, Storefront, new_email, row, rows, totp


@pytest.fixture
def carrier() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as http:
        yield http


def open_client(
    shop: Storefront, http: httpx.Client, database: str, key: str | None = None
) -> Client:
    options = ClientOptions(httpx_client=http, auto_refresh_token=False, flow_type="implicit")
    return create_client(shop.url(database), key or shop.keys[database].publishable, options)


async def test_a_visit_from_door_to_door(shop: Storefront, carrier: httpx.Client) -> None:
    email = new_email("sync")
    users = open_client(shop, carrier, "users")
    await asyncio.to_thread(users.auth.sign_up, {"email": email, "password": PASSWORD})
    digits, _ = await shop.code(email)
    await asyncio.to_thread(visit, shop, carrier, users, email, digits)


def visit(shop: Storefront, http: httpx.Client, users: Client, email: str, digits: str) -> None:
    """Everything after the mail has come."""
    users.auth.verify_otp({"type": "signup", "email": email, "token": digits})
    users.auth.sign_out()
    session = users.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session is not None
    assert row(users.table("user_profiles").select("id").execute())["id"] == session.user.id

    products = open_client(shop, http, "products")
    products.postgrest.auth(session.access_token)
    shown = (
        products.table("products")
        .select("id, title, product_variants(id, price)", count=CountMethod.exact)
        .ilike("title", "%lamp%")
        .order("title")
        .range(0, 2)
        .execute()
    )
    assert (len(rows(shown)), shown.count) == (3, 9)
    variant = rows(shown)[0]["product_variants"][0]["id"]
    cart = products.table("shopping_cart")
    for quantity in (1, 2):
        cart.upsert(
            {"variant_id": variant, "quantity": quantity}, on_conflict="user_id,variant_id"
        ).execute()
    assert row(cart.select("quantity").execute()) == {"quantity": 2}
    assert row(cart.update({"quantity": 5}).eq("variant_id", variant).execute())["quantity"] == 5
    assert row(cart.delete().eq("variant_id", variant).execute())["quantity"] == 5
    assert products.rpc("add_up", {"a": 20, "b": 22}).execute().data == 42
    with pytest.raises(PostgrestAPIError) as none:
        products.table("products").select("id").eq("slug", "nothing").single().execute()
    assert none.value.code == "PGRST116"

    factor = users.auth.mfa.enroll({"factor_type": "totp", "friendly_name": "watch"})
    assert factor.totp is not None
    users.auth.mfa.challenge_and_verify({"factor_id": factor.id, "code": totp(factor.totp.secret)})
    level = users.auth.mfa.get_authenticator_assurance_level()
    assert level.current_level == "aal2"

    server = open_client(shop, http, "users", shop.keys["users"].secret)
    assert server.auth.admin.get_user_by_id(session.user.id).user.email == email
    server.auth.admin.delete_user(session.user.id)
    with pytest.raises(AuthApiError):
        users.auth.refresh_session()
