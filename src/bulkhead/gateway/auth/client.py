"""Where a request comes from, as far as somebody we trust says so."""

import ipaddress
from collections.abc import Iterable

from starlette.requests import Request

from bulkhead.capabilities.identity.model import Client


def read_client(request: Request, trusted_proxies: Iterable[str]) -> Client:
    """Where a request comes from; `X-Forwarded-For` counts only when a trusted proxy says it."""
    peer = request.client.host if request.client else None
    forwarded = request.headers.getlist("x-forwarded-for")
    address = find_address(peer, ",".join(forwarded), trusted_proxies)
    return Client(address, request.headers.get("user-agent"))


def find_address(peer: str | None, forwarded: str, trusted_proxies: Iterable[str]) -> str | None:
    """The address nearest to us that is not one of `trusted_proxies`; None if there is none.

    Proxies append to the header, so only its end can be believed, and only as far as it was
    written by somebody we trust. `trusted_proxies` are addresses or networks.
    """
    networks = [ipaddress.ip_network(proxy, strict=False) for proxy in trusted_proxies]
    address = _parse(peer)
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    while address is not None and hops and any(address in network for network in networks):
        previous = _parse(hops.pop())
        if previous is None:
            break
        address = previous
    return None if address is None else str(address)


def _parse(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
