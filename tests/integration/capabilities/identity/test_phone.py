"""Telephone numbers: signing up and in with them, and the messages to them."""

import re
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
from tests.integration.capabilities.identity.club import (
    PASSWORD,
    QUICK,
    Club,
    open_club,
    together,
)

from bulkhead.capabilities.identity.mail.carrier import MailDelayed
from bulkhead.capabilities.identity.mail.letter import Letter
from bulkhead.capabilities.identity.settings import Limit
from bulkhead.engine.system import System

PHONE = "491711234567"
SETTINGS = replace(QUICK, phone_enabled=True, phone_test_codes={"15550001": "314159"})


@pytest.fixture
async def phones(system: System) -> Club:
    return open_club(system, identity_settings=SETTINGS)


async def latest_digits(club: Club, phone: str = PHONE) -> str:
    message = (await club.mails(phone))[0].letter
    found = re.search(r"is (\d{6})\.", message.text)
    assert found is not None
    assert (message.subject, message.html) == ("", "")
    return found[1]


async def verify(club: Club, digits: str, phone: str = PHONE, kind: str = "sms") -> httpx.Response:
    return await club.browser.send(
        "POST", "/verify", {"type": kind, "phone": phone, "token": digits}
    )


async def sign_up(club: Club, phone: str = PHONE) -> httpx.Response:
    return await club.browser.send("POST", "/signup", {"phone": phone, "password": PASSWORD})


async def member(club: Club, phone: str = PHONE) -> dict[str, str]:
    assert (await sign_up(club, phone)).status_code == 200
    answer = await verify(club, await latest_digits(club, phone), phone)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


async def test_a_number_is_confirmed_by_a_message_to_it(phones: Club) -> None:
    answer = await sign_up(phones, "+49 171 1234567")
    user = answer.json()
    assert (answer.status_code, user["phone"], user["email"]) == (200, PHONE, "")
    assert user["confirmation_sent_at"]
    assert user["app_metadata"] == {"provider": "phone", "providers": ["phone"]}
    confirmed = (await verify(phones, await latest_digits(phones))).json()
    claims = phones.identity.verify(confirmed["access_token"]).payload
    assert (claims["phone"], claims["email"], claims["amr"][0]["method"]) == (PHONE, "", "otp")
    assert confirmed["user"]["phone_confirmed_at"] == confirmed["user"]["confirmed_at"]
    [identity] = confirmed["user"]["identities"]
    assert identity["provider"] == "phone"
    assert identity["identity_data"] == {
        "sub": user["id"],
        "phone": PHONE,
        "phone_verified": True,
        "email_verified": False,
    }


async def test_a_number_that_is_not_confirmed_does_not_sign_in(phones: Club) -> None:
    await sign_up(phones)
    body = {"phone": PHONE, "password": PASSWORD}
    answer = await phones.browser.send("POST", "/token?grant_type=password", body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "phone_not_confirmed")


async def test_a_number_and_a_password_sign_in(phones: Club) -> None:
    await member(phones)
    body = {"phone": f"+{PHONE}", "password": PASSWORD}
    answer = await phones.browser.send("POST", "/token?grant_type=password", body)
    assert answer.status_code == 200
    wrong = {"phone": PHONE, "password": "wrong"}
    answer = await phones.browser.send("POST", "/token?grant_type=password", wrong)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_credentials")


async def test_a_number_that_has_an_account_gets_an_answer_of_the_same_form(phones: Club) -> None:
    tokens = await member(phones)
    before = len(await phones.mails())
    answer = (await sign_up(phones)).json()
    assert answer["id"] != phones.identity.verify(tokens["access_token"]).subject
    assert (answer["phone"], answer["identities"], answer["role"]) == (PHONE, [], "")
    assert len(await phones.mails()) == before


async def test_a_code_alone_signs_up_and_in(phones: Club) -> None:
    for _ in range(2):
        answer = await phones.browser.send("POST", "/otp", {"phone": f"+{PHONE}"})
        assert answer.status_code == 200
        assert UUID(answer.json()["message_id"]).version == 7
        assert (await verify(phones, await latest_digits(phones))).status_code == 200
    assert await phones.value("select count(*) from auth.users") == 1
    assert await phones.value("select encrypted_password from auth.users") is None


