"""Sagas: changes over several databases that end all done or all taken back.

A saga is a list of stages; the steps of one stage do not depend on one another and run side by
side. A step is either one transaction in one database or a call to the outside world. The database
of the very first step coordinates the saga: it holds its record.

Source: H. Garcia-Molina, K. Salem, "Sagas", SIGMOD 1987; the terms pivot and compensation are used
as in C. Richardson, "Microservices Patterns".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine import failpoints
from bulkhead.engine.errors import BulkheadError, TopologyInvalid

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

Json = Any  # what json.loads returns


class SagaState(StrEnum):
    """Where a saga stands."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    NEEDS_HUMAN = "needs_human"


@dataclass(frozen=True, slots=True)
class StepItem:
    """What a step is given for one saga."""

    saga_id: UUID
    input: Json
    outputs: Mapping[str, Json] = field(default_factory=dict)
    """What the steps of earlier stages returned, by name."""
    error: Mapping[str, Json] | None = None
    """When compensating: why."""
    transient: Mapping[str, Any] = field(default_factory=dict)
    """Values of the running request that are never stored, such as a card token."""


RunStep = Callable[["Transaction", Sequence[StepItem]], Awaitable[Sequence[Json | BulkheadError]]]
UndoStep = Callable[["Transaction", Sequence[StepItem]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class DatabaseStep:
    """A use case in one database, run for one or more sagas in one transaction.

    `run` returns for each item its output (a JSON value) or a BulkheadError, which means that it
    refuses this item and has changed nothing for it. When it raises, nothing of the transaction
    remains, and each item is tried alone. `undo` takes back what `run` did; it is called at most
    once per saga, and only when `run` took effect, except for the coordinating step, whose `undo`
    also records the refusal.
    """

    name: str
    database: str
    run: RunStep
    undo: UndoStep | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The call took effect."""

    output: Json


@dataclass(frozen=True, slots=True)
class Refused:
    """The call was refused and has no effect."""

    error: BulkheadError


@dataclass(frozen=True, slots=True)
class Absent:
    """The key is unknown out there, and a late call with it will be refused or taken back."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows yet whether the call took effect."""


Reply = Done | Refused | Absent | Unknown
CallOutside = Callable[[str, StepItem], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class ExternalStep:
    """A call to the outside, made under a key and without any transaction or connection held.

    `call` makes it and returns Done, Refused or Unknown. `settle` asks what became of the key and
    may also return Absent; it never makes the call. `undo` takes the effect back by the key.
    """

    name: str
    call: CallOutside
    settle: CallOutside
    undo: CallOutside | None = None
    timeout_s: float = 10.0
    compensate_on_refusal: bool = True
    """False hands a refusal to the next stage as its output, `{"refused": {...}}`."""


Step = DatabaseStep | ExternalStep


@dataclass(frozen=True, slots=True)
class Saga:
    """The stages of a saga, the step after which there is no way back, and its answer.

    Raises TopologyInvalid when two steps share a name, the first step is not a database step, an
    external step does not stand alone in its stage, or the last step is not in the coordinating
    database.
    """

    name: str
    stages: tuple[tuple[Step, ...], ...]
    pivot: str
    answer: Callable[[StepItem], Json]
    """Builds what is stored and returned from the outputs of all steps."""
    deadline_s: float = 120.0
    """How long after its start the saga may still go forward when the pivot is not reached."""

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise _invalid(self, "two steps have the same name")
        if self.pivot not in names:
            raise _invalid(self, f"its pivot '{self.pivot}' is not a step")
        if not isinstance(self.stages[0][0], DatabaseStep):
            raise _invalid(self, "its first step is not a database step")
        if any(
            isinstance(s, ExternalStep) and len(stage) > 1 for stage in self.stages for s in stage
        ):
            raise _invalid(self, "an external step must be alone in its stage")
        last = self.stages[-1][-1]
        if not isinstance(last, DatabaseStep) or last.database != self.home:
            raise _invalid(self, f"its last step is not in '{self.home}', which coordinates it")
        for step in self.steps:
            for place in PLACES:
                failpoints.register(point(self, step, place))

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in the order of their stages."""
        return tuple(step for stage in self.stages for step in stage)

    @property
    def home(self) -> str:
        """The database that coordinates the saga."""
        first = self.stages[0][0]
        assert isinstance(first, DatabaseStep), "checked when built"
        return first.database

    @property
    def home_steps(self) -> tuple[DatabaseStep, ...]:
        """The steps in the database that coordinates the saga, in their order."""
        return tuple(
            step
            for step in self.steps
            if isinstance(step, DatabaseStep) and step.database == self.home
        )

    @property
    def databases(self) -> tuple[str, ...]:
        """The databases it touches, the coordinating one first."""
        return tuple(dict.fromkeys(s.database for s in self.steps if isinstance(s, DatabaseStep)))


PLACES = ("before", "after", "before_undo", "after_undo")


def point(saga: Saga, step: Step, place: str) -> str:
    """The name of a failpoint: `saga.place_order.reserve_stock.after`."""
    return f"saga.{saga.name}.{step.name}.{place}"


def _invalid(saga: Saga, reason: str) -> TopologyInvalid:
    return TopologyInvalid(application=saga.name, reason=f"saga '{saga.name}': {reason}")
