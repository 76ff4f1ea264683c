# ruff: noqa: S105, S106 - made-up passwords are what this file is about
from typing import Any
from uuid import UUID

import pytest
from tests.integration.capabilities.identity.club import (
    PASSWORD,
    Club,
    open_club,
    together,
)

from bulkhead.capabilities.identity import IdentitySettings, UserRow, create_user
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import Conflict
from bulkhead.engine.system import System


class Refused(Conflict):
    """The application refuses."""

    code = "test_refused"


async def test_signing_up_asks_to_confirm_the_address(club: Club) -> None:
    answer = await club.browser.sign_up(data={"name": "Ada"})
    assert answer.status_code == 200
    user = answer.json()
    assert "access_token" not in user
    assert user["email"] == "ada@example.com"
    assert user["role"] == user["aud"] == "authenticated"
    assert user["confirmation_sent_at"]
    assert "email_confirmed_at" not in user
    assert user["user_metadata"] == {"name": "Ada"}
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    [identity] = user["identities"]
    assert identity["id"] == user["id"] == identity["user_id"]
    assert identity["identity_data"]["email_verified"] is False
    [mail] = await club.mails()
    assert mail.letter.recipient == "ada@example.com"


async def test_with_autoconfirm_signing_up_signs_in(open_door: Club) -> None:
    answer = await open_door.browser.sign_up()
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens["token_type"] == "bearer"
    assert tokens["user"]["email_confirmed_at"]
    claims = open_door.identity.verify(tokens["access_token"])
    assert str(claims.subject) == tokens["user"]["id"]
    assert await open_door.mails() == []


async def test_the_password_is_kept_as_a_bcrypt_hash_that_supabase_reads(system: System) -> None:
    club = open_club(system, identity_settings=IdentitySettings())
    await club.browser.sign_up()
    hashed = await club.value("select encrypted_password from auth.users")
    assert hashed.startswith("$2a$10$")
    assert len(hashed) == 60


async def test_a_trigger_of_the_application_runs_in_the_same_transaction(club: Club) -> None:
    refused = await club.browser.sign_up(data={"name": "refused"})
    assert refused.status_code == 422
    assert await club.value("select count(*) from auth.users") == 0
    assert await club.mails() == []
    await club.browser.sign_up(data={"name": "Ada"})
    assert await club.value("select name from public.profiles") == "Ada"


async def test_the_application_is_told_within_the_transaction(system: System) -> None:
    told: list[tuple[str, UserRow]] = []

    async def on_signed_up(tx: Transaction, user: UserRow) -> None:
        found = await tx.fetchval("select id from auth.users where id = $1", user.id)
        assert found == user.id
        told.append(("signed up", user))

    async def on_confirmed(tx: Transaction, user: UserRow) -> None:
        assert tx.database == "users"
        told.append(("confirmed", user))

    club = open_club(system, on_signed_up=on_signed_up, on_confirmed=on_confirmed)
    await club.browser.sign_up()
    assert [what for what, _ in told] == ["signed up"]
    assert not told[0][1].is_confirmed
    digits, _ = await club.latest_code()
    body = {"type": "signup", "email": "ada@example.com", "token": digits}
    assert (await club.browser.send("POST", "/verify", body)).status_code == 200
    assert [what for what, _ in told] == ["signed up", "confirmed"]
    assert told[1][1].is_confirmed


async def test_when_the_application_refuses_nobody_has_signed_up(system: System) -> None:
    async def on_signed_up(tx: Transaction, user: UserRow) -> None:
        raise Refused

    club = open_club(system, on_signed_up=on_signed_up)
    assert (await club.browser.sign_up()).status_code == 409
    assert await club.value("select count(*) from auth.users") == 0
    assert await club.mails() == []


async def test_an_address_with_an_account_gets_an_answer_of_the_same_form(club: Club) -> None:
    fresh = (await club.browser.sign_up("new@example.com")).json()
    member = (await club.member())["user"]
    answer = await club.browser.sign_up(data={"name": "Eve"})
    assert answer.status_code == 200
    user = answer.json()
    assert set(user) == set(fresh)
    assert UUID(user["id"]) != UUID(member["id"])
    assert user["identities"] == []
    assert user["role"] == ""
    assert user["user_metadata"] == {"name": "Eve"}
    mail = (await club.mails("ada@example.com"))[0]
    assert mail.letter.subject == "You already have an account"
    assert await club.value("select count(*) from auth.users") == 2
    assert (await club.browser.sign_in()).status_code == 200


