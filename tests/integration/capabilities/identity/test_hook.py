"""A function of the database has a say about tokens."""

import json
from dataclasses import replace

import pytest
from tests.integration.capabilities.identity.club import QUICK, Club, open_club

from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.system import System

HOOK = "public.custom_access_token"
SETTINGS = replace(QUICK, access_token_hook=HOOK)


async def define(system: System, body: str) -> None:
    placement = system.router.placements[0]
    connection = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=5.0)
    try:
        await connection.execute(
            "create or replace function public.custom_access_token(event jsonb) returns jsonb "
            f"language plpgsql as $$ begin {body} end $$; "
            "grant execute on function public.custom_access_token to service_role"
        )
    finally:
        await connection.close()


@pytest.fixture
async def hooked(system: System) -> Club:
    return open_club(system, identity_settings=SETTINGS)


ADD = (
    "return jsonb_build_object('claims', event -> 'claims' || jsonb_build_object("
    "'plan', 'gold', 'asked_with', event -> 'authentication_method', 'for', event -> 'user_id', "
    "'named', event -> 'metadata' -> 'name'));"
)


async def test_claims_are_added_to_every_token(system: System, hooked: Club) -> None:
    await define(system, ADD)
    tokens = await hooked.member()
    claims = hooked.identity.verify(tokens["access_token"]).payload
    assert (claims["plan"], claims["asked_with"]) == ("gold", "otp")
    assert (claims["for"], claims["named"]) == (claims["sub"], "customize-access-token")
    signed_in = (await hooked.browser.sign_in()).json()["access_token"]
    assert hooked.identity.verify(signed_in).payload["asked_with"] == "password"
    refreshed = (await hooked.browser.refresh(tokens["refresh_token"])).json()["access_token"]
    assert hooked.identity.verify(refreshed).payload["asked_with"] == "token_refresh"
    assert (await hooked.browser.user(refreshed)).status_code == 200


async def test_a_token_may_live_shorter(system: System, hooked: Club) -> None:
    await define(
        system,
        "return jsonb_build_object('claims', event -> 'claims' || jsonb_build_object("
        "'exp', (event -> 'claims' ->> 'iat')::int + 60));",
    )
    tokens = await hooked.member()
    assert tokens["expires_in"] == 60
    assert hooked.identity.verify(tokens["access_token"]).payload["exp"] == tokens["expires_at"]


async def test_what_it_sees_is_what_is_about_to_be_committed(system: System, hooked: Club) -> None:
    await define(
        system,
        "return jsonb_build_object('claims', event -> 'claims' || jsonb_build_object('seen', "
        "(select count(*) from auth.sessions where id = (event -> 'claims' ->> 'session_id')"
        "::uuid)));",
    )
    tokens = await hooked.member()
    assert hooked.identity.verify(tokens["access_token"]).payload["seen"] == 1


@pytest.mark.parametrize(("wanted", "status"), [(403, 403), (None, 500), (200, 500), (999, 500)])
async def test_it_may_refuse(system: System, hooked: Club, wanted: int | None, status: int) -> None:
    await hooked.browser.sign_up()
    error = json.dumps({"error": {"message": "No entry today", "http_code": wanted}})
    await define(system, f"return '{error}'::jsonb;")
    digits, _ = await hooked.latest_code()
    body = {"type": "signup", "email": "ada@example.com", "token": digits}
    answer = await hooked.browser.send("POST", "/verify", body)
    assert (answer.status_code, answer.json()["msg"]) == (status, "No entry today")
    assert await hooked.value("select count(*) from auth.sessions") == 0
    assert await hooked.value("select email_confirmed_at from auth.users") is None


@pytest.mark.parametrize(
    "body",
    [
        "raise exception 'oops';",
        "return null;",
        "return '[]';",
        "return '{}';",
        "return '{\"claims\": 7}';",
        "return jsonb_build_object('claims', (event -> 'claims') - 'aal');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"exp\": \"soon\"}');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"is_anonymous\": 1}');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"role\": \"service_role\"}');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"sub\": \"x\"}');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"session_id\": \"x\"}');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"iss\": \"x\"}');",
        "return jsonb_build_object('claims', event -> 'claims' || '{\"aud\": \"x\"}');",
        "perform pg_sleep(20); return null;",
    ],
)
async def test_what_makes_no_token_is_a_failure(system: System, hooked: Club, body: str) -> None:
    await define(system, ADD)
    await hooked.member()
    await define(system, body)
    answer = await hooked.browser.sign_in()
    assert (answer.status_code, answer.json()["error_code"]) == (500, "unexpected_failure")
    assert answer.json()["msg"] == "Error running hook"


async def test_a_function_that_is_not_there_is_a_failure(hooked: Club) -> None:
    await hooked.browser.sign_up()
    digits, _ = await hooked.latest_code()
    body = {"type": "signup", "email": "ada@example.com", "token": digits}
    answer = await hooked.browser.send("POST", "/verify", body)
    assert (answer.status_code, answer.json()["error_code"]) == (500, "unexpected_failure")


async def test_an_issuer_that_was_left_out_is_put_back(system: System, hooked: Club) -> None:
    await define(
        system, "return jsonb_build_object('claims', (event -> 'claims') - 'iss' - 'amr');"
    )
    tokens = await hooked.member()
    claims = hooked.identity.verify(tokens["access_token"]).payload
    assert claims["iss"] == hooked.identity.issuer
    assert "amr" not in claims
