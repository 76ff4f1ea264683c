"""Users without an address, and what becomes of them."""

from dataclasses import replace

import pytest
from tests.integration.capabilities.identity.club import PASSWORD, QUICK, Club, open_club

from bulkhead.capabilities.identity import Limit, UserRow
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System

SETTINGS = replace(QUICK, anonymous_enabled=True, phone_enabled=True)
EMAIL = "ada@example.com"


@pytest.fixture
async def nameless(system: System) -> Club:
    return open_club(system, identity_settings=SETTINGS)


async def enter(club: Club) -> dict[str, str]:
    answer = await club.browser.send("POST", "/signup", {"data": {"cart": 7}})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


async def test_nobody_needs_a_name_to_come_in(nameless: Club) -> None:
    tokens = await enter(nameless)
    claims = nameless.identity.verify(tokens["access_token"]).payload
    assert claims["is_anonymous"] is True
    assert (claims["role"], claims["email"], claims["phone"]) == ("authenticated", "", "")
    assert (claims["app_metadata"], claims["user_metadata"]) == ({}, {"cart": 7})
    assert claims["amr"][0]["method"] == "anonymous"
    user = (await nameless.browser.user(tokens["access_token"])).json()
    assert (user["is_anonymous"], user["identities"], user["email"]) == (True, [], "")
    assert (await nameless.browser.refresh(tokens["refresh_token"])).status_code == 200


async def test_each_of_them_is_somebody_else(nameless: Club) -> None:
    first, second = await enter(nameless), await enter(nameless)
    assert first["user"] != second["user"]
    assert await nameless.value("select count(*) from auth.users where is_anonymous") == 2


async def test_an_address_that_is_confirmed_gives_them_a_name(nameless: Club) -> None:
    tokens = await enter(nameless)
    token = tokens["access_token"]
    asked = await nameless.browser.send("PUT", "/user", {"email": EMAIL}, token=token)
    assert (asked.json()["email"], asked.json()["new_email"]) == ("", EMAIL)
    assert asked.json()["is_anonymous"] is True
    digits, _ = await nameless.latest_code()
    body = {"type": "email_change", "email": EMAIL, "token": digits}
    named = (await nameless.browser.send("POST", "/verify", body)).json()["user"]
    assert (named["email"], named["is_anonymous"]) == (EMAIL, False)
    assert named["app_metadata"] == {"provider": "email", "providers": ["email"]}
    assert named["user_metadata"] == {"cart": 7, "email_verified": True}
    assert [identity["provider"] for identity in named["identities"]] == ["email"]
    assert named["id"] == tokens["user"]["id"]  # type: ignore[index]
    password = {"password": PASSWORD}
    assert (await nameless.browser.send("PUT", "/user", password, token=token)).is_success
    assert (await nameless.browser.sign_in()).json()["user"]["id"] == named["id"]


async def test_a_number_gives_them_a_name_too(nameless: Club) -> None:
    token = (await enter(nameless))["access_token"]
    await nameless.browser.send("PUT", "/user", {"phone": "4930123"}, token=token)
    text = (await nameless.mails("4930123"))[0].letter.text
    digits = text.split(" is ")[1][:6]
    body = {"type": "phone_change", "phone": "4930123", "token": digits}
    named = (await nameless.browser.send("POST", "/verify", body)).json()["user"]
    assert (named["phone"], named["is_anonymous"]) == ("4930123", False)
    assert named["app_metadata"] == {"provider": "phone", "providers": ["phone"]}


async def test_where_addresses_count_at_once_they_have_the_name_at_once(system: System) -> None:
    settings = Settings(home=system.settings.home, autoconfirm=True)
    club = open_club(system, settings=settings, identity_settings=SETTINGS)
    token = (await enter(club))["access_token"]
    body = {"email": EMAIL, "password": PASSWORD}
    named = (await club.browser.send("PUT", "/user", body, token=token)).json()
    assert (named["email"], named["is_anonymous"]) == (EMAIL, False)
    assert (await club.browser.sign_in()).status_code == 200


async def test_the_application_is_told_once_they_have_a_name(system: System) -> None:
    told: list[str] = []

    async def on_signed_up(tx: Transaction, user: UserRow) -> None:
        told.append(f"signed up {user.email}")

    async def on_confirmed(tx: Transaction, user: UserRow) -> None:
        told.append(f"confirmed {user.email}")

    club = open_club(
        system, identity_settings=SETTINGS, on_signed_up=on_signed_up, on_confirmed=on_confirmed
    )
    token = (await enter(club))["access_token"]
    await club.browser.send("PUT", "/user", {"email": EMAIL}, token=token)
    assert told == ["signed up "]
    digits, _ = await club.latest_code()
    body = {"type": "email_change", "email": EMAIL, "token": digits}
    await club.browser.send("POST", "/verify", body)
    assert told == ["signed up ", f"confirmed {EMAIL}"]


async def test_a_password_needs_somebody_whose_it_is(nameless: Club) -> None:
    token = (await enter(nameless))["access_token"]
    body = {"password": PASSWORD}
    answer = await nameless.browser.send("PUT", "/user", body, token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "validation_failed")


async def test_the_address_of_a_user_is_not_theirs_to_take(nameless: Club) -> None:
    await nameless.member()
    token = (await enter(nameless))["access_token"]
    answer = await nameless.browser.send("PUT", "/user", {"email": EMAIL}, token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "email_exists")


async def test_whoever_takes_the_address_first_has_it(nameless: Club) -> None:
    token = (await enter(nameless))["access_token"]
    await nameless.browser.send("PUT", "/user", {"email": EMAIL}, token=token)
    digits, _ = await nameless.latest_code()
    await nameless.member()
    body = {"type": "email_change", "email": EMAIL, "token": digits}
    answer = await nameless.browser.send("POST", "/verify", body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "email_exists")
    user = (await nameless.browser.user(token)).json()
    assert (user["email"], user["is_anonymous"]) == ("", True)


async def test_how_many_come_from_one_place_is_limited(system: System) -> None:
    limits = replace(SETTINGS.limits, anonymous=Limit("anonymous", 2, 3600.0))
    club = open_club(system, identity_settings=replace(SETTINGS, limits=limits))
    statuses = [(await club.browser.send("POST", "/signup", {})).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_where_it_is_not_allowed_a_name_is_needed(club: Club) -> None:
    answer = await club.browser.send("POST", "/signup", {})
    assert (answer.status_code, answer.json()["error_code"]) == (
        422,
        "anonymous_provider_disabled",
    )
    assert answer.json()["msg"] == "Anonymous sign-ins are disabled"


async def test_where_nobody_can_sign_up_they_cannot_either(system: System) -> None:
    club = open_club(system, identity_settings=replace(SETTINGS, sign_up_enabled=False))
    answer = await club.browser.send("POST", "/signup", {})
    assert (answer.status_code, answer.json()["error_code"]) == (422, "signup_disabled")
