from collections.abc import Sequence

from bulkhead.engine.connections.router import Router
from bulkhead.engine.errors import Unavailable
from bulkhead.engine.monitoring.findings import Finding, Level, worst
from bulkhead.engine.monitoring.invariant import (
    VIOLATIONS_MAX,
    Invariant,
    Violation,
    run_invariants,
)

NOWHERE = Router("nothing", ())


async def hold(_: Router) -> Sequence[Violation]:
    return []


async def break_often(_: Router) -> Sequence[Violation]:
    return [Violation(f"row {number}", "is wrong") for number in range(VIOLATIONS_MAX + 5)]


async def fail(_: Router) -> Sequence[Violation]:
    raise Unavailable(what="The database")


async def test_a_report_holds_when_every_invariant_does() -> None:
    report = await run_invariants(NOWHERE, [Invariant("I1", "all is well", hold)])
    assert report.holds
    assert str(report) == "all invariants hold"


async def test_a_report_counts_all_violations_and_lists_the_first() -> None:
    report = await run_invariants(
        NOWHERE, [Invariant("I1", "all is well", hold), Invariant("I2", "rows fit", break_often)]
    )
    (result,) = report.broken
    assert (result.invariant.code, result.count) == ("I2", VIOLATIONS_MAX + 5)
    assert len(result.violations) == VIOLATIONS_MAX
    assert str(report) == "I2 rows fit: 105 violations, first row 0: is wrong"


async def test_a_check_that_cannot_be_made_does_not_hold() -> None:
    report = await run_invariants(NOWHERE, [Invariant("I3", "somebody answers", fail)])
    assert not report.holds
    assert str(report) == (
        "I3 somebody answers: not checked, The database is not available at the moment."
    )


def test_the_worst_of_several_findings_is_the_one_that_matters_most() -> None:
    levels = [Level.OK, Level.WARNING, Level.INFO]
    assert worst([Finding(level, "x", "y", "z") for level in levels]) is Level.WARNING
    assert worst([]) is Level.OK
