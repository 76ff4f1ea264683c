"""Finds sagas that nobody works on any more and has them resumed.

Two kinds are left behind by a crash: records whose lease has run out, and markers in another
database whose record was never written (the steps of a first stage run side by side). The second
kind is closed by writing a refused record under its id first, so that a late first step fails on
it, and then taking the marker's step back.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.messaging.saga import DatabaseStep, Saga, SagaState, StepItem
from bulkhead.engine.messaging.saga_errors import SagaAbandoned, store_error
from bulkhead.engine.messaging.saga_steps import Work
from bulkhead.engine.messaging.saga_store import (
    QUERIES,
    SagaRecord,
    Start,
    claim_stale_saga,
    refuse_saga,
)
from bulkhead.engine.ongoing import claimed

if TYPE_CHECKING:
    from bulkhead.engine.messaging.saga_runner import SagaRunner

SWEEP_S = 1.0
BATCH_MAX = 20
PAGE_ROWS = 500
PAGES_MAX = 20
GRACE_S = 30.0
RETENTION_DAYS = 30
PRUNE_MAX = 5000

OPEN = frozenset({"running", "compensating", "needs_human"})
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class SagaWorker:
    """Resumes what was left behind in the databases of one application."""

    runner: SagaRunner
    sweep_s: float = SWEEP_S
    grace_s: float = GRACE_S
    """How much longer than its deadline a marker may lack its record."""
    _task: asyncio.Task[None] | None = field(default=None)

    def start(self) -> None:
        """Sweep from now on, in the background."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """Stop sweeping; a saga in hand is left to others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def run_once(self) -> int:
        """Resume what is due now, and return how many sagas and markers that was."""
        worked = 0
        for home in self.runner.homes:
            for _ in range(BATCH_MAX):
                # One at a time: the lease of one must not run out while others are worked on.
                record = await claimed(self._claim(home), self._leave)
                if record is None:
                    break
                await self._resume(record)
                worked += 1
        for saga in self.runner.sagas.values():
            for database in saga.databases:
                worked += await self._settle(saga, database)
        return worked

    async def prune(self) -> int:
        """Forget sagas and markers that ended long ago; return how many rows that was."""
        pruned = 0
        for database in self._databases():
            for query in (QUERIES.prune_sagas, QUERIES.prune_markers):
                async with self.runner.router.database(database).transaction(SERVICE) as tx:
                    status = await tx.execute(query, RETENTION_DAYS, PRUNE_MAX)
                pruned += int(status.split()[-1])
        return pruned

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self.sweep_s)
            try:
                await self.run_once()
            except BulkheadError as error:
                log.debug("saga sweep: %s", error)
            except Exception:
                log.exception("saga sweep failed")

    async def _claim(self, home: str) -> SagaRecord | None:
        names = [saga.name for saga in self.runner.sagas.values() if saga.home == home]
        async with self.runner.router.database(home).transaction(SERVICE) as tx:
            return await claim_stale_saga(tx, names, self.runner.owner, lease_s=self.runner.lease_s)

    async def _resume(self, record: SagaRecord) -> None:
        try:
            await self.runner.resume(record)
        except asyncio.CancelledError:
            await self._leave(record)
            raise
        except Exception:
            log.exception("saga %s (%s) could not be resumed", record.id, record.name)
            await self.runner.postpone(record)

    async def _leave(self, record: SagaRecord | None) -> None:
        """Leave a saga to its caller, then to another worker; that it was stopped is no failure."""
        if record is not None:
            await self.runner.postpone(replace(record, attempts=0))

    async def _settle(self, saga: Saga, database: str) -> int:
        """Look after markers in `database` that are older than their saga may be."""
        age_s = saga.deadline_s + self.grace_s
        after = (BEGINNING, UUID(int=0), "")
        settled = 0
        for _ in range(PAGES_MAX):
            place = self.runner.router.database(database)
            async with place.transaction(SERVICE, read_only=True) as tx:
                rows = await tx.fetch(QUERIES.list_unsettled, saga.name, age_s, PAGE_ROWS, *after)
            if rows:
                settled += await self._settle_page(saga, database, rows)
                after = (rows[-1]["created_at"], rows[-1]["saga_id"], rows[-1]["step"])
            if len(rows) < PAGE_ROWS:
                break
        return settled

    async def _settle_page(self, saga: Saga, database: str, rows: Sequence[Any]) -> int:
        ids = {row["saga_id"] for row in rows}
        states = await self._states(saga, ids)
        for row in rows:
            state = states.get(row["saga_id"])
            if row["state"] == "undone" or database == saga.home:
                continue
            if state is None:
                await self._abandon(saga, row)
            elif state == SagaState.COMPENSATED:
                await self._take_back(saga, row, SagaAbandoned())
        ended = [i for i in ids if states.get(i) not in OPEN]
        async with self.runner.router.database(database).transaction(SERVICE) as tx:
            await tx.execute(QUERIES.settle_markers, ended)
        return len(ended)

    async def _states(self, saga: Saga, ids: Iterable[UUID]) -> dict[UUID, str]:
        home = self.runner.router.database(saga.home)
        async with home.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_states, list(ids))
        return {row["id"]: row["state"] for row in rows}

    async def _abandon(self, saga: Saga, row: Any) -> None:  # noqa: ANN401
        """End a saga that has a marker and no record, so that its first step comes too late."""
        start = Start(saga, row["saga_id"], None, "", self.runner.owner)
        async with self.runner.router.database(saga.home).transaction(SERVICE) as tx:
            if not await refuse_saga(tx, start, store_error(SagaAbandoned())):
                return  # Its record arrived after all.
        await self._take_back(saga, row, SagaAbandoned())

    async def _take_back(self, saga: Saga, row: Any, error: BulkheadError) -> None:  # noqa: ANN401
        """Undo a step that outlived its saga."""
        step = next(s for s in saga.steps if s.name == row["step"])
        assert isinstance(step, DatabaseStep), "only transactions leave markers"
        item = StepItem(row["saga_id"], None, error=store_error(error))
        await self.runner.steps.undo(saga, step, Work(item))
        log.info("step %s of saga %s, which has ended, was taken back", step.name, item.saga_id)

    def _databases(self) -> list[str]:
        return list(
            dict.fromkeys(name for saga in self.runner.sagas.values() for name in saga.databases)
        )
