"""A second factor: enrolled, proved with the codes of an authenticator, asked for, taken off."""

import pytest
from supabase import AuthApiError
from tests.contract.clients.storefront import PASSWORD, Customer, Storefront, row, totp


async def enrol(customer: Customer, name: str = "telephone") -> tuple[str, str]:
    """The id of a new factor and the secret that the authenticator scans."""
    made = await customer.users.auth.mfa.enroll(
        {"factor_type": "totp", "friendly_name": name, "issuer": "AVNERA"}
    )
    assert made.totp is not None
    assert made.totp.qr_code.startswith("data:image/svg+xml;utf-8,<")
    assert made.totp.uri.startswith("otpauth://totp/")
    assert f"secret={made.totp.secret}" in made.totp.uri
    return made.id, made.totp.secret


async def test_a_factor_is_enrolled_and_raises_the_level(shop: Storefront) -> None:
    ada = await shop.customer()
    mfa = ada.users.auth.mfa
    factor, secret = await enrol(ada)
    level = await mfa.get_authenticator_assurance_level()
    assert (level.current_level, level.next_level) == ("aal1", "aal1")
    challenge = await mfa.challenge({"factor_id": factor})
    with pytest.raises(AuthApiError) as wrong:
        await mfa.verify({"factor_id": factor, "challenge_id": challenge.id, "code": "000000"})
    assert wrong.value.code == "mfa_verification_failed"
    verified = await mfa.verify(
        {"factor_id": factor, "challenge_id": challenge.id, "code": totp(secret)}
    )
    assert verified.access_token
    level = await mfa.get_authenticator_assurance_level()
    assert (level.current_level, level.next_level) == ("aal2", "aal2")
    assert {entry.method for entry in level.current_authentication_methods} >= {"totp"}
    factors = await mfa.list_factors()
    assert [(each.id, each.status) for each in factors.totp] == [(factor, "verified")]
    me = await (await ada.client("orders")).rpc("whoami").execute()
    assert row(me)["level"] == "aal2", "policies can ask for it"


async def test_at_the_next_sign_in_the_factor_is_asked_for(shop: Storefront) -> None:
    ada = await shop.customer()
    factor, secret = await enrol(ada)
    used = totp(secret)
    await ada.users.auth.mfa.challenge_and_verify({"factor_id": factor, "code": used})
    client = await shop.client("users")
    await client.auth.sign_in_with_password({"email": ada.email, "password": PASSWORD})
    level = await client.auth.mfa.get_authenticator_assurance_level()
    assert (level.current_level, level.next_level) == ("aal1", "aal2")
    with pytest.raises(AuthApiError) as low:
        await client.auth.update_user({"password": "another horse battery"})
    assert low.value.code == "insufficient_aal"
    with pytest.raises(AuthApiError) as replayed:
        await client.auth.mfa.challenge_and_verify({"factor_id": factor, "code": used})
    assert replayed.value.code == "mfa_verification_failed"
    await client.auth.mfa.challenge_and_verify(
        {"factor_id": factor, "code": totp(secret, steps_ahead=1)}
    )
    refreshed = await client.auth.refresh_session()
    assert refreshed.session is not None
    level = await client.auth.mfa.get_authenticator_assurance_level()
    assert level.current_level == "aal2", "refreshing keeps the level"
    await client.auth.mfa.unenroll({"factor_id": factor})
    assert (await client.auth.mfa.list_factors()).all == []


async def test_a_factor_is_its_owners_alone(shop: Storefront) -> None:
    ada, eve = await shop.customer("ada"), await shop.customer("eve")
    factor, secret = await enrol(ada)
    with pytest.raises(AuthApiError) as refused:
        await eve.users.auth.mfa.challenge_and_verify({"factor_id": factor, "code": totp(secret)})
    assert refused.value.code == "mfa_factor_not_found"
    with pytest.raises(AuthApiError) as twice:
        await enrol(ada)
    assert twice.value.code == "mfa_factor_name_conflict"


async def test_a_server_lists_and_takes_off_factors(shop: Storefront) -> None:
    ada = await shop.customer()
    factor, secret = await enrol(ada)
    await ada.users.auth.mfa.challenge_and_verify({"factor_id": factor, "code": totp(secret)})
    admin = (await shop.service("users")).auth.admin
    found = await admin.mfa.list_factors({"user_id": ada.id})
    assert [each.id for each in found] == [factor]
    await admin.mfa.delete_factor({"user_id": ada.id, "id": factor})
    assert await admin.mfa.list_factors({"user_id": ada.id}) == []