async def test_a_code_counts_once_and_of_guesses_at_once_few_are_compared(phones: Club) -> None:
    await sign_up(phones)
    digits = await latest_digits(phones)
    wrong = f"{(int(digits) + 1) % 10**6:06}"
    answers = await together(10, lambda _: verify(phones, wrong))
    assert {answer.status_code for answer in answers} == {403}
    assert (await verify(phones, digits)).status_code == 403
    await sign_up(phones)
    digits = await latest_digits(phones)
    answers = await together(4, lambda _: verify(phones, digits))
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]


async def test_a_code_of_a_message_is_old_after_a_minute(phones: Club) -> None:
    await sign_up(phones)
    await phones.rows("update auth.one_time_tokens set created_at = now() - interval '61 s'")
    answer = await verify(phones, await latest_digits(phones))
    assert (answer.status_code, answer.json()["error_code"]) == (403, "otp_expired")


async def test_the_code_of_a_message_is_no_link_and_no_code_of_a_mail(phones: Club) -> None:
    await sign_up(phones)
    digits = await latest_digits(phones)
    for kind in ("signup", "email", "recovery"):
        assert (await verify(phones, digits, kind=kind)).status_code == 403
    body = {"type": "sms", "email": "ada@example.com", "token": digits}
    assert (await phones.browser.send("POST", "/verify", body)).status_code == 403
    assert (await verify(phones, digits)).status_code == 200


async def test_a_number_for_tests_gets_no_message_and_has_its_code(phones: Club) -> None:
    answer = await phones.browser.send("POST", "/otp", {"phone": "15550001"})
    assert answer.json() == {"message_id": "test-otp"}
    assert await phones.mails() == []
    assert (await verify(phones, "271828", "15550001")).status_code == 403
    assert (await verify(phones, "314159", "15550001")).status_code == 200
    assert (await verify(phones, "314159", "15550001")).status_code == 403


async def test_a_number_is_changed_by_a_message_to_the_new_one(phones: Club) -> None:
    token = (await member(phones))["access_token"]
    answer = await phones.browser.send("PUT", "/user", {"phone": "+4930123"}, token=token)
    assert (answer.json()["phone"], answer.json()["new_phone"]) == (PHONE, "4930123")
    assert answer.json()["phone_change_sent_at"]
    digits = await latest_digits(phones, "4930123")
    assert (await verify(phones, digits, "4930123")).status_code == 403
    changed = (await verify(phones, digits, "4930123", "phone_change")).json()["user"]
    assert (changed["phone"], changed.get("new_phone")) == ("4930123", None)
    assert changed["identities"][0]["identity_data"]["phone"] == "4930123"


async def test_a_number_of_somebody_else_is_refused(phones: Club) -> None:
    token = (await member(phones))["access_token"]
    await member(phones, "4930123")
    answer = await phones.browser.send("PUT", "/user", {"phone": "4930123"}, token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "phone_exists")


async def test_of_two_users_who_want_one_number_one_gets_it(phones: Club) -> None:
    first = (await member(phones, "4930111"))["access_token"]
    second = (await member(phones, "4930222"))["access_token"]
    codes = []
    for token in (first, second):
        await phones.browser.send("PUT", "/user", {"phone": PHONE}, token=token)
        codes.append(await latest_digits(phones))
    answers = await together(2, lambda n: verify(phones, codes[n], PHONE, "phone_change"))
    assert sorted(answer.status_code for answer in answers) == [200, 422]
    assert await phones.value("select count(*) from auth.users where phone = $1", PHONE) == 1


@pytest.mark.parametrize("kind", ["sms", "phone_change"])
async def test_a_message_is_sent_again(phones: Club, kind: str) -> None:
    if kind == "sms":
        await sign_up(phones)
    else:
        token = (await member(phones))["access_token"]
        await phones.browser.send("PUT", "/user", {"phone": "4930123"}, token=token)
    answer = await phones.browser.send("POST", "/resend", {"type": kind, "phone": PHONE})
    assert UUID(answer.json()["message_id"]).version == 7
    target = PHONE if kind == "sms" else "4930123"
    assert (await verify(phones, await latest_digits(phones, target), target, kind)).is_success


