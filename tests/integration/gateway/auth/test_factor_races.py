"""Second factors over HTTP, many requests at once."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.integration.capabilities.identity.club import QUICK, Club, together
from tests.integration.gateway.auth.office import (
    challenge,
    claims_of,
    enroll,
    refusal,
    verify,
)

from bulkhead.capabilities.identity import Client
from bulkhead.capabilities.identity.sessions.service import rotate_refresh_token
from bulkhead.engine.connections.claims import SERVICE


async def test_of_many_answers_to_one_challenge_one_counts(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked, code = await challenge(club, token, factor.id), factor.code()
    answers = await together(8, lambda _: verify(club, token, factor.id, asked, code))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    assert await club.value("select count(*) from auth.refresh_tokens") == 1


async def test_of_many_challenges_with_one_code_one_is_answered(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked = [await challenge(club, token, factor.id) for _ in range(6)]
    code = factor.code()
    answers = await together(6, lambda number: verify(club, token, factor.id, asked[number], code))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 5


async def test_of_many_enrolments_under_one_name_one_is_made(club: Club) -> None:
    member = await club.member()
    body = {"factor_type": "totp", "friendly_name": "Phone"}
    answers = await together(
        8, lambda _: club.browser.send("POST", "/factors", body, token=member["access_token"])
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    assert await club.value("select count(*) from auth.mfa_factors") == 1


async def test_challenges_at_once_do_not_disturb_one_another(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    asked = await together(16, lambda _: challenge(club, member["access_token"], factor.id))
    assert len(set(asked)) == 16


async def test_guesses_at_once_count_each(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked = await challenge(club, token, factor.id)
    answers = await together(
        12, lambda _: verify(club, token, factor.id, asked, factor.wrong_code())
    )
    found = [refusal(answer)[1] for answer in answers]
    assert found.count("mfa_verification_failed") == QUICK.code_attempts
    assert found.count("mfa_challenge_expired") == 12 - QUICK.code_attempts


async def test_refreshing_while_a_factor_is_verified_leaves_one_way_on(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked = await challenge(club, token, factor.id)

    async def one(number: int) -> Any:
        if number:
            return await club.browser.refresh(member["refresh_token"])
        return await verify(club, token, factor.id, asked, factor.code())

    verified, *refreshed = await together(6, one)
    assert verified.status_code == 200, verified.text
    assert {answer.status_code for answer in refreshed} <= {200, 400}
    for answer in refreshed:
        if answer.status_code == 200:
            assert claims_of(answer.json()["access_token"])["aal"] == "aal1"
    assert (await club.browser.refresh(verified.json()["refresh_token"])).status_code == 200


async def test_a_refresh_under_way_does_not_come_by_the_second_proof(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked = await challenge(club, token, factor.id)
    async with club.identity.users.transaction(SERVICE) as tx:
        rotated = await rotate_refresh_token(
            tx, member["refresh_token"], Client(), club.identity.settings
        )
        assert rotated is not None
        task = asyncio.create_task(verify(club, token, factor.id, asked, factor.code()))
        while not await club.value("select count(*) from pg_locks where not granted"):
            assert not task.done()
    assert (await task).status_code == 200
    answer = await club.browser.refresh(rotated.session.refresh_token)
    assert refusal(answer) == (400, "refresh_token_not_found")
