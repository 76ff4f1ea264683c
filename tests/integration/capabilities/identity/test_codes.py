"""Sign in by a code or a link of a mail, without a password."""

from dataclasses import replace

import httpx
import pytest
from tests.integration.capabilities.identity.club import (
    QUICK,
    Club,
    fragment,
    open_club,
    together,
)

from bulkhead.capabilities.identity.settings import Limit
from bulkhead.engine.system import System

EMAIL = "ada@example.com"


async def ask(club: Club, **body: object) -> httpx.Response:
    return await club.browser.send("POST", "/otp", {"email": EMAIL, **body})


async def enter(club: Club, kind: str = "email") -> httpx.Response:
    digits, _ = await club.latest_code()
    body = {"type": kind, "email": EMAIL, "token": digits}
    return await club.browser.send("POST", "/verify", body)


async def test_a_code_makes_a_user_and_signs_in(club: Club) -> None:
    answer = await ask(club, data={"name": "Ada"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert (await club.mails())[0].letter.subject == "Confirm your e-mail address at The Club"
    entered = await enter(club)
    assert entered.status_code == 200
    assert entered.json()["user"]["user_metadata"] == {"name": "Ada", "email_verified": True}
    assert await club.value("select encrypted_password from auth.users") is None


@pytest.mark.parametrize("kind", ["email", "magiclink"])
async def test_a_code_signs_a_user_in(club: Club, kind: str) -> None:
    member = await club.member()
    await ask(club)
    mail = (await club.mails())[0].letter
    assert mail.subject == "Sign in at The Club"
    assert "type=magiclink" in mail.text
    assert "Sign in" in mail.html
    entered = await enter(club, kind)
    assert entered.json()["user"]["id"] == member["user"]["id"]
    assert (await enter(club, kind)).status_code == 403


@pytest.mark.parametrize("path", ["/otp", "/magiclink"])
async def test_a_link_signs_a_user_in(club: Club, path: str) -> None:
    await club.member()
    await club.browser.send("POST", path, {"email": EMAIL})
    _, link = await club.latest_code()
    values = fragment((await club.browser.http.get(link)).headers["location"])
    assert values["type"] == "magiclink"
    assert club.identity.verify(values["access_token"]).payload["amr"][0]["method"] == "otp"


async def test_a_link_of_the_type_email_says_what_it_was(club: Club) -> None:
    await club.browser.sign_up()
    for expected in ("signup", "magiclink"):
        _, link = await club.latest_code()
        generic = link.replace(f"type={expected}", "type=email")
        values = fragment((await club.browser.http.get(generic)).headers["location"])
        assert values["type"] == expected
        await ask(club)


async def test_whoever_has_no_account_gets_none_where_none_is_to_be_made(club: Club) -> None:
    answer = await ask(club, create_user=False)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "otp_disabled")
    assert answer.json()["msg"] == "Signups not allowed for otp"
    await club.member()
    assert (await ask(club, create_user=False)).status_code == 200


async def test_where_nobody_can_sign_up_only_users_get_codes(system: System) -> None:
    open_before = open_club(system)
    await open_before.member()
    club = open_club(system, identity_settings=replace(QUICK, sign_up_enabled=False))
    assert (await ask(club)).status_code == 200
    answer = await ask(club, email="bob@example.com")
    assert (answer.status_code, answer.json()["error_code"]) == (422, "signup_disabled")


async def test_a_code_for_an_unconfirmed_account_drops_the_password_of_whoever_made_it(
    club: Club,
) -> None:
    await club.browser.sign_up()
    await ask(club)
    assert (await enter(club, "signup")).status_code == 200
    assert (await club.browser.sign_in()).json()["error_code"] == "invalid_credentials"


async def test_with_autoconfirm_a_new_user_gets_a_link_to_sign_in(open_door: Club) -> None:
    await ask(open_door)
    assert (await open_door.mails())[0].letter.subject == "Sign in at The Club"
    assert await open_door.value("select count(*) from auth.sessions") == 0
    assert (await enter(open_door)).status_code == 200


async def test_asked_for_at_once_there_is_one_user_and_one_code(club: Club) -> None:
    answers = await together(8, lambda _: ask(club))
    assert {answer.status_code for answer in answers} == {200}
    assert await club.value("select count(*) from auth.users") == 1
    assert await club.value("select count(*) from auth.one_time_tokens") == 1
    assert (await enter(club)).status_code == 200


@pytest.mark.parametrize("path", ["/otp", "/magiclink", "/recover", "/resend"])
async def test_mails_to_one_address_are_limited(system: System, path: str) -> None:
    limits = replace(QUICK.limits, mail=Limit("mail", 1, 60.0))
    club = open_club(system, identity_settings=replace(QUICK, limits=limits))
    body = {"email": EMAIL, "type": "signup"}
    assert (await club.browser.send("POST", path, body)).status_code == 200
    answer = await club.browser.send("POST", path, body)
    assert (answer.status_code, answer.json()["error_code"]) == (
        429,
        "over_email_send_rate_limit",
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "One of email or phone must be set"),
        ({"email": EMAIL, "phone": "4930123"}, None),
        ({"email": EMAIL, "channel": "sms"}, "Channel should only be specified with Phone OTP"),
        ({"email": EMAIL, "code_challenge": "c" * 43}, None),
        ({"email": EMAIL, "code_challenge": "c" * 42, "code_challenge_method": "s256"}, None),
        ({"email": EMAIL, "code_challenge": "c" * 129, "code_challenge_method": "s256"}, None),
        ({"email": EMAIL, "code_challenge": "+" * 43, "code_challenge_method": "s256"}, None),
        ({"email": EMAIL, "code_challenge": "c" * 43, "code_challenge_method": "md5"}, None),
        ({"email": "not an address"}, None),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    club: Club, body: dict[str, str], message: str | None
) -> None:
    answer = await club.browser.send("POST", "/otp", body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
    assert message is None or answer.json()["msg"] == message
    assert await club.mails() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"type": "signup"}, "Type provided requires an email address"),
        ({"type": "sms"}, "Type provided requires a phone number"),
        ({"type": "sms", "email": EMAIL}, "Type provided requires a phone number"),
        ({"type": "signup", "phone": "4930123"}, "Type provided requires an email address"),
        (
            {"type": "recovery", "email": EMAIL},
            "Missing one of these types: signup, email_change, sms, phone_change",
        ),
    ],
)
async def test_what_cannot_be_sent_again_is_refused(
    club: Club, body: dict[str, str], message: str
) -> None:
    answer = await club.browser.send("POST", "/resend", body)
    assert (answer.status_code, answer.json()["msg"]) == (400, message)


async def test_a_change_of_address_is_sent_again(club: Club) -> None:
    token = (await club.member())["access_token"]
    await club.browser.send("PUT", "/user", {"email": "new@example.com"}, token=token)
    former, _ = await club.latest_code("new@example.com")
    body = {"type": "email_change", "email": EMAIL}
    assert (await club.browser.send("POST", "/resend", body)).status_code == 200
    latest, _ = await club.latest_code("new@example.com")
    statuses = []
    for digits in (former, latest):
        body = {"type": "email_change", "email": "new@example.com", "token": digits}
        statuses.append((await club.browser.send("POST", "/verify", body)).status_code)
    assert statuses == [403, 200]


async def test_addresses_that_are_not_used_are_refused(system: System) -> None:
    club = open_club(system, identity_settings=replace(QUICK, email_enabled=False))
    for path in ("/signup", "/token?grant_type=password", "/otp", "/recover", "/magiclink"):
        body = {"email": EMAIL, "password": "correct horse battery"}
        answer = await club.browser.send("POST", path, body)
        assert (answer.status_code, answer.json()["error_code"]) == (
            422,
            "email_provider_disabled",
        )
