"""Runs sagas: inline in the request, and from where they stopped after a crash.

The runner holds no lock and no connection between steps. What keeps two runners of one saga apart
is written in the databases: the record with its lease and fence, and the markers, which let every
step take effect once and stay undone once it has been taken back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import RaisedBySql
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.messaging.saga import (
    Absent,
    DatabaseStep,
    Done,
    ExternalStep,
    Json,
    Refused,
    Saga,
    SagaState,
    Step,
    Unknown,
)
from bulkhead.engine.messaging.saga_errors import (
    IdempotencyKeyReused,
    SagaAbandoned,
    SagaDecided,
    SagaExpired,
    SagaInProgress,
    SagaPending,
    SagaUnknown,
    StoredRefusal,
    is_transient,
    store_error,
)
from bulkhead.engine.messaging.saga_flight import PATIENCE_S, Flights
from bulkhead.engine.messaging.saga_run import Run, answer_of, hash_input, rank
from bulkhead.engine.messaging.saga_steps import SagaRepeated, StepRunner, Work
from bulkhead.engine.messaging.saga_store import (
    LEASE_S,
    QUERIES,
    SagaRecord,
    Start,
    claim_saga,
    find_saga,
    list_markers,
    refuse_saga,
)

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router

TRIES_INLINE = 3
PAUSE_S = 0.05
CALLER_S = 5.0
"""How long an unfinished saga is left to its caller, who can finish what a worker cannot."""
ATTEMPTS_MAX = 30
BACKOFF_S_MAX = 60.0
REPEAT_WAIT_S = 10.0
FENCED = "BHF01"


@dataclass(slots=True, eq=False)
class SagaRunner:
    """Runs the sagas of one application."""

    router: Router
    sagas: Mapping[str, Saga]
    owner: str
    lease_s: float = LEASE_S
    steps: StepRunner = field(init=False)
    flights: Flights = field(default_factory=Flights)

    def __post_init__(self) -> None:
        self.steps = StepRunner(self.router)

    async def run(
        self,
        saga: Saga,
        saga_id: UUID,
        input: Json,  # noqa: A002
        *,
        request_hash: str,
        transient: Mapping[str, Any] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Json:
        """Run a saga and return its answer; a repeat returns the first answer.

        It goes on when the caller is cancelled, or has waited for `patience_s`. Raises the refusal
        that made it compensate, IdempotencyKeyReused when `request_hash` differs from the first
        request's, SagaInProgress when another process is still at it, SagaPending when it goes on
        in the background, and SagaUnanswered when it may or may not.
        """
        until_s = monotonic_s() + patience_s
        flight = await self.flights.join(saga_id, request_hash, until_s)
        if flight is None:
            run = Run(saga, saga_id, input, transient=transient or {}, input_hash=hash_input(input))
            run.start = Start(saga, saga_id, input, request_hash, self.owner, self.lease_s)
            flight = self.flights.begin(run, request_hash, self._begin(run, request_hash))
        return await flight.answer(until_s)

    async def find_answer(
        self, saga: Saga, saga_id: UUID, request_hash: str, *, patience_s: float = PATIENCE_S
    ) -> tuple[Json] | None:
        """The answer of a saga that was begun before, in a tuple; None when there is none.

        Raises as `run` does; a saga that was left unfinished is finished first.
        """
        run = Run(saga, saga_id, None)
        flight = self.flights.follow(run, request_hash, self._find_answer(run, request_hash))
        found: tuple[Json] | None = await flight.answer(monotonic_s() + patience_s)
        return found

    async def resume(self, record: SagaRecord) -> None:
        """Go on with a claimed saga as a worker does; never raises for the saga's own sake."""
        run = Run(
            self.saga(record.name), record.id, record.input, record.fence,
            asks=True, overdue=record.overdue,
        )  # fmt: skip
        try:
            await self._continue(run, record)
        except SagaPending:
            await self._postpone(run, record.attempts)
        except BulkheadError:
            pass  # The refusal is the saga's answer and has been recorded.

    async def postpone(self, record: SagaRecord) -> None:
        """Give a claimed saga back after an unexpected failure, to be tried again later."""
        run = Run(self.saga(record.name), record.id, record.input, record.fence)
        await self._postpone(run, record.attempts)

    async def compensate(self, record: SagaRecord, error: BulkheadError) -> None:
        """Take a claimed saga back on an operator's word.

        Raises SagaDecided when there is no way back, and SagaPending when it is not known yet or
        something cannot be undone at the moment; a worker then goes on with it.
        """
        run = Run(self.saga(record.name), record.id, record.input, record.fence, asks=True)
        try:
            if await self._load_markers(run):
                await self._verify_undecided(run)
            await self._compensate(run, error)
        except (SagaDecided, SagaPending):
            await self._postpone(run, 0)
            raise

    @property
    def homes(self) -> tuple[str, ...]:
        """The databases that coordinate sagas."""
        return tuple(dict.fromkeys(saga.home for saga in self.sagas.values()))

    def saga(self, name: str) -> Saga:
        """The saga called `name`; raises SagaUnknown."""
        if name not in self.sagas:
            raise SagaUnknown(name=name)
        return self.sagas[name]

    async def drain(self) -> None:
        """Wait for the sagas that run in this process, and for commits they have left behind."""
        await self.flights.drain()
        await self.steps.drain()

    async def _begin(self, run: Run, request_hash: str) -> Json:
        try:
            return await self._or_postpone(run, self._forward(run))
        except SagaRepeated:
            return await self._repeat(run, request_hash)

    async def _find_answer(self, run: Run, request_hash: str) -> tuple[Json] | None:
        home = self.router.database(run.saga.home)
        async with home.transaction(SERVICE, read_only=True) as tx:
            if await find_saga(tx, run.saga_id) is None:
                return None
        return (await self._repeat(run, request_hash),)

    async def _or_postpone(self, run: Run, work: Awaitable[Json]) -> Json:
        try:
            return await work
        except SagaPending:
            await self._postpone(run, 0)
            raise

    async def _repeat(self, run: Run, request_hash: str) -> Json:
        """Give a repeated request the first one's answer, taking the work over if need be."""
        until_s = monotonic_s() + REPEAT_WAIT_S
        home = self.router.database(run.saga.home)
        while True:
            async with home.transaction(SERVICE) as tx:
                record = await find_saga(tx, run.saga_id)
                claimed = None
                if record is not None and not record.answers(request_hash):
                    raise IdempotencyKeyReused
                if record is not None and not record.leased:
                    claimed = await claim_saga(tx, run.saga_id, self.owner, lease_s=self.lease_s)
            run.recorded = record is not None
            run.elsewhere = run.recorded and claimed is None
            if record is not None and (ended := answer_of(record)) is not None:
                return ended[0]
            if record is not None and record.state is SagaState.NEEDS_HUMAN:
                raise SagaPending(saga_id=run.saga_id)
            if claimed is not None:
                run.take_over(claimed)
                return await self._or_postpone(run, self._continue(run, claimed))
            if monotonic_s() > until_s:
                raise SagaInProgress
            await asyncio.sleep(PAUSE_S)

    async def _continue(self, run: Run, record: SagaRecord) -> Json:
        whole = await self._load_markers(run)
        if not whole or record.error is not None:
            error = StoredRefusal(record.error) if record.error else SagaAbandoned()
            await self._compensate(run, error)
            raise error
        return await self._forward(run)

    async def _load_markers(self, run: Run) -> bool:
        """Fill in what the steps that ran returned; False when the saga cannot go on with it."""
        try:
            markers = await self.steps.markers(run.saga, run.saga_id)
        except BulkheadError as error:
            raise SagaPending(saga_id=run.saga_id) from error
        return run.adopt(markers)

    async def _forward(self, run: Run) -> Json:
        try:
            for stage in run.saga.stages:
                pending = [step for step in stage if step.name not in run.outputs]
                if pending:
                    await self._run_stage(run, pending)
            return run.saga.answer(run.item())
        except (SagaRepeated, SagaPending):
            raise
        except RaisedBySql as error:
            if error.details.get("sqlstate") != FENCED:
                raise SagaPending(saga_id=run.saga_id) from error
            return await self._outcome_elsewhere(run)
        except BulkheadError as error:
            if run.past_pivot:
                raise SagaPending(saga_id=run.saga_id) from error
            await self._compensate(run, error)
            raise

    async def _outcome_elsewhere(self, run: Run) -> Json:
        """Another worker or a webhook has ended this saga: its answer is ours."""
        async with self.router.database(run.saga.home).transaction(SERVICE, read_only=True) as tx:
            record = await find_saga(tx, run.saga_id)
        if record is not None and (ended := answer_of(record)) is not None:
            return ended[0]
        raise SagaInProgress

    async def _run_stage(self, run: Run, pending: Sequence[Step]) -> None:
        if len(pending) == 1:
            outcomes = [await self._attempt(run, pending[0])]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._attempt(run, step)) for step in pending]
            outcomes = [task.result() for task in tasks]
        errors: list[BulkheadError] = []
        for step, outcome in zip(pending, outcomes, strict=True):
            if isinstance(outcome, BulkheadError):
                errors.append(outcome)
            else:
                run.outputs[step.name] = outcome
        if errors:
            # What is known for sure outranks a failure of which the outcome is open.
            raise min(errors, key=rank)

    async def _attempt(self, run: Run, step: Step) -> Json | BulkheadError:
        """Run one step, trying again when a database does not answer; errors are values here."""
        if isinstance(step, ExternalStep):
            return await self._call(run, step)
        if run.overdue and not run.past_pivot:
            return SagaExpired()
        first = step is run.saga.stages[0][0]
        last = step is run.saga.stages[-1][-1]
        start = run.start if first else None
        work = Work(run.item(), run.input_hash, start, run.fence, answer=last)
        for tries in range(TRIES_INLINE):
            try:
                output = await self.steps.run(run.saga, step, work)
            except SagaRepeated as error:
                return await self._recall(run, step) if tries else error
            except BulkheadError as error:
                if not is_transient(error):
                    return error
                await asyncio.sleep(PAUSE_S * 2**tries)
            else:
                run.recorded = run.recorded or first
                return output
        if first and run.start is not None:
            return Unavailable(what=f"Database '{step.database}'")
        return SagaPending(saga_id=run.saga_id)

    async def _recall(self, run: Run, step: DatabaseStep) -> Json | BulkheadError:
        """After a lost reply the saga that was recorded before may be our own."""
        assert run.start is not None, "only the first step of a new saga can be a repetition"
        try:
            async with self.router.database(run.saga.home).transaction(SERVICE) as tx:
                record = await find_saga(tx, run.saga_id)
                markers = await list_markers(tx, run.saga_id)
        except BulkheadError:
            return Unavailable(what=f"Database '{step.database}'")
        if record is None or not run.start.is_of(record):
            return SagaRepeated()
        return next(marker.output for marker in markers if marker.step == step.name)

    async def _verify_undecided(self, run: Run) -> None:
        """Raise SagaDecided when the pivot has an outcome, SagaPending when nobody knows."""
        pivot = next(step for step in run.saga.steps if step.name == run.saga.pivot)
        if isinstance(pivot, ExternalStep) and run.has_run_before(pivot):
            outcome = await self._call(run, pivot)
            if isinstance(outcome, SagaPending):
                raise outcome
            if not isinstance(outcome, BulkheadError):
                run.outputs[pivot.name] = outcome
        if run.past_pivot:
            raise SagaDecided(saga_id=run.saga_id, pivot=pivot.name)

    async def _call(self, run: Run, step: ExternalStep) -> Json | BulkheadError:
        run.called.add(step.name)
        match await self.steps.call(run.saga, step, run.item(), ask=run.only_asks):
            case Done(output):
                return output
            case Refused(error):
                if step.compensate_on_refusal:
                    return error
                return {"refused": store_error(error)}
            case Absent():
                return SagaExpired() if run.overdue else SagaAbandoned()
            case Unknown():
                return SagaPending(saga_id=run.saga_id)

    async def _compensate(self, run: Run, error: BulkheadError) -> None:
        """Take back every step, the last first, and close those that never ran."""
        if run.start is not None and is_transient(error):
            # Nothing is known to be written. What is may be finished by a repeat, or by a worker.
            await self._postpone(run, 0)
            raise error
        run.error = stored = store_error(error)
        first = run.saga.stages[0][0]
        try:
            if first.name not in run.outputs and run.start is not None:
                await self._refuse(run, stored)
                return
            await self.steps.turn_back(run.saga, Work(run.item(stored), fence=run.fence))
            for step in reversed(run.saga.steps):
                await self._undo_away(run, step, stored)
            await self.steps.undo_home(run.saga, Work(run.item(stored), fence=run.fence))
        except (SagaPending, SagaRepeated):
            raise
        except BulkheadError as failure:
            # A database is away, or another worker has moved the fence: somebody ends it later.
            raise SagaPending(saga_id=run.saga_id) from failure

    async def _undo_away(self, run: Run, step: Step, error: Mapping[str, Json]) -> None:
        if isinstance(step, ExternalStep):
            if step.name in run.called or run.start is None:
                reply = await self.steps.undo_call(run.saga, step, run.item(error))
                if not isinstance(reply, Done | Absent):
                    raise SagaPending(saga_id=run.saga_id)
        elif step.database != run.saga.home:
            await self.steps.undo(run.saga, step, Work(run.item(error)))

    async def _refuse(self, run: Run, error: Mapping[str, Json]) -> None:
        """Record that a new saga was refused at its first step, then take back what ran beside it.

        In this order, because the same request may have been taken in by another process.
        """
        assert run.start is not None, "only a new saga can be refused at its first step"
        async with self.router.database(run.saga.home).transaction(SERVICE) as tx:
            recorded = await refuse_saga(tx, run.start, error)
        if not recorded:
            raise SagaRepeated
        for step in run.saga.stages[0][1:]:
            try:
                await self._undo_away(run, step, error)
            except BulkheadError:
                return  # The refusal stands; a worker takes back what still has a marker.

    async def _postpone(self, run: Run, attempts: int) -> None:
        """Let a worker take the saga up again later, or call for a human."""
        pause_s = min(2.0**attempts, BACKOFF_S_MAX) if attempts else CALLER_S
        error = None if run.error is None else json.dumps(run.error)
        spent = attempts >= ATTEMPTS_MAX
        try:
            async with self.router.database(run.saga.home).transaction(SERVICE) as tx:
                await tx.execute(
                    QUERIES.release_saga, run.saga_id, run.fence, self.owner, pause_s, error, spent
                )
        except BulkheadError:
            return  # Its lease runs out by itself.
