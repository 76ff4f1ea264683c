"""Runs one step of a saga: the transaction with its marker, or the call with its key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.messaging.saga import (
    DatabaseStep,
    Done,
    ExternalStep,
    Json,
    Refused,
    Reply,
    Saga,
    SagaState,
    StepItem,
    Unknown,
    point,
)
from bulkhead.engine.messaging.saga_batch import Batcher
from bulkhead.engine.messaging.saga_errors import SagaPending, is_transient
from bulkhead.engine.messaging.saga_store import (
    Marker,
    Start,
    begin_sagas,
    finish_sagas,
    list_markers,
    mark_done,
    turn_back,
    undo_once,
)

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Work:
    """One item of a step, with what belongs to its record."""

    item: StepItem
    input_hash: str = ""
    """Hash of the saga's input: a step that ran for another input is not this one."""
    start: Start | None = None
    """Given for the first step of a new saga: its record is written with it."""
    fence: int = 1
    answer: bool = False
    """Whether this is the last step: its answer is written with it."""


class StepUndone(BulkheadError):
    """Step '{step}' of this saga has been taken back and cannot run any more."""

    code = "saga_step_undone"
    status = 409


class StepDiffers(BulkheadError):
    """An earlier request with this key got as far as '{step}', and differs from this one."""

    code = "saga_step_differs"
    status = 409
    hint = "Send the request again with a new Idempotency-Key."


class SagaRepeated(BulkheadError):
    """A saga with this id has been recorded before."""

    code = "saga_repeated"
    status = 409


@dataclass(slots=True, eq=False)
class StepRunner:
    """Runs the steps of sagas on the databases of one application."""

    router: Router
    _batchers: dict[tuple[str, str], Batcher[Work, Json | BulkheadError]] = field(
        default_factory=dict
    )

    async def run(self, saga: Saga, step: DatabaseStep, work: Work) -> Json:
        """Run a database step, sharing a commit with others under load; return its output.

        A step that ran before returns the output it had then. Raises the step's refusal,
        StepUndone, StepDiffers, SagaRepeated, or an infrastructure error.
        """
        await failpoints.reach(point(saga, step, "before"))
        key = (saga.name, step.name)
        if key not in self._batchers:
            self._batchers[key] = Batcher(lambda works: self._flush(saga, step, works))
        outcome = await self._batchers[key].submit(work)
        if isinstance(outcome, BulkheadError):
            raise outcome
        await failpoints.reach(point(saga, step, "after"))
        return outcome

    async def call(self, saga: Saga, step: ExternalStep, item: StepItem, *, ask: bool) -> Reply:
        """Call the outside, or only `ask` what became of the key; a time-out is Unknown."""
        await failpoints.reach(point(saga, step, "before"))
        reply = await _call_outside(step.settle if ask else step.call, step, item)
        if isinstance(reply, Unknown) and not ask:
            reply = await _call_outside(step.settle, step, item)
        await failpoints.reach(point(saga, step, "after"))
        return reply

    async def turn_back(self, saga: Saga, work: Work) -> None:
        """Record that a saga is taken back, before anything of it is.

        Steps of other databases know no fence: without the record, whoever lost the saga could undo
        them under the hands of the one who goes forward. Raises SagaPending for one that was lost.
        """
        item = work.item
        async with self.router.database(saga.home).transaction(SERVICE) as tx:
            if not await turn_back(tx, item.saga_id, work.fence, item.error):
                raise SagaPending(saga_id=item.saga_id)

    async def undo(self, saga: Saga, step: DatabaseStep, work: Work) -> None:
        """Take a step of another database back, for good; once, however often it is called."""
        await failpoints.reach(point(saga, step, "before_undo"))
        async with self.router.database(step.database).transaction(SERVICE) as tx:
            await _undo_in(tx, saga, step, work.item)
        await failpoints.reach(point(saga, step, "after_undo"))

    async def undo_home(self, saga: Saga, work: Work) -> None:
        """Take the coordinating database's steps back and end the saga, in one commit."""
        steps = saga.home_steps[::-1]
        for step in steps:
            await failpoints.reach(point(saga, step, "before_undo"))
        async with self.router.database(saga.home).transaction(SERVICE) as tx:
            for step in steps:
                await _undo_in(tx, saga, step, work.item)
            end = (work.item.saga_id, work.fence, work.item.error)
            finish_sagas(tx, SagaState.COMPENSATED, [end])
        for step in steps:
            await failpoints.reach(point(saga, step, "after_undo"))

    async def undo_call(self, saga: Saga, step: ExternalStep, item: StepItem) -> Reply:
        """Take the effect of a call back by its key."""
        await failpoints.reach(point(saga, step, "before_undo"))
        reply = Done(None) if step.undo is None else await _call_outside(step.undo, step, item)
        await failpoints.reach(point(saga, step, "after_undo"))
        return reply

    async def drain(self) -> None:
        """Wait for the commits in flight."""
        for batcher in self._batchers.values():
            await batcher.drain()

    async def markers(self, saga: Saga, saga_id: UUID) -> dict[str, Marker]:
        """The markers in all databases of the saga, by step."""
        found: dict[str, Marker] = {}
        for name in saga.databases:
            async with self.router.database(name).transaction(SERVICE, read_only=True) as tx:
                found |= {marker.step: marker for marker in await list_markers(tx, saga_id)}
        return found

    async def _flush(
        self, saga: Saga, step: DatabaseStep, works: list[Work]
    ) -> list[Json | BulkheadError | BaseException]:
        try:
            return await self._transact(saga, step, works)
        except BulkheadError as error:
            if is_transient(error):
                raise
            if len(works) == 1:
                return [await self._explain(step, works[0], error)]
        except Exception:
            if len(works) == 1:
                raise
        return [await self._alone(saga, step, work) for work in works]

    async def _alone(
        self, saga: Saga, step: DatabaseStep, work: Work
    ) -> Json | BulkheadError | BaseException:
        try:
            return (await self._flush(saga, step, [work]))[0]
        except Exception as error:  # noqa: BLE001 - one bad item must not fail the batch
            return error

    async def _transact(
        self, saga: Saga, step: DatabaseStep, works: Sequence[Work]
    ) -> list[Json | BulkheadError | BaseException]:
        async with self.router.database(step.database).transaction(SERVICE) as tx:
            outcomes = list(await step.run(tx, [work.item for work in works]))
            assert len(outcomes) == len(works), f"{step.name} must answer every item"
            taken = [
                (work, outcome)
                for work, outcome in zip(works, outcomes, strict=True)
                if not isinstance(outcome, BulkheadError)
            ]
            if taken:
                _write_records(tx, saga, step, taken)
        return outcomes

    async def _explain(
        self, step: DatabaseStep, work: Work, error: BulkheadError
    ) -> Json | BulkheadError:
        """Tell a saga or step that has been recorded before from a failure of the step itself."""
        found = await self.marker(step, work.item.saga_id)
        if work.start is not None:
            recorded = getattr(error, "constraint", None) == "sagas_pkey"
            return SagaRepeated() if recorded or found is not None else error
        if found is None:
            return error
        if found.undone:
            return StepUndone(step=step.name)
        same = found.input_hash == work.input_hash
        return found.output if same else StepDiffers(step=step.name)

    async def marker(self, step: DatabaseStep, saga_id: UUID) -> Marker | None:
        """The marker of one step, None when there is none."""
        async with self.router.database(step.database).transaction(SERVICE, read_only=True) as tx:
            markers = await list_markers(tx, saga_id)
        return next((marker for marker in markers if marker.step == step.name), None)


