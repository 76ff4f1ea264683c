import pytest

from bulkhead.engine.schema.probes.actors import ACTORS, IMPOSTORS
from bulkhead.engine.schema.probes.probe import Outcome, Probe, ProbeVerb, Verdict, judge
from bulkhead.engine.topology import Actor

OWNER = next(actor for actor in ACTORS if actor.counts_as is Actor.OWNER)


def probe(*, allowed: bool, verb: ProbeVerb = ProbeVerb.UPDATE_COLUMN) -> Probe:
    return Probe(OWNER, verb, "public.notes", "update ...", allowed)


@pytest.mark.parametrize(
    ("outcome", "is_possible"),
    [
        (Outcome(1), True),
        (Outcome(0), False),
        (Outcome(None, "42501"), False),
        (Outcome(None, "55000"), False),
        (Outcome(None, "23505"), True),
        (Outcome(None, "23514"), True),
        (Outcome(None, "23514", nested=True), False),
        (Outcome(None, "P0001", nested=True), False),
    ],
)
def test_an_outcome_is_held_against_the_declaration(outcome: Outcome, *, is_possible: bool) -> None:
    if is_possible:
        assert judge(probe(allowed=True), outcome) is Verdict.PASS
        assert judge(probe(allowed=False), outcome) is Verdict.LEAK
    else:
        assert judge(probe(allowed=True), outcome) is Verdict.OVER_DENIAL
        assert judge(probe(allowed=False), outcome) is Verdict.PASS


@pytest.mark.parametrize("state", ["42703", "22001", "0A000", "40P01", "P0001"])
@pytest.mark.parametrize("allowed", [True, False])
def test_an_error_that_tells_nothing_is_unclear(state: str, *, allowed: bool) -> None:
    assert judge(probe(allowed=allowed), Outcome(None, state)) is Verdict.UNCLEAR


def test_a_missing_value_shows_a_bad_sample_but_no_leak() -> None:
    outcome = Outcome(None, "23502")
    assert judge(probe(allowed=True), outcome) is Verdict.UNCLEAR
    assert judge(probe(allowed=False), outcome) is Verdict.PASS


def test_emptying_a_table_that_is_referred_to_fails_after_the_right_was_checked() -> None:
    truncate = probe(allowed=False, verb=ProbeVerb.TRUNCATE)
    assert judge(truncate, Outcome(None, "0A000")) is Verdict.LEAK


def test_what_must_be_out_of_reach_is_no_better_for_being_empty() -> None:
    hidden = Probe(OWNER, ProbeVerb.SELECT, "t", "select ...", allowed=False, reachable=False)
    assert judge(hidden, Outcome(0)) is Verdict.LEAK
    assert judge(hidden, Outcome(None, "42501")) is Verdict.PASS


@pytest.mark.parametrize("impostor", IMPOSTORS, ids=lambda actor: actor.name)
def test_claims_that_break_the_statement_are_refused(impostor: object) -> None:
    broken = Probe(impostor, ProbeVerb.SELECT, "t", "select ...", allowed=False)  # type: ignore[arg-type]
    assert judge(broken, Outcome(None, "22P02")) is Verdict.PASS


def test_a_result_reads_as_a_sentence() -> None:
    leak = Probe(
        OWNER,
        ProbeVerb.UPDATE_COLUMN,
        "public.notes",
        "",
        allowed=False,
        case="pinned",
        column="price",
    )
    assert str(leak) == "owner: update column public.notes (price) [pinned]"


def test_no_impostor_counts_as_more_than_a_stranger() -> None:
    assert {actor.counts_as for actor in IMPOSTORS} <= {Actor.ANON, Actor.STRANGER}
    assert all(actor.impostor for actor in IMPOSTORS)
    assert {actor.counts_as for actor in ACTORS} == set(Actor)
