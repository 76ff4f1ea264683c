"""Token buckets in the database, so that a limit holds over all processes together."""

from __future__ import annotations

import ipaddress
import math
from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.errors import RateLimited
from bulkhead.capabilities.identity.settings import Limit
from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

_IPV6_SITE_BITS = 64


async def take(
    tx: Transaction, limit: Limit, subject: str, refusal: type[RateLimited] = RateLimited
) -> None:
    """Use up one of what `limit` allows `subject`; raises `refusal` when nothing is left.

    Exact: of any number at once, `limit.burst` pass. The transaction must commit for it to count,
    also when what was limited then fails.
    """
    key = f"{limit.name}:{subject}"
    if await tx.fetchval(QUERIES.take, key, limit.burst, limit.emission_s):
        return
    wait_s = await tx.fetchval(QUERIES.get_wait, key, limit.burst, limit.emission_s)
    raise refusal(limit=limit.name, retry_after_s=max(1, math.ceil(wait_s or 0)))


async def refill(tx: Transaction, limit: Limit, subject: str) -> None:
    """Give back everything that `limit` allows `subject`."""
    await tx.execute(QUERIES.refill, f"{limit.name}:{subject}")


async def prune(tx: Transaction) -> None:
    """Forget the buckets that are full."""
    await tx.execute(QUERIES.prune)


def network_of(address: str | None) -> str:
    """The network that counts as one client: an IPv4 address, or the site of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        site = ipaddress.ip_network((int(parsed), _IPV6_SITE_BITS), strict=False)
        return str(site)
    return str(parsed)
