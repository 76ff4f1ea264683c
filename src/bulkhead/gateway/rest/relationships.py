"""How the tables of a database refer to one another: foreign keys, junctions, computed ones.

Source: PostgREST v14, `SchemaCache.hs`: which relationships there are, and in which order an
ambiguous embedding lists them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bulkhead.gateway.rest.schema import (
    AnyRelationship,
    Cardinality,
    ComputedRelationship,
    Junction,
    Name,
    Relationship,
)
from bulkhead.gateway.rest.view_keys import ViewsBelow

_ORDER = {
    Cardinality.ONE_TO_MANY: 0,
    Cardinality.MANY_TO_ONE: 1,
    Cardinality.ONE_TO_ONE: 2,
    Cardinality.MANY_TO_MANY: 3,
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """A primary key, a unique constraint or a foreign key."""

    kind: str
    """`p`, `u` or `f`, as the catalogue has it."""
    name: str
    relation: int
    table: Name
    numbers: tuple[int, ...]
    columns: tuple[str, ...]
    target_relation: int
    """0 unless it is a foreign key, as all that follows is empty then."""
    target: Name
    target_numbers: tuple[int, ...]
    target_columns: tuple[str, ...]
    is_inherited: bool
    """Whether a partition has it from its table."""


def read_constraint(row: Mapping[str, Any]) -> Constraint:
    """Make a constraint of a row of the catalogue."""
    return Constraint(
        kind=row["kind"],
        name=row["name"],
        relation=row["relation"],
        table=Name(row["schema"], row["table"]),
        numbers=tuple(row["numbers"]),
        columns=tuple(row["columns"]),
        target_relation=row["target_relation"],
        target=Name(row["target_schema"] or "", row["target_table"] or ""),
        target_numbers=tuple(row["target_numbers"] or ()),
        target_columns=tuple(row["target_columns"]),
        is_inherited=row["is_inherited"],
    )


def find_relationships(
    constraints: Sequence[Constraint],
    views: ViewsBelow,
    primary_keys: Mapping[Name, Collection[str]],
) -> Iterator[Relationship]:
    """All relationships between the tables and views of all schemas, in both directions."""
    to_one = list(_find_to_one(constraints, views))
    yield from to_one
    yield from _find_many_to_many(to_one, primary_keys)
    yield from map(_invert, to_one)


def arrange_relationships(
    found: Iterable[Relationship],
    computed: Iterable[ComputedRelationship],
    schemas: Collection[str],
) -> Mapping[tuple[Name, str], Sequence[AnyRelationship]]:
    """Sort those between tables of `schemas` by table and the schema of the target.

    A computed relationship takes the place of those that lead to a table called as its function.
    Where a junction is not exposed nothing is left, though as if there were something: hints do
    not suggest another table then.
    """
    by_ends: dict[tuple[Name, Name], list[AnyRelationship]] = {}
    for relationship in found:
        if relationship.table.schema in schemas and relationship.target.schema in schemas:
            ways = by_ends.setdefault((relationship.table, relationship.target), [])
            if relationship.junction is None or relationship.junction.table.schema in schemas:
                ways.append(relationship)
    for other in computed:
        if other.table.schema in schemas and other.target.schema in schemas:
            by_ends[other.table, other.function] = [other]
    arranged: dict[tuple[Name, str], list[AnyRelationship]] = {}
    for (table, target), some in by_ends.items():
        arranged.setdefault((table, target.schema), []).extend(some)
    return {ends: tuple(sorted(some, key=_rank)) for ends, some in arranged.items()}


def _find_to_one(constraints: Sequence[Constraint], views: ViewsBelow) -> Iterator[Relationship]:
    """Foreign keys from the side that has them, then those of views on either side."""
    keys: dict[int, set[frozenset[int]]] = {}
    for constraint in constraints:
        if constraint.kind in {"p", "u"}:
            keys.setdefault(constraint.relation, set()).add(frozenset(constraint.numbers))
    for key in constraints:
        if key.kind != "f" or key.is_inherited:
            continue
        is_unique = frozenset(key.numbers) in keys.get(key.relation, ())
        relationship = Relationship(
            table=key.table,
            target=key.target,
            cardinality=Cardinality.ONE_TO_ONE if is_unique else Cardinality.MANY_TO_ONE,
            constraint=key.name,
            columns=tuple(zip(key.columns, key.target_columns, strict=True)),
            is_self=key.relation == key.target_relation,
        )
        yield relationship
        yield from _extend_to_views(relationship, key, views)


def _extend_to_views(
    base: Relationship, key: Constraint, views: ViewsBelow
) -> Iterator[Relationship]:
    sources = [
        (view.name, columns)
        for view in views.get(key.relation, ())
        for columns in view.find_keys(key.relation, key.numbers)
    ]
    targets = [
        (view.name, columns)
        for view in views.get(key.target_relation, ())
        for columns in view.find_keys(key.target_relation, key.target_numbers)
    ]
    for view, columns in sources:
        yield replace(
            base,
            table=view,
            columns=tuple(zip(columns, key.target_columns, strict=True)),
            is_self=False,
            table_is_view=True,
        )
    for view, columns in targets:
        yield replace(
            base,
            target=view,
            columns=tuple(zip(key.columns, columns, strict=True)),
            is_self=False,
            target_is_view=True,
        )
    for source, source_columns in sources:
        for target, target_columns in targets:
            yield replace(
                base,
                table=source,
                target=target,
                columns=tuple(zip(source_columns, target_columns, strict=True)),
                is_self=source == target,
                table_is_view=True,
                target_is_view=True,
            )


def _find_many_to_many(
    to_one: Sequence[Relationship], primary_keys: Mapping[Name, Collection[str]]
) -> Iterator[Relationship]:
    """Junctions: two foreign keys of a table that are within its primary key."""
    by_table: dict[Name, list[Relationship]] = {}
    for relationship in to_one:
        key = primary_keys.get(relationship.table, ())
        if relationship.cardinality is Cardinality.MANY_TO_ONE and all(
            column in key for column, _ in relationship.columns
        ):
            by_table.setdefault(relationship.table, []).append(relationship)
    for table, some in by_table.items():
        for source in some:
            for target in some:
                if source.constraint != target.constraint:
                    yield _join(table, source, target)


def _join(junction: Name, source: Relationship, target: Relationship) -> Relationship:
    return Relationship(
        table=source.target,
        target=target.target,
        cardinality=Cardinality.MANY_TO_MANY,
        junction=Junction(
            table=junction,
            source_constraint=source.constraint,
            target_constraint=target.constraint,
            source_columns=_swap(source.columns),
            target_columns=_swap(target.columns),
        ),
        is_self=source.target == target.target,
        table_is_view=source.target_is_view,
        target_is_view=target.target_is_view,
    )


def _invert(relationship: Relationship) -> Relationship:
    is_one = relationship.cardinality is Cardinality.ONE_TO_ONE
    return Relationship(
        table=relationship.target,
        target=relationship.table,
        cardinality=Cardinality.ONE_TO_ONE if is_one else Cardinality.ONE_TO_MANY,
        constraint=relationship.constraint,
        columns=_swap(relationship.columns),
        is_self=relationship.is_self,
        is_parent=is_one,
        table_is_view=relationship.target_is_view,
        target_is_view=relationship.table_is_view,
    )


def _swap(columns: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((there, here) for here, there in columns)


def _rank(relationship: AnyRelationship) -> tuple[object, ...]:
    """In which order relationships are listed and tried."""
    if isinstance(relationship, ComputedRelationship):
        return (1, relationship.function, relationship.table, relationship.target)
    junction = relationship.junction
    ways = (
        (junction.table, junction.source_constraint, junction.target_constraint)
        if junction
        else (relationship.constraint,)
    )
    return (
        0,
        relationship.table,
        relationship.target,
        relationship.is_self,
        _ORDER[relationship.cardinality],
        *ways,
        junction.source_columns if junction else relationship.columns,
        junction.target_columns if junction else (),
        relationship.is_parent,
        relationship.table_is_view,
        relationship.target_is_view,
    )
