"""Which addresses are public; written out, because libraries disagree about the rare forms.

Python's `is_global` says yes to IPv4 in IPv6 in most of its forms. Sources: the special-purpose
registries of IANA for IPv4 and IPv6 (RFC 6890 and its successors).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from bulkhead.engine.errors import ConfigurationInvalid

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
"""Everything else in IPv6 is local, mapped, translated or not given to anybody."""
_NOT_PUBLIC_6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "100.100.100.200",
        "168.63.129.16",  # public by its number, but only ever the cloud itself
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "192.0.0.192",
        "fd00:ec2::23",
        "fd00:ec2::254",
    )
)
LOOPBACK: Final[tuple[IpNetwork, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)


def unmapped(address: IpAddress) -> IpAddress:
    """The IPv4 address that `::ffff:0:0/96` stands for; other addresses as they are."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_public(address: IpAddress) -> bool:
    """Whether anybody on the internet can reach it, and it is nobody's metadata."""
    address = unmapped(address)
    if address in _METADATA or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_allowed(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    """Whether one of `networks` has it; a cloud's metadata must be named address by address."""
    address = unmapped(address)
    return any(
        address in network
        and (address not in _METADATA or network.prefixlen == network.max_prefixlen)
        for network in networks
    )


def parse_network(text: str) -> IpNetwork:
    """Read `10.1.0.0/16`, `::1` or the like; raises ConfigurationInvalid."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigurationInvalid(
            reason=f"'{text}' in BULKHEAD_EGRESS_ALLOW is no network; write 10.1.0.0/16 or ::1"
        ) from None
