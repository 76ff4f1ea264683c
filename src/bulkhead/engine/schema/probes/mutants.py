"""Test the tests: break the guards of a database one by one and see that each break is noticed.

Each mutant lives in a savepoint and is undone. It is caught when a probe that passed no longer
does, when the lint has a new error or warning, or when rows can no longer be made or become others
than before. What is noticed by none of them and cannot be proven to change nothing is a survivor:
a hole that could open without anybody seeing it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.schema.introspect import Connection
from bulkhead.engine.schema.lint.findings import Finding, Part, lint
from bulkhead.engine.schema.lint.rules import Level
from bulkhead.engine.schema.policies import read_access
from bulkhead.engine.schema.probes.mutations import Mutation, MutationKind, generate_mutations
from bulkhead.engine.schema.probes.probe import Probe, ProbeVerb, Verdict
from bulkhead.engine.schema.probes.run import ProbeSession, open_session, undone
from bulkhead.engine.schema.probes.samples import Samples
from bulkhead.engine.schema.probes.state import State, try_rows
from bulkhead.engine.topology import Database

CHUNK = 64
"""How many probes run before a mutant is looked at again: most are caught by the first few."""

_NEAR: Mapping[str, frozenset[ProbeVerb]] = {
    "select": frozenset({ProbeVerb.SELECT, ProbeVerb.SELECT_COLUMN, ProbeVerb.LOCK}),
    "insert": frozenset(
        {
            ProbeVerb.INSERT_OWN,
            ProbeVerb.INSERT_OTHER,
            ProbeVerb.INSERT_UNDER_OTHER,
            ProbeVerb.INSERT_FOR_OTHER,
            ProbeVerb.INSERT_COLUMN,
            ProbeVerb.UPSERT,
        }
    ),
    "update": frozenset(
        {ProbeVerb.UPDATE_COLUMN, ProbeVerb.UPDATE_OWNER, ProbeVerb.UPSERT, ProbeVerb.LOCK}
    ),
    "delete": frozenset({ProbeVerb.DELETE}),
    "truncate": frozenset({ProbeVerb.TRUNCATE}),
}
_FOR_LINT = (MutationKind.RLS_NOT_FORCED, MutationKind.PATH_UNPINNED)
"""What no statement of a client can notice; the lint is asked first."""

_SHOWS: Mapping[MutationKind, Part] = {
    MutationKind.GRANT_WIDENED: Part.TABLES,
    MutationKind.GRANT_REVOKED: Part.TABLES,
    MutationKind.RLS_DISABLED: Part.TABLES,
    MutationKind.RLS_NOT_FORCED: Part.TABLES,
    MutationKind.INVOKER_OFF: Part.TABLES,
    MutationKind.CALL_GRANTED: Part.FUNCTIONS,
    MutationKind.TEST_TRUE: Part.FUNCTIONS,
    MutationKind.PATH_UNPINNED: Part.FUNCTIONS,
}
"""Where the lint finds a mutant soonest, if not among the policies."""


class Catcher(StrEnum):
    """What noticed a mutant."""

    PROBES = "probes"
    LINT = "lint"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class MutantResult:
    """A mutation and what noticed it."""

    mutation: Mutation
    caught_by: Catcher | None
    evidence: str

    @property
    def survived(self) -> bool:
        """Whether nothing noticed it although it may change what somebody may do."""
        return self.caught_by is None and self.mutation.equivalent is None

    def __str__(self) -> str:
        return f"{self.mutation}: {self.caught_by or 'not noticed'} {self.evidence}".strip()


@dataclass(frozen=True, slots=True)
class MutantReport:
    """All mutants of one database."""

    results: tuple[MutantResult, ...]
    duration_s: float

    @property
    def survivors(self) -> Sequence[MutantResult]:
        """What was not noticed."""
        return [result for result in self.results if result.survived]

    @property
    def equivalents(self) -> Sequence[MutantResult]:
        """What was not noticed because it provably changes nothing."""
        return [
            result
            for result in self.results
            if result.caught_by is None and result.mutation.equivalent is not None
        ]

    def caught_by(self, catcher: Catcher) -> Sequence[MutantResult]:
        """What `catcher` noticed, and nothing that was asked before it."""
        return [result for result in self.results if result.caught_by is catcher]


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every mutant is held against."""

    session: ProbeSession
    probes: Mapping[str, Sequence[Probe]]
    """Those that pass on the database as it is, by relation."""
    findings: frozenset[str]
    state: State
    """What becomes of rows that are made and worked on, where that is always the same."""
    muted: Collection[str]

    def near(self, mutation: Mutation) -> tuple[list[Probe], list[Probe]]:
        """The probes of the same relation: those of the same verb, and the others."""
        verbs = _NEAR.get(mutation.verb, frozenset(ProbeVerb))
        if mutation.kind in _FOR_LINT:
            verbs = frozenset()
        # Whole rows before single columns, and impostors last: most mutants fall early.
        probes = sorted(
            self.probes.get(mutation.relation, ()),
            key=lambda probe: (probe.column is not None, probe.actor.impostor),
        )
        return (
            [probe for probe in probes if probe.verb in verbs],
            [probe for probe in probes if probe.verb not in verbs],
        )

    def far(self, mutation: Mutation) -> list[Probe]:
        """The probes of all other relations, whose policies may ask for this one.

        Where it is proven that nothing can change, the near ones have confirmed it.
        """
        if mutation.equivalent is not None:
            return []
        return [
            probe
            for relation, probes in self.probes.items()
            if relation != mutation.relation
            for probe in probes
        ]


