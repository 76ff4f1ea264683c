"""Signing keys are rotated, imported and revoked while users come and go; nobody notices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from tests.integration.capabilities.identity.club import BASE, Club, open_club

from bulkhead.capabilities.identity.tokens.access import AccessTokens
from bulkhead.capabilities.identity.tokens.keyring import KeyRing
from bulkhead.capabilities.identity.tokens.keys import KeyState
from bulkhead.engine.system import System
from bulkhead.gateway.auth import auth_app

USERS = 4
ROTATIONS = 6


@dataclass
class Visitor:
    """Somebody who is signed in, served by one process now and by another one then."""

    clubs: list[Club]
    tokens: dict[str, Any]
    turns: int = 0

    async def turn(self) -> None:
        issuing, verifying = self.clubs[self.turns % 2], self.clubs[(self.turns + 1) % 2]
        answer = await issuing.browser.refresh(self.tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        token = self.tokens["access_token"]
        answer = await verifying.browser.user(token)
        assert answer.status_code == 200, answer.text
        answer = await verifying.browser.send("GET", "/.well-known/jwks.json")
        assert answer.headers["cache-control"] == "public, max-age=600"
        published = {key["kid"]: key for key in answer.json()["keys"]}
        kid = jwt.get_unverified_header(token)["kid"]
        claims = jwt.decode(token, jwt.PyJWK(published[kid]), audience="authenticated")
        assert claims["sub"] == self.tokens["user"]["id"]
        self.turns += 1


async def test_keys_change_under_load_and_no_request_fails(system: System) -> None:
    clubs = [open_club(system), open_club(system)]
    visitors = [
        Visitor(clubs, await clubs[0].member(f"u{number}@example.com")) for number in range(USERS)
    ]
    operator = KeyRing(clubs[0].identity.tokens.keyring.path)
    done, came = asyncio.Event(), asyncio.Condition()

    async def visit(visitor: Visitor) -> None:
        while not done.is_set():
            await visitor.turn()
            async with came:
                came.notify_all()

    async def operate() -> None:
        for number in range(ROTATIONS):
            if number == ROTATIONS // 2:
                operator.import_key(pem())
            operator.rotate()
            await everybody_came(visitors, came)
            for club in clubs:
                # As if RELOAD_S had passed; until then a process may sign with the former key.
                club.identity.tokens.keyring._fresh_until_s = 0.0
            await everybody_came(visitors, came)
            for key in operator.keys.keys:
                if key.state is KeyState.PREVIOUS:
                    operator.revoke(key.kid)
        done.set()

    async with asyncio.TaskGroup() as tasks:
        for visitor in visitors:
            tasks.create_task(visit(visitor))
        tasks.create_task(operate())
    states = [key.state.value for key in operator.keys.keys]
    assert states == ["revoked"] * ROTATIONS + ["current", "standby"]
    assert {key.alg for key in operator.keys.keys} == {"ES256", "RS256"}


async def everybody_came(visitors: list[Visitor], came: asyncio.Condition) -> None:
    """Wait until everybody has come twice more, and so holds nothing from before."""
    wanted = [visitor.turns + 2 for visitor in visitors]
    async with came:
        await came.wait_for(
            lambda: all(
                visitor.turns >= turns for visitor, turns in zip(visitors, wanted, strict=True)
            )
        )


async def test_tokens_of_one_application_are_refused_by_another(club: Club) -> None:
    token = (await club.member())["access_token"]
    own = club.identity.tokens
    issuer = own.issuer.replace("/club/", "/guild/")
    app = FastAPI()
    for place, keyring in (
        ("/with-keys-of-its-own", KeyRing(own.keyring.path.with_name("guild.json"))),
        ("/with-the-same-keys-by-mistake", own.keyring),
    ):
        other = replace(club.identity, application="guild", tokens=AccessTokens(keyring, issuer))
        app.mount(place, auth_app(other))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
            headers = {"authorization": f"Bearer {token}"}
            answer = await http.get(f"{place}/user", headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")


async def test_the_published_keys_are_never_none(club: Club) -> None:
    keyring = club.identity.tokens.keyring
    for _ in range(3):
        answer = await club.browser.send("GET", "/.well-known/jwks.json")
        assert len(answer.json()["keys"]) >= 2
        assert all("d" not in key for key in answer.json()["keys"])
        keyring.rotate()
        for key in keyring.keys.keys:
            if key.state is KeyState.PREVIOUS:
                keyring.revoke(key.kid)


def pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
