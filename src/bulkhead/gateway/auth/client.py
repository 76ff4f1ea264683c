"""Who asks, for the session and the audit log."""

from starlette.requests import Request

from bulkhead.capabilities.identity.model import Client
from bulkhead.http.addresses import find_address, parse_networks


def read_client(request: Request, trusted_proxies: tuple[str, ...]) -> Client:
    """Where a request comes from; `X-Forwarded-For` counts only when a trusted proxy says it."""
    peer = request.client.host if request.client else None
    forwarded = request.headers.getlist("x-forwarded-for")
    address = find_address(peer, forwarded, parse_networks(trusted_proxies))
    return Client(address or None, request.headers.get("user-agent"))
