"""What servers have still to be told: whom to let in, and whom not.

A notice is written with the new state of a tenant and goes when its server knows. So a state that
was changed while the server was away, or by a process that died, reaches the server all the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import StatementTimeout
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState

QUERIES: Final = load_queries(__package__, "notices.sql")
GRACE_S: Final = 30.0
"""How long whoever changed the state, or took a notice up, has to tell the server."""
RETRY_S: Final = 5.0
RETRY_S_MAX: Final = 300.0
CLOSED: Final = frozenset({TenantState.SUSPENDED, TenantState.DELETING})
"""States in which a server lets nobody in, for good."""


class ServerUntold(Unavailable):
    """Tenant {tenant} is {state} here, but its server could not be told ({reason}).

    Every process that hears of the registry treats it so from now on.
    """

    code = "server_untold"
    hint = "Nothing is left to do: bulkhead up tells the server as soon as that answers."


@dataclass(frozen=True, slots=True)
class Notice:
    """A tenant whose server is to be told."""

    tenant: TenantId
    attempts: int


def is_away(error: BulkheadError) -> bool:
    """Whether a server did not answer, so that it may be told later."""
    return isinstance(error, Unavailable | StatementTimeout)


async def add_notice(tx: Transaction, row: TenantRow) -> None:
    """Have the server told of the tenant's new state, in the transaction that changes it."""
    await tx.execute(QUERIES.add_notice, row.id, row.generation, GRACE_S)


async def end_notice(tx: Transaction, row: TenantRow) -> None:
    """The server knows the state of `row`."""
    await tx.execute(QUERIES.end_notice, row.id, row.generation)


async def claim_notices(tx: Transaction, fleet: str, limit: int) -> list[Notice]:
    """Take up notices that are due."""
    rows = await tx.fetch(QUERIES.claim_notices, fleet, GRACE_S, limit)
    return [Notice(TenantId(row["tenant"]), row["attempts"]) for row in rows]


async def note_failure(
    tx: Transaction, tenant: TenantId, error: BulkheadError, attempts: int
) -> None:
    """Let people see why a server was not told, and try again later, and then later still."""
    pause_s = min(RETRY_S * 2.0 ** (attempts - 1), RETRY_S_MAX)
    await tx.execute(QUERIES.note_failure, tenant, json.dumps(error.to_json()), pause_s)
