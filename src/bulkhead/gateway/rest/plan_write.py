"""What is written: the columns and the conditions of an insert, an update or a delete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bulkhead.gateway.rest.errors import UpsertFiltersInvalid
from bulkhead.gateway.rest.plan_condition import resolve_condition
from bulkhead.gateway.rest.plan_field import Columns
from bulkhead.gateway.rest.plan_tree import EmbedIsNull, PlanCondition, PlanFilter, ReadNode
from bulkhead.gateway.rest.query import Condition, Filter, Operator
from bulkhead.gateway.rest.request import Action, ApiRequest, Resolution, Return
from bulkhead.gateway.rest.schema import Name, Relationship, Schema, Table
from bulkhead.gateway.rest.schema_errors import ColumnNotFound


@dataclass(frozen=True, slots=True)
class WriteColumn:
    """A column that is set from the body."""

    name: str
    type: str
    """What the body is read as: the column's type, or json when `transform` makes it that."""
    transform: str | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """New rows from the body."""

    table: Name
    columns: tuple[WriteColumn, ...]
    is_object: bool
    """Whether the body is one object and not a list."""
    applies_defaults: bool
    resolution: Resolution | None
    conflict_columns: tuple[str, ...]
    key_filters: tuple[PlanCondition, ...]
    """PUT: what the body must agree with."""
    returning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """The columns of the body into the rows that are chosen."""

    table: Name
    columns: tuple[WriteColumn, ...]
    is_object: bool
    applies_defaults: bool
    where: tuple[PlanCondition, ...]
    returning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """The rows that are chosen."""

    table: Name
    where: tuple[PlanCondition, ...]
    returning: tuple[str, ...]


Mutation = Insert | Update | Delete


def plan_write(request: ApiRequest, schema: Schema, table: Table, root: ReadNode) -> Mutation:
    """Plan the write; `root` reads its rows.

    Raises PGRST105 for a PUT whose filters are not the primary key, and PGRST204.
    """
    returning = _plan_returning(request, table, root)
    columns = Columns(schema, table.name)
    conditions = _root_conditions(request)
    if request.action is Action.DELETE:
        return Delete(table.name, _resolve(conditions, columns), returning)
    is_object = is_json_object(request)
    is_update = request.action is Action.UPDATE
    applies_defaults = bool(request.preferences.missing_default)
    if request.action is Action.UPSERT:
        _verify_key_filters(conditions, table)
    written = tuple(_plan_column(table, schema, name) for name in sorted(request.columns))
    if is_update:
        return Update(
            table.name,
            written,
            is_object,
            applies_defaults,
            _resolve(conditions, columns),
            returning,
        )
    is_upsert = request.action is Action.UPSERT
    conflict = request.query.on_conflict
    return Insert(
        table=table.name,
        columns=written,
        is_object=is_object,
        applies_defaults=applies_defaults and not is_upsert,
        resolution=Resolution.MERGE if is_upsert else request.preferences.resolution,
        conflict_columns=table.primary_key if is_upsert or conflict is None else conflict,
        key_filters=_resolve(conditions, columns) if is_upsert else (),
        returning=returning,
    )


def is_json_object(request: ApiRequest) -> bool:
    """Whether the body is one JSON object; the server says whether it is JSON at all."""
    return request.payload is not None and request.payload.text.lstrip(" \t\n\r")[:1] == "{"


def plan_needed_columns(root: ReadNode, always: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that `root` needs of the rows of a write or a call.

    `*` alone is all of them: where all are shown, and where a computed relationship takes the row.
    """
    names = {column.field.name for column in root.columns}
    if "*" in names:
        return ("*",)
    for embed in root.embeds:
        if not isinstance(embed.relationship, Relationship):
            return ("*",)
        junction = embed.relationship.junction
        pairs = junction.source_columns if junction else embed.relationship.columns
        names.update(column for column, _ in pairs)
    names.update(term.field.name for term in root.order if term.alias is None)
    names.update(_condition_names(root.where))
    names.update(always)
    return tuple(sorted(names))


def _condition_names(conditions: tuple[PlanCondition, ...]) -> Iterator[str]:
    for condition in conditions:
        if isinstance(condition, PlanFilter):
            yield condition.field.name
        elif not isinstance(condition, EmbedIsNull):
            yield from _condition_names(condition.items)


def _plan_returning(request: ApiRequest, table: Table, root: ReadNode) -> tuple[str, ...]:
    if request.preferences.returning in (None, Return.MINIMAL):
        return ()
    return plan_needed_columns(root, table.primary_key)


def _root_conditions(request: ApiRequest) -> tuple[Condition, ...]:
    return tuple(condition for path, condition in request.query.conditions if not path)


def _resolve(conditions: tuple[Condition, ...], columns: Columns) -> tuple[PlanCondition, ...]:
    return tuple(resolve_condition(condition, columns, {}) for condition in conditions)


def _verify_key_filters(conditions: tuple[Condition, ...], table: Table) -> None:
    key = set(table.primary_key)
    filters = [each for each in conditions if isinstance(each, Filter)]
    is_exact = (
        bool(key)
        and len(filters) == len(conditions)
        and {each.field.name for each in filters} == key
        and all(
            each.operator is Operator.EQ and not each.negated and each.quantifier is None
            for each in filters
        )
    )
    if not is_exact:
        raise UpsertFiltersInvalid


def _plan_column(table: Table, schema: Schema, name: str) -> WriteColumn:
    column = table.columns.get(name)
    if column is None:
        raise ColumnNotFound(column=name, relation=table.name.name)
    parser = schema.representations.get(("json", column.nominal_type))
    return WriteColumn(
        name=name,
        type="json" if parser else column.cast_type,
        transform=parser.function if parser else None,
        default=column.default,
    )
