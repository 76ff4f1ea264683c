"""What the application does to its users."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import bcrypt
import jwt
import pytest
from argon2 import PasswordHasher
from tests.integration.capabilities.identity.club import PASSWORD, open_club, together
from tests.integration.gateway.auth.office import Office, enroll, prove, refusal

from bulkhead.engine.ids import new_id
from bulkhead.engine.system import System

ADA = "ada@example.com"
WEAK, OTHER = "x", "another horse"


async def test_a_user_is_made_and_signs_in(office: Office) -> None:
    user = await office.create(
        email="Ada@Example.com",
        password=PASSWORD,
        email_confirm=True,
        user_metadata={"name": "Ada"},
        app_metadata={"role": "staff"},
        role="editor",
    )
    assert user["email"] == ADA
    assert user["role"] == "editor"
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"], "role": "staff"}
    assert user["user_metadata"]["name"] == "Ada"
    assert user["email_confirmed_at"]
    assert [each["provider"] for each in user["identities"]] == ["email"]
    tokens = (await office.club.browser.sign_in()).json()
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert claims["app_metadata"]["role"] == "staff"
    assert claims["role"] == "authenticated", "what the database is asked as is not up to it"


async def test_a_user_is_made_without_a_word_to_anybody(office: Office) -> None:
    user = await office.create(email=ADA, password=WEAK)
    assert "email_confirmed_at" not in user
    assert await office.club.mails() == []
    assert refusal(await office.club.browser.sign_in(password=WEAK)) == (400, "email_not_confirmed")
    await office.change(user["id"], email_confirm=True)
    assert (await office.club.browser.sign_in(password=WEAK)).status_code == 200


async def test_a_user_has_the_id_that_is_asked_for(office: Office) -> None:
    wanted = "0f9c3d52-1c5f-4a77-8a3b-1f2e3d4c5b6a"
    assert (await office.create(email=ADA, id=wanted))["id"] == wanted
    answer = await office.send("POST", "/admin/users", {"email": "b@example.com", "id": wanted})
    assert refusal(answer) == (422, "user_already_exists")
    for bad in ("7", "00000000-0000-0000-0000-000000000000"):
        answer = await office.send("POST", "/admin/users", {"email": "b@example.com", "id": bad})
        assert refusal(answer) == (400, "validation_failed")


@pytest.mark.parametrize(
    "hashed",
    [
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode(),
        PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD),
    ],
    ids=["bcrypt 2b", "bcrypt 2a", "argon2"],
)
async def test_users_move_in_with_their_passwords(office: Office, hashed: str) -> None:
    await office.create(email=ADA, password_hash=hashed, email_confirm=True)
    assert (await office.club.browser.sign_in()).status_code == 200
    answer = await office.club.browser.sign_in(password=PASSWORD + "x")
    assert refusal(answer) == (400, "invalid_credentials")
    stored = await office.club.value("select encrypted_password from auth.users")
    assert stored == hashed, "and they move out again with them"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "validation_failed")),
        ({"email": "nobody"}, (400, "validation_failed")),
        ({"phone": "no number"}, (400, "validation_failed")),
        ({"email": ADA, "password": "x" * 73}, (400, "validation_failed")),
        ({"email": ADA, "password": "x", "password_hash": "y"}, (400, "validation_failed")),
        ({"email": ADA, "password_hash": "plain"}, (400, "validation_failed")),
        ({"email": ADA, "ban_duration": "a while"}, (400, "validation_failed")),
        ({"email": ADA, "email_confirm": "yes"}, (400, "bad_json")),
        ({"email": ADA, "user_metadata": []}, (400, "bad_json")),
        ({"email": ADA, "role": "x" * 64}, (400, "validation_failed")),
        ({"email": "taken@example.com"}, (422, "email_exists")),
        ({"email": ADA, "phone": "+49 151 12345"}, (422, "phone_exists")),
        ({"email": ADA, "user_metadata": {"x": "y" * 10_000}}, (422, "validation_failed")),
    ],
)
async def test_what_no_user_can_be_made_of_is_refused(
    office: Office, body: dict[str, object], expected: tuple[int, str]
) -> None:
    await office.create(email="taken@example.com", phone="4915112345")
    assert refusal(await office.send("POST", "/admin/users", body)) == expected
    assert await office.club.value("select count(*) from auth.users") == 1


async def test_users_are_listed_a_page_at_a_time(office: Office) -> None:
    made = [(await office.create(email=f"u{number}@example.com"))["id"] for number in range(5)]
    answer = await office.send("GET", "/admin/users?page=1&per_page=2")
    assert answer.headers["x-total-count"] == "5"
    assert answer.headers["link"] == (
        '</admin/users?page=2&per_page=2>; rel="next", </admin/users?page=3&per_page=2>; rel="last"'
    )
    body = answer.json()
    assert body["aud"] == "authenticated"
    assert [user["id"] for user in body["users"]] == made[:2:-1]
    answer = await office.send("GET", "/admin/users?page=3&per_page=2")
    assert [user["id"] for user in answer.json()["users"]] == made[:1]
    assert 'rel="next"' not in answer.headers["link"]
    answer = await office.send("GET", "/admin/users?page=9&per_page=2")
    assert (answer.json()["users"], answer.headers["x-total-count"]) == ([], "5")
    answer = await office.send("GET", "/admin/users?sort=created_at%20asc")
    assert [user["id"] for user in answer.json()["users"]] == made


async def test_users_are_found_by_address_and_name(office: Office) -> None:
    await office.create(email=ADA, user_metadata={"full_name": "Countess Lovelace"})
    await office.create(email="bob@example.com")
    for text, found in (("ada@", 1), ("LOVELACE", 1), ("example", 2), ("nobody", 0)):
        answer = await office.send("GET", f"/admin/users?filter={text}")
        assert (len(answer.json()["users"]), answer.headers["x-total-count"]) == (found, str(found))


@pytest.mark.parametrize(
    "query",
    [
        "page=x",
        "page=-1",
        "per_page=1.5",
        "page=" + "9" * 20,
        "page=٣",
        "sort=email",
        "sort=created_at%20up",
    ],
)
async def test_pages_that_are_none_are_refused(office: Office, query: str) -> None:
    answer = await office.send("GET", f"/admin/users?{query}")
    assert refusal(answer) == (400, "validation_failed")


async def test_pages_are_bounded(office: Office) -> None:
    for query in ("page=0&per_page=0", f"page={10**18}&per_page={10**18}"):
        assert (await office.send("GET", f"/admin/users?{query}")).status_code == 200


async def test_who_is_not_there_is_not_found(office: Office) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await office.send(method, f"/admin/users/{new_id()}", {})
        assert refusal(answer) == (404, "user_not_found")
        assert answer.json()["msg"] == "User not found"
        assert refusal(await office.send(method, "/admin/users/7", {})) == (
            404,
            "validation_failed",
        )


async def test_metadata_is_merged_and_null_takes_a_key_away(office: Office) -> None:
    user = await office.create(email=ADA, user_metadata={"a": 1, "b": 2}, app_metadata={"c": 3})
    user = await office.change(user["id"], user_metadata={"b": None, "d": 4}, app_metadata={"e": 5})
    assert user["user_metadata"] == {"a": 1, "d": 4}
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"], "c": 3, "e": 5}
    user = await office.change(user["id"], app_metadata={"c": None, "e": None})
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}


async def test_a_new_password_signs_out_everywhere(office: Office) -> None:
    member = await office.club.member()
    answer = await office.send("PUT", f"/admin/users/{member['user']['id']}", {"password": "short"})
    assert refusal(answer) == (422, "weak_password")
    await office.change(member["user"]["id"], password=OTHER)
    assert (await office.club.browser.user(member["access_token"])).status_code == 403
    assert (await office.club.browser.refresh(member["refresh_token"])).status_code == 400
    assert (await office.club.browser.sign_in()).status_code == 400
    assert (await office.club.browser.sign_in(password=OTHER)).status_code == 200


async def test_a_new_address_is_in_use_at_once(office: Office) -> None:
    member = await office.club.member()
    await office.create(email="taken@example.com")
    path = f"/admin/users/{member['user']['id']}"
    answer = await office.send("PUT", path, {"email": "Taken@example.com"})
    assert refusal(answer) == (422, "email_exists")
    user = await office.change(member["user"]["id"], email="countess@example.com")
    assert user["email"] == "countess@example.com"
    assert user["identities"][0]["identity_data"]["email"] == "countess@example.com"
    assert (await office.club.browser.sign_in("countess@example.com")).status_code == 200
    assert (await office.club.browser.sign_in()).status_code == 400
    user = await office.change(member["user"]["id"], phone="+49 151 12345", phone_confirm=True)
    assert user["phone"] == "4915112345"
    assert user["phone_confirmed_at"]
    assert user["app_metadata"]["providers"] == ["email", "phone"]
    assert {each["provider"] for each in user["identities"]} == {"email", "phone"}


async def test_who_is_banned_stays_out_until_then(office: Office) -> None:
    member = await office.club.member()
    user = await office.change(member["user"]["id"], ban_duration="1h30m")
    assert user["banned_until"] > user["updated_at"]
    assert refusal(await office.club.browser.user(member["access_token"])) == (403, "user_banned")
    assert refusal(await office.club.browser.refresh(member["refresh_token"])) == (
        400,
        "user_banned",
    )
    assert refusal(await office.club.browser.sign_in()) == (400, "user_banned")
    user = await office.change(member["user"]["id"], ban_duration="none")
    assert "banned_until" not in user
    assert (await office.club.browser.sign_in()).status_code == 200


async def test_who_is_deleted_is_gone(office: Office) -> None:
    member = await office.club.member()
    path = f"/admin/users/{member['user']['id']}"
    answer = await office.send("DELETE", path)
    assert (answer.status_code, answer.json()) == (200, {})
    assert refusal(await office.send("DELETE", path)) == (404, "user_not_found")
    assert (await office.club.browser.user(member["access_token"])).status_code == 403
    assert await office.club.value("select count(*) from auth.sessions") == 0
    assert (await office.club.browser.sign_up()).status_code == 200, "the address is free"


async def test_who_is_deleted_softly_leaves_nothing_that_says_who_it_was(office: Office) -> None:
    member = await office.club.member()
    user_id = member["user"]["id"]
    await office.change(user_id, phone="4915112345", user_metadata={"name": "Ada"})
    await enroll(office.club, member["access_token"])
    for _ in range(2):
        answer = await office.send(
            "DELETE", f"/admin/users/{user_id}", {"should_soft_delete": True}
        )
        assert (answer.status_code, answer.json()) == (200, {})
    user = (await office.send("GET", f"/admin/users/{user_id}")).json()
    assert user["deleted_at"]
    assert user["email"] == buried(user_id, ADA)
    assert user["phone"] == buried(user_id, "4915112345")[:15]
    assert (user["user_metadata"], user["app_metadata"]) == ({}, {})
    assert sorted(each["id"] for each in user["identities"]) == sorted(
        buried(user_id, f"{provider}:{user_id}") for provider in ("email", "phone")
    )
    assert all(each["identity_data"] == {} for each in user["identities"])
    assert "factors" not in user
    assert (await office.club.browser.user(member["access_token"])).status_code == 403
    assert (await office.club.browser.sign_in()).status_code == 400
    assert (await office.club.browser.sign_up()).status_code == 200, "the address is free"


async def test_the_factors_of_a_user_are_seen_renamed_and_taken_away(office: Office) -> None:
    member = await office.club.member()
    path = f"/admin/users/{member['user']['id']}/factors"
    assert (await office.send("GET", path)).json() == []
    factor = await enroll(office.club, member["access_token"], friendly_name="Phone")
    tokens = await prove(office.club, member["access_token"], factor)
    listed = (await office.send("GET", path)).json()
    assert [(each["id"], each["status"]) for each in listed] == [(factor.id, "verified")]
    assert set(listed[0]) == {
        *("id", "created_at", "updated_at", "status", "friendly_name", "factor_type", "phone"),
        "last_challenged_at",
    }
    answer = await office.send("PUT", f"{path}/{factor.id}", {"friendly_name": "Tablet"})
    assert answer.json()["friendly_name"] == "Tablet"
    answer = await office.send("DELETE", f"{path}/{factor.id}")
    assert answer.json()["id"] == factor.id
    assert (await office.send("GET", path)).json() == []
    assert refusal(await office.send("DELETE", f"{path}/{factor.id}")) == (
        404,
        "mfa_factor_not_found",
    )
    refreshed = (await office.club.browser.refresh(tokens["refresh_token"])).json()
    claims = jwt.decode(refreshed["access_token"], options={"verify_signature": False})
    assert claims["aal"] == "aal1"


async def test_the_log_says_who_did_what(office: Office) -> None:
    user = await office.create(email=ADA)
    await office.change(user["id"], user_metadata={"a": 1})
    await office.send("DELETE", f"/admin/users/{user['id']}")
    answer = await office.send("GET", "/admin/audit")
    entries = answer.json()
    assert answer.headers["x-total-count"] == "3"
    assert [entry["payload"]["action"] for entry in entries] == [
        "user_deleted",
        "user_modified",
        "user_signedup",
    ]
    for entry in entries:
        assert set(entry) == {"id", "payload", "created_at", "ip_address"}
        assert entry["payload"]["actor_username"] == "service_role"
        assert entry["payload"]["traits"]["user_email"] == ADA
    for query, found in (
        ("author:service", 3),
        ("action:deleted", 1),
        ("type:team", 2),
        ("author:ada", 0),
    ):
        answer = await office.send("GET", f"/admin/audit?query={query}")
        assert len(answer.json()) == found, query
    for query in ("nothing", "colour:red"):
        answer = await office.send("GET", f"/admin/audit?query={query}")
        assert refusal(answer) == (400, "validation_failed")


async def test_the_application_signs_a_user_out_with_their_token(office: Office) -> None:
    member = await office.club.member()
    other = (await office.club.browser.sign_in()).json()
    for scope, token in (("others", member["access_token"]), ("global", member["access_token"])):
        answer = await office.send("POST", f"/logout?scope={scope}", token=token)
        assert answer.status_code == 204
    for tokens in (member, other):
        assert (await office.club.browser.user(tokens["access_token"])).status_code == 403


async def test_hooks_run_for_users_that_the_application_makes(
    system: System, office: Office
) -> None:
    told: list[tuple[str, str]] = []

    async def signed_up(tx: Any, user: Any) -> None:
        del tx
        told.append(("signed up", user.email))

    async def confirmed(tx: Any, user: Any) -> None:
        del tx
        told.append(("confirmed", user.email))

    club = open_club(
        system,
        authenticate=office.authenticate,
        on_signed_up=signed_up,
        on_confirmed=confirmed,
    )
    hooked = replace(office, club=club)
    user = await hooked.create(email=ADA)
    assert told == [("signed up", ADA)]
    await hooked.change(user["id"], email_confirm=True)
    await hooked.change(user["id"], email_confirm=True)
    assert told == [("signed up", ADA), ("confirmed", ADA)]


async def test_of_many_users_with_one_address_one_is_made(office: Office) -> None:
    answers = await together(
        8, lambda _: office.send("POST", "/admin/users", {"email": ADA, "password": "x"})
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    assert await office.club.value("select count(*) from auth.users") == 1


async def test_deleting_a_user_who_is_refreshing_leaves_no_session(office: Office) -> None:
    for number in range(6):
        member = await office.club.member(f"u{number}@example.com")
        path = f"/admin/users/{member['user']['id']}"

        async def one(
            turn: int, path: str = path, member: Any = member, number: int = number
        ) -> Any:
            if turn == 0:
                return await office.send("DELETE", path, {"should_soft_delete": number % 2 == 0})
            return await office.club.browser.refresh(member["refresh_token"])

        deleted, *refreshed = await together(5, one)
        assert deleted.status_code == 200, deleted.text
        assert {answer.status_code for answer in refreshed} <= {200, 400}
    assert await office.club.value("select count(*) from auth.sessions") == 0
    assert await office.club.value("select count(*) from auth.refresh_tokens") == 0


def buried(user: str, value: str) -> str:
    digest = hashlib.sha256(f"{user}{value}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
