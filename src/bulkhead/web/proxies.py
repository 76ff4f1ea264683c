"""The address of the client behind proxies that we trust; nobody else's word is taken for it."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.http.asgi import App, Receive, Scope, Send, find_header

Network = IPv4Network | IPv6Network


class TrustedProxies:
    """Wraps an application and corrects client address and scheme of forwarded requests."""

    def __init__(self, app: App, trusted: Sequence[str]) -> None:
        """Wrap `app`; `trusted` are addresses or networks; raises ConfigurationInvalid."""
        self._app = app
        self._trusted = [_parse_network(text) for text in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        client = scope.get("client")
        if client and is_trusted(client[0], self._trusted):
            # A header sent twice is one list: the second line may be the proxy's.
            lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            address = find_client(b",".join(lines).decode("latin-1"), self._trusted)
            if address is not None:
                scope["client"] = (address, 0)
            if find_header(scope, b"x-forwarded-proto") == b"https":
                scope["scheme"] = "https"
        await self._app(scope, receive, send)


def find_client(forwarded: str, trusted: Sequence[Network]) -> str | None:
    """The last address of `X-Forwarded-For` that is no proxy of ours, None without one.

    Each proxy appends whom it heard; what stands left of the first stranger is hearsay.
    """
    for part in reversed(forwarded.split(",")):
        address = part.strip()
        try:
            ip_address(address)
        except ValueError:
            return None
        if not is_trusted(address, trusted):
            return address
    return None


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether `address` belongs to one of the networks."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def _parse_network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationInvalid(
            reason=f"BULKHEAD_TRUSTED_PROXIES has '{text}', which is no address or network"
        ) from None
