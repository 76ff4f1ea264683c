from dataclasses import replace
from functools import partial

import httpx
import pytest
from tests.integration.capabilities.identity.club import QUICK, Club, open_club, together

from bulkhead.engine.system import System


async def let_pass(club: Club, seconds: float) -> None:
    """Let time pass for refresh tokens and sessions, by the database's clock."""
    await club.rows(
        "update auth.refresh_tokens set updated_at = updated_at - make_interval(secs => $1)",
        seconds,
    )
    await club.rows(
        "update auth.sessions set created_at = created_at - make_interval(secs => $1),"
        " refreshed_at = refreshed_at - make_interval(secs => $1),"
        " not_after = not_after - make_interval(secs => $1)",
        seconds,
    )


async def next_token(club: Club, token: str) -> str:
    answer = await club.browser.refresh(token)
    assert answer.status_code == 200, answer.text
    refreshed: str = answer.json()["refresh_token"]
    return refreshed


async def refresh_in_tab(club: Club, token: str, _tab: int) -> httpx.Response:
    return await club.browser.refresh(token)


async def test_a_refresh_token_is_exchanged_for_the_next(club: Club) -> None:
    first = await club.member()
    answer = await club.browser.refresh(first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert len(second["refresh_token"]) == 12
    old, new = (club.identity.verify(t["access_token"]).payload for t in (first, second))
    assert old["session_id"] == new["session_id"] == answer.headers["sb-auth-session-id"]
    assert old["amr"][0]["method"] == new["amr"][0]["method"]
    rows = await club.rows("select token, parent, revoked from auth.refresh_tokens order by id")
    assert [(row["token"], row["parent"], row["revoked"]) for row in rows] == [
        (first["refresh_token"], None, True),
        (second["refresh_token"], first["refresh_token"], False),
    ]


async def test_a_refresh_shows_what_changed_of_the_user(club: Club) -> None:
    tokens = await club.member()
    await club.rows('update auth.users set raw_app_meta_data = \'{"role": "staff"}\'')
    answer = (await club.browser.refresh(tokens["refresh_token"])).json()
    assert club.identity.verify(answer["access_token"]).app_role == "staff"


async def test_three_tabs_that_refresh_at_once_stay_signed_in(club: Club) -> None:
    token = (await club.member())["refresh_token"]
    for _ in range(5):
        answers = await together(3, partial(refresh_in_tab, club, token))
        assert [answer.status_code for answer in answers] == [200] * 3
        [token] = {answer.json()["refresh_token"] for answer in answers}
    assert await club.value("select count(*) from auth.refresh_tokens where not revoked") == 1
    assert await club.value("select count(*) from auth.refresh_tokens") == 6


async def test_a_client_that_missed_the_answer_gets_it_again_even_later(club: Club) -> None:
    first = (await club.member())["refresh_token"]
    second = await next_token(club, first)
    await let_pass(club, 3600)
    assert await next_token(club, first) == second


async def test_an_older_token_still_works_within_the_interval(club: Club) -> None:
    first = (await club.member())["refresh_token"]
    second = await next_token(club, first)
    third = await next_token(club, second)
    await let_pass(club, 5)
    other = await next_token(club, first)
    assert other not in {first, second, third}
    assert await next_token(club, third)


async def test_reuse_after_the_interval_ends_the_session(club: Club) -> None:
    tokens = await club.member()
    elsewhere = (await club.browser.sign_in()).json()
    first = tokens["refresh_token"]
    second = await next_token(club, first)
    third = await next_token(club, second)
    await let_pass(club, 11)
    answer = await club.browser.refresh(first)
    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "error_code": "refresh_token_already_used",
        "msg": "Invalid Refresh Token: Already Used",
    }
    for token in (third, second, first):
        again = await club.browser.refresh(token)
        assert (again.status_code, again.json()["error_code"]) == (
            400,
            "refresh_token_already_used",
        )
    seen = await club.browser.user(tokens["access_token"])
    assert seen.json()["error_code"] == "session_not_found"
    assert (await club.browser.refresh(elsewhere["refresh_token"])).status_code == 200


async def test_a_thief_and_the_owner_at_once_do_not_both_go_on(club: Club) -> None:
    stolen = (await club.member())["refresh_token"]
    second = await next_token(club, stolen)
    third = await next_token(club, second)
    await let_pass(club, 11)
    await together(2, lambda n: club.browser.refresh((stolen, third)[n]))
    live = await club.value("select count(*) from auth.refresh_tokens where not revoked")
    assert live == 0


async def test_an_unknown_refresh_token_is_refused(club: Club) -> None:
    answer = await club.browser.refresh("abcdefghijkl")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_not_found")
    assert answer.json()["msg"] == "Invalid Refresh Token: Refresh Token Not Found"


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": 7}])
async def test_a_request_without_a_refresh_token_is_refused(
    club: Club, body: dict[str, object]
) -> None:
    answer = await club.browser.send("POST", "/token?grant_type=refresh_token", body)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("limits", "age_s"),
    [({"session_ttl_s": 100.0}, 101.0), ({"session_idle_s": 50.0}, 51.0)],
)
async def test_a_session_ends_when_the_application_says_so(
    system: System, limits: dict[str, float], age_s: float
) -> None:
    settings = replace(QUICK, **limits)  # type: ignore[arg-type]
    club = open_club(system, identity_settings=settings)
    token = (await club.member())["refresh_token"]
    await let_pass(club, age_s / 2)
    token = await next_token(club, token)
    await let_pass(club, age_s)
    answer = await club.browser.refresh(token)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "session_expired")
