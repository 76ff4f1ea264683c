"""What an application says about its rows where the generator cannot guess.

Most tables need nothing: owners, foreign keys, choices of CHECK constraints and plain types are
read from the catalogue. What remains are values that a pattern or a trigger demands, and the
states of a row on which policies depend, such as a product that is still a draft.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.engine.topology import Access, Table, Verb


@dataclass(frozen=True, slots=True)
class Sql:
    """A value that the database computes: `Sql("now() + interval '1 day'")`."""

    text: str


Value = Any
"""A plain value, an `Sql`, or a function of a number that differs from row to row."""


@dataclass(frozen=True, slots=True)
class Case:
    """A state that a row can be in, and who may do what with it then."""

    name: str = "usual"
    values: Mapping[str, Value] = field(default_factory=dict)
    """What makes the row be in this state."""
    access: Access | None = None
    """Who may do what with a row in this state; None means what the topology declares."""
    refused: frozenset[Verb] = frozenset()
    """Verbs that a trigger or constraint refuses to everybody, the service too."""
    refused_to_clients: frozenset[Verb] = frozenset()
    """Verbs that a trigger refuses to whoever does not see what it needs."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """The case of the row of another table that this row refers to, where not the first one."""
    foreign: frozenset[str] = frozenset()
    """Tables of which this row refers to a row of somebody else: votes on another's review."""
    found: bool = False
    """Whether a trigger makes the row, together with its user or with the rows it refers to."""


@dataclass(frozen=True, slots=True)
class Samples:
    """All that the probes of one database have to be told."""

    cases: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    """By table; the first case is the one that other rows refer to."""
    values: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """By table and column: what to write where a value has to be given."""
    types: Mapping[str, Value] = field(default_factory=dict)
    """The same by type, for domains: `{"public.currency_code": "EUR"}`."""
    hidden: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By table: columns that no client may read."""
    acts: tuple[str, ...] = ()
    """Statements of the service that make triggers do what making rows does not; they are run when
    a policy is broken that only triggers rely on, and what becomes of the rows is compared."""
    user_statement: str | None = None
    """Makes a user, run by the administrator; `$1` is the id."""
    callers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Which of the roles `anon` and `authenticated` may call a function, by `schema.name`;
    functions that are not listed are for the service alone."""
    relations: tuple[Table, ...] = ()
    """Views and other relations that clients may reach and the topology does not declare."""

    def cases_of(self, table: str) -> tuple[Case, ...]:
        """The cases of a table, at least one."""
        return self.cases.get(table) or (Case(),)
