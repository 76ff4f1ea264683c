"""Whatever is sent to those who govern or have authenticators, nothing breaks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.gateway.auth.office import Office
from tests.scenarios.effort import EFFORT

from bulkhead.gateway.keys import KeyKind

UNKNOWN = "01a217ba-0ed1-7709-819f-82e31a8a79e5"
ENDPOINTS = (
    ("GET", "/admin/users"),
    ("POST", "/admin/users"),
    ("PUT", "/admin/users/{user}"),
    ("GET", "/admin/users/{user}/factors"),
    ("PUT", f"/admin/users/{{user}}/factors/{UNKNOWN}"),
    ("DELETE", f"/admin/users/{UNKNOWN}"),
    ("GET", "/admin/audit"),
    ("POST", "/admin/generate_link"),
    ("POST", "/invite"),
)
FACTORS = (
    ("POST", "/factors"),
    ("POST", f"/factors/{UNKNOWN}/challenge"),
    ("POST", f"/factors/{UNKNOWN}/verify"),
    ("DELETE", f"/factors/{UNKNOWN}"),
)
FIELDS = (
    *("email", "phone", "password", "password_hash", "email_confirm", "phone_confirm", "role"),
    *("user_metadata", "app_metadata", "ban_duration", "id", "aud", "nonce", "type", "new_email"),
    *("data", "redirect_to", "should_soft_delete", "factor_type", "friendly_name", "issuer"),
    *("challenge_id", "code", "channel", "webauthn"),
)
TRICKY = st.sampled_from(
    [
        *(
            "ada@example.com",
            "b@example.com",
            "+4915112345",
            "totp",
            "signup",
            "recovery",
            "invite",
        ),
        *("magiclink", "email_change_new", "24h", "none", "-1h", "292277h", "1e9h", UNKNOWN),
        *("' or 1=1 --", "\x00", "\ud800", "%s {0} {reason}", "$1", "\\", '"', "", "123456"),
        *("$2a$04$" + "." * 53, "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + "A" * 43),
        *("a" * 5000, "é" * 50, "service_role", "\u202e", "\r\nX: y", "https://evil.example"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TRICKY | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=7)
QUERIES = st.dictionaries(
    st.sampled_from(["page", "per_page", "filter", "sort", "query", "redirect_to"]),
    TRICKY | st.integers().map(str) | st.text(max_size=20),
    max_size=3,
)
SHARED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
EXPECTED = {200, 400, 404, 422}


@settings(max_examples=100 * EFFORT, deadline=None, suppress_health_check=SHARED)
@given(st.sampled_from(ENDPOINTS), BODIES | st.binary(max_size=60), QUERIES)
async def test_nothing_that_the_application_sends_breaks_anything(
    office: Office,
    endpoint: tuple[str, str],
    body: dict[str, Any] | bytes,
    query: dict[str, str],
) -> None:
    method, path = endpoint
    user = await office.club.value("select id from auth.users limit 1")
    query = {name: text for name, text in query.items() if text.isprintable()}
    answer = await office.club.browser.http.request(
        method,
        "/club/auth/v1" + path.format(user=user or UNKNOWN),
        params=query,
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {office.key(KeyKind.JWT)}"},
    )
    assert answer.status_code in EXPECTED, answer.text
    if answer.status_code != 200:
        assert answer.headers["x-sb-error-code"] == answer.json()["error_code"]


@settings(max_examples=60 * EFFORT, deadline=None, suppress_health_check=SHARED)
@given(st.sampled_from(FACTORS), BODIES | st.binary(max_size=60))
async def test_nothing_that_a_user_sends_about_factors_breaks_anything(
    office: Office, endpoint: tuple[str, str], body: dict[str, Any] | bytes
) -> None:
    if not await office.club.value("select count(*) from auth.users"):
        await office.club.member("eve@example.com")
    method, path = endpoint
    entered = await office.club.browser.sign_in("eve@example.com")
    answer = await office.club.browser.http.request(
        method,
        f"/club/auth/v1{path}",
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {entered.json()['access_token']}"},
    )
    assert answer.status_code in EXPECTED, answer.text
    assert "access_token" not in answer.text
