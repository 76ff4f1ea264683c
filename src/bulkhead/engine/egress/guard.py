"""Checks a host that a customer names, once, and pins the addresses to connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bulkhead.engine.egress.address import (
    LOOPBACK,
    IpAddress,
    IpNetwork,
    is_allowed,
    is_public,
    parse_network,
    unmapped,
)
from bulkhead.engine.egress.spelling import HostRefused, parse_host, refuse
from bulkhead.engine.errors import ConfigurationInvalid, Unavailable

if TYPE_CHECKING:
    from bulkhead.engine.settings import Settings

__all__ = ["Egress", "HostRefused", "Service", "Target", "open_egress"]

RESOLVE_TIMEOUT_S = 5.0
LOOKUPS_MAX = 8
ADDRESSES_MAX = 16
PORT_MAX = 65535
URL_CHARACTERS_MAX = 2048
_HIGH_PORTS = frozenset(range(10_000, PORT_MAX + 1)) - {10_250, 10_255, 11_211, 27_017}
"""Where hosted databases are, save where well-known servers of other kinds are."""
_NOT_IN_URLS = re.compile(r"[\s\\\x00-\x20\x7f]")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name; raises OSError."""


class Service(StrEnum):
    """What is spoken with a host."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    HTTPS = "https"
    """Webhooks, storage, and other APIs."""

    @property
    def ports(self) -> frozenset[int]:
        """Where such a service is found on public hosts."""
        return _PORTS[self]


_PORTS = {
    Service.POSTGRESQL: _HIGH_PORTS | set(range(5432, 5440)) | {6432, 6543, 6544},
    Service.MYSQL: _HIGH_PORTS | set(range(3306, 3312)) | {4000, 6033},
    Service.HTTPS: frozenset({443, 8443}),
}


class PortRefused(HostRefused):
    """Port {port} of host '{host}' cannot be used for {service}."""

    code = "port_refused"
    hint = "Use a usual port of the service; the operator may allow others: BULKHEAD_EGRESS_PORTS."


class HostUnreachable(Unavailable):
    """No connection to host '{host}' at port {port}: {reason}."""

    code = "host_unreachable"
    hint = "Check that the host's firewall lets this platform in, and that the port is right."


@dataclass(frozen=True, slots=True)
class Target:
    """A host that may be connected to, at these addresses and no others."""

    service: Service
    host: str
    """The name that a certificate must have, in ASCII, or the address."""
    port: int
    addresses: tuple[IpAddress, ...]
    is_inside: bool
    """Whether it is one of the private ones that the operator allows."""

    @property
    def address(self) -> str:
        """The first of them, for clients that take only one."""
        return str(self.addresses[0])

    async def connect(self, *, timeout_s: float) -> socket.socket:
        """A connected socket, non-blocking; tries one address after the other.

        Raises HostUnreachable.
        """
        reason = "no answer in time"
        try:
            async with asyncio.timeout(timeout_s):
                for address in self.addresses:
                    try:
                        return await _connect(address, self.port)
                    except OSError as error:
                        reason = error.strerror or type(error).__name__
        except TimeoutError:
            pass
        raise HostUnreachable(host=self.host, port=self.port, reason=reason)


@dataclass(slots=True, eq=False)
class SystemResolver:
    """Asks the system's resolver.

    It has threads of its own: names that nobody answers for would else keep the threads that the
    rest of the process shares.
    """

    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="lookup")
    )

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of `host`; raises OSError."""
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True, slots=True)
class Egress:
    """Decides which hosts customers may have this process connect to."""

    allowed: tuple[IpNetwork, ...] = ()
    """Private networks that the operator allows, at any port."""
    ports: frozenset[int] = frozenset()
    """Ports that the operator allows besides the usual ones."""
    is_default: bool = field(default=False, compare=False)
    """Whether `allowed` was not asked for, but comes with development."""
    resolve: Resolve = field(default_factory=SystemResolver, compare=False)

    async def check(self, host: str, port: int, service: Service) -> Target:
        """The addresses of `host`, all of which may be connected to; looks it up once.

        Raises HostRefused, PortRefused. What is private and what does not exist look the same, so
        that nobody can ask for the names inside.
        """
        parsed = parse_host(host)
        if not 0 < port <= PORT_MAX:
            raise PortRefused(host=str(parsed), port=port, service=service.value)
        addresses = await self._addresses(parsed, port)
        is_inside = all(is_allowed(address, self.allowed) for address in addresses)
        if not addresses or not all(
            is_public(address) or is_allowed(address, self.allowed) for address in addresses
        ):
            raise refuse(str(parsed), "it does not lead to a public address")
        if not is_inside and port not in service.ports | self.ports:
            raise PortRefused(host=str(parsed), port=port, service=service.value)
        return Target(service, str(parsed), port, addresses, is_inside)

    async def check_url(self, url: str) -> Target:
        """As `check` for the host of an `https` URL; `http` only to what the operator allows.

        Raises HostRefused for credentials in it, other schemes, and what two parsers could read
        differently.
        """
        if len(url) > URL_CHARACTERS_MAX or _NOT_IN_URLS.search(url) or not url.isprintable():
            raise refuse("", "the URL is too long, or has characters that no URL has")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise refuse("", "the URL cannot be read") from None
        if parts.scheme not in {"https", "http"} or "@" in parts.netloc:
            raise refuse(host, "the URL must begin with https:// and have no user in it")
        if port is None:
            port = 443 if parts.scheme == "https" else 80
        target = await self.check(host, port, Service.HTTPS)
        if parts.scheme == "http" and not target.is_inside:
            raise refuse(host, "the URL must begin with https://")
        return target

    @property
    def note(self) -> str | None:
        """What an operator should know at the start; None when only public hosts can be reached."""
        if not self.allowed:
            return None
        networks = ", ".join(str(network) for network in self.allowed)
        why = "for development; BULKHEAD_EGRESS_ALLOW=none forbids it" if self.is_default else ""
        return f"Customers may name hosts in {networks}" + (f" ({why})" if why else "")

    async def _addresses(self, host: str | IpAddress, port: int) -> tuple[IpAddress, ...]:
        if not isinstance(host, str):
            return (unmapped(host),)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self.resolve(host, port)
        except (OSError, UnicodeError):
            return ()
        try:
            every = [unmapped(ipaddress.ip_address(text)) for text in found]
        except ValueError:  # With a zone, for example.
            return ()
        return tuple(dict.fromkeys(every)) if len(every) <= ADDRESSES_MAX else ()


def open_egress(settings: Settings) -> Egress:
    """The guard as `settings` have it; raises ConfigurationInvalid."""
    ports = frozenset(number for text in settings.egress_ports for number in _parse_ports(text))
    if settings.egress_allow is None:
        allowed = LOOPBACK if settings.is_development else ()
        return Egress(allowed, ports, is_default=bool(allowed))
    words = [word for word in settings.egress_allow if word != "none"]
    return Egress(tuple(parse_network(word) for word in words), ports)


async def _connect(address: IpAddress, port: int) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
    wire = socket.socket(family, socket.SOCK_STREAM)
    try:
        wire.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().sock_connect(wire, (str(address), port))
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        wire.close()
        raise
    return wire


def _parse_ports(text: str) -> range:
    low, dash, high = text.partition("-")
    high = high if dash else low
    if not (low.isdecimal() and high.isdecimal()) or not 0 < int(low) <= int(high) <= PORT_MAX:
        raise ConfigurationInvalid(
            reason=f"'{text}' in BULKHEAD_EGRESS_PORTS is no port; write 9443 or 7000-7010"
        )
    return range(int(low), int(high) + 1)
