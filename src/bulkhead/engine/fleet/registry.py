"""The registry of tenants and servers, in one database of the application.

Functions of a transaction, so that a use case can change its own rows and the registry at once.
Every change of a tenant moves its generation on and is told on the channel `CHANNEL`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import ForeignKeyViolated, UniqueViolated
from bulkhead.engine.errors import Conflict, NotFound
from bulkhead.engine.fleet.model import (
    ServerKind,
    ServerRow,
    TenantId,
    TenantPlace,
    TenantRow,
    TenantState,
)

QUERIES = load_queries(__package__, "registry.sql")
CHANNEL = "bulkhead_fleet"
PAGE_MAX = 1000
FIRST = TenantId(UUID(int=0))
"""Before every tenant, for `list_tenants`."""


class TenantUnknown(NotFound):
    """There is no tenant {tenant} in the registry."""

    code = "tenant_unknown"
    hint = "Give it a database first: bulkhead provision start {tenant}."


class ServerUnknown(NotFound):
    """There is no server '{server}' in the registry."""

    code = "server_unknown"


class ServerInUse(Conflict):
    """Server '{server}' cannot be removed: {reason}."""

    code = "server_in_use"
    hint = (
        "Drain it, move its tenants away and confirm that; if it is gone: "
        "bulkhead server remove {server} --abandon."
    )


class ServerKindFixed(Conflict):
    """Server '{server}' is known as another kind than '{kind}'."""

    code = "server_kind_fixed"
    hint = "Give it another name."


class TenantChanged(Conflict):
    """Tenant {tenant} has changed meanwhile, or is not {expected}."""

    code = "tenant_changed"
    hint = "Read it again and decide anew."


class DatabaseTaken(Conflict):
    """Another tenant already has database '{database}' on server '{server}'."""

    code = "database_taken"


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """What an operator says about a server."""

    name: str
    kind: ServerKind
    address: str
    capacity: int
    connections_max: int = 60
    labels: Mapping[str, str] = field(default_factory=dict)
    sealed_endpoint: bytes | None = field(default=None, repr=False)
    reserved_for: TenantId | None = None
    """The only tenant that is placed on it."""


async def add_server(tx: Transaction, entry: ServerEntry) -> ServerRow:
    """Make a server known, or change what is known of it; raises ServerKindFixed.

    One that is reserved takes its tenant again if it was drained.
    """
    row = await tx.fetchrow(
        QUERIES.add_server,
        entry.name,
        entry.kind.value,
        entry.address,
        entry.capacity,
        entry.connections_max,
        json.dumps(dict(entry.labels)),
        entry.sealed_endpoint,
        entry.reserved_for,
    )
    if row is None:
        raise ServerKindFixed(server=entry.name, kind=entry.kind.value)
    return server_of(row)


async def get_server(tx: Transaction, name: str) -> ServerRow:
    """The server called `name`; raises ServerUnknown."""
    row = await tx.fetchrow(QUERIES.find_server, name)
    if row is None:
        raise ServerUnknown(server=name)
    return server_of(row)


async def list_servers(tx: Transaction) -> tuple[ServerRow, ...]:
    """Every server, by name."""
    return tuple(server_of(row) for row in await tx.fetch(QUERIES.list_servers))


async def remove_server(tx: Transaction, name: str, *, abandon: bool = False) -> None:
    """Forget a server; raises ServerUnknown, ServerInUse.

    With `abandon` it is gone, and so is what moves have there; `Mover.tend` ends these.
    """
    await tx.execute(QUERIES.lock_server, name)
    # Statements of their own, which see what began while this one waited.
    await verify_unused(tx, name, abandon=abandon)
    try:
        await tx.execute(QUERIES.remove_server, name)
    except ForeignKeyViolated as error:
        raise ServerInUse(server=name, reason="databases that were kept ready are on it") from error


async def verify_unused(tx: Transaction, name: str, *, abandon: bool = False) -> None:
    """Pass for a server that has at most what is kept ready there; raises as `remove_server`."""
    server = await get_server(tx, name)
    if not abandon and (moves := await tx.fetchval(QUERIES.count_moves, name)):
        raise ServerInUse(server=name, reason=f"{moves} moves have to be confirmed or taken back")
    if server.tenants:
        raise ServerInUse(server=name, reason=f"it has {server.tenants} tenants")


async def drain_reserved(tx: Transaction, tenant: TenantId, *, but: str | None = None) -> None:
    """Place the tenant on none of the servers that are reserved for it, but `but`."""
    await tx.execute(QUERIES.drain_reserved, tenant, but)


async def remove_reserved(tx: Transaction, tenant: TenantId) -> None:
    """Forget the servers that were reserved for the tenant, where nothing of it can be left."""
    await tx.execute(QUERIES.remove_reserved, tenant)


async def add_tenant(
    tx: Transaction, tenant: TenantId, fleet: str, place: TenantPlace
) -> TenantRow:
    """Make a tenant known, in state `provisioning`; the one there is, when there is one.

    Raises ServerUnknown, and DatabaseTaken.
    """
    with _explained(place):
        row = await tx.fetchrow(QUERIES.add_tenant, tenant, fleet, *_columns(place))
    return tenant_of(row) if row is not None else await get_tenant(tx, tenant)


async def get_tenant(tx: Transaction, tenant: TenantId, *, lock: bool = False) -> TenantRow:
    """The tenant, locked until the transaction ends if so wished; raises TenantUnknown."""
    found = await find_tenant(tx, tenant, lock=lock)
    if found is None:
        raise TenantUnknown(tenant=tenant)
    return found


async def find_tenant(tx: Transaction, tenant: TenantId, *, lock: bool = False) -> TenantRow | None:
    """The tenant, None when the registry has no such."""
    row = await tx.fetchrow(QUERIES.lock_tenant if lock else QUERIES.find_tenant, tenant)
    return tenant_of(row) if row is not None else None


async def list_tenants(
    tx: Transaction,
    *,
    fleet: str | None = None,
    server: str | None = None,
    state: TenantState | None = None,
    after: TenantId = FIRST,
    limit: int = PAGE_MAX,
) -> tuple[TenantRow, ...]:
    """A page of tenants by id, those that come after `after`."""
    rows = await tx.fetch(
        QUERIES.list_tenants, after, fleet, server, state and state.value, min(limit, PAGE_MAX)
    )
    return tuple(tenant_of(row) for row in rows)


async def find_generations(tx: Transaction, tenants: Sequence[TenantId]) -> dict[TenantId, int]:
    """The generation of each tenant that the registry has."""
    rows = await tx.fetch(QUERIES.find_generations, tenants)
    return {TenantId(row["id"]): row["generation"] for row in rows}


async def set_state(
    tx: Transaction,
    tenant: TenantId,
    state: TenantState,
    *,
    expected: Sequence[TenantState],
    reason: str | None = None,
) -> TenantRow:
    """Let the tenant be in `state`; raises TenantUnknown, and TenantChanged from another state."""
    row = await tx.fetchrow(
        QUERIES.set_state, tenant, state.value, reason, [each.value for each in expected]
    )
    if row is None:
        await get_tenant(tx, tenant)
        raise TenantChanged(tenant=tenant, expected=" or ".join(expected))
    return tenant_of(row)


async def set_place(
    tx: Transaction, tenant: TenantId, place: TenantPlace, *, generation: int
) -> TenantRow:
    """Let the tenant be at `place`, its credentials included.

    Raises TenantUnknown, ServerUnknown, DatabaseTaken, and TenantChanged when it is no longer at
    `generation`.
    """
    with _explained(place):
        row = await tx.fetchrow(QUERIES.set_place, tenant, generation, *_columns(place))
    if row is None:
        await get_tenant(tx, tenant)
        raise TenantChanged(tenant=tenant, expected=f"at generation {generation}")
    return tenant_of(row)


async def set_schema(
    tx: Transaction, tenant: TenantId, version: int, fingerprint: str | None
) -> TenantRow:
    """Note which schema the tenant has now; raises TenantUnknown."""
    row = await tx.fetchrow(QUERIES.set_schema, tenant, version, fingerprint)
    if row is None:
        raise TenantUnknown(tenant=tenant)
    return tenant_of(row)


async def remove_tenant(tx: Transaction, tenant: TenantId) -> bool:
    """Forget the tenant; False when there was none."""
    return await tx.fetchrow(QUERIES.remove_tenant, tenant) is not None


def server_of(row: Any) -> ServerRow:  # noqa: ANN401 - asyncpg.Record
    """Read a row of `fleet_servers`."""
    return ServerRow(
        name=row["name"],
        kind=ServerKind(row["kind"]),
        address=row["address"],
        capacity=row["capacity"],
        connections_max=row["connections_max"],
        labels=json.loads(row["labels"]),
        tenants=row["tenants"],
        draining_at=row["draining_at"],
        generation=row["generation"],
        sealed_endpoint=row["sealed_endpoint"],
        reserved_for=TenantId(row["reserved_for"]) if row["reserved_for"] else None,
    )


def tenant_of(row: Any) -> TenantRow:  # noqa: ANN401 - asyncpg.Record
    """Read a row of `fleet_tenants`."""
    place = TenantPlace(
        kind=ServerKind(row["kind"]),
        server=row["server"],
        database=row["database"],
        role_prefix=row["role_prefix"],
        login_prefix=row["login_prefix"],
        sealed_connection=row["sealed_connection"],
        located=row["located"],
    )
    return TenantRow(
        id=TenantId(row["id"]),
        fleet=row["fleet"],
        place=place,
        state=TenantState(row["state"]),
        reason=row["reason"],
        generation=row["generation"],
        schema_version=row["schema_version"],
        schema_fingerprint=row["schema_fingerprint"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


@contextmanager
def _explained(place: TenantPlace) -> Iterator[None]:
    """Say of which place a constraint of the registry speaks."""
    try:
        yield
    except UniqueViolated as error:
        raise DatabaseTaken(server=place.server, database=place.database) from error
    except ForeignKeyViolated as error:
        raise ServerUnknown(server=place.server) from error


def _columns(place: TenantPlace) -> tuple[object, ...]:
    return (
        place.kind.value,
        place.server,
        place.database,
        place.role_prefix,
        place.login_prefix,
        place.sealed_connection,
        place.located,
    )
