"""Tables and views as typed values: columns, keys and foreign keys, for lint and for probes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.schema.introspect import Connection

QUERIES = load_queries(__package__, "relations.sql")

Name = tuple[str, str]
"""Schema and name."""


class RelationKind(StrEnum):
    """PostgreSQL's letter for what a relation is."""

    TABLE = "r"
    PARTITIONED = "p"
    FOREIGN = "f"
    VIEW = "v"
    MATERIALIZED = "m"


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the catalogue has it."""

    name: str
    type: str
    base_type: str
    """What is below a domain, without length or precision."""
    is_array: bool = False
    length_max: int | None = None
    not_null: bool = False
    has_default: bool = False
    is_generated: bool = False
    """Computed, or an identity that cannot be given."""
    checks: tuple[str, ...] = ()
    """The CHECK constraints on this column alone, as the server writes them."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`columns` hold keys of `target`, pair by pair."""

    name: str
    columns: tuple[str, ...]
    target: Name
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index by the plain columns it begins with."""

    columns: tuple[str, ...]
    is_primary: bool = False
    is_unique: bool = False
    is_partial: bool = False
    has_expressions: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view."""

    schema: str
    name: str
    kind: RelationKind
    columns: Mapping[str, ColumnFacts]
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[Index, ...] = ()

    @property
    def label(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"

    @property
    def is_table(self) -> bool:
        """Whether rows are kept in it."""
        return self.kind in (RelationKind.TABLE, RelationKind.PARTITIONED)

    def foreign_key(self, column: str) -> ForeignKey | None:
        """The foreign key of which `column` is a part, the narrowest if there are several."""
        keys = [key for key in self.foreign_keys if column in key.columns]
        return min(keys, key=lambda key: len(key.columns), default=None)

    def is_unique(self, column: str) -> bool:
        """Whether `column` is part of any unique key."""
        return any(index.is_unique and column in index.columns for index in self.indexes)

    def has_unique(self, columns: Iterable[str]) -> bool:
        """Whether no two rows can agree in all of `columns`."""
        wanted = set(columns)
        return any(
            index.is_unique
            and not index.is_partial
            and not index.has_expressions
            and set(index.columns) == wanted
            for index in self.indexes
        )


async def read_relations(connection: Connection) -> Mapping[Name, Relation]:
    """Every table and view of ours; needs no right but to connect."""
    columns = _grouped(await connection.fetch(QUERIES.columns))
    checks: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in await connection.fetch(QUERIES.checks):
        checks[row["schema"], row["relation"], row["column"]].append(row["definition"])
    keys = _grouped(await connection.fetch(QUERIES.foreign_keys))
    indexes = _grouped(await connection.fetch(QUERIES.indexes))
    return {
        name: Relation(
            *name,
            RelationKind(rows[0]["kind"]),
            {row["name"]: _column(row, checks[*name, row["name"]]) for row in rows},
            tuple(_foreign_key(row) for row in keys.get(name, ())),
            tuple(_index(row) for row in indexes.get(name, ())),
        )
        for name, rows in columns.items()
    }


def _grouped(rows: Iterable[Any]) -> dict[Name, list[Any]]:
    groups: dict[Name, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row["schema"], row["relation"]].append(row)
    return groups


def _column(row: Mapping[str, Any], checks: list[str]) -> ColumnFacts:
    return ColumnFacts(
        row["name"],
        row["type"],
        row["base_type"],
        is_array=row["is_array"],
        length_max=row["length_max"],
        not_null=row["not_null"],
        has_default=row["has_default"],
        is_generated=row["is_generated"],
        checks=tuple(checks),
    )


def _foreign_key(row: Mapping[str, Any]) -> ForeignKey:
    return ForeignKey(
        row["name"],
        tuple(row["columns"]),
        (row["target_schema"], row["target"]),
        tuple(row["target_columns"]),
    )


def _index(row: Mapping[str, Any]) -> Index:
    return Index(
        tuple(row["columns"]),
        is_primary=row["is_primary"],
        is_unique=row["is_unique"],
        is_partial=row["is_partial"],
        has_expressions=row["has_expressions"],
    )
