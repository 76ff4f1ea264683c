"""Who is the application, and that nobody else does to its users what it may."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.integration.capabilities.identity.club import open_club
from tests.integration.gateway.auth.office import Office, refusal

from bulkhead.engine.connections.claims import Role
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.gateway.keyring import open_keyring
from bulkhead.gateway.keys import KeyKind

ENDPOINTS = [
    ("GET", "/admin/users"),
    ("POST", "/admin/users"),
    ("GET", "/admin/users/{id}"),
    ("PUT", "/admin/users/{id}"),
    ("DELETE", "/admin/users/{id}"),
    ("GET", "/admin/users/{id}/factors"),
    ("DELETE", "/admin/users/{id}/factors/{id}"),
    ("PUT", "/admin/users/{id}/factors/{id}"),
    ("GET", "/admin/audit"),
    ("POST", "/admin/generate_link"),
    ("POST", "/invite"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_only_the_application_may(office: Office, method: str, path: str) -> None:
    path = path.format(id=new_id())
    member = await office.club.member()
    browser = office.club.browser
    assert refusal(await browser.send(method, path, {})) == (401, "no_authorization")
    for token in (
        member["access_token"],
        office.key(KeyKind.JWT, Role.ANON),
        office.key(KeyKind.PUBLISHABLE, Role.ANON),
    ):
        answer = await office.send(method, path, {}, token=token)
        assert refusal(answer) == (403, "not_admin")
        assert answer.json()["msg"] == "User not allowed"
    for token in (office.key(KeyKind.JWT), office.key(KeyKind.SECRET)):
        answer = await office.send(method, path, {}, token=token)
        assert answer.status_code not in {401, 403}, answer.text


async def test_forged_service_tokens_are_refused(office: Office, tmp_path: Path) -> None:
    true = office.key(KeyKind.JWT)
    header, payload, signature = true.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    elsewhere = open_keyring("club", Settings(home=tmp_path / "elsewhere")).keys("users")
    other = open_keyring("club", office.club.system.settings).keys("orders")
    member = await office.club.member()
    keys = office.club.identity.tokens.keyring.keys
    raised = {
        **jwt.decode(member["access_token"], options={"verify_signature": False}),
        "role": "service_role",
    }
    stranger = ec.generate_private_key(ec.SECP256R1())
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in (
        f"{none}.{payload}.",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[::-1]}",
        true[:-2],
        elsewhere.current(KeyKind.JWT, Role.SERVICE),
        elsewhere.current(KeyKind.SECRET, Role.SERVICE),
        other.current(KeyKind.JWT, Role.SERVICE),
        other.current(KeyKind.SECRET, Role.SERVICE),
        jwt.encode({**claims, "exp": 1_000}, office.ring.keys("users").jwt_secrets[0], "HS256"),
        jwt.encode(claims, "another secret, long enough to be one", "HS256"),
        jwt.encode(claims, stranger, "ES256", headers={"kid": keys.current.kid}),
        jwt.encode(raised, keys.current.private, "ES256", headers={"kid": keys.current.kid}),
        "sb_secret_" + "A" * 22 + "_" + "A" * 8,
        "é",
        "x" * 20_000,
    ):
        answer = await office.club.browser.http.get(
            "/club/auth/v1/admin/users", headers={b"authorization": f"Bearer {token}".encode()}
        )
        assert refusal(answer) in {(403, "bad_jwt"), (403, "not_admin")}, token[:80]


async def test_a_revoked_key_governs_nobody_and_a_rotated_one_goes_on(office: Office) -> None:
    old = office.key(KeyKind.JWT)
    office.ring.rotate("users", KeyKind.JWT)
    new = office.key(KeyKind.JWT)
    for token in (old, new):
        assert (await office.send("GET", "/admin/users", token=token)).status_code == 200
    office.ring.revoke("users", KeyKind.JWT, 0)
    assert refusal(await office.send("GET", "/admin/users", token=old)) == (403, "bad_jwt")
    assert (await office.send("GET", "/admin/users", token=new)).status_code == 200


async def test_without_keys_nobody_is_the_application(office: Office, system: System) -> None:
    club = open_club(system)
    member = await club.member()
    for token, expected in (
        (member["access_token"], (403, "not_admin")),
        (office.key(KeyKind.JWT), (403, "bad_jwt")),
    ):
        answer = await club.browser.send("GET", "/admin/users", token=token)
        assert refusal(answer) == expected
