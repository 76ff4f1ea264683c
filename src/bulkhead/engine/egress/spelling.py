"""How a host may be written: as a name or as an address, in the one plain form of each.

System libraries read much more as an address: `0`, `127.1`, `2130706433`, `0x7f.1`, digits of other
scripts. They also read paths, lists and options in what should be a host. None of that is needed,
and each of it has led somebody past a check.
"""

from __future__ import annotations

import ipaddress
import re

import idna

from bulkhead.engine.egress.address import IpAddress
from bulkhead.engine.errors import Invalid

NAME_CHARACTERS_MAX = 253
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class HostRefused(Invalid):
    """The host '{host}' cannot be used: {reason}."""

    code = "host_refused"
    hint = "Give the public name of one server; BULKHEAD_EGRESS_ALLOW lets private ones in."


def parse_host(text: str) -> str | IpAddress:
    """A lower-case ASCII name, or an address; raises HostRefused for everything else."""
    if not text or len(text) > NAME_CHARACTERS_MAX + 1 or not text.isprintable():
        raise refuse(text, "it must be a name or an address")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _parse_name(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise refuse(text, "an address with a zone is never public")
    return address


def refuse(host: str, reason: str) -> HostRefused:
    """The error for `host`, of which no more is repeated than a name could have."""
    shown = "".join(c if c.isprintable() else "?" for c in host[: NAME_CHARACTERS_MAX + 1])
    return HostRefused(host=shown, reason=reason)


def _parse_name(text: str) -> str:
    name = text.lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise refuse(text, "it is not a name of the internet") from None
    name = name.removesuffix(".")
    if not _NAME.fullmatch(name):
        raise refuse(text, "it must be one name or one address, and nothing else")
    # What ends in a number is an address to some library, whatever else it looks like.
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise refuse(text, "an address must be written in full, as in 192.0.2.1")
    return name
