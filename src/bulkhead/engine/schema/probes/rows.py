"""Sample rows: which there are, in which order they are made, and what stands in each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import count
from uuid import UUID

from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.schema.owners import OwnerPath, parse_owner
from bulkhead.engine.schema.probes.actors import ALICE, BOB
from bulkhead.engine.schema.probes.samples import Case, Samples
from bulkhead.engine.schema.probes.values import guess_value, render_value
from bulkhead.engine.schema.relations import ForeignKey, Name, Relation
from bulkhead.engine.topology import Database, Table

Columns = Mapping[str, str]
"""SQL expressions by column."""


class SampleImpossible(BulkheadError):
    """No sample row of '{table}' ({case}) could be made: {reason}."""

    code = "sample_impossible"
    hint = "Declare values for it in the samples of the probes; the statement was {statement}"


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row that was made; its values as text, None for NULL."""

    table: str
    case: Case
    user: UUID | None
    values: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Target:
    """A declared table with its relation in the catalogue."""

    table: Table
    relation: Relation

    @property
    def name(self) -> str:
        """The quoted, qualified name."""
        return f"{identifier(self.table.schema)}.{identifier(self.table.name)}"

    @property
    def owner(self) -> OwnerPath | None:
        """The parsed owner path; None when rows belong to nobody."""
        return None if self.table.owner is None else parse_owner(self.table.owner)

    def typed(self, column: str, text: str | None) -> str:
        """A value that was read as text, as SQL of the column's type."""
        return f"{literal(text)}::{self.relation.columns[column].type}"


