"""Which server a new tenant goes to: the emptiest of those that fit.

Placements of one kind are made one after another, under locks of the servers' rows, so that
however many are made at once none goes to a server that is full. Locks are taken in the order of
the names, also by whoever moves a tenant, so that nobody waits in a circle.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import Unavailable
from bulkhead.engine.fleet.model import ServerKind, ServerRow, TenantId, TenantPlace, TenantRow
from bulkhead.engine.fleet.registry import (
    QUERIES,
    ServerUnknown,
    add_tenant,
    find_tenant,
    list_tenants,
    server_of,
    set_place,
)


class NoServerFits(Unavailable):
    """No server of kind '{kind}' has room for another tenant; wanted: {wanted}."""

    code = "no_server_fits"
    retry_after_s = 60
    hint = "Add a server, raise the capacity of one, or ask for fewer labels."


@dataclass(frozen=True, slots=True)
class Wish:
    """What a tenant asks of its server."""

    kind: ServerKind = ServerKind.POSTGRESQL
    labels: Mapping[str, str] = field(default_factory=dict)
    """The server has all of these."""
    elsewhere_than: str | None = None
    """A server that it must not be."""
    tenant: TenantId | None = None
    """Whom it is for: one that is reserved for it comes first; those of others take nobody."""

    def refused(self) -> NoServerFits:
        """What to raise when no server grants it."""
        wanted = [f"label {key}={value}" for key, value in sorted(self.labels.items())]
        if self.elsewhere_than is not None:
            wanted.append(f"another one than '{self.elsewhere_than}'")
        return NoServerFits(kind=self.kind.value, wanted=", ".join(wanted) or "any")


@dataclass(frozen=True, slots=True)
class Names:
    """What a tenant's database and its roles are to be called."""

    database: str
    role_prefix: str | None = None
    login_prefix: str | None = None


async def choose_server(tx: Transaction, wish: Wish) -> ServerRow:
    """The emptiest server that fits; nobody else can take its room until `tx` ends.

    Raises NoServerFits.
    """
    labels = json.dumps(dict(wish.labels))
    await tx.execute(QUERIES.lock_servers, wish.kind.value)
    # A statement of its own, which sees what others committed while this one waited.
    row = await tx.fetchrow(
        QUERIES.choose_server, wish.kind.value, labels, wish.elsewhere_than, wish.tenant
    )
    if row is None:
        raise wish.refused()
    return server_of(row)


async def place_tenant(
    tx: Transaction, tenant: TenantId, fleet: str, wish: Wish, names: Names
) -> TenantRow:
    """Make a tenant known at the emptiest server that fits; where it is, when it has a place.

    Raises NoServerFits, DatabaseTaken.
    """
    if (known := await find_tenant(tx, tenant)) is not None:
        return known
    server = await choose_server(tx, wish)
    return await add_tenant(tx, tenant, fleet, _at(server, wish, names))


async def replace_tenant(tx: Transaction, tenant: TenantRow, wish: Wish, names: Names) -> TenantRow:
    """Let a tenant be at another server than it is; its database has to be there already.

    Raises NoServerFits, DatabaseTaken, TenantChanged.
    """
    server = await choose_server(tx, wish)
    return await set_place(tx, tenant.id, _at(server, wish, names), generation=tenant.generation)


async def drain_server(tx: Transaction, name: str, *, draining: bool = True) -> ServerRow:
    """Let a server take no new tenants, or take some again; raises ServerUnknown."""
    row = await tx.fetchrow(QUERIES.drain_server, name, draining)
    if row is None:
        raise ServerUnknown(server=name)
    return server_of(row)


async def list_left(tx: Transaction, server: str, limit: int = 100) -> tuple[TenantRow, ...]:
    """Some of the tenants that are still on a server; none when it is empty."""
    return await list_tenants(tx, server=server, limit=limit)


def _at(server: ServerRow, wish: Wish, names: Names) -> TenantPlace:
    return TenantPlace(
        kind=wish.kind,
        server=server.name,
        database=names.database,
        role_prefix=names.role_prefix,
        login_prefix=names.login_prefix,
        sealed_connection=None,
    )
