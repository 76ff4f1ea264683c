# ruff: noqa: S106 - made-up passwords are what this file is about
import asyncio
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.capabilities.identity.club import (
    BASE,
    PASSWORD,
    QUICK,
    Club,
    fragment,
    open_club,
    together,
)
from tests.integration.waiting import until_it_waits

from bulkhead.capabilities.identity.codes.service import delete_codes
from bulkhead.capabilities.identity.model import CodeKind
from bulkhead.capabilities.identity.users.service import lock_user
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.system import System

EMAIL = "ada@example.com"


def other_digits(digits: str, number: int = 1) -> str:
    return f"{(int(digits) + number) % 1_000_000:06}"


def local(link: str) -> str:
    """The path of a link of a mail, for the browser of the test."""
    parts = urlsplit(link)
    assert link.startswith("http://127.0.0.1:8000/club/auth/v1/verify?")
    return f"{parts.path.removeprefix('/club/auth/v1')}?{parts.query}"


async def test_the_digits_of_the_mail_confirm_and_sign_in(club: Club) -> None:
    await club.browser.sign_up()
    digits, _ = await club.latest_code()
    body = {"type": "signup", "email": "ADA@example.com", "token": digits}
    answer = await club.browser.send("POST", "/verify", body)
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens["user"]["email_confirmed_at"] == tokens["user"]["confirmed_at"]
    assert tokens["user"]["identities"][0]["identity_data"]["email_verified"] is True
    claims = club.identity.verify(tokens["access_token"])
    assert claims.payload["amr"][0]["method"] == "otp"
    again = await club.browser.send("POST", "/verify", body)
    assert (again.status_code, again.json()["error_code"]) == (403, "otp_expired")
    assert again.json()["msg"] == "Token has expired or is invalid"


async def test_the_link_of_the_mail_leads_on_with_tokens_in_the_fragment(club: Club) -> None:
    await club.browser.sign_up()
    _, link = await club.latest_code()
    answer = await club.browser.send("GET", local(link))
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert location.startswith("http://127.0.0.1:8000#access_token=")
    values = fragment(location)
    assert set(values) == {
        *("access_token", "expires_at", "expires_in", "refresh_token", "sb", "token_type"),
        "type",
    }
    assert values["type"] == "signup"
    assert club.identity.verify(values["access_token"]).payload["email"] == EMAIL
    assert answer.headers["referrer-policy"] == "no-referrer"
    again = await club.browser.send("GET", local(link))
    assert fragment(again.headers["location"]) == {
        "error": "access_denied",
        "error_code": "otp_expired",
        "error_description": "Email link is invalid or has expired",
        "sb": "",
    }


async def test_the_secret_of_the_link_can_be_posted(club: Club) -> None:
    await club.browser.sign_up()
    _, link = await club.latest_code()
    secret = parse_qs(urlsplit(link).query)["token"][0]
    body = {"type": "email", "token_hash": secret}
    assert (await club.browser.send("POST", "/verify", body)).status_code == 200


async def test_of_many_who_follow_one_link_one_gets_in(club: Club) -> None:
    await club.browser.sign_up()
    _, link = await club.latest_code()
    answers = await together(10, lambda _: club.browser.send("GET", local(link)))
    got_in = ["access_token" in fragment(each.headers["location"]) for each in answers]
    assert Counter(got_in) == {True: 1, False: 9}
    assert await club.value("select count(*) from auth.sessions") == 1


async def test_no_more_than_five_digits_are_tried_even_at_once(club: Club) -> None:
    await club.browser.sign_up()
    digits, _ = await club.latest_code()
    body = {"type": "signup", "email": EMAIL}
    guesses = [other_digits(digits, number) for number in range(1, 21)]
    answers = await together(
        20, lambda n: club.browser.send("POST", "/verify", {**body, "token": guesses[n]})
    )
    assert {answer.status_code for answer in answers} == {403}
    assert await club.value("select failed_attempts from auth.one_time_tokens") == 5
    right = await club.browser.send("POST", "/verify", {**body, "token": digits})
    assert (right.status_code, right.json()["error_code"]) == (403, "otp_expired")


async def test_the_fifth_attempt_may_still_be_right(club: Club) -> None:
    await club.browser.sign_up()
    digits, _ = await club.latest_code()
    body = {"type": "signup", "email": EMAIL}
    for number in range(1, 5):
        wrong = {**body, "token": other_digits(digits, number)}
        assert (await club.browser.send("POST", "/verify", wrong)).status_code == 403
    assert (
        await club.browser.send("POST", "/verify", {**body, "token": digits})
    ).status_code == 200


async def test_a_code_expires(club: Club) -> None:
    await club.browser.sign_up()
    digits, link = await club.latest_code()
    await club.rows("update auth.one_time_tokens set created_at = created_at - interval '3601 s'")
    body = {"type": "signup", "email": EMAIL, "token": digits}
    assert (await club.browser.send("POST", "/verify", body)).status_code == 403
    answer = await club.browser.send("GET", local(link))
    assert fragment(answer.headers["location"])["error_code"] == "otp_expired"


