"""A server looks after users with its secret key; nobody else can."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from supabase import AsyncClient, AuthApiError
from tests.contract.clients.applications import SITE
from tests.contract.clients.storefront import PASSWORD, Storefront, new_email, row, run


@pytest.fixture(params=["service_role", "secret"], scope="module")
async def server(shop: Storefront, request: pytest.FixtureRequest) -> AsyncClient:
    return await shop.client("users", key=getattr(shop.keys["users"], request.param))


async def test_users_are_created_found_changed_and_deleted(
    shop: Storefront, server: AsyncClient
) -> None:
    admin = server.auth.admin
    email = new_email("made")
    made = await admin.create_user(
        {
            "email": email,
            "password": PASSWORD,
            "email_confirm": True,
            "user_metadata": {"full_name": "Made Up"},
            "app_metadata": {"role": "staff"},
        }
    )
    user_id = made.user.id
    assert (await admin.get_user_by_id(user_id)).user.email == email
    profile = await server.table("user_profiles").select("full_name").eq("id", user_id).execute()
    assert row(profile) == {"full_name": "Made Up"}

    client = await shop.client("users")
    session = (
        await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    ).session
    assert session is not None
    orders = await shop.client("orders", token=session.access_token)
    assert (await orders.table("coupons").select("code").execute()).data, "staff see coupons"

    await admin.update_user_by_id(user_id, {"ban_duration": "24h"})
    with pytest.raises(AuthApiError) as banned:
        await client.auth.refresh_session()
    assert banned.value.code == "user_banned"
    await admin.update_user_by_id(user_id, {"ban_duration": "none", "app_metadata": {"role": None}})
    await client.auth.refresh_session()

    await admin.delete_user(user_id)
    with pytest.raises(AuthApiError) as gone:
        await admin.get_user_by_id(user_id)
    assert (gone.value.code, gone.value.status) == ("user_not_found", 404)
    with pytest.raises(AuthApiError):
        await client.auth.refresh_session()


async def test_users_are_listed_in_pages(shop: Storefront, server: AsyncClient) -> None:
    total = await run(shop.system, "users", "select count(*) from auth.users")
    first = await server.auth.admin.list_users(page=1, per_page=3)
    second = await server.auth.admin.list_users(page=2, per_page=3)
    assert len({user.id for user in (*first, *second)}) == 6
    assert len(await server.auth.admin.list_users(page=1, per_page=total + 10)) == total


async def test_an_imported_password_hash_is_good(shop: Storefront, server: AsyncClient) -> None:
    hashed = await run(
        shop.system,
        "users",
        "select encrypted_password from auth.users where email = 'ada@example.com'",
    )
    email = new_email("moved")
    await server.auth.admin.create_user(
        {"email": email, "password_hash": hashed, "email_confirm": True}
    )
    client = await shop.client("users")
    answer = await client.auth.sign_in_with_password({"email": email, "password": "harbour lights"})
    assert answer.session is not None


async def test_a_deleted_user_may_leave_a_husk(shop: Storefront, server: AsyncClient) -> None:
    ada = await shop.customer()
    await server.auth.admin.delete_user(ada.id, should_soft_delete=True)
    kept = (await server.auth.admin.get_user_by_id(ada.id)).user
    assert kept.email != ada.email
    with pytest.raises(AuthApiError):
        await ada.users.auth.refresh_session()
    again = await (await shop.client("users")).auth.sign_up(
        {"email": ada.email, "password": PASSWORD}
    )
    assert again.user is not None
    assert again.user.id != ada.id


async def test_somebody_is_invited(shop: Storefront, server: AsyncClient) -> None:
    email = new_email("guest")
    invited = await server.auth.admin.invite_user_by_email(
        email, {"redirect_to": f"{SITE}/join", "data": {"full_name": "Guest"}}
    )
    assert invited.user.invited_at is not None
    _, link = await shop.code(email)
    location = urlsplit((await shop.http.get(link)).headers["location"])
    assert location.path == "/join"
    assert parse_qs(location.fragment)["type"] == ["invite"]


@pytest.mark.parametrize("kind", ["signup", "magiclink", "recovery", "invite"])
async def test_links_are_made_to_be_sent_by_others(
    shop: Storefront, server: AsyncClient, kind: Any
) -> None:
    known = kind in {"magiclink", "recovery"}
    email = (await shop.customer()).email if known else new_email("linked")
    before = len(await shop.mails(email))
    wanted: Any = {"type": kind, "email": email, "password": PASSWORD}
    wanted["options"] = {"redirect_to": f"{SITE}/in"}
    made = await server.auth.admin.generate_link(wanted)
    assert made.properties.verification_type == kind
    assert made.properties.action_link.startswith(f"{shop.address}/")
    assert len(await shop.mails(email)) == before, "nothing is sent"
    client = await shop.client("users")
    answer = await client.auth.verify_otp(
        {"type": kind, "token_hash": made.properties.hashed_token}
    )
    assert answer.user is not None
    assert answer.user.email == email


async def test_a_session_is_ended_by_its_token(shop: Storefront, server: AsyncClient) -> None:
    ada = await shop.customer()
    await server.auth.admin.sign_out(await ada.token())
    with pytest.raises(AuthApiError):
        await ada.users.auth.refresh_session()


async def test_nobody_else_looks_after_users(shop: Storefront) -> None:
    ada = await shop.customer()
    for client in (
        await shop.client("users"),
        await shop.client("users", key=shop.keys["users"].publishable),
        await shop.client("users", token=await ada.token()),
    ):
        with pytest.raises(AuthApiError) as refused:
            await client.auth.admin.list_users()
        assert refused.value.status in {401, 403}
        assert refused.value.code in {"no_authorization", "not_admin"}
        with pytest.raises(AuthApiError):
            await client.auth.admin.delete_user(ada.id)
