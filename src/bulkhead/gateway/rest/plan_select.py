"""The columns that a level selects: stars written out where they must be, and their names.

Source: PostgREST v14, `expandStars` and `addAliases` of `Plan.hs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bulkhead.gateway.rest.plan_field import Columns
from bulkhead.gateway.rest.plan_tree import PlanColumn, PlanField, Spread
from bulkhead.gateway.rest.query import Aggregate, SelectField, SelectItem


def plan_columns(
    items: Sequence[SelectItem], columns: Columns, spread: Spread | None, *, expands_stars: bool
) -> tuple[PlanColumn, ...]:
    """Plan the columns among `items`.

    `*` is written out where rows are grouped, where it is spread into a list, and where a column
    is shown by a function.
    """
    expands = expands_stars or columns.has_representation()
    found: list[PlanColumn] = []
    for item in items:
        if isinstance(item, SelectField):
            found += _plan_item(item, columns, spread, expands=expands)
    return tuple(found)


def _plan_item(
    item: SelectField, columns: Columns, spread: Spread | None, *, expands: bool
) -> Iterator[PlanColumn]:
    is_star = item.field.name == "*" and not item.field.path
    if is_star and expands and item.aggregate is None and columns.table is not None:
        for shown in columns.list_outputs():
            yield _named(PlanColumn(shown, item.alias, item.cast), is_spread=spread is not None)
        return
    shown = PlanField("*") if is_star else columns.resolve_output(item.field)
    if is_star and expands and spread is not None and item.aggregate is Aggregate.COUNT:
        shown = replace(shown, is_row=True)
    column = PlanColumn(shown, item.alias, item.cast, item.aggregate, item.aggregate_cast)
    yield _named(column, is_spread=spread is not None)


def _named(column: PlanColumn, *, is_spread: bool) -> PlanColumn:
    """Give a name to what would have none that a reader expects."""
    if column.alias is not None:
        return column
    if column.aggregate is not None:
        return replace(column, alias=column.aggregate.value) if is_spread else column
    if column.field.path:
        return replace(column, alias=_path_name(column.field))
    if column.field.transform is not None:
        return replace(column, alias=column.field.name)
    return column


def _path_name(field: PlanField) -> str:
    """The last key of a path; the column's name if there are only indexes."""
    keys = [step.key for step in field.path if not step.is_index]
    return keys[-1] if keys else field.name
