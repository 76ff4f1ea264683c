from pathlib import Path
from typing import cast

import pytest
from starlette.requests import Request

from bulkhead.capabilities.identity import Identity, current_user, maybe_user, open_identity
from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.capabilities.identity.model import Session, SessionId, UserId, UserRow
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import Unauthenticated
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    # Whoever sends a request is found out without the database.
    nothing = cast("OpenDatabase", None)
    return open_identity("shop", nothing, Settings(home=tmp_path, site_url="https://x.example/"))


def request(authorization: str | None = None) -> Request:
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    return Request({"type": "http", "headers": headers})


def token(identity: Identity) -> str:
    user = UserRow(UserId(new_id()), "ada@example.com", now(), now())
    return identity.tokens.sign(user, Session(SessionId(new_id()), "refresh"))[0]


def test_each_application_is_its_own_issuer(identity: Identity) -> None:
    assert identity.issuer == "https://x.example/shop/auth/v1"
    assert identity.site_url == "https://x.example"
    assert identity.tokens.keyring.path.name == "shop.json"


async def test_a_signed_in_user_is_known(identity: Identity) -> None:
    for dependency in (current_user(identity), maybe_user(identity)):
        claims = await dependency(request(f"Bearer {token(identity)}"))
        assert claims.payload["email"] == "ada@example.com"


async def test_a_stranger_must_sign_in_or_is_nobody(identity: Identity) -> None:
    with pytest.raises(Unauthenticated):
        await current_user(identity)(request())
    assert await maybe_user(identity)(request()) is ANON


async def test_a_bad_token_is_refused_even_where_none_is_needed(identity: Identity) -> None:
    for dependency in (current_user(identity), maybe_user(identity)):
        with pytest.raises(TokenInvalid) as caught:
            await dependency(request("Bearer nonsense"))
        assert caught.value.status == 401
