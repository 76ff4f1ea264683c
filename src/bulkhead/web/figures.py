"""The engine's figures in the form in which they are exported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bulkhead.web.metrics import Figure, FigureSource

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.system import System


def figures_of(system: System) -> FigureSource:
    """What a system measures without asking any database."""

    def read() -> Iterable[Figure]:
        for database in system.router:
            yield from _pools(database)

    return read


def _pools(database: OpenDatabase) -> Iterable[Figure]:
    place = {"application": database.application, "database": database.name}
    yield Figure(
        "breaker_open",
        float(database.breaker.is_open),
        place,
        "Whether calls to the database are being refused",
    )
    for login, pool in (("client", database.clients), ("service", database.services)):
        labels = {**place, "login": login}
        stats = pool.stats
        yield Figure("pool_connections", pool.size, labels, "Connections that are open")
        yield Figure("pool_in_use", stats.in_use, labels, "Connections that are leased")
        yield Figure("pool_waiting", stats.waiting, labels, "Requests that wait for one")
        yield Figure("pool_wait_seconds_total", stats.wait_s, labels, "Time spent waiting")
        yield Figure("pool_timeouts_total", stats.timeouts, labels, "Waits that were given up")
