"""Signing up, in and out: what somebody does with an account, through the official client."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from supabase import (
    AsyncClient,
    AuthApiError,
    AuthSessionMissingError,
    AuthWeakPasswordError,
    PostgrestAPIError,
)
from supabase_auth.types import AuthChangeEvent, AuthResponse, Session
from tests.contract.clients.applications import SITE
from tests.contract.clients.storefront import PASSWORD, Storefront, new_email, new_phone, row

OTHER_PASSWORD = "battery staple horse"  # noqa: S105


async def sign_in(client: AsyncClient, email: str, password: str = PASSWORD) -> Session:
    answer = await client.auth.sign_in_with_password({"email": email, "password": password})
    assert answer.session is not None
    return answer.session


async def sign_up(client: AsyncClient, email: str, **metadata: str) -> AuthResponse:
    return await client.auth.sign_up(
        {
            "email": email,
            "password": PASSWORD,
            "options": {"data": metadata, "email_redirect_to": f"{SITE}/welcome"},
        }
    )


async def test_an_account_is_made_and_confirmed_by_the_code_in_the_mail(
    shop: Storefront,
) -> None:
    email = new_email()
    client = await shop.client("users")
    made = await sign_up(client, email, full_name="Ada Lind")
    assert made.session is None
    assert made.user is not None
    assert made.user.user_metadata["full_name"] == "Ada Lind"
    assert made.user.confirmation_sent_at is not None
    with pytest.raises(AuthApiError) as early:
        await sign_in(client, email)
    assert (early.value.code, early.value.status) == ("email_not_confirmed", 400)
    digits, link = await shop.code(email)
    assert link.startswith(f"{shop.address}/auth/v1/verify?")
    confirmed = await client.auth.verify_otp({"type": "signup", "email": email, "token": digits})
    assert confirmed.session is not None
    with pytest.raises(AuthApiError) as used:
        await client.auth.verify_otp({"type": "signup", "email": email, "token": digits})
    assert (used.value.code, used.value.status) == ("otp_expired", 403)


async def test_a_session_is_begun_refreshed_and_ended(shop: Storefront) -> None:
    ada = await shop.customer()
    client = await shop.client("users")
    events: list[AuthChangeEvent] = []
    client.auth.on_auth_state_change(lambda event, _: events.append(event))
    first = await sign_in(client, ada.email)
    refreshed = await client.auth.refresh_session()
    assert refreshed.session is not None
    assert refreshed.session.refresh_token != first.refresh_token
    found = await client.auth.get_claims()
    assert found is not None
    claims: Mapping[str, Any] = found["claims"]
    assert (claims["email"], claims["role"], claims["aal"]) == (
        ada.email,
        "authenticated",
        "aal1",
    )
    assert claims["amr"][0]["method"] == "password"
    await client.auth.sign_out()
    assert await client.auth.get_session() is None
    with pytest.raises(AuthSessionMissingError):
        await client.auth.refresh_session()
    assert events == ["SIGNED_IN", "TOKEN_REFRESHED", "SIGNED_OUT"]


async def test_the_link_in_the_mail_confirms_and_leads_back(shop: Storefront) -> None:
    email = new_email()
    client = await shop.client("users")
    await sign_up(client, email)
    _, link = await shop.code(email)
    answer = await shop.http.get(link)
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert location.startswith(f"{SITE}/welcome#access_token=")
    await client.auth.initialize(url=location)
    session = await client.auth.get_session()
    assert session is not None
    assert session.user.email == email
    again = urlsplit((await shop.http.get(link)).headers["location"])
    error = parse_qs(again.fragment)
    assert (error["error"], error["error_code"]) == (["access_denied"], ["otp_expired"])


async def test_with_pkce_the_link_carries_a_code_that_only_its_asker_can_use(
    shop: Storefront,
) -> None:
    email = new_email()
    client = await shop.client("users", flow="pkce")
    await sign_up(client, email)
    _, link = await shop.code(email)
    location = urlsplit((await shop.http.get(link)).headers["location"])
    [code] = parse_qs(location.query)["code"]
    thief = await shop.client("users", flow="pkce")
    with pytest.raises(AuthApiError) as refused:
        await thief.auth.exchange_code_for_session(
            {"auth_code": code, "code_verifier": "x" * 64, "redirect_to": ""}
        )
    assert refused.value.code == "bad_code_verifier"
    answer = await client.auth.exchange_code_for_session(
        {"auth_code": code, "code_verifier": "", "redirect_to": ""}
    )
    assert answer.user is not None
    assert answer.user.email == email
    with pytest.raises(AuthApiError) as used:
        await client.auth.exchange_code_for_session(
            {"auth_code": code, "code_verifier": "x" * 64, "redirect_to": ""}
        )
    assert used.value.code == "flow_state_not_found"


async def test_a_taken_address_is_not_given_away(shop: Storefront) -> None:
    ada = await shop.customer()
    client = await shop.client("users")
    again = await client.auth.sign_up({"email": ada.email, "password": OTHER_PASSWORD})
    assert again.session is None
    assert again.user is not None
    assert (again.user.id == ada.id, again.user.identities) == (False, [])


@pytest.mark.parametrize(
    ("credentials", "code", "status"),
    [
        ({"email": "ada@example.com", "password": "wrong horse"}, "invalid_credentials", 400),
        ({"email": "nobody@example.com", "password": PASSWORD}, "invalid_credentials", 400),
    ],
)
async def test_wrong_credentials_are_refused_alike(
    shop: Storefront, credentials: dict[str, str], code: str, status: int
) -> None:
    client = await shop.client("users")
    with pytest.raises(AuthApiError) as refused:
        await sign_in(client, credentials["email"], credentials["password"])
    assert (refused.value.code, refused.value.status) == (code, status)
    assert refused.value.message == "Invalid login credentials"


async def test_a_weak_password_is_told_with_reasons(shop: Storefront) -> None:
    client = await shop.client("users")
    with pytest.raises(AuthWeakPasswordError) as refused:
        await client.auth.sign_up({"email": new_email(), "password": "short"})
    assert refused.value.reasons == ["length"]


async def test_a_code_by_mail_signs_in_whoever_has_the_address(shop: Storefront) -> None:
    email = new_email("otto")
    client = await shop.client("users")
    await client.auth.sign_in_with_otp({"email": email, "options": {"data": {"full_name": "O"}}})
    digits, _ = await shop.code(email)
    answer = await client.auth.verify_otp({"type": "email", "email": email, "token": digits})
    assert answer.user is not None
    assert answer.user.user_metadata["full_name"] == "O"
    with pytest.raises(AuthApiError) as unknown:
        await client.auth.sign_in_with_otp(
            {"email": new_email(), "options": {"should_create_user": False}}
        )
    assert unknown.value.code == "otp_disabled"


async def test_a_magic_link_signs_in(shop: Storefront) -> None:
    ada = await shop.customer()
    client = await shop.client("users")
    await client.auth.sign_in_with_otp(
        {"email": ada.email, "options": {"email_redirect_to": f"{SITE}/in"}}
    )
    _, link = await shop.code(ada.email)
    [token_hash] = parse_qs(urlsplit(link).query)["token"]
    answer = await client.auth.verify_otp({"type": "email", "token_hash": token_hash})
    assert answer.user is not None
    assert answer.user.id == ada.id


async def test_a_telephone_is_enough(shop: Storefront) -> None:
    phone = new_phone()
    client = await shop.client("users")
    await client.auth.sign_in_with_otp({"phone": phone})
    digits, _ = await shop.code(phone)
    answer = await client.auth.verify_otp({"type": "sms", "phone": phone, "token": digits})
    assert answer.user is not None
    assert (answer.user.phone, answer.user.email) == (phone.lstrip("+"), "")
    await client.auth.update_user({"password": PASSWORD})
    again = await shop.client("users")
    signed_in = await again.auth.sign_in_with_password({"phone": phone, "password": PASSWORD})
    assert signed_in.user is not None
    assert signed_in.user.id == answer.user.id


async def test_a_forgotten_password_is_replaced(shop: Storefront) -> None:
    ada = await shop.customer()
    client = await shop.client("users")
    events: list[AuthChangeEvent] = []
    client.auth.on_auth_state_change(lambda event, _: events.append(event))
    await client.auth.reset_password_for_email(new_email("nobody"))
    await client.auth.reset_password_for_email(ada.email, {"redirect_to": f"{SITE}/reset"})
    digits, _ = await shop.code(ada.email)
    await client.auth.verify_otp({"type": "recovery", "email": ada.email, "token": digits})
    with pytest.raises(AuthApiError) as same:
        await client.auth.update_user({"password": PASSWORD})
    assert same.value.code == "same_password"
    await client.auth.update_user({"password": OTHER_PASSWORD})
    assert events[:1] == ["PASSWORD_RECOVERY"]
    await client.auth.sign_out()
    await sign_in(client, ada.email, OTHER_PASSWORD)


async def test_mail_is_sent_again(shop: Storefront) -> None:
    email = new_email()
    client = await shop.client("users")
    await client.auth.sign_up({"email": email, "password": PASSWORD})
    await client.auth.resend({"type": "signup", "email": email})
    assert len(await shop.mails(email)) == 2
    digits, _ = await shop.code(email)
    assert (
        await client.auth.verify_otp({"type": "signup", "email": email, "token": digits})
    ).session


async def test_metadata_is_merged_and_an_address_is_changed_by_both(shop: Storefront) -> None:
    ada = await shop.customer("ada", city="Hamburg")
    await ada.users.auth.update_user({"data": {"city": None, "size": "M"}})
    user = await ada.users.auth.get_user()
    assert user is not None
    assert "city" not in user.user.user_metadata
    assert user.user.user_metadata["size"] == "M"
    new = new_email("lovelace")
    changed = await ada.users.auth.update_user({"email": new})
    assert changed.user.email == ada.email
    assert changed.user.new_email == new
    for address in (ada.email, new):
        digits, _ = await shop.code(address)
        await ada.users.auth.verify_otp({"type": "email_change", "email": address, "token": digits})
    user = await ada.users.auth.get_user()
    assert user is not None
    assert user.user.email == new


async def test_reauthentication_sends_a_nonce(shop: Storefront) -> None:
    ada = await shop.customer()
    await ada.users.auth.reauthenticate()
    digits, _ = await shop.code(ada.email)
    await ada.users.auth.update_user({"password": OTHER_PASSWORD, "nonce": digits})
    await sign_in(await shop.client("users"), ada.email, OTHER_PASSWORD)


async def test_signing_out_everywhere_ends_every_session(shop: Storefront) -> None:
    ada = await shop.customer()
    telephone, laptop = await shop.client("users"), await shop.client("users")
    for device in (telephone, laptop):
        await sign_in(device, ada.email)
    await telephone.auth.sign_out({"scope": "others"})
    with pytest.raises(AuthApiError) as other:
        await laptop.auth.refresh_session()
    assert other.value.code in {"refresh_token_not_found", "session_not_found"}
    assert (await telephone.auth.refresh_session()).session
    tablet = await shop.client("users")
    await sign_in(tablet, ada.email)
    await telephone.auth.sign_out({"scope": "local"})
    assert (await tablet.auth.refresh_session()).session
    desk = await shop.client("users")
    await sign_in(desk, ada.email)
    await tablet.auth.sign_out()
    with pytest.raises(AuthApiError):
        await desk.auth.refresh_session()
    with pytest.raises(AuthApiError) as gone:
        await desk.auth.get_user()
    assert gone.value.code == "session_not_found"


async def test_a_stolen_refresh_token_ends_the_session_of_both(shop: Storefront) -> None:
    ada = await shop.customer()
    session = await ada.users.auth.get_session()
    assert session is not None
    stolen = session.refresh_token
    for _ in range(2):
        await ada.users.auth.refresh_session()
    thief = await shop.client("users")
    with pytest.raises(AuthApiError) as refused:
        await thief.auth.refresh_session(stolen)
    assert str(refused.value.code) == "refresh_token_already_used"
    with pytest.raises(AuthApiError):
        await ada.users.auth.refresh_session()


async def test_a_guest_becomes_a_customer_and_keeps_everything(shop: Storefront) -> None:
    guest = await shop.client("users")
    made = await guest.auth.sign_in_anonymously({"options": {"data": {"seen": "banner"}}})
    assert made.user is not None
    assert made.session is not None
    assert made.user.is_anonymous
    products = await shop.client("products", token=made.session.access_token)
    variant = row(await products.table("product_variants").select("id").limit(1).execute())
    await products.table("shopping_cart").insert({"variant_id": variant["id"]}).execute()

    email = new_email("guest")
    await guest.auth.update_user({"email": email})
    digits, _ = await shop.code(email)
    await guest.auth.verify_otp({"type": "email_change", "email": email, "token": digits})
    await guest.auth.update_user({"password": PASSWORD})
    customer = await shop.client("users")
    session = await sign_in(customer, email)
    assert session.user.id == made.user.id
    assert not session.user.is_anonymous
    products = await shop.client("products", token=session.access_token)
    kept = row(await products.table("shopping_cart").select("variant_id").execute())
    assert kept == {"variant_id": variant["id"]}


async def test_identities_are_listed_and_the_last_one_stays(shop: Storefront) -> None:
    ada = await shop.customer()
    found = await ada.users.auth.get_user_identities()
    [identity] = found.identities
    assert (identity.provider, identity.identity_data["email"]) == ("email", ada.email)
    with pytest.raises(AuthApiError) as last:
        await ada.users.auth.unlink_identity(identity)
    assert last.value.code == "single_identity_not_deletable"


async def test_what_is_not_offered_says_so(shop: Storefront) -> None:
    client = await shop.client("users")
    with pytest.raises(AuthApiError) as oidc:
        await client.auth.sign_in_with_id_token({"provider": "google", "token": "x.y.z"})
    assert 400 <= oidc.value.status < 500
    with pytest.raises(AuthApiError) as sso:
        await client.auth.sign_in_with_sso({"domain": "example.com"})
    assert 400 <= sso.value.status < 500


async def test_a_signed_in_client_reads_with_the_rights_of_its_user(shop: Storefront) -> None:
    ada = await shop.customer()
    client = await shop.client("users")
    with pytest.raises(PostgrestAPIError):
        await client.table("user_profiles").select("id").execute()
    await sign_in(client, ada.email)
    assert row(await client.table("user_profiles").select("id").execute()) == {"id": ada.id}
    await client.auth.sign_out()
    with pytest.raises(PostgrestAPIError):
        await client.table("user_profiles").select("id").execute()
