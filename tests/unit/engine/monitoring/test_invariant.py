from collections.abc import Sequence

from bulkhead.engine.connections.router import Router
from bulkhead.engine.errors import Unavailable
from bulkhead.engine.monitoring.doctor import check_invariants
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
    assert str(report) == "rows fit (I2): 105 violations, first row 0: is wrong"


async def test_a_check_that_cannot_be_made_does_not_hold() -> None:
    report = await run_invariants(NOWHERE, [Invariant("I3", "somebody answers", fail)])
    assert not report.holds
    assert str(report) == (
        "somebody answers (I3): not checked, The database is not available at the moment."
    )


async def test_a_finding_names_its_invariant_by_the_sentence_and_keeps_the_code_apart() -> None:
    both = [Invariant("I2", "rows fit", break_often), Invariant("I3", "somebody answers", fail)]
    broken, unchecked = await check_invariants(NOWHERE, both)
    assert (broken.code, broken.subject) == ("invariant_broken", "I2")
    assert broken.detail.startswith("rows fit: 105 violations")
    assert (unchecked.code, unchecked.subject) == ("invariant_unchecked", "I3")
    assert unchecked.detail.startswith("somebody answers: could not be checked, ")


def test_the_worst_of_several_findings_is_the_one_that_matters_most() -> None:
    levels = [Level.OK, Level.WARNING, Level.INFO]
    assert worst([Finding(level, "x", "y", "z") for level in levels]) is Level.WARNING
    assert worst([]) is Level.OK
