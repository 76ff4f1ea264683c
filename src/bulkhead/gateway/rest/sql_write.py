"""Writes as SQL; each one returns the rows that it wrote.

Source of the form: PostgREST v14, `mutatePlanToQuery` of `QueryBuilder.hs`.
"""

from __future__ import annotations

from bulkhead.gateway.rest.plan_write import Delete, Insert, Mutation, Update
from bulkhead.gateway.rest.request import Resolution
from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.sql_filter import render_conditions
from bulkhead.gateway.rest.sql_json import BODY, JsonBody
from bulkhead.gateway.rest.sql_parts import (
    Parameters,
    quote,
    quote_all,
    quote_column,
    quote_name,
)

INSERTED = "nullif(current_setting('pgrst.inserted', true), '')::bigint"
"""How many rows an upsert has inserted: counted up for each row, and down for each update."""


def render_write(mutation: Mutation, parameters: Parameters) -> str:
    """Render the write."""
    match mutation:
        case Insert():
            return _render_insert(mutation, parameters)
        case Update():
            return _render_update(mutation, parameters)
        case Delete():
            conditions = render_conditions(mutation.where, mutation.table, parameters)
            where = f" where {' and '.join(conditions)}" if conditions else ""
            table = quote_name(mutation.table)
            return f"delete from {table}{where}{_render_returning(mutation)}"


def _render_insert(insert: Insert, parameters: Parameters) -> str:
    names = [column.name for column in insert.columns]
    columns = f" ({quote_all(names)})" if names else ""
    body = JsonBody(insert.columns, insert.is_object, insert.applies_defaults)
    merges = insert.resolution is Resolution.MERGE
    conditions = [_render_tally(1)] if merges else []
    conditions += render_conditions(insert.key_filters, BODY, parameters)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return (
        f"insert into {quote_name(insert.table)}{columns}"
        f" select {body.render_columns()}{body.render(parameters)}{where}"
        f"{_render_conflict(insert)}{_render_returning(insert)}"
    )


def _render_conflict(insert: Insert) -> str:
    if insert.resolution is None or not insert.conflict_columns:
        return ""
    target = f" on conflict ({quote_all(insert.conflict_columns)})"
    if insert.resolution is Resolution.IGNORE or not insert.columns:
        return f"{target} do nothing"
    settings = ", ".join(
        f"{quote(column.name)} = excluded.{quote(column.name)}" for column in insert.columns
    )
    return f"{target} do update set {settings} where {_render_tally(-1)}"


def _render_tally(step: int) -> str:
    """A condition that is always true and counts the rows that it is asked about.

    Unlike `xmax` it also works for views, foreign and partitioned tables.
    """
    current = f"coalesce({INSERTED}, 0)"
    return f"set_config('pgrst.inserted', ({current} + {step})::text, true) <> ''"


def _render_update(update: Update, parameters: Parameters) -> str:
    table = quote_name(update.table)
    if not update.columns:
        # There is nothing to set; the names of the columns are needed nonetheless.
        alias = Name("", update.table.name)
        shown = ", ".join(quote_column(alias, name) for name in update.returning) or "null"
        return f"select {shown} from {table} where false"
    body = JsonBody(update.columns, update.is_object, update.applies_defaults)
    settings = ", ".join(
        f"{quote(column.name)} = {quote_column(BODY, column.name)}" for column in update.columns
    )
    rows = body.render(parameters)
    conditions = render_conditions(update.where, update.table, parameters)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return f"update {table} set {settings}{rows}{where}{_render_returning(update)}"


def _render_returning(mutation: Mutation) -> str:
    shown = ", ".join(quote_column(mutation.table, name) for name in mutation.returning)
    return f" returning {shown or '1'}"