async def test_there_is_nothing_to_send_again_to_whoever_is_confirmed(phones: Club) -> None:
    await member(phones)
    for phone in (PHONE, "4930123"):
        answer = await phones.browser.send("POST", "/resend", {"type": "sms", "phone": phone})
        assert (answer.status_code, answer.json()) == (200, {})
    assert len(await phones.mails("4930123")) == 0


async def test_messages_to_one_number_are_limited(system: System) -> None:
    limits = replace(SETTINGS.limits, sms=Limit("sms", 1, 60.0))
    club = open_club(system, identity_settings=replace(SETTINGS, limits=limits))
    assert (await sign_up(club)).status_code == 200
    answer = await club.browser.send("POST", "/otp", {"phone": PHONE})
    assert (answer.status_code, answer.json()["error_code"]) == (429, "over_sms_send_rate_limit")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize("phone", ["x", "0171", "+", "+49171x", "1", "4" * 16, "١٢٣٤٥"])
async def test_what_is_no_number_is_refused(phones: Club, phone: str) -> None:
    answer = await sign_up(phones, phone)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
    assert answer.json()["msg"] == "Invalid phone number format (E.164 required)"


@pytest.mark.parametrize("path", ["/signup", "/token?grant_type=password", "/otp"])
async def test_where_numbers_are_not_used_they_are_refused(club: Club, path: str) -> None:
    answer = await club.browser.send("POST", path, {"phone": PHONE, "password": PASSWORD})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "phone_provider_disabled")


async def test_a_number_that_counts_at_once_signs_up_at_once(system: System) -> None:
    settings = replace(SETTINGS, phone_autoconfirm=True)
    club = open_club(system, identity_settings=settings)
    answer = await sign_up(club)
    assert answer.json()["user"]["phone_confirmed_at"]
    again = await sign_up(club)
    assert (again.status_code, again.json()["error_code"]) == (422, "user_already_exists")
    token = answer.json()["access_token"]
    changed = await club.browser.send("PUT", "/user", {"phone": "4930123"}, token=token)
    assert changed.json()["phone"] == "4930123"


class Operator:
    """Somebody who carries text messages, or does not."""

    keeps_mail = False

    def __init__(self) -> None:
        self.carried: list[Letter] = []
        self.is_busy = False

    async def carry(self, mail_id: UUID, letter: Letter) -> None:
        assert mail_id.version == 7
        if self.is_busy:
            raise MailDelayed(what="SMS", reason="busy")
        self.carried.append(letter)


async def test_an_operator_carries_the_messages_and_nothing_is_left_to_read(
    system: System,
) -> None:
    operator = Operator()
    club = open_club(system, identity_settings=SETTINGS, messenger=operator)
    body = {"phone": PHONE, "password": PASSWORD, "channel": "whatsapp"}
    await club.browser.send("POST", "/signup", body)
    await club.browser.sign_up()
    operator.is_busy = True
    await club.identity.mailer.deliver_due()
    operator.is_busy = False
    await club.rows("update private.mail_queue set due_at = now()")
    await club.identity.mailer.deliver_due()
    [message] = operator.carried
    assert (message.recipient, message.channel) == (PHONE, "whatsapp")
    assert (await club.mails(PHONE))[0].letter.text == ""
    shown = await club.browser.http.get("/club/inbox", headers={"accept": "application/json"})
    assert [mail["to"] for mail in shown.json()["mails"]] == ["ada@example.com"]


async def test_the_inbox_shows_messages_beside_the_mail(phones: Club) -> None:
    await sign_up(phones)
    shown = await phones.browser.http.get(
        f"/club/inbox?to=%2B{PHONE}", headers={"accept": "application/json"}
    )
    [message] = shown.json()["mails"]
    assert (message["channel"], message["to"]) == ("sms", PHONE)
    page = await phones.browser.http.get("/club/inbox")
    assert "Text message" in page.text
