"""What somebody has to prove to set another password."""

from dataclasses import replace

import httpx
import pytest
from tests.integration.capabilities.identity.club import PASSWORD, QUICK, Club, open_club, together

from bulkhead.capabilities.identity.password_change import PROVED
from bulkhead.engine import failpoints
from bulkhead.engine.system import System

EMAIL = "ada@example.com"
NEW = "another fine password"


@pytest.fixture
async def careful(system: System) -> Club:
    """The club that wants a code of whoever signed in long ago."""
    return open_club(system, identity_settings=replace(QUICK, password_needs_nonce=True))


async def member_since_long(club: Club) -> str:
    token: str = (await club.member())["access_token"]
    await club.rows("update auth.sessions set created_at = now() - interval '25 hours'")
    return token


async def change(club: Club, token: str, **body: object) -> httpx.Response:
    return await club.browser.send("PUT", "/user", {"password": NEW, **body}, token=token)


async def ask(club: Club, token: str) -> str:
    answer = await club.browser.send("GET", "/reauthenticate", token=token)
    assert (answer.status_code, answer.json()) == (200, {})
    text = (await club.mails(EMAIL))[0].letter.text
    return text.split("The code: ")[1][:6]


async def test_a_code_lets_somebody_change_the_password(careful: Club) -> None:
    token = await member_since_long(careful)
    refused = await change(careful, token)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "reauthentication_needed")
    nonce = await ask(careful, token)
    user = (await careful.browser.user(token)).json()
    assert user["reauthentication_sent_at"]
    assert (await change(careful, token, nonce=nonce)).status_code == 200
    assert (await careful.browser.sign_in(password=NEW)).status_code == 200


async def test_whoever_signed_in_today_needs_no_code(careful: Club) -> None:
    token = (await careful.member())["access_token"]
    assert (await change(careful, token)).status_code == 200


async def test_a_code_counts_once_and_for_its_user(careful: Club) -> None:
    token = await member_since_long(careful)
    nonce = await ask(careful, token)
    answers = await together(4, lambda _: change(careful, token, nonce=nonce))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
    refused = next(answer for answer in answers if answer.status_code == 422)
    assert refused.json()["error_code"] == "reauthentication_not_valid"
    other = (await careful.member("bob@example.com"))["access_token"]
    await careful.rows("update auth.sessions set created_at = now() - interval '25 hours'")
    nonce = await ask(careful, token)
    assert (await change(careful, other, nonce=nonce)).status_code == 422


async def test_a_code_is_guessed_a_few_times_at_most(careful: Club) -> None:
    token = await member_since_long(careful)
    nonce = await ask(careful, token)
    wrong = f"{(int(nonce) + 1) % 10**6:06}"
    answers = await together(6, lambda _: change(careful, token, nonce=wrong))
    assert {answer.status_code for answer in answers} == {422}
    assert (await change(careful, token, nonce=nonce)).status_code == 422


async def test_a_crash_after_the_code_was_taken_leaves_the_password(careful: Club) -> None:
    token = await member_since_long(careful)
    nonce = await ask(careful, token)
    failpoints.arm(PROVED)
    try:
        assert (await change(careful, token, nonce=nonce)).status_code == 500
    finally:
        failpoints.disarm()
    assert (await careful.browser.sign_in()).status_code == 200
    assert (await change(careful, token, nonce=nonce)).status_code == 422
    again = await ask(careful, token)
    assert (await change(careful, token, nonce=again)).status_code == 200


async def test_whoever_has_no_confirmed_address_gets_no_code(club: Club) -> None:
    token = (await club.member())["access_token"]
    await club.rows("update auth.users set email_confirmed_at = null")
    answer = await club.browser.send("GET", "/reauthenticate", token=token)
    assert answer.json()["error_code"] == "email_not_confirmed"
    await club.rows("update auth.users set email = null")
    answer = await club.browser.send("GET", "/reauthenticate", token=token)
    assert answer.json()["error_code"] == "validation_failed"


async def test_strangers_get_no_code(club: Club) -> None:
    assert (await club.browser.send("GET", "/reauthenticate")).status_code == 401


async def test_the_present_password_is_asked_for_where_it_must_be(system: System) -> None:
    settings = replace(QUICK, password_needs_current=True)
    club = open_club(system, identity_settings=settings)
    await club.member()
    token = (await club.browser.sign_in()).json()["access_token"]
    answer = await change(club, token)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "current_password_required")
    answer = await change(club, token, current_password="wrong")  # noqa: S106
    assert (answer.status_code, answer.json()["error_code"]) == (400, "current_password_invalid")
    assert (await change(club, token, current_password=PASSWORD)).status_code == 200


async def test_whoever_forgot_the_password_is_not_asked_for_it(system: System) -> None:
    settings = replace(QUICK, password_needs_current=True)
    club = open_club(system, identity_settings=settings)
    await club.member()
    await club.browser.send("POST", "/recover", {"email": EMAIL})
    digits, _ = await club.latest_code()
    body = {"type": "recovery", "email": EMAIL, "token": digits}
    token = (await club.browser.send("POST", "/verify", body)).json()["access_token"]
    assert (await change(club, token)).status_code == 200


async def test_a_password_that_became_too_weak_still_signs_in_and_is_told(system: System) -> None:
    await open_club(system).member()
    club = open_club(system, identity_settings=replace(QUICK, password_length_min=40))
    answer = await club.browser.sign_in()
    assert answer.status_code == 200
    assert answer.json()["weak_password"] == {
        "message": "Password should be at least 40 characters.",
        "reasons": ["length"],
    }


async def test_an_empty_password_is_a_weak_one(club: Club) -> None:
    token = (await club.member())["access_token"]
    answer = await club.browser.send("PUT", "/user", {"password": ""}, token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "weak_password")
