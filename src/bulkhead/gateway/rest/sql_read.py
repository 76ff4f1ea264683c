"""The tree of a read as one query: embeddings are subqueries or lateral joins.

Source of the form: PostgREST v14, `QueryBuilder.hs`. Embedded rows become `jsonb` as there, which
the spaces in their JSON show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bulkhead.gateway.rest.plan_tree import (
    EmbedIsNull,
    PlanColumn,
    PlanCondition,
    PlanLogic,
    ReadNode,
    Spread,
    SpreadColumn,
)
from bulkhead.gateway.rest.schema import ComputedRelationship, Name, Relationship
from bulkhead.gateway.rest.sql_filter import render_conditions
from bulkhead.gateway.rest.sql_parts import (
    Parameters,
    quote,
    quote_column,
    quote_name,
    render_asked_cast,
    render_order,
    render_shown,
)
from bulkhead.gateway.rest.statement import LimitBind, OffsetBind


@dataclass(frozen=True, slots=True)
class _Item:
    """What is selected."""

    sql: str
    is_aggregate: bool = False


def render_read(node: ReadNode, parameters: Parameters, max_rows: int | None) -> str:
    """Render the query of `node` and of all that is embedded in it."""
    source = node.qualifier
    joined = _find_joined(node)
    items = list(_select(node, joined, parameters, max_rows))
    joins = "".join(
        _render_join(embed, parameters, max_rows) for embed in node.embeds if embed.alias in joined
    )
    conditions = _conditions(node, joined, parameters)
    # The values of a spread list are ordered where they are gathered.
    order = () if node.spread is Spread.TO_MANY and not node.is_limited else node.order
    return (
        f"select {', '.join(item.sql for item in items)}{_render_from(node)}{joins}"
        f"{_where(conditions)}{_group_by(items)}{render_order(order, source)}"
        f"{_limit(node, parameters, max_rows)}"
    )


def has_row_for_each(node: ReadNode) -> bool:
    """Whether the query has a row for each row of the table, neither grouped nor joined."""
    return not _find_joined(node) and not any(column.aggregate for column in node.columns)


def render_count(node: ReadNode, parameters: Parameters) -> str:
    """Render a query that has a row for each row of `node`, whatever its limit.

    An inner join becomes `exists`, since it must not multiply rows.
    """
    conditions = _conditions(node, frozenset(), parameters, keeps_order=False)
    return f"select 1{_render_from(node)}{_where(conditions)}"


def _conditions(
    node: ReadNode, joined: frozenset[str], parameters: Parameters, *, keeps_order: bool = True
) -> list[str]:
    """Render what the rows of `node` must be; embeddings that are not joined must or must not be.

    Rows are looked for with `exists`, by way of whatever index is the best. That there are none is
    found out row by row, which leaves the order alone.
    """
    by_alias = {embed.alias: embed for embed in node.embeds}

    def render_embed(condition: EmbedIsNull) -> str:
        if condition.alias in joined:
            negation = "" if condition.negated else "not "
            return f"{quote(condition.alias)} is {negation}distinct from null"
        rows = render_count(by_alias[condition.alias], parameters)
        if condition.negated:
            return f"exists ({rows})"
        return f"({rows} limit 1) is null" if keeps_order else f"not exists ({rows})"

    return [
        *render_conditions(node.where, node.qualifier, parameters, render_embed),
        *_join_conditions(node),
        *(
            f"exists ({render_count(embed, parameters)})"
            for embed in node.embeds
            if embed.is_inner and embed.alias not in joined
        ),
    ]


def _find_joined(node: ReadNode) -> frozenset[str]:
    """The aliases of embeddings that must be joined.

    What is only shown is a subquery in the select list instead: it leaves the order of the rows
    alone, and the server runs it for the rows within a limit only.
    """
    is_gathered = (
        node.spread is not None
        or any(column.aggregate for column in node.columns)
        or any(column.aggregate for embed in node.embeds for column in embed.spread_columns)
    )
    ordered = {term.alias for term in node.order}
    tested = set(_list_tested(node.where))
    return frozenset(
        embed.alias
        for embed in node.embeds
        if is_gathered
        or embed.spread is not None
        or embed.alias in ordered
        or ((embed.is_inner or embed.alias in tested) and not _can_be_tested(embed))
    )


def _can_be_tested(embed: ReadNode) -> bool:
    """Whether to look for a row is to know if the embedding is null, and cheaper than a join.

    A limit and an aggregate change what is null.
    """
    return not embed.is_to_one and all(
        not node.is_limited
        and isinstance(node.relationship, Relationship)
        and not any(column.aggregate for column in node.columns)
        for node in embed.walk()
    )


def _list_tested(conditions: tuple[PlanCondition, ...]) -> Iterator[str]:
    for condition in conditions:
        if isinstance(condition, EmbedIsNull):
            yield condition.alias
        elif isinstance(condition, PlanLogic):
            yield from _list_tested(condition.items)


def _select(
    node: ReadNode, joined: frozenset[str], parameters: Parameters, max_rows: int | None
) -> Iterator[_Item]:
    source = node.qualifier
    if not node.columns and not node.embeds:
        yield _Item(quote_column(source, "*"))
    for column in node.columns:
        yield _select_column(column, source)
    for term, name in node.spread_order:
        of = source if term.alias is None else Name("", term.alias)
        yield _Item(f"{render_shown(of, term.field)} as {quote(name)}")
    for embed in node.embeds:
        if embed.alias in joined:
            yield from _select_joined(embed, node)
        elif not embed.is_empty:
            yield _Item(_render_subquery(embed, parameters, max_rows))


def _select_column(column: PlanColumn, source: Name) -> _Item:
    field = column.field
    if field.name == "*" and column.aggregate and not field.is_row:
        rendered = "*"
    else:
        rendered = render_shown(source, field)
    if column.cast is not None:
        rendered = render_asked_cast(rendered, column.cast)
    if column.aggregate is not None:
        rendered = f"{column.aggregate.value}({rendered})"
        if column.aggregate_cast is not None:
            rendered = render_asked_cast(rendered, column.aggregate_cast)
    return _Item(_named(rendered, column.alias), column.aggregate is not None)


def _select_joined(embed: ReadNode, parent: ReadNode) -> Iterator[_Item]:
    alias = quote(embed.alias)
    if embed.spread is not None:
        for column in embed.spread_columns:
            # A spread that is spread itself hands aggregates on to where it is spread into.
            is_handed_on = parent.spread is Spread.TO_ONE and column.aggregate is not None
            below = replace(column, aggregate=None, alias=None) if is_handed_on else column
            yield _select_spread(embed, below)
    elif embed.is_empty:
        return
    elif embed.is_to_one:
        yield _Item(f"to_jsonb({alias}.*) as {quote(embed.name)}")
    else:
        yield _Item(f"coalesce({alias}.{alias}, '[]') as {quote(embed.name)}")


def _render_subquery(embed: ReadNode, parameters: Parameters, max_rows: int | None) -> str:
    alias = quote(embed.alias)
    query = render_read(embed, parameters, max_rows)
    if embed.is_to_one:
        limit = "" if _is_unique(embed) else " limit 1"
        shown = f"(select to_jsonb({alias}.*) from ({query}{limit}) as {alias})"
    else:
        shown = f"coalesce((select jsonb_agg({alias}) from ({query}) as {alias}), '[]')"
    return f"{shown} as {quote(embed.name)}"


def _is_unique(embed: ReadNode) -> bool:
    """Whether a key of the table makes sure that there is only one row."""
    relationship = embed.relationship
    return embed.is_limited or (
        isinstance(relationship, Relationship) and not relationship.target_is_view
    )


def _select_spread(embed: ReadNode, column: SpreadColumn) -> _Item:
    rendered = quote_column(Name("", embed.alias), column.name)
    if column.aggregate is None:
        return _Item(_named(rendered, column.alias))
    rendered = f"{column.aggregate.value}({rendered})"
    if column.aggregate_cast is not None:
        rendered = render_asked_cast(rendered, column.aggregate_cast)
    return _Item(_named(rendered, column.alias), is_aggregate=True)


def _named(rendered: str, alias: str | None) -> str:
    return rendered if alias is None else f"{rendered} as {quote(alias)}"


def _render_from(node: ReadNode) -> str:
    relationship = node.relationship
    if isinstance(relationship, ComputedRelationship):
        assert node.parent is not None, "a relationship leads from a parent"
        # The cast chooses among functions of the same name.
        row = f"{quote(node.parent.name)}::{quote_name(relationship.table)}"
        source = f"{quote_name(relationship.function)}({row})"
    else:
        source = quote_name(node.source)
    alias = f" as {quote(node.source_alias)}" if node.source_alias is not None else ""
    junction = getattr(relationship, "junction", None)
    joined = f", {quote_name(junction.table)} as {quote(node.junction_alias)}" if junction else ""
    return f" from {source}{alias}{joined}"


def _join_conditions(node: ReadNode) -> list[str]:
    return [
        f"{quote_column(left.source, left.column)} = {quote_column(right.source, right.column)}"
        for left, right in node.joins
    ]


def _render_join(embed: ReadNode, parameters: Parameters, max_rows: int | None) -> str:
    alias = quote(embed.alias)
    query = render_read(embed, parameters, max_rows)
    condition = "true"
    if embed.spread is Spread.TO_MANY or (embed.spread is None and not embed.is_to_one):
        query = f"select {_gather(embed)} from ({query}) as {alias}"
        if embed.is_inner:
            condition = f"{alias}.{alias} is not null"
    kind = "inner" if embed.is_inner else "left"
    return f" {kind} join lateral ({query}) as {alias} on {condition}"


def _gather(embed: ReadNode) -> str:
    alias = quote(embed.alias)
    gathered = [f"jsonb_agg({alias}) as {alias}"]
    if embed.spread is not None:
        terms = [
            replace(term, alias=None, field=replace(term.field, name=name, path=()))
            for term, name in embed.spread_order
        ]
        order = render_order(terms, Name("", embed.alias))
        for column in embed.spread_columns:
            value = quote_column(Name("", embed.alias), column.name)
            gathered.append(f"coalesce(jsonb_agg({value}{order}), '[]') as {quote(column.name)}")
    return ", ".join(gathered)


def _where(conditions: list[str]) -> str:
    return " where " + " and ".join(conditions) if conditions else ""


def _group_by(items: list[_Item]) -> str:
    """Group by what is not aggregated, by position: an alias may also be a column's name."""
    if not any(item.is_aggregate for item in items):
        return ""
    positions = [str(at) for at, item in enumerate(items, start=1) if not item.is_aggregate]
    return " group by " + ", ".join(positions) if positions else ""


def _limit(node: ReadNode, parameters: Parameters, max_rows: int | None) -> str:
    if node.is_limited:
        limit = parameters.add(LimitBind(node.path, max_rows), "bigint")
        return f" limit {limit} offset {parameters.add(OffsetBind(node.path), 'bigint')}"
    if max_rows is None or node.is_to_one:
        return ""
    return f" limit {max_rows}"
