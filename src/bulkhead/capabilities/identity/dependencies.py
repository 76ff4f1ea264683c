"""Who sends a request: dependencies for the routes of applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from bulkhead.capabilities.identity.requests import read_bearer
from bulkhead.engine.connections.claims import ANON, Claims
from bulkhead.engine.errors import Unauthenticated

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity

Authenticate = Callable[..., Awaitable[Claims]]

BEARER = HTTPBearer(
    scheme_name="AccessToken",
    bearerFormat="JWT",
    description="The access token of a user, from `/auth/v1/token` of the application.",
    auto_error=False,
)
"""For the description of routes only; what is read is `read_bearer`."""


def current_user(identity: Identity) -> Authenticate:
    """A dependency that gives the claims of the signed-in user; raises Unauthenticated.

    `Annotated[Claims, Depends(current_user(identity))]`
    """

    async def authenticate(
        request: Request, _described: Annotated[object, Security(BEARER)] = None
    ) -> Claims:
        token = read_bearer(request)
        if token is None:
            raise Unauthenticated
        return _note(request, identity.verify(token))

    return authenticate


def maybe_user(identity: Identity) -> Authenticate:
    """As `current_user`, but whoever sends no token is ANON; a bad token is still refused."""

    async def authenticate(request: Request) -> Claims:
        token = read_bearer(request)
        return ANON if token is None else _note(request, identity.verify(token))

    return authenticate


def _note(request: Request, claims: Claims) -> Claims:
    """Leave the user's id for the log line of the request."""
    request.state.user_id = claims.subject
    return claims
