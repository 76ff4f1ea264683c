"""Filters and groups of them, with what is known of their columns."""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.gateway.rest.plan_field import Columns
from bulkhead.gateway.rest.plan_tree import EmbedIsNull, PlanCondition, PlanFilter, PlanLogic
from bulkhead.gateway.rest.query import Condition, Filter, IsValue, Operator


def resolve_condition(
    condition: Condition, columns: Columns, embeds: Mapping[str, str]
) -> PlanCondition:
    """Look up the columns of `condition`.

    `embeds` has the aliases of embeddings by name: `is.null` about one of them asks whether it has
    rows.
    """
    if isinstance(condition, Filter):
        return _resolve_filter(condition, columns, embeds)
    return PlanLogic(
        connective=condition.connective,
        items=tuple(resolve_condition(item, columns, embeds) for item in condition.items),
        negated=condition.negated,
    )


def _resolve_filter(
    condition: Filter, columns: Columns, embeds: Mapping[str, str]
) -> PlanCondition:
    alias = embeds.get(condition.field.name)
    if alias is not None and not condition.field.path and condition.operator is Operator.IS:
        if condition.is_value is IsValue.NULL:
            return EmbedIsNull(alias, negated=condition.negated)
        if condition.is_value is IsValue.NOT_NULL:
            return EmbedIsNull(alias, negated=not condition.negated)
    return PlanFilter(columns.resolve_filter(condition), condition)
