import pytest
from tests.integration.capabilities.identity.club import PASSWORD, Club, overtaking

from bulkhead.capabilities.identity import tidy
from bulkhead.capabilities.identity.administration import UserSpec, change_user
from bulkhead.capabilities.identity.errors import EmailTaken, PhoneTaken
from bulkhead.capabilities.identity.model import Client
from bulkhead.engine.errors import BulkheadError

NEW = "another fine password"


async def test_a_stranger_is_told_to_sign_in(club: Club) -> None:
    for method, path in (("GET", "/user"), ("PUT", "/user"), ("POST", "/logout")):
        answer = await club.browser.send(method, path, {} if method != "GET" else None)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {
            "code": 401,
            "error_code": "no_authorization",
            "msg": "This endpoint requires a valid Bearer token",
        }


async def test_a_bad_token_is_refused(club: Club) -> None:
    for token in ("x", "a.b.c", "ey.ey.ey"):
        answer = await club.browser.user(token)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")


async def test_users_see_themselves(club: Club) -> None:
    tokens = await club.member()
    await club.member("bob@example.com")
    answer = await club.browser.user(tokens["access_token"])
    assert answer.status_code == 200
    assert answer.json()["id"] == tokens["user"]["id"]
    assert "encrypted_password" not in answer.text


