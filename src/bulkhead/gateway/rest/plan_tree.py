"""What is read: a tree of tables, each with its columns, conditions, order and embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bulkhead.gateway.rest.query import (
    Aggregate,
    Connective,
    Direction,
    EmbedPath,
    Filter,
    JsonStep,
    Nulls,
)
from bulkhead.gateway.rest.schema import AnyRelationship, Name


@dataclass(frozen=True, slots=True)
class PlanField:
    """A column or a place inside it, with what is known of its type."""

    name: str
    path: tuple[JsonStep, ...] = ()
    to_jsonb: bool = False
    """Whether the column must become jsonb before `path` is followed."""
    cast_type: str | None = None
    """What a value that is compared with it is cast to; None if that is not known."""
    is_enum: bool = False
    """Whether it is an enumeration: texts are sent as that type, so that they are constants."""
    is_foreign: bool = False
    """Whether it is a type of an extension, whose operators may take values of other types."""
    transform: str | None = None
    """A function around the column (output) or around the value it is compared with."""
    to_tsvector: bool = False
    """Whether a full-text search must make a tsvector of it."""
    is_row: bool = False
    """Whether it is the whole row: `count()` in a spread counts rows of that table only."""


@dataclass(frozen=True, slots=True)
class PlanFilter:
    """A comparison."""

    field: PlanField
    filter: Filter


@dataclass(frozen=True, slots=True)
class EmbedIsNull:
    """`relation=is.null` about an embedding: whether there is no row of it."""

    alias: str
    """`ReadNode.alias` of the embedding."""
    negated: bool


@dataclass(frozen=True, slots=True)
class PlanLogic:
    """A group of conditions."""

    connective: Connective
    items: tuple[PlanCondition, ...]
    negated: bool = False


PlanCondition = PlanFilter | EmbedIsNull | PlanLogic


@dataclass(frozen=True, slots=True)
class PlanOrder:
    """A term of the order; of the table, or of the to-one embedding called `alias`."""

    field: PlanField
    direction: Direction | None = None
    nulls: Nulls | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class PlanColumn:
    """A column to select; `*` is all of them."""

    field: PlanField
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True, slots=True)
class SpreadColumn:
    """A column that a spread embedding adds to its parent."""

    name: str
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class JoinColumn:
    """A column of a table or of an alias."""

    source: Name
    column: str


class Spread(StrEnum):
    """How an embedding is spread into its parent."""

    TO_ONE = "to-one"
    TO_MANY = "to-many"


@dataclass(frozen=True, slots=True)
class ReadNode:
    """A table to read, or one that is embedded in another."""

    source: Name
    """The table, the function of a computed relationship, or the rows of a write or a call."""
    source_alias: str | None
    """What the source is called in its query."""
    table: Name
    """Whose columns and types they are."""
    columns: tuple[PlanColumn, ...]
    where: tuple[PlanCondition, ...] = ()
    order: tuple[PlanOrder, ...] = ()
    path: EmbedPath = ()
    is_limited: bool = False
    """Whether the request has a limit or an offset for it."""
    embeds: tuple[ReadNode, ...] = ()
    relationship: AnyRelationship | None = None
    """How it is related to its parent; None at the root."""
    parent: Name | None = None
    """How the parent's columns are qualified."""
    junction_alias: str = ""
    joins: tuple[tuple[JoinColumn, JoinColumn], ...] = ()
    name: str = ""
    """The key in the parent's object."""
    alias: str = ""
    """What its query is called in the parent's query."""
    is_inner: bool = False
    spread: Spread | None = None
    spread_columns: tuple[SpreadColumn, ...] = ()
    """What it adds to the parent when it is spread."""
    spread_order: tuple[tuple[PlanOrder, str], ...] = ()
    """Of a spread to-many: the order of the values, and the name each term is selected by."""
    is_empty: bool = False
    """Whether nothing of it is shown: `relation()` only filters."""

    @property
    def is_to_one(self) -> bool:
        """Whether there is at most one row of it for one of the parent."""
        return self.relationship is not None and self.relationship.is_to_one

    @property
    def qualifier(self) -> Name:
        """How its columns are qualified in its query."""
        return self.source if self.source_alias is None else Name("", self.source_alias)

    @property
    def has_default_select(self) -> bool:
        """Whether all columns and nothing else are asked for."""
        return not self.embeds and len(self.columns) == 1 and self.columns[0].field.name == "*"

    def walk(self) -> Iterator[ReadNode]:
        """This node and all below it."""
        yield self
        for embed in self.embeds:
            yield from embed.walk()
