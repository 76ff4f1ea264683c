"""One go at a saga: what it knows so far, and what it makes of records and errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.messaging.saga import ExternalStep, Json, Saga, SagaState, Step, StepItem
from bulkhead.engine.messaging.saga_errors import SagaPending, StoredRefusal, is_transient
from bulkhead.engine.messaging.saga_steps import SagaRepeated, StepDiffers, StepUndone

if TYPE_CHECKING:
    from bulkhead.engine.messaging.saga_store import Marker, SagaRecord, Start


@dataclass(slots=True)
class Run:
    """One go at a saga, from its start or from where another go stopped."""

    saga: Saga
    saga_id: UUID
    input: Json
    fence: int = 1
    transient: Mapping[str, Any] = field(default_factory=dict)
    start: Start | None = None
    recorded: bool = False
    """Whether its record is known to be there, so that it ends with or without its caller."""
    elsewhere: bool = False
    """Whether another process was at work on it when it was last looked at."""
    asks: bool = False
    """Whether this is a worker, which lacks the request's transient values."""
    overdue: bool = False
    """Whether the deadline had passed when the saga was taken up."""
    input_hash: str = ""
    error: Mapping[str, Json] | None = None
    """Why the saga is being taken back, once it is."""
    outputs: dict[str, Json] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)

    @property
    def past_pivot(self) -> bool:
        """Whether there is no way back: the pivot took effect, or handed its refusal on."""
        return self.saga.pivot in self.outputs

    @property
    def only_asks(self) -> bool:
        """Whether calls to the outside are not made any more, only asked after."""
        return self.asks or (self.overdue and not self.past_pivot)

    def take_over(self, record: SagaRecord) -> None:
        """Go on, under its new fence, with what another go has begun."""
        self.fence, self.overdue, self.start = record.fence, record.overdue, None
        self.input = record.input
        self.outputs.clear()

    def adopt(self, markers: Mapping[str, Marker]) -> bool:
        """Take over what the steps that ran returned; False when the saga cannot go on with it.

        One of them was taken back, or ran for another request than the first one did.
        """
        first = self.saga.stages[0][0].name
        self.input_hash = markers[first].input_hash if first in markers else ""
        self.outputs = {name: each.output for name, each in markers.items() if not each.undone}
        return all(
            not each.undone and each.input_hash == self.input_hash for each in markers.values()
        )

    def has_run_before(self, step: Step) -> bool:
        """Whether every transaction that comes before `step` is made."""
        earlier = takewhile(lambda each: each is not step, self.saga.steps)
        return all(isinstance(each, ExternalStep) or each.name in self.outputs for each in earlier)

    def item(self, error: Mapping[str, Json] | None = None) -> StepItem:
        """What the next step is given."""
        return StepItem(self.saga_id, self.input, dict(self.outputs), error, self.transient)


def answer_of(record: SagaRecord) -> tuple[Json] | None:
    """The answer of an ended saga in a tuple, None when it has not ended."""
    if record.state is SagaState.COMPLETED:
        return (record.result,)
    if record.state is SagaState.COMPENSATED:
        raise StoredRefusal(record.error or {})
    return None


def hash_input(value: Json) -> str:
    """A hash by which steps know that they run for the same input."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def rank(error: BulkheadError) -> int:
    """How little an error of one step says about the whole saga; the lowest decides."""
    order = (SagaRepeated, StepUndone, StepDiffers)
    for position, kind in enumerate(order):
        if isinstance(error, kind):
            return position
    return len(order) + (isinstance(error, SagaPending) or is_transient(error))
