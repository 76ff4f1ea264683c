"""What a database has, as far as requests need to know it: the schema cache's values.

Names are compared as they are in the catalogue. Everything here is immutable; a changed schema is a
new `Schema` with another `version`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Name(NamedTuple):
    """A qualified name; the schema is empty where the search path decides."""

    schema: str
    name: str


ANY_ELEMENT = Name("pg_catalog", "anyelement")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or view."""

    name: str
    type: str
    """Domains resolved to their base type; no modifiers: `character varying`, `integer[]`."""
    nominal_type: str
    """As declared, domains not resolved, schema-qualified where the search path asks for it."""
    cast_type: str
    """How to name the declared type in a cast without losing or truncating anything: quoted where
    needed, without a length (`bpchar` rather than `character(3)`)."""
    base_cast_type: str = ""
    """`cast_type` of the base type of a domain, else the same; filters cast to it, so that a value
    which the domain refuses is one that no row has. Empty is "as `cast_type`"."""
    is_nullable: bool = True
    max_length: int | None = None
    default: str | None = None
    """The expression of the default; for identity columns a `nextval(...)`, None if generated."""
    enum: tuple[str, ...] = ()
    description: str | None = None
    is_generated: bool = False
    is_composite: bool = False
    """Whether its (base) type is a composite or an array: `->` then goes through `to_jsonb`."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, view, materialized view, foreign or partitioned table of any schema."""

    name: Name
    columns: Mapping[str, Column]
    """In the order of the catalogue."""
    primary_key: tuple[str, ...] = ()
    """Of a view: derived from the tables below it."""
    is_view: bool = False
    insertable: bool = True
    updatable: bool = True
    deletable: bool = True
    description: str | None = None


class Cardinality(StrEnum):
    """How many rows there are on the other side, and on this one."""

    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    ONE_TO_ONE = "one-to-one"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True)
class Junction:
    """The table between the two sides of a many-to-many relationship."""

    table: Name
    source_constraint: str
    target_constraint: str
    source_columns: tuple[tuple[str, str], ...]
    """(column of the source, column of the junction)."""
    target_columns: tuple[tuple[str, str], ...]
    """(column of the target, column of the junction)."""


@dataclass(frozen=True, slots=True)
class Relationship:
    """A way from `table` to `target`: a foreign key in either direction, or a junction."""

    table: Name
    target: Name
    cardinality: Cardinality
    constraint: str = ""
    """Empty for many-to-many, which has two in its junction."""
    columns: tuple[tuple[str, str], ...] = ()
    """(column of `table`, column of `target`)."""
    junction: Junction | None = None
    is_self: bool = False
    is_parent: bool = False
    """Of a one-to-one relationship: whether `table` is the side that is referred to."""
    table_is_view: bool = False
    target_is_view: bool = False

    @property
    def is_to_one(self) -> bool:
        """Whether a row of `table` has at most one row of `target`."""
        return self.cardinality in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_ONE)


@dataclass(frozen=True, slots=True)
class ComputedRelationship:
    """A function that takes a row of `table` and returns rows of `target`."""

    function: Name
    table: Name
    target: Name
    table_alias: Name
    """The parameter's row type."""
    is_to_one: bool
    is_self: bool


AnyRelationship = Relationship | ComputedRelationship


class Volatility(StrEnum):
    """What calling a function may do."""

    IMMUTABLE = "i"
    STABLE = "s"
    VOLATILE = "v"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function that a caller may give."""

    name: str
    """Empty for an unnamed one."""
    type: str
    """As used in a cast or a column definition list."""
    is_required: bool
    is_variadic: bool = False
    max_length_type: str = ""
    """`type` with its length where it has one, else the same."""


@dataclass(frozen=True, slots=True)
class ReturnType:
    """What a function returns."""

    name: Name
    """The type, or the table for composites."""
    is_set: bool
    is_composite: bool
    """A row type, including `record` and RETURNS TABLE."""
    is_alias: bool = False
    """Whether it is a domain over a row type."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that can be called at `/rpc/{name}`; overloads are separate ones."""

    name: Name
    parameters: tuple[Parameter, ...]
    returns: ReturnType
    volatility: Volatility = Volatility.VOLATILE
    has_variadic: bool = False
    description: str | None = None
    isolation: str | None = None
    """`default_transaction_isolation` of the function, such as `serializable`."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of RETURNS TABLE and OUT parameters, and of row types that are no table: each column's
    `base_cast_type`."""
    settings: tuple[tuple[str, str], ...] = ()
    """Other settings that must be in force for the whole transaction (`statement_timeout`)."""

    @property
    def returns_void(self) -> bool:
        """Whether there is nothing to answer with."""
        return self.returns.name == Name("pg_catalog", "void") and not self.returns.is_set

    @property
    def returns_scalar(self) -> bool:
        """Whether the answer is one value."""
        return not self.returns.is_set and not self.returns.is_composite

    @property
    def returns_set_of_scalar(self) -> bool:
        """Whether the answer is a list of values."""
        return self.returns.is_set and not self.returns.is_composite


@dataclass(frozen=True, slots=True)
class Representation:
    """A cast of a domain from or to `json` or `text` that is used in the API in its place."""

    source: str
    target: str
    function: str
    """Quoted, schema-qualified."""


@dataclass(frozen=True, slots=True)
class MediaHandler:
    """An aggregate or function that renders rows as a media type: a domain named like one.

    `target` is the table whose rows it takes, or None for rows of any table.
    """

    function: Name
    media_type: str
    """The media type to answer with, in lower case."""
    target: Name | None
    is_aggregate: bool
    """Otherwise the function itself returns the domain, and nothing is put around its call."""
    accepts: str
    """The media type by which it is asked for; `*/*` for a handler of whatever is asked."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The cache: everything of one database."""

    version: int
    tables: Mapping[Name, Table]
    relationships: Mapping[tuple[Name, str], Sequence[AnyRelationship]]
    """By table and by the schema of the target."""
    functions: Mapping[Name, Sequence[Function]]
    """Of the exposed schemas; sorted by name and number of parameters."""
    representations: Mapping[tuple[str, str], Representation] = field(default_factory=dict)
    """By (source, target), such as `("public.color", "json")`."""
    media_handlers: Mapping[tuple[Name | None, str], MediaHandler] = field(default_factory=dict)
    """By (table, what is accepted)."""
    computed_columns: Mapping[tuple[Name, str], str] = field(default_factory=dict)
    """Functions of one row of a table that return one value, by (table, function name): the
    `base_cast_type` of what they return."""
    time_zones: frozenset[str] = frozenset()
    role_settings: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Settings of roles that are put in force for the transaction (`alter role ... set ...`)."""
    role_isolation: Mapping[str, str] = field(default_factory=dict)
