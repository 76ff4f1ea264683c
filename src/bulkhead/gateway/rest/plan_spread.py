"""What a spread embedding adds to its parent.

Aggregates in an embedding of one row mean the rows of the parent, so they move up to the nearest
level that is an object or a list of its own. Source: PostgREST v14, `hoistSpreadAggFunctions` and
`addToManyOrderSelects` of `Plan.hs`.
"""

from __future__ import annotations

from dataclasses import replace

from bulkhead.gateway.rest.errors import FeatureNotImplemented
from bulkhead.gateway.rest.plan_tree import (
    PlanColumn,
    PlanOrder,
    ReadNode,
    Spread,
    SpreadColumn,
)

_NO_AGGREGATES = "Aggregates are not implemented for one-to-many or many-to-many spreads."


def offer_columns(node: ReadNode) -> tuple[SpreadColumn, ...]:
    """The columns that the parent of `node` selects from it."""
    offered = [_offer(column) for column in node.columns]
    for embed in node.embeds:
        if embed.spread is not None:
            offered += embed.spread_columns
        elif not embed.is_empty:
            offered.append(SpreadColumn(embed.name))
    if node.spread is Spread.TO_MANY:
        if any(column.aggregate for column in offered):
            raise FeatureNotImplemented(details=_NO_AGGREGATES)
        return tuple(offered)
    return tuple(offered)


def without_aggregates(columns: tuple[PlanColumn, ...]) -> tuple[PlanColumn, ...]:
    """The columns as they are selected below the level where they are aggregated."""
    return tuple(
        replace(column, aggregate=None, aggregate_cast=None) if column.aggregate else column
        for column in columns
    )


def spread_order(node: ReadNode) -> tuple[tuple[PlanOrder, str], ...]:
    """The order of the values of a spread list, each term with the name it is selected by."""
    return tuple(
        (term, f"{node.alias}_o{number}") for number, term in enumerate(node.order, start=1)
    )


def _offer(column: PlanColumn) -> SpreadColumn:
    name = column.alias or column.field.name
    if column.aggregate is None:
        return SpreadColumn(name)
    return SpreadColumn(name, column.aggregate, column.aggregate_cast, column.alias)