async def test_the_digits_of_one_user_do_not_open_another(club: Club) -> None:
    await club.browser.sign_up()
    digits, _ = await club.latest_code()
    await club.browser.sign_up("bob@example.com")
    body = {"type": "signup", "email": "bob@example.com", "token": digits}
    other, _ = await club.latest_code("bob@example.com")
    if digits != other:
        assert (await club.browser.send("POST", "/verify", body)).status_code == 403


async def test_a_code_is_good_for_its_purpose_only(club: Club) -> None:
    await club.member()
    await club.browser.send("POST", "/recover", {"email": EMAIL})
    digits, link = await club.latest_code()
    body = {"type": "signup", "email": EMAIL, "token": digits}
    assert (await club.browser.send("POST", "/verify", body)).status_code == 403
    changed = local(link).replace("type=recovery", "type=email_change")
    answer = await club.browser.send("GET", changed)
    assert fragment(answer.headers["location"])["error_code"] == "otp_expired"
    assert (await club.browser.send("GET", local(link))).status_code == 303


async def test_a_forgotten_password_is_set_anew(club: Club) -> None:
    await club.member()
    asked = await club.browser.send("POST", "/recover", {"email": EMAIL})
    assert (asked.status_code, asked.json()) == (200, {})
    _, link = await club.latest_code()
    answer = await club.browser.send("GET", local(link))
    values = fragment(answer.headers["location"])
    assert values["type"] == "recovery"
    changed = await club.browser.send(
        "PUT", "/user", {"password": "a new password"}, token=values["access_token"]
    )
    assert changed.status_code == 200
    assert (await club.browser.sign_in()).status_code == 400
    assert (await club.browser.sign_in(password="a new password")).status_code == 200


async def test_nobody_learns_from_a_recovery_who_has_an_account(club: Club) -> None:
    await club.member()
    known = await club.browser.send("POST", "/recover", {"email": EMAIL})
    unknown = await club.browser.send("POST", "/recover", {"email": "nobody@example.com"})
    assert (known.status_code, known.text) == (unknown.status_code, unknown.text) == (200, "{}")
    assert dict(known.headers) == dict(unknown.headers)
    assert await club.mails("nobody@example.com") == []
    assert await club.value("select count(*) from auth.one_time_tokens") == 1
    log = await club.rows(
        "select payload ->> 'actor_id' as who from auth.audit_log_entries "
        "where payload ->> 'action' = 'user_recovery_requested' order by created_at"
    )
    assert log[0]["who"] != log[1]["who"] == "00000000-0000-0000-0000-000000000000"


async def test_recovering_an_unconfirmed_account_drops_the_password_of_whoever_made_it(
    club: Club,
) -> None:
    await club.browser.sign_up(password="the attacker's password")
    await club.browser.send("POST", "/recover", {"email": EMAIL})
    _, link = await club.latest_code()
    answer = await club.browser.send("GET", local(link))
    assert "access_token" in fragment(answer.headers["location"])
    stolen = await club.browser.sign_in(password="the attacker's password")
    assert stolen.json()["error_code"] == "invalid_credentials"


@pytest.mark.parametrize("kind", ["signup", "email_change"])
async def test_sending_again_says_nothing_about_accounts(club: Club, kind: str) -> None:
    await club.member()
    sent = len(await club.mails())
    for email in (EMAIL, "nobody@example.com"):
        answer = await club.browser.send("POST", "/resend", {"type": kind, "email": email})
        assert (answer.status_code, answer.json()) == (200, {})
    assert len(await club.mails()) == sent


async def test_a_confirmation_sent_again_replaces_the_one_before(club: Club) -> None:
    await club.browser.sign_up()
    _, first = await club.latest_code()
    answer = await club.browser.send("POST", "/resend", {"type": "signup", "email": EMAIL})
    assert answer.status_code == 200
    _, second = await club.latest_code()
    old = await club.browser.send("GET", local(first))
    assert fragment(old.headers["location"])["error_code"] == "otp_expired"
    new = await club.browser.send("GET", local(second))
    assert "access_token" in fragment(new.headers["location"])


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("http://127.0.0.1:8000/welcome?a=b", "http://127.0.0.1:8000/welcome?a=b"),
        ("https://app.example.com/after/login", "https://app.example.com/after/login"),
        ("clubapp://signed-in", "clubapp://signed-in"),
        ("https://evil.example", BASE),
        ("https://app.example.com.evil.example/after/", BASE),
        ("https://app.example.com@evil.example/after/", BASE),
        ("http://127.0.0.1:8000@evil.example/", BASE),
        ("//evil.example", BASE),
        ("javascript:alert(1)", BASE),
    ],
)
async def test_a_link_leads_only_where_the_operator_allows(
    system: System, wanted: str, leads_to: str
) -> None:
    settings = replace(
        QUICK,
        redirect_urls=("https://app.example.com/after/*", "clubapp://signed-in"),
    )
    club = open_club(system, identity_settings=settings)
    await club.browser.http.post(
        "/club/auth/v1/signup",
        params={"redirect_to": wanted},
        json={"email": EMAIL, "password": PASSWORD},
    )
    _, link = await club.latest_code()
    assert parse_qs(urlsplit(link).query)["redirect_to"] == [leads_to]
    forged = parse_qs(urlsplit(link).query)["token"][0]
    answer = await club.browser.http.get(
        "/club/auth/v1/verify",
        params={"token": forged, "type": "signup", "redirect_to": wanted},
    )
    assert answer.headers["location"].startswith(f"{leads_to}#")


