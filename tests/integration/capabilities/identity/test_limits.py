# ruff: noqa: S106 - made-up passwords are what this file is about
from collections import Counter
from dataclasses import replace

import pytest
from tests.integration.capabilities.identity.club import (
    GENEROUS,
    PASSWORD,
    QUICK,
    Club,
    open_club,
    together,
)

from bulkhead.capabilities.identity import Limit, Limits
from bulkhead.capabilities.identity.errors import RateLimited
from bulkhead.capabilities.identity.limits.service import take
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System

TEN = Limit("ten", 10, 36_000.0)
"""So seldom that none comes back while a slow machine tries."""


def limited(system: System, **limits: Limit) -> Club:
    settings = replace(QUICK, limits=replace(GENEROUS, **limits))
    return open_club(system, identity_settings=settings)


async def let_pass(club: Club, seconds: float) -> None:
    await club.rows(
        "update private.rate_limits set full_at = full_at - make_interval(secs => $1)", seconds
    )


async def allowed(club: Club, limit: Limit, subject: str = "somebody") -> bool:
    try:
        async with club.identity.users.transaction(SERVICE) as tx:
            await take(tx, limit, subject)
    except RateLimited:
        return False
    return True


async def test_of_twenty_clients_at_once_exactly_the_limit_passes(club: Club) -> None:
    passed = await together(20, lambda _: allowed(club, TEN))
    assert Counter(passed) == {True: 10, False: 10}


async def test_the_limit_comes_back_one_by_one(club: Club) -> None:
    for _ in range(10):
        assert await allowed(club, TEN)
    assert not await allowed(club, TEN)
    await let_pass(club, 3601)
    assert [await allowed(club, TEN) for _ in range(2)] == [True, False]
    await let_pass(club, 100_000)
    assert Counter([await allowed(club, TEN) for _ in range(12)]) == {True: 10, False: 2}


async def test_everybody_has_a_limit_of_their_own(club: Club) -> None:
    one = Limit("one", 1, 60.0)
    assert await allowed(club, one, "ada")
    assert await allowed(club, one, "bob")
    assert await allowed(club, replace(one, name="other"), "ada")
    assert not await allowed(club, one, "ada")


async def test_a_refusal_says_when_to_come_back(club: Club) -> None:
    for _ in range(10):
        assert await allowed(club, TEN)
    async with club.identity.users.transaction(SERVICE) as tx:
        with pytest.raises(RateLimited) as caught:
            await take(tx, TEN, "somebody")
    assert 3000 < caught.value.details["retry_after_s"] <= 3600  # type: ignore[operator]


async def test_sign_ins_of_one_client_are_limited_exactly(system: System) -> None:
    club = limited(system, sign_in=TEN)
    await club.member()
    answers = await together(20, lambda _: club.browser.sign_in())
    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 10}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error_code"] == "over_request_rate_limit"
    assert refused.json()["msg"] == "Request rate limit reached"
    assert 3000 < int(refused.headers["retry-after"]) <= 3600


async def test_two_processes_share_a_limit(system: System) -> None:
    here, there = (limited(system, sign_in=TEN) for _ in range(2))
    answers = await together(20, lambda n: (here, there)[n % 2].browser.sign_in())
    assert Counter(answer.status_code for answer in answers) == {400: 10, 429: 10}


@pytest.mark.parametrize(
    ("limit", "path", "body"),
    [
        ("sign_up", "/signup", {"email": "{n}@example.com", "password": PASSWORD}),
        ("sign_in", "/token?grant_type=password", {"email": "{n}@example.com", "password": "x"}),
        ("refresh", "/token?grant_type=refresh_token", {"refresh_token": "unknownxxx{n}"}),
        ("verify", "/verify", {"type": "signup", "token": "{n}", "email": "{n}@example.com"}),
        ("request_mail", "/recover", {"email": "{n}@example.com"}),
        ("request_mail", "/resend", {"type": "signup", "email": "{n}@example.com"}),
    ],
)
async def test_whatever_one_client_can_try_is_limited(
    system: System, limit: str, path: str, body: dict[str, str]
) -> None:
    club = limited(system, **{limit: Limit(limit, 2, 300.0)})
    statuses = []
    for number in range(3):
        filled = {name: value.replace("{n}", f"a{number}") for name, value in body.items()}
        statuses.append((await club.browser.send("POST", path, filled)).status_code)
    assert [status == 429 for status in statuses] == [False, False, True]


