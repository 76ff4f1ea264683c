"""Invariants: what must always be true of an application's databases, each as one check.

They run after every fault in the tests and in `bulkhead doctor`. An invariant is a value; an
application lists its own, the engine's come from `standard.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router

VIOLATIONS_MAX = 100
"""How many violations of one invariant a report lists."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing of which an invariant is not true."""

    subject: str
    """What it is about: `orders.orders 0192f0c1-...`."""
    detail: str


Check = Callable[["Router"], Awaitable[Sequence[Violation]]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that is always true, and the check that would notice if it were not."""

    code: str
    """By which reports refer to it: `I1`."""
    title: str
    """The sentence that is true."""
    check: Check


@dataclass(frozen=True, slots=True)
class InvariantResult:
    """What the check of one invariant came to."""

    invariant: Invariant
    violations: tuple[Violation, ...]
    count: int
    """All violations, of which `violations` are the first."""
    duration_s: float
    error: BulkheadError | None = None
    """Why it could not be checked."""

    @property
    def holds(self) -> bool:
        """Whether it was checked and found true."""
        return self.error is None and not self.count


@dataclass(frozen=True, slots=True)
class InvariantReport:
    """What the checks of several invariants came to."""

    results: tuple[InvariantResult, ...]

    @property
    def holds(self) -> bool:
        """Whether all of them hold."""
        return all(result.holds for result in self.results)

    @property
    def broken(self) -> tuple[InvariantResult, ...]:
        """Those that do not hold or could not be checked."""
        return tuple(result for result in self.results if not result.holds)

    def __str__(self) -> str:
        return "\n".join(_describe(result) for result in self.broken) or "all invariants hold"


async def run_invariants(router: Router, invariants: Iterable[Invariant]) -> InvariantReport:
    """Check one invariant after the other; a database that does not answer is a result too."""
    return InvariantReport(tuple([await _run(router, invariant) for invariant in invariants]))


def rows_of(database: str, sql: str, *args: object) -> Check:
    """A check by SQL: every row of the query, `subject` and `detail`, is a violation."""

    async def check(router: Router) -> list[Violation]:
        async with router.database(database).transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(sql, *args)
        return [Violation(f"{database}.{row['subject']}", row["detail"]) for row in rows]

    return check


async def _run(router: Router, invariant: Invariant) -> InvariantResult:
    began_s = monotonic_s()
    try:
        violations = await invariant.check(router)
    except BulkheadError as error:
        return InvariantResult(invariant, (), 0, monotonic_s() - began_s, error)
    first = tuple(violations[:VIOLATIONS_MAX])
    return InvariantResult(invariant, first, len(violations), monotonic_s() - began_s)


def _describe(result: InvariantResult) -> str:
    name = f"{result.invariant.title} ({result.invariant.code})"
    if result.error is not None:
        return f"{name}: not checked, {result.error}"
    first = result.violations[0]
    return f"{name}: {result.count} violations, first {first.subject}: {first.detail}"