async def test_a_new_address_needs_the_consent_of_both(club: Club) -> None:
    tokens = await club.member()
    answer = await club.browser.send(
        "PUT", "/user", {"email": "new@example.com"}, token=tokens["access_token"]
    )
    assert answer.status_code == 200
    assert answer.json()["email"] == EMAIL
    assert answer.json()["new_email"] == "new@example.com"
    new_digits, _ = await club.latest_code("new@example.com")
    _, old_link = await club.latest_code(EMAIL)
    body = {"type": "email_change", "email": "new@example.com", "token": new_digits}
    half = await club.browser.send("POST", "/verify", body)
    assert half.status_code == 200
    assert half.json()["msg"].startswith("Confirmation link accepted.")
    assert await club.value("select email from auth.users") == EMAIL
    done = await club.browser.send("GET", local(old_link))
    assert fragment(done.headers["location"])["type"] == "email_change"
    row = (await club.rows("select email, email_change from auth.users"))[0]
    assert (row["email"], row["email_change"]) == ("new@example.com", "")
    assert await club.value("select email from auth.identities") == "new@example.com"
    assert (await club.browser.sign_in("new@example.com")).status_code == 200


async def test_with_autoconfirm_the_new_address_agrees_alone(open_door: Club) -> None:
    tokens = (await open_door.browser.sign_up()).json()
    await open_door.browser.send(
        "PUT", "/user", {"email": "new@example.com"}, token=tokens["access_token"]
    )
    digits, _ = await open_door.latest_code("new@example.com")
    body = {"type": "email_change", "email": "new@example.com", "token": digits}
    answer = await open_door.browser.send("POST", "/verify", body)
    assert answer.json()["user"]["email"] == "new@example.com"


async def test_an_address_taken_meanwhile_is_not_taken_over(club: Club) -> None:
    tokens = await club.member()
    await club.browser.send(
        "PUT", "/user", {"email": "new@example.com"}, token=tokens["access_token"]
    )
    new_digits, _ = await club.latest_code("new@example.com")
    old_digits, _ = await club.latest_code(EMAIL)
    await club.member("new@example.com")
    for email, digits in ((EMAIL, old_digits), ("new@example.com", new_digits)):
        body = {"type": "email_change", "email": email, "token": digits}
        answer = await club.browser.send("POST", "/verify", body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "email_exists")
    assert await club.value("select count(*) from auth.users where email = $1", EMAIL) == 1


async def test_a_recovery_sent_to_a_former_address_is_void(club: Club) -> None:
    await club.member()
    await club.browser.send("POST", "/recover", {"email": EMAIL})
    _, link = await club.latest_code()
    await club.rows("update auth.users set email = 'moved@example.com'")
    answer = await club.browser.send("GET", local(link))
    assert fragment(answer.headers["location"])["error_code"] == "otp_expired"


@pytest.mark.parametrize(
    "body",
    [
        {"token": "123456", "email": EMAIL},
        {"type": "signup"},
        {"type": "signup", "token": "123456"},
        {"type": "signup", "token": "123456", "token_hash": "x", "email": EMAIL},
        {"type": "signup", "token_hash": "x", "email": EMAIL},
        {"type": "passport", "token_hash": "x"},
        {"type": "sms", "token": "123456", "phone": "x"},
    ],
)
async def test_a_malformed_verification_is_refused(club: Club, body: dict[str, str]) -> None:
    answer = await club.browser.send("POST", "/verify", body)
    assert answer.status_code in {400, 422}
    assert answer.json()["error_code"] == "validation_failed"


@pytest.mark.parametrize("by_link", [True, False])
async def test_a_code_waits_for_the_change_of_password_that_voids_it(
    club: Club, *, by_link: bool
) -> None:
    await club.browser.sign_up()
    digits, link = await club.latest_code()
    user_id = await club.value("select id from auth.users")
    body = {"type": "signup", "email": EMAIL, "token": digits}
    if by_link:
        following = club.browser.send("GET", local(link))
    else:
        following = club.browser.send("POST", "/verify", body)
    async with asyncio.TaskGroup() as group, club.identity.users.transaction(SERVICE) as tx:
        await lock_user(tx, user_id)
        task = group.create_task(following)
        await until_it_waits(task, tx)
        await delete_codes(tx, user_id, CodeKind)
    assert "otp_expired" in task.result().text + task.result().headers.get("location", "")
