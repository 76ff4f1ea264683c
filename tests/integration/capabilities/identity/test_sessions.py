"""How many sessions a user has, where they are good, and what is logged about them."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from tests.integration.capabilities.identity.club import QUICK, Club, open_club

from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.engine.system import System


async def test_a_newer_sign_in_ends_the_older_session_where_there_is_one_only(
    system: System,
) -> None:
    club = open_club(system, identity_settings=replace(QUICK, session_single=True))
    older = (await club.member())["refresh_token"]
    assert (await club.browser.refresh(older)).status_code == 200
    newer = (await club.browser.sign_in()).json()["refresh_token"]
    older = await club.value("select token from auth.refresh_tokens where parent = $1", older)
    answer = await club.browser.refresh(older)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "session_expired")
    assert answer.json()["msg"] == (
        "Invalid Refresh Token: Session Expired (Revoked by Newer Login)"
    )
    assert (await club.browser.refresh(newer)).status_code == 200


async def test_the_older_session_goes_on_once_the_newer_one_ended(system: System) -> None:
    club = open_club(system, identity_settings=replace(QUICK, session_single=True))
    older = (await club.member())["refresh_token"]
    newer = (await club.browser.sign_in()).json()["access_token"]
    await club.browser.send("POST", "/logout?scope=local", token=newer)
    assert (await club.browser.refresh(older)).status_code == 200


async def test_others_do_not_end_it(system: System) -> None:
    club = open_club(system, identity_settings=replace(QUICK, session_single=True))
    token = (await club.member())["refresh_token"]
    await club.member("bob@example.com")
    assert (await club.browser.refresh(token)).status_code == 200


async def test_a_session_that_rested_too_long_says_so(system: System) -> None:
    club = open_club(system, identity_settings=replace(QUICK, session_idle_s=60.0))
    token = (await club.member())["refresh_token"]
    await club.rows("update auth.sessions set created_at = now() - interval '61 s'")
    answer = await club.browser.refresh(token)
    assert answer.json()["msg"] == "Invalid Refresh Token: Session Expired (Inactivity)"


async def test_tokens_name_the_databases_they_are_good_at_where_asked(system: System) -> None:
    settings = replace(QUICK, audiences=("club/orders", "club/users"))
    club = open_club(system, identity_settings=settings)
    token = (await club.member())["access_token"]
    payload = club.identity.verify(token).payload
    assert payload["aud"] == ["authenticated", "club/orders", "club/users"]
    assert (await club.browser.user(token)).status_code == 200
    elsewhere = open_club(system)
    with pytest.raises(TokenInvalid):
        elsewhere.identity.verify(token)


async def test_tokens_from_before_the_choice_stay_good(system: System) -> None:
    before = open_club(system)
    token = (await before.member())["access_token"]
    club = open_club(system, identity_settings=replace(QUICK, audiences=("club/orders",)))
    assert (await club.browser.user(token)).status_code == 200


async def test_a_refresh_token_of_another_form_is_refused(club: Club) -> None:
    for token in ("x", "UPPERCASE123", "a" * 13, "aaaa aaaa aa"):
        answer = await club.browser.refresh(token)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")


async def test_what_users_do_is_logged_in_the_words_of_supabase(club: Club) -> None:
    email = "ada@example.com"
    tokens = await club.member()
    token = tokens["access_token"]
    await club.browser.sign_up()
    await club.browser.send("POST", "/recover", {"email": email})
    await club.browser.send("GET", "/reauthenticate", token=token)
    await club.browser.send("PUT", "/user", {"data": {"full_name": "Ada L."}}, token=token)
    await club.browser.send("PUT", "/user", {"password": "another one!"}, token=token)
    await club.browser.refresh(tokens["refresh_token"])
    await club.browser.send("POST", "/logout", token=token)
    rows = await club.rows(
        "select payload::text from auth.audit_log_entries order by created_at, id"
    )
    entries = [json.loads(row["payload"]) for row in rows]
    assert Counter((entry["action"], entry["log_type"]) for entry in entries) == {
        ("user_confirmation_requested", "user"): 1,
        ("user_signedup", "team"): 1,
        ("login", "account"): 1,
        ("user_repeated_signup", "user"): 1,
        ("user_recovery_requested", "user"): 1,
        ("user_reauthenticate_requested", "user"): 1,
        ("user_modified", "user"): 2,
        ("user_updated_password", "user"): 1,
        ("token_refreshed", "token"): 1,
        ("token_revoked", "token"): 1,
        ("logout", "account"): 1,
    }
    assert {entry["actor_username"] for entry in entries} == {email}
    assert entries[0]["traits"] == {"provider": "email"}
    assert entries[-1]["actor_name"] == "Ada L."
    assert {entry["actor_id"] for entry in entries} == {tokens["user"]["id"]}
