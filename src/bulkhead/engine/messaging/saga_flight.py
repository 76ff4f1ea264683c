"""The sagas at work in this process, and how long whoever asked for one waits for its answer.

A caller whose patience ends is told what is known by then. The saga goes on, and is asked after by
its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bulkhead.engine.messaging.saga import Json
from bulkhead.engine.messaging.saga_errors import SagaInProgress, SagaPending, SagaUnanswered
from bulkhead.engine.messaging.saga_run import Run
from bulkhead.engine.ongoing import Ongoing, has_ended

PATIENCE_S = 5.0
"""How long a caller waits for an answer at most."""

Work = Coroutine[Any, Any, Json]


@dataclass(frozen=True, slots=True)
class Flight:
    """One saga at work, for whoever waits for it."""

    run: Run
    request_hash: str
    task: asyncio.Task[Json]

    async def answer(self, until_s: float) -> Json:
        """Its answer; raises what it raises, and when it has none until then what is known of it.

        That is SagaInProgress when another process is at it, SagaPending when it is recorded, and
        SagaUnanswered when nobody knows.
        """
        if await has_ended(self.task, until_s):
            return self.task.result()
        if self.run.elsewhere:
            raise SagaInProgress
        if self.run.recorded:
            raise SagaPending(saga_id=self.run.saga_id)
        raise SagaUnanswered


@dataclass(slots=True, eq=False)
class Flights:
    """The sagas at work in this process, by their ids."""

    _flights: dict[UUID, Flight] = field(default_factory=dict)
    _ongoing: Ongoing = field(default_factory=Ongoing)

    async def join(self, saga_id: UUID, request_hash: str, until_s: float) -> Flight | None:
        """The one that is at work for the same request, None when none is under this id.

        Raises SagaInProgress when another request's does not end until then.
        """
        while (flight := self._flights.get(saga_id)) is not None:
            if flight.request_hash == request_hash:
                return flight
            # Which of the requests was the first, the record tells.
            if not await has_ended(flight.task, until_s):
                raise SagaInProgress
        return None

    def begin(self, run: Run, request_hash: str, work: Work) -> Flight:
        """Let `work` be at a saga that is not at work here."""
        flight = self.follow(run, request_hash, work)
        self._flights[run.saga_id] = flight
        flight.task.add_done_callback(lambda _: self._flights.pop(run.saga_id))
        return flight

    def follow(self, run: Run, request_hash: str, work: Work) -> Flight:
        """Let `work` look for a saga that may be at work here or elsewhere."""
        return Flight(run, request_hash, self._ongoing.begin(work))

    async def drain(self) -> None:
        """Wait for all of them."""
        await self._ongoing.drain()
