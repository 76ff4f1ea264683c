"""The API of an application's users: at its own address, and at that of each of its databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bulkhead.capabilities.identity import Identity
from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.engine.connections.claims import Claims
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.auth import auth_app
from bulkhead.gateway.auth.routes import ROUTES
from bulkhead.gateway.auth.wire import API_VERSION_HEADER, render_error
from bulkhead.gateway.credentials import ApiKeyRefused, Credentials, Users, without_service
from bulkhead.gateway.keyring import ApiKeyRing
from bulkhead.gateway.service import OTHER, Refusal, Service, refuse_plainly
from bulkhead.http.asgi import Scope, find_header
from bulkhead.http.heads import HeadLimits

AUTH_BODY_BYTES_MAX = 1_000_000
OPEN_TO_BROWSERS = frozenset({".well-known", "authorize", "callback", "verify"})
"""Where links lead and other programs look, which send no key along."""

_AUTH_NAMES = frozenset(route.path.split("/")[1] for route in ROUTES)


def users_of(people: Identity, database: str | None = None) -> Users:
    """Whom the identity of an application vouches for, at one of its databases where named."""
    verify = people.verify
    if database is not None and people.settings.audiences:
        verify = partial(_verify_audience, people.verify, f"{people.application}/{database}")
    return Users(verify, lambda: people.tokens.keyring.keys)


def auth_services(
    people: Identity, ring: ApiKeyRing, databases: Sequence[str]
) -> Iterator[Service]:
    """One service for each address.

    The keys of a database open its own address. Only those of the database that holds the users
    govern them.
    """
    users, holder = users_of(people), people.users.name
    governing = Credentials(partial(ring.keys, holder), users, is_key_required=False)
    yield Service(
        f"/{people.application}/auth/v1",
        auth_app(people, governing.authenticate),
        AUTH_BODY_BYTES_MAX,
        route_of=_auth_route,
        refuse=_refuse_auth,
        limits=HeadLimits(),
    )
    for database in databases:
        own = Credentials(partial(ring.keys, database), users)
        prefix = f"/{people.application}/{database}/auth/v1"
        authenticate = own.authenticate if database == holder else without_service(own.authenticate)
        yield Service(
            prefix,
            auth_app(people, authenticate),
            AUTH_BODY_BYTES_MAX,
            route_of=_auth_route,
            admit=partial(_admit_to_auth, own, len(prefix)),
            refuse=_refuse_auth,
            limits=HeadLimits(),
        )


def _verify_audience(verify: Callable[[str], Claims], place: str, token: str) -> Claims:
    claims = verify(token)
    audience = claims.payload.get("aud")
    if not isinstance(audience, list) or place not in audience:
        raise TokenInvalid(reason="it was issued for somebody else")
    return claims


def _admit_to_auth(credentials: Credentials, prefix_length: int, scope: Scope) -> None:
    if _first_name(scope["path"][prefix_length:]) not in OPEN_TO_BROWSERS:
        credentials.verify_key(scope["headers"])


def _auth_route(path: str) -> str:
    name = _first_name(path)
    return f"/{name if name in _AUTH_NAMES else OTHER}"


def _first_name(path: str) -> str:
    return path.split("/", 2)[1] if "/" in path else ""


def _refuse_auth(error: BulkheadError, scope: Scope) -> Refusal:
    """Render an error as the Auth server does; a missing key is refused before it is asked."""
    if isinstance(error, ApiKeyRefused):
        return refuse_plainly(error, scope)
    version = find_header(scope, API_VERSION_HEADER.encode())
    said = render_error(error, None if version is None else version.decode("latin-1"))
    headers = [(name.encode(), value.encode()) for name, value in said.headers.items()]
    return Refusal(said.status, said.body, headers)
