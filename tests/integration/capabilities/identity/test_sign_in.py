# ruff: noqa: S106 - made-up passwords are what this file is about
import bcrypt
import pytest
from tests.integration.capabilities.identity.club import PASSWORD, Club, together

from bulkhead.capabilities.identity import UserId, create_user, sign_in_as
from bulkhead.capabilities.identity.errors import UserBanned, UserNotFound
from bulkhead.capabilities.identity.users.service import lock_credentials
from bulkhead.engine.connections.claims import SERVICE


async def test_a_member_signs_in(club: Club) -> None:
    await club.member()
    answer = await club.browser.sign_in("ADA@example.com ")
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens["expires_in"] == 3600
    assert tokens["user"]["last_sign_in_at"]
    assert answer.headers["sb-auth-user-id"] == tokens["user"]["id"]
    claims = club.identity.verify(tokens["access_token"])
    assert answer.headers["sb-auth-session-id"] == claims.payload["session_id"]
    assert claims.payload["amr"][0]["method"] == "password"
    session = (await club.rows("select user_agent, host(ip) as ip from auth.sessions"))[-1]
    assert session["ip"] == "127.0.0.1"
    assert session["user_agent"].startswith("python-httpx")


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("ada@example.com", ""),
        ("not an address", PASSWORD),
        ("ada@example.com", PASSWORD + "x" * 100),
    ],
)
async def test_every_failure_looks_the_same(club: Club, email: str, password: str) -> None:
    await club.member()
    answer = await club.browser.sign_in(email, password)
    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "error_code": "invalid_credentials",
        "msg": "Invalid login credentials",
    }
    assert "sb-auth-user-id" not in answer.headers


