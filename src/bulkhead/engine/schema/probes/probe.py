"""A probe: a statement that an actor tries, what should come of it and what did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bulkhead.engine.schema.probes.actors import ProbeActor

_REFUSED = ("42501", "55000")
"""No right, or a view through which nothing can be written."""
_BAD_CLAIMS = ("22P02", "22023")
"""Claims of the wrong form broke the statement, which is as good as a refusal."""


_IS_REFERRED_TO = "0A000"
"""A table to which foreign keys point is not emptied, but the right to do it was there."""
_NOT_NULL = "23502"
"""A value was missing: then the sample tells nothing, or what a trigger should give was hidden."""


class ProbeVerb(StrEnum):
    """What is tried."""

    SELECT = "select"
    SELECT_COLUMN = "select column"
    LOCK = "select for update"
    INSERT_OWN = "insert own"
    INSERT_OTHER = "insert as other"
    INSERT_UNDER_OTHER = "insert own under a row of another"
    INSERT_FOR_OTHER = "insert for another under an own row"
    INSERT_COLUMN = "insert column"
    UPDATE_COLUMN = "update column"
    UPDATE_OWNER = "update owner"
    DELETE = "delete"
    UPSERT = "upsert"
    TRUNCATE = "truncate"
    CALL = "call"
    CREATE = "create"
    USE = "use"


class Verdict(StrEnum):
    """How the outcome compares with the declaration."""

    PASS = "pass"  # noqa: S105
    LEAK = "leak"
    """The declaration forbids it, and it was possible."""
    OVER_DENIAL = "over-denial"
    """The declaration allows it, and it was not possible."""
    UNCLEAR = "unclear"
    """The statement failed for a reason that tells nothing about rights."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One try."""

    actor: ProbeActor
    verb: ProbeVerb
    relation: str
    sql: str
    allowed: bool
    """What the declaration says."""
    case: str = ""
    column: str | None = None
    writes: Mapping[str, str] = field(default_factory=dict)
    """What an insert or an update gives, as SQL expressions by column."""
    reachable: bool = True
    """False for what clients must not even be allowed to name: no rows are no excuse then."""

    def __str__(self) -> str:
        column = f" ({self.column})" if self.column else ""
        case = f" [{self.case}]" if self.case else ""
        return f"{self.actor.name}: {self.verb} {self.relation}{column}{case}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server did."""

    rows: int | None
    """How many rows were seen or changed; None when the statement failed."""
    sqlstate: str = ""
    message: str = ""
    nested: bool = False
    """Whether a function raised the error, a trigger for example."""


@dataclass(frozen=True, slots=True)
class Result:
    """A probe with its outcome and verdict."""

    probe: Probe
    outcome: Outcome
    verdict: Verdict

    def __str__(self) -> str:
        happened = (
            f"{self.outcome.rows} rows"
            if self.outcome.rows is not None
            else f"{self.outcome.sqlstate} {self.outcome.message}"
        )
        return f"{self.verdict}: {self.probe}: {happened}"


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """All results of one database."""

    results: tuple[Result, ...]
    duration_s: float

    @property
    def leaks(self) -> Sequence[Result]:
        """What was possible and should not be."""
        return self._with(Verdict.LEAK)

    @property
    def over_denials(self) -> Sequence[Result]:
        """What was not possible and should be."""
        return self._with(Verdict.OVER_DENIAL)

    @property
    def unclear(self) -> Sequence[Result]:
        """Probes that could not tell."""
        return self._with(Verdict.UNCLEAR)

    @property
    def failures(self) -> Sequence[Result]:
        """Everything that did not pass."""
        return [result for result in self.results if result.verdict is not Verdict.PASS]

    def _with(self, verdict: Verdict) -> Sequence[Result]:
        return [result for result in self.results if result.verdict is verdict]


def judge(probe: Probe, outcome: Outcome) -> Verdict:
    """Compare an outcome with the declaration.

    No rows are a refusal, because policies filter silently. A violated constraint is none: it is
    checked after the policies, unless a function raised it or a value was missing.
    """
    if outcome.rows is not None:
        possible = outcome.rows > 0 or not probe.reachable
    elif outcome.sqlstate in _REFUSED or outcome.nested:
        possible = False
    elif outcome.sqlstate == _IS_REFERRED_TO and probe.verb is ProbeVerb.TRUNCATE:
        possible = True
    elif outcome.sqlstate == _NOT_NULL and probe.allowed:
        return Verdict.UNCLEAR
    elif outcome.sqlstate.startswith("23"):
        possible = outcome.sqlstate != _NOT_NULL
    elif probe.actor.impostor and outcome.sqlstate in _BAD_CLAIMS:
        possible = False
    else:
        return Verdict.UNCLEAR
    if possible == probe.allowed:
        return Verdict.PASS
    return Verdict.LEAK if possible else Verdict.OVER_DENIAL
