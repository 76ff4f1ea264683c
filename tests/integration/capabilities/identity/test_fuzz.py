"""Whatever is sent, nothing breaks and nobody gets in."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.capabilities.identity.club import QUICK, Club, open_club
from tests.scenarios.effort import EFFORT

from bulkhead.engine.system import System

PATHS = (
    "/signup",
    "/token?grant_type=password",
    "/token?grant_type=refresh_token",
    "/token?grant_type=pkce",
    "/recover",
    "/resend",
    "/otp",
    "/magiclink",
    "/verify",
)
FIELDS = (
    *("email", "password", "data", "phone", "type", "token", "token_hash", "refresh_token"),
    *("redirect_to", "gotrue_meta_security", "code_challenge", "code_challenge_method"),
    *("channel", "create_user", "auth_code", "code_verifier", "nonce", "current_password"),
)
TRICKY = st.sampled_from(
    [
        *("ada@example.com", "ADA@example.com", "signup", "recovery", "email_change", "email"),
        *("+4930123", "4930123", "sms", "whatsapp", "phone_change", "s256", "plain", "c" * 43),
        *("' or 1=1 --", "\x00", "\ud800", "%s %(x)s {0}", "$1", "\\", "'", '"', "null", ""),
        *(
            "a" * 5000,
            "é" * 50,
            "123456",
            "-1",
            "../../etc/passwd",
            "<script>",
            "\u202e",
            "\r\nX: y",
        ),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TRICKY | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=3),
    max_leaves=6,
)
SHARED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)


@pytest.fixture
async def phones(system: System) -> Club:
    return open_club(system, identity_settings=replace(QUICK, phone_enabled=True))


@settings(max_examples=100 * EFFORT, suppress_health_check=SHARED)
@given(path=st.sampled_from(PATHS), body=BODIES | st.binary(max_size=60))
async def test_no_body_breaks_anything_or_gets_anybody_in(
    phones: Club, path: str, body: dict[str, Any] | bytes
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await phones.browser.http.post(f"/club/auth/v1{path}", content=raw)
    assert answer.status_code in {200, 400, 403, 404, 422}, answer.text
    assert "access_token" not in answer.text
    if answer.status_code != 200:
        assert answer.headers["x-sb-error-code"] == answer.json()["error_code"]


@settings(max_examples=60 * EFFORT, suppress_health_check=SHARED)
@given(body=BODIES)
async def test_no_body_breaks_a_user_or_makes_more_of_them(
    phones: Club, body: dict[str, Any]
) -> None:
    if not await phones.value("select count(*) from auth.users"):
        await phones.member("eve@example.com")
    entered = await phones.browser.sign_in("eve@example.com")
    body = {name: value for name, value in body.items() if name != "password"}
    raw = json.dumps(body).encode()
    headers = {"authorization": f"Bearer {entered.json()['access_token']}"}
    answer = await phones.browser.http.put("/club/auth/v1/user", content=raw, headers=headers)
    assert answer.status_code in {200, 400, 422}, answer.text
    row = (
        await phones.rows(
            "select email, phone, role, raw_app_meta_data ->> 'role' as app from auth.users "
            "where email = 'eve@example.com'"
        )
    )[0]
    assert (row["phone"], row["role"], row["app"]) == (None, "authenticated", None)


@settings(max_examples=40 * EFFORT, suppress_health_check=SHARED)
@given(
    query=st.dictionaries(
        st.sampled_from(("token", "type", "redirect_to", "scope", "grant_type")),
        st.text(st.characters(codec="utf-8"), max_size=30) | st.just("signup"),
    )
)
async def test_no_query_breaks_a_link(club: Club, query: dict[str, str]) -> None:
    answer = await club.browser.http.get("/club/auth/v1/verify", params=query)
    assert answer.status_code in {303, 400}
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("http://127.0.0.1:8000#error=")