async def test_many_clients_that_guess_one_password_share_a_limit(system: System) -> None:
    club = limited(system, password_failures=Limit("password_failures", 5, 3600.0))
    await club.member()
    statuses = [(await club.browser.sign_in(password="wrong")).status_code for _ in range(6)]
    assert statuses == [400] * 5 + [429]
    assert (await club.browser.sign_in("bob@example.com")).status_code == 400


async def test_the_right_password_clears_the_failures(system: System) -> None:
    club = limited(system, password_failures=Limit("password_failures", 3, 3600.0))
    await club.member()
    for _ in range(3):
        assert (await club.browser.sign_in(password="wrong")).status_code == 400
        assert (await club.browser.sign_in()).status_code == 200


@pytest.mark.parametrize("path", ["/recover", "/resend", "/signup"])
@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
async def test_one_address_gets_one_mail_a_minute_whoever_it_is(
    system: System, path: str, email: str
) -> None:
    club = limited(system, mail=Limits().mail)
    await club.member()
    await let_pass(club, 61)
    body = {"email": email, "type": "signup", "password": PASSWORD}
    begun_s = monotonic_s()
    assert (await club.browser.send("POST", path, body)).status_code == 200
    answer = await club.browser.send("POST", path, body)
    passed_s = monotonic_s() - begun_s
    assert answer.status_code == 429
    assert answer.json()["error_code"] == "over_email_send_rate_limit"
    wait_s = int(answer.headers["retry-after"])
    assert 60 - passed_s <= wait_s <= 60
    assert f"after {wait_s} seconds" in answer.json()["msg"]
    await let_pass(club, 61)
    assert (await club.browser.send("POST", path, body)).status_code == 200


async def test_whoever_has_just_confirmed_an_address_may_forget_the_password(
    system: System,
) -> None:
    club = limited(system, mail=Limits().mail)
    await club.member()
    body = {"email": "ada@example.com"}
    assert (await club.browser.send("POST", "/recover", body)).status_code == 200
    assert (await club.browser.send("POST", "/otp", body)).status_code == 429


async def test_all_mails_to_one_address_count_for_the_day(system: System) -> None:
    club = limited(system, mail_daily=Limit("mail_daily", 2, 86400.0))
    await club.member()
    body = {"email": "ada@example.com"}
    statuses = [
        (await club.browser.send("POST", path, body)).status_code for path in ("/recover", "/otp")
    ]
    assert statuses == [200, 429]


async def test_a_forged_forwarded_address_does_not_evade_a_limit(system: System) -> None:
    club = limited(system, sign_in=Limit("sign_in", 2, 300.0))
    statuses = []
    for number in range(3):
        club.browser.headers["x-forwarded-for"] = f"203.0.113.{number}"
        statuses.append((await club.browser.sign_in()).status_code)
    assert statuses == [400, 400, 429]


async def test_behind_a_trusted_proxy_each_client_has_its_own_limit(system: System) -> None:
    settings = Settings(home=system.settings.home, trusted_proxies=("10.0.0.0/8",))
    club = open_club(
        system,
        settings=settings,
        peer="10.1.2.3",
        identity_settings=replace(
            QUICK, limits=replace(GENEROUS, sign_in=Limit("sign_in", 1, 300.0))
        ),
    )
    seen = []
    for forwarded in ("203.0.113.1", "203.0.113.2", "198.51.100.7, 203.0.113.1"):
        club.browser.headers["x-forwarded-for"] = forwarded
        seen.append((await club.browser.sign_in()).status_code)
    assert seen == [400, 400, 429], "only what the proxy itself wrote counts"


async def test_all_of_an_ipv6_site_is_one_client(system: System) -> None:
    club = limited(system, sign_in=Limit("sign_in", 1, 300.0))
    other = open_club(system, peer="2001:db8:1:2:ffff::9", identity_settings=club.identity.settings)
    first = open_club(system, peer="2001:db8:1:2::1", identity_settings=club.identity.settings)
    assert (await first.browser.sign_in()).status_code == 400
    assert (await other.browser.sign_in()).status_code == 429
