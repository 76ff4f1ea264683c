"""What the API says without asking the database."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import httpx
import jwt
import pytest
from fastapi import FastAPI

from bulkhead.capabilities.identity import (
    Identity,
    IdentitySettings,
    inbox_routes,
    open_identity,
)
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.settings import Settings, Smtp
from bulkhead.gateway.auth import auth_app
from bulkhead.gateway.auth.body import BODY_BYTES_MAX

PREFIX = "/shop/auth/v1"


def open_shop(home: Path, **settings: object) -> Identity:
    nothing = cast("OpenDatabase", None)
    own = IdentitySettings(sign_up_enabled=False)
    return open_identity(
        "shop",
        nothing,
        Settings(home=home, **settings),  # type: ignore[arg-type]
        identity_settings=own,
    )


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return open_shop(tmp_path)


@pytest.fixture
def browser(identity: Identity) -> httpx.AsyncClient:
    app = FastAPI()
    app.mount(PREFIX, auth_app(identity))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1")


async def test_health_names_the_api(browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"{PREFIX}/health")
    assert answer.status_code == 200
    assert answer.json()["name"] == "GoTrue"
    assert {"version", "description"} < set(answer.json())


async def test_settings_say_how_one_signs_in(browser: httpx.AsyncClient) -> None:
    said = (await browser.get(f"{PREFIX}/settings")).json()
    enabled = [name for name, on in said.pop("external").items() if on]
    assert enabled == ["email"]
    assert said == {
        "disable_signup": True,
        "mailer_autoconfirm": False,
        "phone_autoconfirm": False,
        "sms_provider": "",
        "saml_enabled": False,
        "saml_private_key_next_configured": False,
        "passkeys_enabled": False,
    }


async def test_the_keys_are_published(browser: httpx.AsyncClient, identity: Identity) -> None:
    answer = await browser.get(f"{PREFIX}/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=600"
    keys = jwt.PyJWKSet.from_dict(answer.json()).keys
    assert [key.key_id for key in keys] == [key.kid for key in identity.tokens.keyring.keys.keys]
    assert '"d"' not in answer.text


@pytest.mark.parametrize("grant", ["", "?grant_type=", "?grant_type=sudo"])
async def test_an_unknown_grant_is_refused(browser: httpx.AsyncClient, grant: str) -> None:
    answer = await browser.post(f"{PREFIX}/token{grant}", json={})
    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "error_code": "invalid_credentials",
        "msg": "unsupported_grant_type",
    }


async def test_the_api_version_is_echoed(browser: httpx.AsyncClient) -> None:
    headers = {"x-supabase-api-version": "2024-01-01"}
    answer = await browser.post(f"{PREFIX}/token", json={}, headers=headers)
    assert answer.json() == {"code": "invalid_credentials", "message": "unsupported_grant_type"}
    assert answer.headers["x-supabase-api-version"] == "2024-01-01"
    assert answer.headers["x-sb-error-code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({}, 422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled"),
        (
            {"email": "ada@example.com"},
            400,
            "validation_failed",
            "Signup requires a valid password",
        ),
        (
            {"email": "ada@example.com", "phone": "+4912345", "password": "x"},
            400,
            "validation_failed",
            "Only an email address or phone number should be provided on signup.",
        ),
        (
            {"phone": "+4912345", "password": "x", "channel": "pigeon"},
            400,
            "validation_failed",
            (
                "Invalid channel, supported values are 'sms' or 'whatsapp'. 'whatsapp' is only "
                "supported if Twilio or Twilio Verify is used as the provider."
            ),
        ),
        (
            {"email": "ada@example.com", "password": "x", "code_challenge": "c" * 43},
            400,
            "validation_failed",
            "PKCE flow requires code_challenge_method and code_challenge",
        ),
    ],
)
async def test_a_sign_up_says_what_it_lacks(
    browser: httpx.AsyncClient, body: dict[str, str], status: int, code: str, message: str
) -> None:
    answer = await browser.post(f"{PREFIX}/signup", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert answer.json()["msg"] == message


async def test_a_body_that_is_too_large_is_not_read_to_its_end(browser: httpx.AsyncClient) -> None:
    answer = await browser.post(f"{PREFIX}/signup", content=b" " * (BODY_BYTES_MAX + 1))
    code = answer.json()["error_code"]
    assert (answer.status_code, code) == (413, "request_entity_too_large")


async def test_nothing_is_kept_by_caches_on_the_way(browser: httpx.AsyncClient) -> None:
    for path in ("/user", "/settings"):
        answer = await browser.get(f"{PREFIX}{path}")
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("?type=signup", 400), ("?token=x", 400)],
)
async def test_a_link_without_its_parts_is_refused(
    browser: httpx.AsyncClient, query: str, status: int
) -> None:
    answer = await browser.get(f"{PREFIX}/verify{query}")
    assert (answer.status_code, answer.json()["error_code"]) == (status, "validation_failed")


async def test_a_link_of_an_unknown_type_leads_to_an_explanation(
    browser: httpx.AsyncClient,
) -> None:
    answer = await browser.get(f"{PREFIX}/verify?type=passport&token=x")
    assert answer.status_code == 303
    assert "error_code=validation_failed" in answer.headers["location"]


@pytest.mark.parametrize(("smtp", "there"), [(None, True), (Smtp("mail.example.com"), False)])
def test_only_without_a_mail_server_there_is_an_inbox(
    tmp_path: Path, smtp: Smtp | None, *, there: bool
) -> None:
    app = FastAPI()
    app.include_router(inbox_routes(open_shop(tmp_path, smtp=smtp)), prefix="/shop")
    assert ("/shop/inbox" in app.openapi()["paths"]) is there


@pytest.mark.parametrize("path", ["/", "/nowhere", "/user/", "/user/x/y", "//user", "/%2e%2e"])
async def test_an_unknown_address_is_refused_in_the_same_form(
    browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(f"{PREFIX}{path}")
    assert answer.json()["error_code"] == answer.headers["x-sb-error-code"]


async def test_a_method_that_is_not_taken_is_named_with_those_that_are(
    browser: httpx.AsyncClient,
) -> None:
    answer = await browser.patch(f"{PREFIX}/user", json={})
    assert (answer.status_code, answer.json()["error_code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, PUT"


async def test_the_same_api_may_stand_at_several_places(identity: Identity) -> None:
    app = FastAPI()
    for place in ("/shop/auth/v1", "/shop/orders/auth/v1"):
        app.mount(place, auth_app(identity))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
        for place in ("/shop/auth/v1", "/shop/orders/auth/v1"):
            assert (await browser.get(f"{place}/health")).status_code == 200


async def test_the_openid_configuration_leads_to_the_keys(
    browser: httpx.AsyncClient, identity: Identity
) -> None:
    answer = await browser.get(f"{PREFIX}/.well-known/openid-configuration")
    said = answer.json()
    assert answer.headers["cache-control"] == "public, max-age=600"
    assert said["issuer"] == identity.issuer
    assert said["jwks_uri"] == f"{identity.issuer}/.well-known/jwks.json"
    assert said["code_challenge_methods_supported"] == ["S256", "plain"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/authorize?provider=github", 400, "validation_failed"),
        ("POST", "/token?grant_type=id_token", 422, "provider_disabled"),
        ("POST", "/token?grant_type=web3", 422, "provider_disabled"),
        ("POST", "/sso", 404, "saml_provider_disabled"),
        ("GET", "/passkeys", 404, "passkey_disabled"),
    ],
)
async def test_what_is_not_there_is_refused_in_words_that_clients_know(
    browser: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await browser.request(method, f"{PREFIX}{path}", json={})
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


async def test_a_failure_of_ours_is_told_without_its_reasons(
    browser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"email": "ada@example.com", "password": "correct horse battery"}
    answer = await browser.post(f"{PREFIX}/token?grant_type=password", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (500, "unexpected_failure")
    assert "NoneType" not in answer.text
    assert "NoneType" in caplog.text