@dataclass(slots=True)
class SampleBook:
    """The rows made so far, and what is needed to think of more."""

    targets: Mapping[str, Target]
    samples: Samples
    users: tuple[UUID, UUID] = (ALICE, BOB)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """What makes values of one row differ from those of another."""
    rows: dict[tuple[str, str, UUID | None], SampleRow] = field(default_factory=dict)

    def add(self, row: SampleRow) -> None:
        """Remember a row."""
        self.rows[row.table, row.case.name, row.user] = row

    def owners_of(self, target: Target) -> tuple[UUID | None, ...]:
        """For whom rows of `target` are made."""
        return (None,) if target.table.owner is None else self.users

    def find(self, table: str, case: str, user: UUID | None) -> SampleRow | None:
        """The row of `table` in that case, of that user where rows have owners."""
        owned = table in self.targets and self.targets[table].owner is not None
        return self.rows.get((table, case, user if owned else None))

    def columns_of_another(
        self,
        target: Target,
        case: Case,
        user: UUID | None,
        *,
        parents_of: UUID | None = None,
    ) -> dict[str, str]:
        """The columns of one more row in this case for `user`.

        `parents_of` makes the row refer to rows of another user instead, except where its owner
        is found through them.
        """
        number = next(self.numbers)
        columns = {name: render_value(value, number) for name, value in case.values.items()}
        owner = target.owner
        if owner is not None and not owner.hops:
            columns.setdefault(owner.column, literal(user))
        for key in self._needed_keys(target, case):
            parent_user = self._parent_user(target, case, key, user, parents_of)
            for name, value in self._parent_values(key, case, parent_user).items():
                columns.setdefault(name, value)
        declared = self.samples.values.get(target.table.name, {})
        for name, facts in target.relation.columns.items():
            if name in columns or facts.is_generated:
                continue
            required = facts.not_null and not facts.has_default
            if required or name in declared:
                columns[name] = guess_value(target.relation, name, self.samples, number)
        return columns

    def marks_of_found(self, target: Target, case: Case, user: UUID | None) -> dict[str, str]:
        """The columns by which a row that a trigger made is recognised."""
        owner = target.owner
        marks = {} if owner is None or owner.hops else {owner.column: literal(user)}
        for key in self._needed_keys(target, case):
            parent_user = self._parent_user(target, case, key, user, None)
            marks.update(self._parent_values(key, case, parent_user))
        return marks

    def value_for(self, target: Target, column: str, row: SampleRow) -> str:
        """A value for a column that a row need not have: what `row` has, or a guess."""
        if row.values.get(column) is not None:
            return target.typed(column, row.values[column])
        key = target.relation.foreign_key(column)
        if key is not None:
            parent = self._parent_values(key, row.case, row.user)
            if column in parent:
                return parent[column]
        return guess_value(target.relation, column, self.samples, next(self.numbers))

    def owner_value(self, target: Target, user: UUID) -> str | None:
        """What the first column of the owner path holds for `user`; None when unknown."""
        owner = target.owner
        if owner is None:
            return None
        if not owner.hops:
            return literal(user)
        key = _owner_key(target, owner)
        return self._parent_values(key, Case(), user).get(owner.first_column)

    def _needed_keys(self, target: Target, case: Case) -> list[ForeignKey]:
        """Foreign keys to follow, those of the owner path first."""
        owner = target.owner
        keys = [_owner_key(target, owner)] if owner is not None and owner.hops else []
        for key in target.relation.foreign_keys:
            required = all(
                target.relation.columns[column].not_null
                and not (owner is not None and not owner.hops and column == owner.column)
                for column in key.columns
            )
            if required or key.target[1] in case.parents or key.target[1] in case.foreign:
                keys.append(key)
        return keys

    def _parent_user(
        self,
        target: Target,
        case: Case,
        key: ForeignKey,
        user: UUID | None,
        parents_of: UUID | None,
    ) -> UUID | None:
        owner = target.owner
        if owner is not None and owner.hops and owner.first_column in key.columns:
            return user
        if parents_of is not None:
            return parents_of
        if key.target[1] in case.foreign:
            return self.users[1] if user == self.users[0] else self.users[0]
        return user or self.users[0]

    def _parent_values(self, key: ForeignKey, case: Case, user: UUID | None) -> dict[str, str]:
        table = key.target[1]
        target = self.targets.get(table)
        if target is None:
            return {}
        name = case.parents.get(table, self.samples.cases_of(table)[0].name)
        row = self.find(table, name, user)
        if row is None:
            return {}
        return {
            column: target.typed(other, row.values[other])
            for column, other in zip(key.columns, key.target_columns, strict=True)
        }


def find_targets(
    database: Database, samples: Samples, relations: Mapping[Name, Relation]
) -> dict[str, Target]:
    """The declared tables and views that exist, by name, each after those it needs."""
    found = {
        table.name: Target(table, relations[table.schema, table.name])
        for table in (*database.tables, *samples.relations)
        if (table.schema, table.name) in relations
    }
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, target in found.items():
        sorter.add(name, *_parents(target, samples.cases_of(name), found))
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        raise SampleImpossible(
            table=error.args[1][0],
            case="usual",
            reason=f"rows need one another in a circle: {' -> '.join(error.args[1])}",
            statement="not written",
        ) from None
    return {name: found[name] for name in order}


def _parents(target: Target, cases: Sequence[Case], found: Mapping[str, Target]) -> set[str]:
    owner = target.owner
    needed = {owner.hops[0].table} if owner is not None and owner.hops else set()
    for key in target.relation.foreign_keys:
        if all(target.relation.columns[column].not_null for column in key.columns):
            needed.add(key.target[1])
    for case in cases:
        needed |= case.parents.keys() | case.foreign
    return {name for name in needed if name in found and name != target.table.name}


def _owner_key(target: Target, owner: OwnerPath) -> ForeignKey:
    """The foreign key of the first hop, or what the declaration says in its place."""
    hop = owner.hops[0]
    for key in target.relation.foreign_keys:
        if hop.column in key.columns and key.target[1] == hop.table:
            return key
    return ForeignKey(hop.column, (hop.column,), ("public", hop.table), ("id",))
