"""Figures about pools, breakers, outboxes, sagas and references, as plain values.

What a process knows of itself is read at once. What stands in the databases is sampled by
`Sampler.sample`, again and again, so that whoever reads the figures never waits for a database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.messaging.backlog import list_backlog

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.pool import Pool
    from bulkhead.engine.connections.router import Router

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, in base units: seconds, bytes, counts."""

    name: str
    """A name that ends in `_total` counts since the start of the process."""
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


def pool_figures(router: Router) -> Iterator[Figure]:
    """What this process knows of its connections; asks nobody."""
    for database in router:
        name = {"application": router.application, "database": database.name}
        opened = 1.0 if database.breaker.is_open else 0.0
        yield Figure("breaker_open", opened, name, "Whether calls to the database are refused")
        for of, pool in database.pools.items():
            yield from _figures_of(pool, {**name, "pool": of})
    budgets = {database.driver.server: database.budget for database in router}
    for server, budget in budgets.items():
        label = {"application": router.application, "server": server}
        yield Figure("server_connections", budget.taken, label, "Connections to the server")
        yield Figure("server_connections_limit", budget.limit, label, "And how many may be")


@dataclass(slots=True, eq=False)
class Sampler:
    """Keeps the figures of the last look into the databases."""

    router: Router
    _figures: tuple[Figure, ...] = ()
    _sampled_at_s: float | None = None

    async def sample(self) -> None:
        """Look into every database; one that does not answer is a figure too."""
        figures: list[Figure] = []
        for database in self.router:
            name = {"application": self.router.application, "database": database.name}
            try:
                found = await _read_database(database, name)
            except BulkheadError:
                found = []
            up = 1.0 if found else 0.0
            figures.append(Figure("database_up", up, name, "Whether the database answered"))
            figures += found
        self._figures, self._sampled_at_s = tuple(figures), monotonic_s()

    def figures(self) -> list[Figure]:
        """Everything known now, without waiting."""
        known = [*pool_figures(self.router), *self._figures]
        if self._sampled_at_s is not None:
            age_s = monotonic_s() - self._sampled_at_s
            label = {"application": self.router.application}
            known.append(Figure("sample_age_seconds", age_s, label, "Since the last look"))
        return known


def _figures_of(pool: Pool, labels: Mapping[str, str]) -> Iterator[Figure]:
    stats = pool.stats
    for state, count in (("in_use", stats.in_use), ("idle", pool.size - stats.in_use)):
        yield Figure("pool_connections", count, {**labels, "state": state}, "Open connections")
    yield Figure("pool_waiting", stats.waiting, labels, "Requests that wait for a connection")
    yield Figure("pool_acquired_total", stats.acquired, labels, "Connections taken")
    yield Figure("pool_wait_seconds_total", stats.wait_s, labels, "Time spent waiting for them")
    yield Figure("pool_timeouts_total", stats.timeouts, labels, "Waits that were given up")


async def _read_database(database: OpenDatabase, labels: Mapping[str, str]) -> list[Figure]:
    async with database.transaction(SERVICE, read_only=True) as tx:
        backlog = await list_backlog(tx)
        sagas = {row["state"]: row["count"] for row in await tx.fetch(QUERIES.open_sagas)}
        sweeps = await tx.fetch(QUERIES.sweep_figures)
    figures = []
    for each in backlog:
        to = {**labels, "handler": each.handler}
        figures += [
            Figure("outbox_waiting", each.waiting - each.dead, to, "Events not yet received"),
            Figure("outbox_dead", each.dead, to, "Events that were given up on"),
            Figure("outbox_oldest_seconds", each.oldest_s, to, "How long the oldest has waited"),
        ]
    figures += [
        Figure("sagas", sagas.get(state, 0), {**labels, "state": state}, "Sagas under way")
        for state in ("running", "compensating", "needs_human")
    ]
    for row in sweeps:
        of = {**labels, "reference": row["reference"]}
        figures.append(Figure("reference_orphans", row["violations"], of, "Recorded orphans"))
        if row["age_s"] is not None:
            age = "Since the last complete sweep"
            figures.append(Figure("reference_sweep_age_seconds", row["age_s"], of, age))
    return figures
