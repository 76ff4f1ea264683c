"""Where a request comes from, as far as somebody we trust says so."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bulkhead.engine.errors import ConfigurationInvalid

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=16)
def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """The proxies that are trusted, addresses or networks; raises ConfigurationInvalid."""
    return tuple(map(_parse_network, texts))


def find_address(peer: str | None, forwarded: Iterable[str], trusted: Iterable[Network]) -> str:
    """The address nearest to us that is not one of `trusted`; empty if there is none.

    `forwarded` are the lines of `X-Forwarded-For`. Proxies append to it, so only its end can be
    believed, and only as far as it was written by somebody we trust.
    """
    networks = tuple(trusted)
    address = _parse(peer)
    # A header sent twice is one list: the second line may be the proxy's.
    hops = [hop.strip() for line in forwarded for hop in line.split(",") if hop.strip()]
    while address is not None and hops and _is_in(address, networks):
        previous = _parse(hops.pop())
        if previous is None:
            break
        address = previous
    return "" if address is None else str(address)


def is_trusted(peer: str | None, trusted: Iterable[Network]) -> bool:
    """Whether `peer` is one of the proxies."""
    address = _parse(peer)
    return address is not None and _is_in(address, trusted)


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _parse(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    # How a socket for both families writes an IPv4 address.
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _parse_network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationInvalid(
            reason=f"BULKHEAD_TRUSTED_PROXIES has '{text}', which is no address or network"
        ) from None
