"""Whether the process lives and which of its databases answer.

A process is ready while at least one database answers: one that is away must not take the others'
traffic with it. The answer names each, and `status` says `degraded`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fastapi import APIRouter, Response
from pydantic import BaseModel

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import BulkheadError, Unavailable

PROBE_TIMEOUT_S = 2.0
ANSWER_AGE_S_MAX = 1.0


class ProbeTimeout(Unavailable):
    """The database did not answer a probe within {timeout_s} s."""

    code = "probe_timeout"


class Status(StrEnum):
    """How a database, or all of them together, are."""

    READY = "ready"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class Alive(BaseModel):
    """The process answers."""

    status: Status = Status.READY


class DatabaseHealth(BaseModel):
    """What a probe of one database found."""

    status: Status
    latency_ms: float | None = None
    code: str | None = None
    """The error's code where it did not answer."""


class Readiness(BaseModel):
    """All databases by `application.database`."""

    status: Status
    databases: dict[str, DatabaseHealth]


@dataclass(slots=True, eq=False)
class Health:
    """Probes databases, at most once a second however often it is asked."""

    databases: Sequence[OpenDatabase]
    _answer: Readiness | None = None
    _answered_at_s: float = 0.0
    _probing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def readiness(self) -> Readiness:
        """Ask every database for a sign of life."""
        async with self._probing:
            if self._answer is None or monotonic_s() - self._answered_at_s > ANSWER_AGE_S_MAX:
                self._answer = await self._probe_all()
                self._answered_at_s = monotonic_s()
            return self._answer

    async def _probe_all(self) -> Readiness:
        async with asyncio.TaskGroup() as group:
            probes = {
                f"{database.application}.{database.name}": group.create_task(probe(database))
                for database in self.databases
            }
        found = {name: task.result() for name, task in probes.items()}
        ready = [health.status is Status.READY for health in found.values()]
        if all(ready):
            status = Status.READY
        else:
            status = Status.DEGRADED if any(ready) else Status.UNAVAILABLE
        return Readiness(status=status, databases=found)


async def probe(database: OpenDatabase) -> DatabaseHealth:
    """Run an empty transaction the way a request would; never raises for a database's fault."""
    started_s = monotonic_s()
    try:
        async with (
            asyncio.timeout(PROBE_TIMEOUT_S),
            database.transaction(ANON, read_only=True) as tx,
        ):
            await tx.fetchval("select 1")
    except TimeoutError:
        return DatabaseHealth(status=Status.UNAVAILABLE, code=ProbeTimeout.code)
    except BulkheadError as error:
        return DatabaseHealth(status=Status.UNAVAILABLE, code=error.code)
    latency_ms = round((monotonic_s() - started_s) * 1000, 2)
    return DatabaseHealth(status=Status.READY, latency_ms=latency_ms)


def health_router(health: Health) -> APIRouter:
    """The routes `/livez` and `/readyz`."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez")
    async def read_liveness() -> Alive:
        """Whether the process answers; restart it when it does not."""
        return Alive()

    @router.get("/readyz", responses={503: {"model": Readiness}})
    async def read_readiness(response: Response) -> Readiness:
        """Which databases answer; 503 when none does."""
        readiness = await health.readiness()
        if readiness.status is Status.UNAVAILABLE:
            response.status_code = 503
        return readiness

    return router