def _write_records(
    tx: Transaction, saga: Saga, step: DatabaseStep, taken: Sequence[tuple[Work, Json]]
) -> None:
    starts = [work.start for work, _ in taken if work.start is not None]
    if starts:
        begin_sagas(tx, starts)
    marks = [(work.item.saga_id, work.input_hash, output) for work, output in taken]
    mark_done(tx, saga, step.name, marks)
    ends = [
        (work.item.saga_id, work.fence, saga.answer(_with_output(work.item, step.name, output)))
        for work, output in taken
        if work.answer
    ]
    if ends:
        finish_sagas(tx, SagaState.COMPLETED, ends)


async def _undo_in(tx: Transaction, saga: Saga, step: DatabaseStep, item: StepItem) -> None:
    marker = await undo_once(tx, saga, step.name, item.saga_id)
    if marker is not None and step.undo is not None:
        outputs = {**item.outputs, step.name: marker.output}
        await step.undo(tx, [StepItem(item.saga_id, item.input, outputs, item.error)])


def _with_output(item: StepItem, step: str, output: Json) -> StepItem:
    outputs: Mapping[str, Json] = {**item.outputs, step: output}
    return StepItem(item.saga_id, item.input, outputs)


async def _call_outside(call: object, step: ExternalStep, item: StepItem) -> Reply:
    assert callable(call), "checked by the type of ExternalStep"
    key = f"{item.saga_id}-{step.name}"
    try:
        async with asyncio.timeout(step.timeout_s):
            reply: Reply = await call(key, item)
    except (TimeoutError, OSError, Unavailable):
        return Unknown()
    except BulkheadError as error:
        return Refused(error)
    return reply
