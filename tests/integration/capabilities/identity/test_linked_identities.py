"""Taking away one of several ways to sign in."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.integration.capabilities.identity.club import (
    QUICK,
    Club,
    open_club,
    overtaking,
    together,
)

from bulkhead.engine.ids import new_id
from bulkhead.engine.system import System

PHONE = "4930123"


@pytest.fixture
async def phones(system: System) -> Club:
    return open_club(system, identity_settings=replace(QUICK, phone_enabled=True))


async def member(club: Club) -> tuple[str, dict[str, str]]:
    """A token of somebody with an address and a number, and the ids of both."""
    token = (await club.member())["access_token"]
    await club.browser.send("PUT", "/user", {"phone": PHONE}, token=token)
    digits = (await club.mails(PHONE))[0].letter.text.split(" is ")[1][:6]
    body = {"type": "phone_change", "phone": PHONE, "token": digits}
    user = (await club.browser.send("POST", "/verify", body)).json()["user"]
    assert user["app_metadata"]["providers"] == ["email", "phone"]
    return token, {each["provider"]: each["identity_id"] for each in user["identities"]}


async def unlink(club: Club, token: str, identity: object) -> httpx.Response:
    return await club.browser.send("DELETE", f"/user/identities/{identity}", token=token)


async def user_of(club: Club, token: str) -> dict[str, Any]:
    user: dict[str, Any] = (await club.browser.user(token)).json()
    return user


async def test_without_the_number_the_address_is_left(phones: Club) -> None:
    token, ids = await member(phones)
    answer = await unlink(phones, token, ids["phone"])
    assert (answer.status_code, answer.json()) == (200, {})
    user = await user_of(phones, token)
    assert (user["phone"], user.get("phone_confirmed_at")) == ("", None)
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    logged = await phones.value(
        "select payload -> 'traits' ->> 'provider' from auth.audit_log_entries "
        "where payload ->> 'action' = 'identity_unlinked'"
    )
    assert logged == "phone"


async def test_whoever_is_signed_out_meanwhile_takes_nothing_away(phones: Club) -> None:
    token, ids = await member(phones)
    async with overtaking(phones, unlink(phones, token, ids["email"])) as (tx, unlinking):
        await tx.execute("select from auth.users for no key update")
        await tx.execute("delete from auth.sessions")
    answer = unlinking.result()
    assert (answer.status_code, answer.json()["error_code"]) == (403, "session_not_found")
    assert await phones.value("select count(*) from auth.identities") == len(ids)


async def test_without_the_address_the_number_is_left(phones: Club) -> None:
    token, ids = await member(phones)
    assert (await unlink(phones, token, ids["email"])).status_code == 200
    user = await user_of(phones, token)
    assert (user["email"], user.get("email_confirmed_at")) == ("", None)
    assert (user["phone"], user["app_metadata"]["provider"]) == (PHONE, "phone")
    assert (await phones.browser.sign_in()).status_code == 400
    await phones.member()


async def test_another_address_that_is_known_takes_its_place(phones: Club) -> None:
    token, ids = await member(phones)
    await phones.rows(
        "insert into auth.identities (provider_id, user_id, identity_data, provider) select "
        "'7', id, '{\"email\": \"ada@work.example\", \"email_verified\": true}', 'github' "
        "from auth.users"
    )
    assert (await unlink(phones, token, ids["email"])).status_code == 200
    user = await user_of(phones, token)
    assert user["email"] == "ada@work.example"
    assert user["email_confirmed_at"]
    assert user["app_metadata"]["providers"] == ["phone", "github"]


async def test_an_address_that_nobody_has_shown_to_be_theirs_does_not(phones: Club) -> None:
    token, ids = await member(phones)
    await phones.rows(
        "insert into auth.identities (provider_id, user_id, identity_data, provider) select "
        "'7', id, '{\"email\": \"bob@example.com\", \"email_verified\": false}', 'github' "
        "from auth.users"
    )
    assert (await unlink(phones, token, ids["email"])).status_code == 200
    assert (await user_of(phones, token))["email"] == ""
    await phones.member("bob@example.com")


async def test_an_address_that_somebody_else_has_keeps_the_other_one(phones: Club) -> None:
    token, ids = await member(phones)
    await phones.member("bob@example.com")
    await phones.rows(
        "insert into auth.identities (provider_id, user_id, identity_data, provider) select "
        "'7', id, '{\"email\": \"bob@example.com\", \"email_verified\": true}', 'github' "
        "from auth.users where email = 'ada@example.com'"
    )
    answer = await unlink(phones, token, ids["email"])
    assert (answer.status_code, answer.json()["error_code"]) == (
        422,
        "email_conflict_identity_not_deletable",
    )
    assert (await user_of(phones, token))["email"] == "ada@example.com"


async def test_the_last_one_stays_even_when_both_go_at_once(phones: Club) -> None:
    token, ids = await member(phones)
    names = list(ids)
    answers = await together(2, lambda n: unlink(phones, token, ids[names[n]]))
    assert sorted(answer.status_code for answer in answers) == [200, 422]
    refused = next(answer for answer in answers if answer.status_code == 422)
    assert refused.json()["error_code"] == "single_identity_not_deletable"
    assert await phones.value("select count(*) from auth.identities") == 1


async def test_the_ways_of_others_are_not_found(phones: Club) -> None:
    token, _ = await member(phones)
    await phones.member("bob@example.com")
    others = await phones.value("select id from auth.identities where email = 'bob@example.com'")
    for identity in (others, new_id()):
        answer = await unlink(phones, token, identity)
        assert (answer.status_code, answer.json()["error_code"]) == (422, "identity_not_found")
    assert (await unlink(phones, token, "x")).json()["error_code"] == "validation_failed"
    assert (await unlink(phones, "", new_id())).status_code == 401


async def test_where_it_is_not_allowed_they_all_stay(system: System) -> None:
    settings = replace(QUICK, manual_linking_enabled=False)
    club = open_club(system, identity_settings=settings)
    token = (await club.member())["access_token"]
    answer = await unlink(club, token, new_id())
    assert (answer.status_code, answer.json()["error_code"]) == (404, "manual_linking_disabled")
