"""The environment of a front end and its server: where each database is, and with which keys.

The names are those that applications upon several Supabase projects use, one infix for each.
"""

from __future__ import annotations

from collections.abc import Iterator

from bulkhead.engine.connections.claims import Role
from bulkhead.engine.topology import Database, Topology
from bulkhead.gateway.keyring import ApiKeyRing
from bulkhead.gateway.keys import KeyKind

Variable = tuple[str, str]


def render_environment(topology: Topology, ring: ApiKeyRing, origin: str) -> str:
    """One block of `NAME=value` lines for each database, for a `.env` file or a shell.

    No value needs quotes. What begins with `NEXT_PUBLIC_` may be shown to everybody.
    """
    blocks = []
    for database in topology.databases:
        if database.api.enabled:
            lines = [f"# {topology.application}: {database.name}"]
            lines += [
                f"{name}={value}"
                for name, value in list_variables(topology.application, database, ring, origin)
            ]
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def list_variables(
    application: str, database: Database, ring: ApiKeyRing, origin: str
) -> Iterator[Variable]:
    """The variables of one database: legacy keys, which every client takes, then opaque ones."""
    keys = ring.keys(database.name)
    infix = f"_{database.variable}" if database.variable else ""
    yield f"NEXT_PUBLIC_SUPABASE{infix}_URL", url_of(application, database.name, origin)
    yield f"NEXT_PUBLIC_SUPABASE{infix}_ANON_KEY", keys.current(KeyKind.JWT, Role.ANON)
    yield f"SUPABASE{infix}_SERVICE_ROLE_KEY", keys.current(KeyKind.JWT, Role.SERVICE)
    publishable = keys.current(KeyKind.PUBLISHABLE, Role.ANON)
    yield f"NEXT_PUBLIC_SUPABASE{infix}_PUBLISHABLE_KEY", publishable
    yield f"SUPABASE{infix}_SECRET_KEY", keys.current(KeyKind.SECRET, Role.SERVICE)


def url_of(application: str, database: str, origin: str) -> str:
    """What a client is given as the URL of its project."""
    return f"{origin}/{application}/{database}"
