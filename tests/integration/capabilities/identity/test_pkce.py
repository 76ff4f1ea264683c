"""Sign-ins that end with a code only the client can exchange which began them."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.integration.capabilities.identity.club import (
    QUICK,
    Club,
    open_club,
    overtaking,
    together,
)
from tests.integration.waiting import until_it_waits

from bulkhead.capabilities.identity import tidy
from bulkhead.capabilities.identity.administration import UserSpec, change_user
from bulkhead.capabilities.identity.directory.service import bury_user
from bulkhead.capabilities.identity.flows.service import end_flows
from bulkhead.capabilities.identity.model import Client
from bulkhead.capabilities.identity.users.service import lock_user
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.system import System

EMAIL = "ada@example.com"
VERIFIER = "v" * 56
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "s256"}


async def exchange(club: Club, code: str, verifier: str = VERIFIER) -> httpx.Response:
    body = {"auth_code": code, "code_verifier": verifier}
    return await club.browser.send("POST", "/token?grant_type=pkce", body)


async def follow(club: Club, email: str = EMAIL) -> str:
    """The address that the latest mail to `email` leads to."""
    _, link = await club.latest_code(email)
    answer = await club.browser.http.get(link)
    assert answer.status_code == 303
    return answer.headers["location"]


async def code_of(club: Club, email: str = EMAIL) -> str:
    location = await follow(club, email)
    assert "access_token" not in location
    [code] = parse_qs(urlsplit(location).query)["code"]
    return code


def method_of(club: Club, answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    claims = club.identity.verify(answer.json()["access_token"])
    method: str = claims.payload["amr"][0]["method"]
    return method


async def test_a_sign_up_ends_with_a_code_for_the_client(club: Club) -> None:
    assert (await club.browser.sign_up(**PKCE)).status_code == 200
    answer = await exchange(club, await code_of(club))
    assert method_of(club, answer) == "email/signup"
    assert answer.json()["user"]["email_confirmed_at"]
    assert answer.headers["sb-auth-session-id"]


@pytest.mark.parametrize(
    ("path", "method"),
    [("/recover", "recovery"), ("/otp", "magiclink"), ("/magiclink", "magiclink")],
)
async def test_a_mail_to_a_user_ends_with_a_code_for_the_client(
    club: Club, path: str, method: str
) -> None:
    await club.member()
    body = {"email": EMAIL, **PKCE}
    assert (await club.browser.send("POST", path, body)).status_code == 200
    answer = await exchange(club, await code_of(club))
    assert method_of(club, answer) == method


async def test_a_mail_that_is_sent_again_ends_with_a_code_for_whoever_asked_last(
    club: Club,
) -> None:
    await club.browser.sign_up()
    body = {"type": "signup", "email": EMAIL, **PKCE}
    assert (await club.browser.send("POST", "/resend", body)).status_code == 200
    assert method_of(club, await exchange(club, await code_of(club))) == "email/signup"


async def test_a_change_of_address_ends_with_a_code_after_both_agreed(club: Club) -> None:
    token = (await club.member())["access_token"]
    body = {"email": "new@example.com", **PKCE}
    assert (await club.browser.send("PUT", "/user", body, token=token)).status_code == 200
    first = await follow(club)
    assert (
        parse_qs(urlsplit(first).query)["message"] == parse_qs(urlsplit(first).fragment)["message"]
    )
    answer = await exchange(club, await code_of(club, "new@example.com"))
    assert method_of(club, answer) == "email_change"
    assert answer.json()["user"]["email"] == "new@example.com"


async def test_a_plain_challenge_is_the_verifier_itself(club: Club) -> None:
    await club.browser.sign_up(code_challenge=VERIFIER, code_challenge_method="PLAIN")
    code = await code_of(club)
    assert (await exchange(club, code, "w" * 56)).status_code == 400
    assert (await exchange(club, code)).status_code == 200


async def test_only_the_client_that_began_can_end(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    code = await code_of(club)
    answer = await exchange(club, code, "another verifier")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "bad_code_verifier")
    assert answer.json()["msg"] == ("code challenge does not match previously saved code verifier")
    assert (await exchange(club, code)).status_code == 200


async def test_a_code_can_be_exchanged_once(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    code = await code_of(club)
    answers = await together(5, lambda _: exchange(club, code))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404]
    refused = next(answer for answer in answers if answer.status_code == 404)
    assert refused.json()["error_code"] == "flow_state_not_found"
    assert await club.value("select count(*) from auth.sessions") == 1


async def test_a_code_does_not_wait_for_ever(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    await club.rows("update auth.flow_state set created_at = now() - interval '50 minutes'")
    code = await code_of(club)
    await club.rows("update auth.flow_state set auth_code_issued_at = now() - interval '301 s'")
    answer = await exchange(club, code)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "flow_state_expired")


async def test_a_code_counts_only_once_the_link_was_followed(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    code = await club.value("select auth_code from auth.flow_state")
    assert (await exchange(club, code)).status_code == 404


@pytest.mark.parametrize(
    ("code", "verifier", "status"),
    [("", VERIFIER, 400), ("x", "", 400), ("x", VERIFIER, 404), ("' or 1=1 --", VERIFIER, 404)],
)
async def test_a_made_up_code_is_refused(club: Club, code: str, verifier: str, status: int) -> None:
    await club.browser.sign_up(**PKCE)
    assert (await exchange(club, code, verifier)).status_code == status


async def test_a_user_who_was_banned_meanwhile_does_not_get_in(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    code = await code_of(club)
    await club.rows("update auth.users set banned_until = now() + interval '1 day'")
    answer = await exchange(club, code)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "user_banned")


async def test_a_user_who_is_being_deleted_does_not_get_in(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    code, user_id = await code_of(club), await club.value("select id from auth.users")
    async with overtaking(club, exchange(club, code)) as (tx, exchanging):
        await lock_user(tx, user_id)
        await bury_user(tx, user_id)
    answer = exchanging.result()
    assert (answer.status_code, answer.json()["error_code"]) == (400, "user_not_found")
    assert await club.value("select count(*) from auth.sessions") == 0


async def set_by_user(club: Club) -> None:
    token = (await club.browser.sign_in()).json()["access_token"]
    body = {"password": "another fine password"}
    assert (await club.browser.send("PUT", "/user", body, token=token)).status_code == 200


async def set_by_operator(club: Club) -> None:
    spec = UserSpec(password="another fine password")  # noqa: S106
    user_id = await club.value("select id from auth.users")
    await change_user(club.identity, user_id, spec, Client())


@pytest.mark.parametrize("change", [set_by_user, set_by_operator])
async def test_another_password_voids_codes_that_were_not_exchanged(
    club: Club, change: Callable[[Club], Awaitable[None]]
) -> None:
    await club.member()
    await club.browser.send("POST", "/otp", {"email": EMAIL, **PKCE})
    code = await code_of(club)
    await change(club)
    answer = await exchange(club, code)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "flow_state_not_found")


async def test_a_code_waits_for_the_change_of_password_that_voids_it(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    code, user_id = await code_of(club), await club.value("select id from auth.users")
    async with asyncio.TaskGroup() as group, club.identity.users.transaction(SERVICE) as tx:
        await lock_user(tx, user_id)
        exchanging = group.create_task(exchange(club, code))
        await until_it_waits(exchanging, tx)
        await end_flows(tx, user_id)
    assert exchanging.result().json()["error_code"] == "flow_state_not_found"


async def test_the_digits_of_the_mail_still_sign_in_at_once(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    digits, _ = await club.latest_code()
    body = {"type": "signup", "email": EMAIL, "token": digits}
    assert "access_token" in (await club.browser.send("POST", "/verify", body)).json()


async def test_a_link_that_was_followed_before_says_so_in_the_query_too(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    _, link = await club.latest_code()
    assert "token=pkce_" in link
    await club.browser.http.get(link)
    location = (await club.browser.http.get(link)).headers["location"]
    for part in (urlsplit(location).query, urlsplit(location).fragment):
        assert parse_qs(part)["error_code"] == ["otp_expired"]


async def test_a_mail_without_a_challenge_takes_the_place_of_one_with(club: Club) -> None:
    await club.member()
    await club.browser.send("POST", "/otp", {"email": EMAIL, **PKCE})
    await club.browser.send("POST", "/otp", {"email": EMAIL})
    assert "access_token" in await follow(club)


async def test_a_sign_in_that_was_forgotten_leads_nowhere(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    await club.rows("update auth.flow_state set created_at = now() - interval '25 hours'")
    await tidy(club.identity)
    location = await follow(club)
    assert parse_qs(urlsplit(location).fragment)["error_code"] == ["flow_state_not_found"]
    assert await club.value("select count(*) from auth.sessions") == 0
    confirmed = await club.value("select email_confirmed_at from auth.users")
    assert confirmed is None, "what led nowhere has proved nothing"


async def test_asking_for_somebody_who_has_no_account_leaves_nothing_behind(club: Club) -> None:
    answer = await club.browser.send("POST", "/recover", {"email": EMAIL, **PKCE})
    assert (answer.status_code, answer.json()) == (200, {})
    assert await club.value("select count(*) from auth.flow_state") == 0


async def test_what_is_asked_of_the_flow_is_kept_as_supabase_keeps_it(club: Club) -> None:
    await club.browser.sign_up(**PKCE)
    row = (
        await club.rows(
            "select code_challenge, code_challenge_method, provider_type, authentication_method, "
            "user_id = (select id from auth.users) as own from auth.flow_state"
        )
    )[0]
    assert dict(row) == {
        "code_challenge": CHALLENGE,
        "code_challenge_method": "s256",
        "provider_type": "email",
        "authentication_method": "email/signup",
        "own": True,
    }


async def test_how_long_a_code_waits_is_the_applications_choice(system: System) -> None:
    club = open_club(system, identity_settings=replace(QUICK, flow_ttl_s=10.0))
    await club.browser.sign_up(**PKCE)
    code = await code_of(club)
    await club.rows("update auth.flow_state set auth_code_issued_at = now() - interval '11 s'")
    assert (await exchange(club, code)).status_code == 422