async def run_mutants(
    connection: Connection,
    database: Database,
    samples: Samples | None = None,
    *,
    muted: Collection[str] = (),
    one_of: int = 1,
) -> MutantReport:
    """Break every policy, grant and guard of the declared tables, one at a time.

    `connection` is an administrator's, outside of any transaction; nothing remains. `muted` lists
    findings of the lint that were accepted. Only one of so many is broken where all take too long.
    """
    started_s = monotonic_s()
    async with open_session(connection, database, samples or Samples()) as session:
        results = await session.run(session.probes)
        first, second = await try_rows(session), await try_rows(session)
        bench = _Bench(
            session,
            _by_relation(result.probe for result in results if result.verdict is Verdict.PASS),
            frozenset(finding.cache_key for finding in await _alarms(connection, muted)),
            {place: value for place, value in first.items() if second.get(place) == value},
            muted,
        )
        labels = {target.relation.label for target in session.book.targets.values()}
        facts = await read_access(connection)
        mutations = list(generate_mutations(facts, labels))
        mutants = [await _try(bench, each) for each in mutations[::one_of]]
    return MutantReport(tuple(mutants), monotonic_s() - started_s)


async def _try(bench: _Bench, mutation: Mutation) -> MutantResult:
    first, rest = bench.near(mutation)
    async with undone(bench.session.connection):
        await bench.session.connection.execute(mutation.sql)
        return (
            await _ask_probes(bench, mutation, first)
            or await _ask_lint(bench, mutation)
            or await _ask_probes(bench, mutation, rest)
            or await _ask_rows(bench, mutation)
            or await _ask_probes(bench, mutation, bench.far(mutation))
            or MutantResult(mutation, None, mutation.equivalent or "")
        )


async def _ask_probes(
    bench: _Bench, mutation: Mutation, probes: Sequence[Probe]
) -> MutantResult | None:
    for chunk in _chunks(probes):
        for result in await bench.session.run(chunk):
            if result.verdict is not Verdict.PASS:
                return MutantResult(mutation, Catcher.PROBES, str(result))
    return None


async def _ask_lint(bench: _Bench, mutation: Mutation) -> MutantResult | None:
    likely = _SHOWS.get(mutation.kind, Part.POLICIES)
    for part in sorted(Part, key=lambda part: part is not likely):
        for finding in await _alarms(bench.session.connection, bench.muted, part):
            if finding.cache_key not in bench.findings:
                evidence = f"{finding.name} {finding.object}: {finding.detail}"
                return MutantResult(mutation, Catcher.LINT, evidence)
    return None


async def _ask_rows(bench: _Bench, mutation: Mutation) -> MutantResult | None:
    """Triggers write as the owner of the tables; without its policies they fail or do nothing."""
    try:
        state = await try_rows(bench.session)
    except BulkheadError as error:
        return MutantResult(mutation, Catcher.ROWS, error.message)
    for place, value in bench.state.items():
        if state.get(place) != value:
            evidence = f"{'.'.join(place)} became {state.get(place)} instead of {value}"
            return MutantResult(mutation, Catcher.ROWS, evidence)
    return None


def _by_relation(probes: Iterable[Probe]) -> Mapping[str, Sequence[Probe]]:
    found: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        found[probe.relation].append(probe)
    return found


async def _alarms(connection: Connection, muted: Collection[str], *parts: Part) -> list[Finding]:
    findings = await lint(connection, muted=muted, parts=parts or tuple(Part))
    return [finding for finding in findings if finding.level is not Level.INFO]


def _chunks(probes: Sequence[Probe]) -> Iterator[Sequence[Probe]]:
    """Small ones first, so that what is noticed at once costs little."""
    start, size = 0, CHUNK
    while start < len(probes):
        yield probes[start : start + size]
        start, size = start + size, size * 4