async def test_with_autoconfirm_an_address_with_an_account_is_refused(open_door: Club) -> None:
    await open_door.browser.sign_up()
    answer = await open_door.browser.sign_up("ADA@Example.com")
    assert answer.status_code == 422
    assert answer.headers["x-sb-error-code"] == "user_already_exists"
    assert answer.json()["msg"] == "User already registered"


async def test_with_autoconfirm_nobody_takes_over_an_account_that_was_prepared(
    open_door: Club,
) -> None:
    await create_user(
        open_door.identity,
        email="boss@example.com",
        password=PASSWORD,
        app_metadata={"role": "admin"},
        confirmed=False,
    )
    answer = await open_door.browser.sign_up("boss@example.com", password="the attacker's")
    assert answer.status_code == 422
    stolen = await open_door.browser.sign_in("boss@example.com", "the attacker's")
    assert stolen.status_code == 400


async def test_until_the_address_is_confirmed_the_latest_sign_up_counts(club: Club) -> None:
    await club.browser.sign_up(password="the attacker's password")
    first = (await club.rows("select id from auth.users"))[0]["id"]
    stale, _ = await club.latest_code()
    again = await club.browser.sign_up()
    assert again.json()["id"] == str(first)
    digits, _ = await club.latest_code()
    body: dict[str, Any] = {"type": "signup", "email": "ada@example.com"}
    if stale != digits:
        refused = await club.browser.send("POST", "/verify", {**body, "token": stale})
        assert refused.status_code == 403
    accepted = await club.browser.send("POST", "/verify", {**body, "token": digits})
    assert accepted.status_code == 200
    stolen = await club.browser.sign_in(password="the attacker's password")
    assert stolen.json()["error_code"] == "invalid_credentials"
    assert (await club.browser.sign_in()).status_code == 200


@pytest.mark.parametrize("autoconfirm", [True, False])
async def test_twenty_sign_ups_with_one_address_make_one_user(
    club: Club, open_door: Club, *, autoconfirm: bool
) -> None:
    here = open_door if autoconfirm else club
    spellings = ("ada@example.com", "Ada@Example.COM")
    answers = await together(20, lambda number: here.browser.sign_up(spellings[number % 2]))
    assert await here.value("select count(*) from auth.users") == 1
    assert await here.value("select count(*) from auth.identities") == 1
    assert await here.value("select count(*) from public.profiles") == 1
    expected = [200] + [422] * 19 if autoconfirm else [200] * 20
    assert sorted(answer.status_code for answer in answers) == expected


async def test_a_weak_password_is_refused_with_its_reasons(system: System) -> None:
    settings = IdentitySettings(password_characters=("0123456789",))
    club = open_club(system, identity_settings=settings)
    answer = await club.browser.sign_up(password="short")
    assert answer.status_code == 422
    assert answer.json() == {
        "code": 422,
        "error_code": "weak_password",
        "msg": "Password should be at least 8 characters. "
        "Password should contain at least one character of each: 0123456789.",
        "weak_password": {"reasons": ["length", "characters"]},
    }
    assert (await club.browser.sign_up(password=PASSWORD + "1")).status_code == 200


async def test_a_password_that_bcrypt_would_cut_off_is_refused(club: Club) -> None:
    answer = await club.browser.sign_up(password="x" * 73)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "validation_failed"
    assert (await club.browser.sign_up(password="é" * 37)).status_code == 400
    assert (await club.browser.sign_up(password="é" * 36)).status_code == 200


async def test_metadata_that_would_not_fit_into_a_token_is_refused(club: Club) -> None:
    answer = await club.browser.sign_up(data={"name": "x" * 10_000})
    assert answer.status_code == 422
    assert answer.json()["error_code"] == "validation_failed"


async def test_nobody_signs_up_where_that_is_disabled(system: System) -> None:
    club = open_club(system, identity_settings=IdentitySettings(sign_up_enabled=False))
    answer = await club.browser.sign_up()
    assert answer.status_code == 422
    assert answer.json()["error_code"] == "signup_disabled"


async def test_a_sign_up_is_in_the_audit_log(club: Club) -> None:
    await club.member()
    rows = await club.rows(
        "select payload ->> 'action' as action, payload ->> 'actor_username' as who, ip_address "
        "from auth.audit_log_entries order by created_at, id"
    )
    assert [(row["action"], row["who"], row["ip_address"]) for row in rows] == [
        ("user_confirmation_requested", "ada@example.com", "127.0.0.1"),
        ("user_signedup", "ada@example.com", "127.0.0.1"),
        ("login", "ada@example.com", "127.0.0.1"),
    ]