async def test_an_unknown_address_costs_as_many_hashes_as_a_wrong_password(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    await club.member()
    costs: list[bytes] = []
    real = bcrypt.checkpw

    def observe(password: bytes, hashed: bytes) -> bool:
        costs.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", observe)
    for email in ("ada@example.com", "nobody@example.com"):
        await club.browser.sign_in(email, "wrong")
    assert costs == [b"$2a$04$", b"$2a$04$"]


async def test_before_the_address_is_confirmed_only_the_right_password_says_so(club: Club) -> None:
    await club.browser.sign_up()
    wrong = await club.browser.sign_in(password="wrong")
    assert wrong.json()["error_code"] == "invalid_credentials"
    right = await club.browser.sign_in()
    assert right.status_code == 400
    assert right.json()["error_code"] == "email_not_confirmed"


async def test_a_banned_user_learns_it_with_the_right_password_only(club: Club) -> None:
    tokens = await club.member()
    await club.rows("update auth.users set banned_until = now() + interval '1 day'")
    wrong = await club.browser.sign_in(password="wrong")
    assert wrong.json()["error_code"] == "invalid_credentials"
    right = await club.browser.sign_in()
    assert (right.status_code, right.json()["error_code"]) == (400, "user_banned")
    again = await club.browser.refresh(tokens["refresh_token"])
    assert (again.status_code, again.json()["error_code"]) == (400, "user_banned")
    seen = await club.browser.user(tokens["access_token"])
    assert (seen.status_code, seen.json()["error_code"]) == (403, "user_banned")
    await club.rows("update auth.users set banned_until = now() - interval '1 day'")
    assert (await club.browser.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_a_user_who_moved_here_brings_the_password(club: Club, prefix: str) -> None:
    await club.member()
    hashed = bcrypt.hashpw(b"brought along", bcrypt.gensalt(5)).decode()
    await club.rows("update auth.users set encrypted_password = $1", prefix + hashed[4:])
    assert (await club.browser.sign_in(password="brought along")).status_code == 200
    assert (await club.browser.sign_in(password="something else")).status_code == 400


async def test_a_user_without_a_password_cannot_sign_in_with_an_empty_one(club: Club) -> None:
    await club.member()
    for stored in (None, ""):
        await club.rows("update auth.users set encrypted_password = $1", stored)
        assert (await club.browser.sign_in(password="")).status_code == 400


async def test_signing_out_here_leaves_the_other_sessions(club: Club) -> None:
    here = await club.member()
    there = (await club.browser.sign_in()).json()
    answer = await club.browser.send("POST", "/logout?scope=local", token=here["access_token"])
    assert answer.status_code == 204
    assert (await club.browser.refresh(here["refresh_token"])).status_code == 400
    gone = await club.browser.user(here["access_token"])
    assert (gone.status_code, gone.json()["error_code"]) == (403, "session_not_found")
    assert (await club.browser.refresh(there["refresh_token"])).status_code == 200


async def test_signing_out_elsewhere_leaves_this_session(club: Club) -> None:
    here = await club.member()
    there = (await club.browser.sign_in()).json()
    await club.browser.send("POST", "/logout?scope=others", token=here["access_token"])
    assert (await club.browser.refresh(there["refresh_token"])).status_code == 400
    assert (await club.browser.refresh(here["refresh_token"])).status_code == 200


async def test_signing_out_everywhere_leaves_other_users(club: Club) -> None:
    ada = await club.member()
    bob = await club.member("bob@example.com")
    await club.browser.sign_in()
    assert (
        await club.browser.send("POST", "/logout", token=ada["access_token"])
    ).status_code == 204
    assert await club.value("select count(*) from auth.sessions") == 1
    assert (await club.browser.refresh(bob["refresh_token"])).status_code == 200
    repeated = await club.browser.send("POST", "/logout", token=ada["access_token"])
    assert repeated.json()["error_code"] == "session_not_found"


async def test_an_unknown_scope_of_signing_out_is_refused(club: Club) -> None:
    tokens = await club.member()
    answer = await club.browser.send("POST", "/logout?scope=all", token=tokens["access_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
    assert await club.value("select count(*) from auth.sessions") == 1


async def test_an_access_token_outlives_its_session_until_it_expires(club: Club) -> None:
    tokens = await club.member()
    await club.browser.send("POST", "/logout", token=tokens["access_token"])
    assert str(club.identity.verify(tokens["access_token"]).subject) == tokens["user"]["id"]


async def test_the_operator_creates_users_and_signs_in_as_them(club: Club) -> None:
    made = await create_user(
        club.identity,
        email="Boss@example.com",
        password=PASSWORD,
        app_metadata={"role": "admin"},
        user_metadata={"name": "Boss"},
    )
    assert made.is_confirmed
    assert await club.mails() == []
    tokens = await sign_in_as(club.identity, "boss@example.com")
    assert club.identity.verify(tokens.access_token).app_role == "admin"
    assert (await club.browser.sign_in("boss@example.com")).status_code == 200
    with pytest.raises(UserNotFound):
        await sign_in_as(club.identity, "nobody@example.com")
    await club.rows("update auth.users set banned_until = 'infinity'")
    with pytest.raises(UserBanned):
        await sign_in_as(club.identity, "boss@example.com")


async def test_a_password_changed_while_it_was_compared_does_not_sign_in(club: Club) -> None:
    await club.member()
    row = (await club.rows("select id, encrypted_password from auth.users"))[0]
    user, compared_with = UserId(row["id"]), row["encrypted_password"]
    async with club.identity.users.transaction(SERVICE) as tx:
        assert await lock_credentials(tx, user, compared_with)
    await club.rows("update auth.users set encrypted_password = 'changed'")
    async with club.identity.users.transaction(SERVICE) as tx:
        assert not await lock_credentials(tx, user, compared_with)


async def test_many_sign_ins_at_once_do_not_fail(club: Club) -> None:
    await club.member()
    answers = await together(10, lambda _: club.browser.sign_in())
    assert [answer.status_code for answer in answers] == [200] * 10
    assert await club.value("select count(*) from auth.sessions") == 11
