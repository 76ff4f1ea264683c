"""From a plan to one statement.

Source of the form: PostgREST v14, `Statements.hs`. The rows of a read stand in the statement
directly; those of a write or a call are a common table expression, since they must be there before
anything is read from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead.engine.connections.sql import literal
from bulkhead.engine.connections.transaction import RELEASE_LOCKS
from bulkhead.gateway.rest.plan import SOURCE, CallPlan, Plan, ReadPlan, WritePlan
from bulkhead.gateway.rest.plan_media import BuiltinHandler, Explain
from bulkhead.gateway.rest.request import Count
from bulkhead.gateway.rest.schema import Function
from bulkhead.gateway.rest.sql_body import (
    ROW,
    ROWS,
    needs_rows_twice,
    render_body,
)
from bulkhead.gateway.rest.sql_call import render_call
from bulkhead.gateway.rest.sql_parts import Parameters, quote
from bulkhead.gateway.rest.sql_read import has_row_for_each, render_count, render_read
from bulkhead.gateway.rest.sql_write import INSERTED, render_write
from bulkhead.gateway.rest.statement import LimitBind, OffsetBind, Statement

_COUNTED = frozenset({Count.EXACT, Count.ESTIMATED})
_GUESSED = frozenset({Count.PLANNED, Count.ESTIMATED})
_SETTINGS = (
    "nullif(current_setting('response.headers', true), '') as headers, "
    "nullif(current_setting('response.status', true), '') as status"
)


# Evaluated after all rows are there. It is never null, so that the column is.
_RELEASED = f"case when {RELEASE_LOCKS} is null then 0::bigint end"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an answer says of the rows."""

    total: str = "null::bigint"
    page_total: str = "count(*)"
    inserted: str = "null::bigint"
    location: str = "null::text[]"


def render(plan: Plan) -> Statement:
    """Render the statement that does what `plan` says."""
    parameters = Parameters()
    match plan:
        case ReadPlan():
            sql = _render_read_plan(plan, parameters)
        case WritePlan():
            sql = _render_write_plan(plan, parameters)
        case CallPlan():
            sql = _render_call_plan(plan, parameters)
    explain_sql, guess = None, Parameters()
    if isinstance(plan, ReadPlan) and plan.count in _GUESSED:
        explain_sql = f"explain (format json) {render_count(plan.root, guess)}"
    sql = _explained(sql, plan.media.explain)
    return Statement(sql, parameters.binds, explain_sql, guess.binds, _releases_locks(plan))


def _render_read_plan(plan: ReadPlan, parameters: Parameters) -> str:
    rows = render_read(plan.root, parameters, plan.max_rows)
    total = _render_total(plan, parameters, "count(*)")
    answer = _Answer(total=total, inserted=_render_release(plan))
    return _render_answer(plan, "", rows, answer)


def _render_write_plan(plan: WritePlan, parameters: Parameters) -> str:
    source = render_write(plan.mutation, parameters)
    if plan.media.handler is BuiltinHandler.NONE:
        # What is selected may not have been returned.
        rows = f"select * from {SOURCE.name}"
    else:
        rows = render_read(plan.root, parameters, None)
    answer = _Answer(
        inserted=f"coalesce({INSERTED}, 0)" if plan.wants_inserted else "null::bigint",
        location=_render_location(plan.primary_key) if plan.wants_location else "null::text[]",
    )
    return _render_answer(plan, f"{SOURCE.name} as ({source})", rows, answer)


def _render_call_plan(plan: CallPlan, parameters: Parameters) -> str:
    source = render_call(plan.call, parameters)
    rows = render_read(plan.root, parameters, plan.max_rows)
    function = plan.call.function
    page_total = "count(*)" if function.returns.is_set else "1::bigint"
    answer = _Answer(
        total=_render_total(plan, parameters, page_total),
        page_total=page_total,
        inserted=_render_release(plan),
    )
    return _render_answer(plan, f"{SOURCE.name} as ({source})", rows, answer, function)


def _render_answer(
    plan: Plan, source: str, rows: str, answer: _Answer, function: Function | None = None
) -> str:
    handler = plan.media.handler
    tables = [source] if source else []
    from_rows = f"({rows})"
    if needs_rows_twice(handler):
        tables.append(f"{ROWS} as ({rows})")
        from_rows = ROWS
    tables_sql = f"with {', '.join(tables)} " if tables else ""
    body = f"{render_body(handler, function)} as body"
    location = f"{answer.location} as location"
    is_write = isinstance(plan, WritePlan)
    return (
        f"{tables_sql}select {answer.total} as total, {answer.page_total} as page_total, "
        # Explained plans number what comes out, so the places are PostgREST's.
        f"{f'{location}, {body}' if is_write else body}, {_SETTINGS}, "
        f"{answer.inserted} as inserted{'' if is_write else f', {location}'} "
        f"from {from_rows} {ROW}"
    )


def _releases_locks(plan: Plan) -> bool:
    return plan.is_read_only and plan.media.explain is None


def _render_release(plan: Plan) -> str:
    return _RELEASED if _releases_locks(plan) else "null::bigint"


def _render_total(plan: ReadPlan | CallPlan, parameters: Parameters, page_total: str) -> str:
    """Render how many rows there are in all; those of the page where they are all there are."""
    if plan.count not in _COUNTED:
        return "null::bigint"
    root = plan.root
    if plan.max_rows is None and not root.is_limited:
        return page_total
    limit = ""
    if isinstance(plan, ReadPlan) and plan.count is Count.ESTIMATED and plan.max_rows is not None:
        # One more than may be shown tells that there are more.
        limit = f" limit {plan.max_rows + 1}"
    counted = f"(select count(*) from ({render_count(root, parameters)}{limit}) pgrst_count)"
    if isinstance(plan, ReadPlan) and has_row_for_each(root):
        return _render_total_of_page(plan, parameters, counted)
    return counted


def _render_total_of_page(plan: ReadPlan, parameters: Parameters, counted: str) -> str:
    """Spare the server a count where the page is not full, so that it holds the last row."""
    path = plan.root.path
    if not plan.root.is_limited:
        return f"case when count(*) < {plan.max_rows} then count(*) else {counted} end"
    limit = parameters.add(LimitBind(path, plan.max_rows), "bigint")
    offset = parameters.add(OffsetBind(path), "bigint")
    known = f"count(*) between 1 and {limit} - 1"
    return f"case when {known} then {offset} + count(*) else {counted} end"


def _render_location(primary_key: tuple[str, ...]) -> str:
    if not primary_key:
        return "null::text[]"
    parts = ", ".join(
        f"{literal(name + '=')} || coalesce('eq.' || (to_json(s.{column}) #>> '{{}}'), 'is.null')"
        for name, column in ((name, quote(name)) for name in sorted(primary_key))
    )
    return f"case when count(*) = 1 then (select array[{parts}] from {SOURCE.name} s limit 1) end"


def _explained(sql: str, explain: Explain | None) -> str:
    if explain is None:
        return sql
    form = "json" if explain.is_json else "text"
    return f"explain ({', '.join([f'format {form}', *explain.options])}) {sql}"