async def test_a_user_who_is_gone_is_not_found(club: Club) -> None:
    tokens = await club.member()
    await club.rows("delete from auth.users")
    answer = await club.browser.user(tokens["access_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (403, "session_not_found")


async def test_data_is_merged_and_null_deletes(club: Club) -> None:
    tokens = await club.member()
    token = tokens["access_token"]
    await club.browser.send("PUT", "/user", {"data": {"a": 1, "b": {"c": None}}}, token=token)
    answer = await club.browser.send("PUT", "/user", {"data": {"a": None, "d": 2}}, token=token)
    assert answer.status_code == 200
    assert answer.json()["user_metadata"] == {"email_verified": True, "b": {"c": None}, "d": 2}
    refreshed = (await club.browser.refresh(tokens["refresh_token"])).json()
    claims = club.identity.verify(refreshed["access_token"])
    assert claims.payload["user_metadata"] == answer.json()["user_metadata"]


async def test_data_does_not_grow_beyond_what_a_token_takes(club: Club) -> None:
    token = (await club.member())["access_token"]
    first = await club.browser.send("PUT", "/user", {"data": {"a": "x" * 5000}}, token=token)
    assert first.status_code == 200
    second = await club.browser.send("PUT", "/user", {"data": {"b": "x" * 5000}}, token=token)
    assert (second.status_code, second.json()["error_code"]) == (422, "validation_failed")
    seen = (await club.browser.user(token)).json()
    assert set(seen["user_metadata"]) == {"a", "email_verified"}


@pytest.mark.parametrize("data", [{"role": "admin"}, {}])
async def test_nobody_gives_themselves_a_role(club: Club, data: dict[str, str]) -> None:
    token = (await club.member())["access_token"]
    answer = await club.browser.send("PUT", "/user", {"app_metadata": data}, token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")
    await club.browser.send("PUT", "/user", {"data": {"role": "admin"}, "role": "x"}, token=token)
    row = (await club.rows("select role, raw_app_meta_data ->> 'role' as app from auth.users"))[0]
    assert (row["role"], row["app"]) == ("authenticated", None)


async def test_a_new_password_signs_out_everywhere_else(club: Club) -> None:
    here = await club.member()
    there = (await club.browser.sign_in()).json()
    answer = await club.browser.send("PUT", "/user", {"password": NEW}, token=here["access_token"])
    assert answer.status_code == 200
    assert (await club.browser.refresh(there["refresh_token"])).status_code == 400
    assert (await club.browser.refresh(here["refresh_token"])).status_code == 200
    assert (await club.browser.sign_in()).status_code == 400
    assert (await club.browser.sign_in(password=NEW)).status_code == 200


async def test_a_new_password_makes_a_recovery_mail_void(club: Club) -> None:
    tokens = await club.member()
    await club.browser.send("POST", "/recover", {"email": "ada@example.com"})
    digits, _ = await club.latest_code()
    await club.browser.send("PUT", "/user", {"password": NEW}, token=tokens["access_token"])
    body = {"type": "recovery", "email": "ada@example.com", "token": digits}
    assert (await club.browser.send("POST", "/verify", body)).status_code == 403


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"password": PASSWORD}, 422, "same_password"),
        ({"password": "short"}, 422, "weak_password"),
        ({"password": "x" * 73}, 400, "validation_failed"),
        ({"password": NEW, "current_password": "wrong"}, 400, "current_password_invalid"),
        ({"email": "bob@example.com"}, 422, "email_exists"),
        ({"email": "not an address"}, 400, "validation_failed"),
        ({"data": "text"}, 400, "bad_json"),
        ({"phone": "+4912345"}, 400, "phone_provider_disabled"),
    ],
)
async def test_a_change_is_refused_as_a_whole(
    club: Club, change: dict[str, object], status: int, code: str
) -> None:
    token = (await club.member())["access_token"]
    await club.member("bob@example.com")
    answer = await club.browser.send("PUT", "/user", {"data": {"a": 1}, **change}, token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert (await club.browser.user(token)).json()["user_metadata"] == {"email_verified": True}
    assert (await club.browser.sign_in()).status_code == 200


async def test_tidying_up_leaves_what_is_still_needed(club: Club) -> None:
    tokens = await club.member()
    await club.browser.sign_up("bob@example.com")
    await tidy(club.identity)
    assert (await club.browser.refresh(tokens["refresh_token"])).status_code == 200
    assert await club.value("select count(*) from auth.one_time_tokens") == 1
    await club.rows("update auth.one_time_tokens set created_at = now() - interval '2 hours'")
    await club.rows("update private.mail_queue set created_at = now() - interval '31 days'")
    await club.rows("update auth.sessions set not_after = now() - interval '2 days'")
    await club.rows("update private.rate_limits set full_at = now() - interval '1 s'")
    await tidy(club.identity)
    for table in ("auth.one_time_tokens", "auth.sessions", "private.rate_limits"):
        assert await club.value(f"select count(*) from {table}") == 0
    waiting = await club.value("select count(*) from private.mail_queue")
    assert waiting == 2, "mail that was not handed over yet is never forgotten"


async def test_whoever_is_banned_meanwhile_changes_nothing(club: Club) -> None:
    token = (await club.member())["access_token"]
    change = club.browser.send("PUT", "/user", {"data": {"name": "Ada"}}, token=token)
    async with overtaking(club, change) as (tx, changing):
        await tx.execute("update auth.users set banned_until = now() + interval '1 day'")
    answer = changing.result()
    assert (answer.status_code, answer.json()["error_code"]) == (403, "user_banned")
    assert await club.value("select raw_user_meta_data ->> 'name' from auth.users") is None


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        (UserSpec(email="new@example.com"), EmailTaken),
        (UserSpec(phone="4930123"), PhoneTaken),
    ],
)
async def test_what_another_user_is_given_meanwhile_is_taken(
    club: Club, spec: UserSpec, taken: type[BulkheadError]
) -> None:
    await club.member()
    await club.member("bob@example.com")
    first, second = [row["id"] for row in await club.rows("select id from auth.users")]
    with pytest.raises(ExceptionGroup) as refused:
        async with overtaking(club, change_user(club.identity, second, spec, Client())) as (tx, _):
            await tx.execute(
                "update auth.users set email = coalesce($2, email), phone = coalesce($3, phone)"
                " where id = $1",
                first,
                spec.email,
                spec.phone,
            )
    assert refused.group_contains(taken)
