"""One request to the API, and what its endpoint may ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from bulkhead.capabilities.identity.model import Client
from bulkhead.capabilities.identity.requests import read_bearer
from bulkhead.engine.errors import Unauthenticated
from bulkhead.gateway.auth.body import BODY_BYTES_MAX, Body, parse_body
from bulkhead.gateway.auth.client import read_client
from bulkhead.gateway.auth.errors import BodyTooLarge

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims

Authenticate = Callable[[Sequence[tuple[bytes, bytes]]], "Claims"]
"""From the headers of a request to whom it is from, an application's service among them."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, for which identity it is, and the names in its path."""

    identity: Identity
    request: Request
    names: Mapping[str, str] = field(default_factory=dict)
    authenticate: Authenticate | None = None
    """None where only users are known."""

    @property
    def client(self) -> Client:
        """Where the request comes from."""
        return read_client(self.request, self.identity.trusted_proxies)

    @property
    def redirect_to(self) -> str | None:
        """Where a link shall lead, not checked yet: where the client says, or else where it is."""
        headers = self.request.headers
        return self.query("redirect_to") or headers.get("redirect_to") or headers.get("referer")

    def query(self, name: str) -> str | None:
        """A parameter of the address, None where there is none or an empty one."""
        return self.request.query_params.get(name) or None

    def user(self) -> Claims:
        """The claims of the signed-in user; raises Unauthenticated and TokenInvalid."""
        token = read_bearer(self.request)
        if token is None:
            raise Unauthenticated
        return self.identity.verify(token)

    async def body(self) -> Body:
        """The JSON object that was sent, read once; raises BodyInvalid, BodyTooLarge."""
        raw = bytearray()
        async for chunk in self.request.stream():
            raw += chunk
            if len(raw) > BODY_BYTES_MAX:
                raise BodyTooLarge(size_bytes_max=BODY_BYTES_MAX)
        return parse_body(bytes(raw))


Endpoint = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint and its address, in which `{name}` stands for one part of the path."""

    method: str
    path: str
    endpoint: Endpoint
