"""The invariants that hold for every application: references, events, sagas, connections."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.monitoring.invariant import Invariant, Violation
from bulkhead.engine.monitoring.messages import find_ghosts, find_lost
from bulkhead.engine.monitoring.sagas import GRACE_S, find_half_done, find_unfinished
from bulkhead.engine.references.unlisted import count_unlisted

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.topology import Topology

QUERIES = load_queries(__package__)


def standard_invariants(
    topology: Topology, *, saga_grace_s: float = GRACE_S
) -> tuple[Invariant, ...]:
    """What must be true at any time, also while the application works."""
    return (
        Invariant(
            "I18",
            "every reference resolves, or its target was deleted, or it is a recorded violation",
            partial(find_unlisted_orphans, topology=topology),
        ),
        Invariant("I19", "every event is received once, and none that was not published", _events),
        Invariant(
            "I20",
            "every saga ends in time, as a whole or not at all",
            partial(_sagas, grace_s=saga_grace_s),
        ),
    )


CUT = Invariant(
    "I22", "every event that was received stands in the outbox it came from", find_ghosts
)
"""What must be true of databases whose backups belong together; run it over a Router of them. For
a backup that is not of today use `find_ghosts` with its instant."""


async def find_unlisted_orphans(router: Router, topology: Topology) -> list[Violation]:
    """References with orphans that no sweep has recorded."""
    found: list[Violation] = []
    for reference in topology.references:
        count = await count_unlisted(router, topology, reference)
        if count:
            found.append(Violation(reference.name, f"{count} orphans are not recorded"))
    return found


async def find_left_open(router: Router) -> list[Violation]:
    """What an application at rest still holds: connections, transactions, advisory locks."""
    found: list[Violation] = []
    for database in router:
        for pool in database.pools.values():
            await pool.settle()
        in_use = sum(pool.stats.in_use for pool in database.pools.values())
        if in_use:
            found.append(Violation(database.name, f"{in_use} connections are in use"))
        async with database.transaction(SERVICE, read_only=True) as tx:
            row = await tx.fetchrow(QUERIES.open_transactions)
        assert row is not None, "a select of two counts returns a row"
        if row["transactions"]:
            found.append(Violation(database.name, f"{row['transactions']} open transactions"))
        if row["advisory_locks"]:
            found.append(Violation(database.name, f"{row['advisory_locks']} advisory locks"))
    return found


AT_REST = Invariant("I29", "an application at rest holds nothing", find_left_open)
"""True after the last request and the last delivery, not while the application works."""


async def _events(router: Router) -> list[Violation]:
    return [*await find_ghosts(router), *await find_lost(router)]


async def _sagas(router: Router, grace_s: float) -> list[Violation]:
    return [*await find_unfinished(router, grace_s), *await find_half_done(router, grace_s)]
