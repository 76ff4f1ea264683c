"""Runs a plan in one transaction under the scope of its request.

Three round trips, as few as a transaction takes: scope and beginning, the statement, the end. Only
a planned count, a rollback that was asked for, and the description take one more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from bulkhead.engine.drivers.errors import StatementTimeout, TooManyConnections
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.gateway.rest.config import RestConfig, TxEnd
from bulkhead.gateway.rest.errors import (
    DatabaseClientFailed,
    DatabaseUnreachable,
    MaxAffectedExceeded,
    NotSingular,
    RestError,
    UpsertKeyMismatch,
)
from bulkhead.gateway.rest.errors import PoolExhausted as NoConnectionFree
from bulkhead.gateway.rest.plan import CallPlan, Plan, ReadPlan, WritePlan
from bulkhead.gateway.rest.request import Action, ApiRequest, Count
from bulkhead.gateway.rest.sqlstate import from_postgres
from bulkhead.gateway.rest.statement import Statement, bind, bind_explain

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction

_POOL_CODES = frozenset({"pool_exhausted", TooManyConnections.code})
_QUERY_CANCELED = "57014"

GRACE_S = 2.0
UNLIMITED_S = 86_400.0


@dataclass(slots=True)
class ResultSet:
    """What a statement answered. Not frozen, as `ApiRequest`, and no more changed than that."""

    body: bytes = b""
    page_total: int = 0
    """Rows of this answer, or rows that were written."""
    total: int | None = None
    """Rows in all, where they were counted."""
    headers: str | None = None
    status: str | None = None
    inserted: int | None = None
    location: tuple[str, ...] = ()


class _TakenBackError(Exception):
    """Ends a transaction that was asked to be rolled back."""


async def run(
    database: OpenDatabase,
    claims: Claims,
    first: str,
    request: ApiRequest,
    planned: tuple[Plan, Statement],
    config: RestConfig,
) -> ResultSet:
    """Run the statement; raises a RestError for whatever the database or a preference refuses.

    `first` is the scope of the request, as `render_scope` makes it.
    """
    plan, statement = planned
    result = ResultSet()
    try:
        async with database.transaction(
            claims,
            read_only=plan.is_read_only,
            timeout_s=patience_s(config, claims.role),
            first=first,
        ) as tx:
            if plan.media.explain is not None:
                result = await _explain(tx, request, statement)
            else:
                result = await _fetch(tx, request, statement)
                verify(plan, request, result)
                result = await _count(tx, request, plan, statement, result)
            if is_taken_back(request, config):
                await _take_back(tx)
    except _TakenBackError:
        pass
    except BulkheadError as error:
        raise to_rest_error(error, is_anonymous=claims.role == config.anon_role) from error
    return result


def patience_s(config: RestConfig, role: str) -> float | None:
    """How long to wait for a statement of `role`: longer than the server lets it run."""
    limit_s = config.statement_timeout_s.get(role)
    if limit_s is None:
        return None
    return limit_s + GRACE_S if limit_s else UNLIMITED_S


def verify(plan: Plan, request: ApiRequest, result: ResultSet) -> None:
    """Refuse a result that is not what the request allows, so that it is not written.

    Raises NotSingular, UpsertKeyMismatch or MaxAffectedExceeded.
    """
    count = result.page_total
    if request.action is Action.UPSERT:
        if count != 1:
            raise UpsertKeyMismatch
        return
    if plan.media.is_single and count != 1:
        raise NotSingular(count=count)
    most = request.preferences.max_affected
    is_bounded = isinstance(plan, CallPlan) or request.action in (Action.UPDATE, Action.DELETE)
    if (
        most is not None
        and is_bounded
        and request.preferences.handling == "strict"
        and count > most
    ):
        raise MaxAffectedExceeded(count=count)


def is_taken_back(request: ApiRequest, config: RestConfig) -> bool:
    """Whether the transaction ends with a rollback, by the preference or the configuration."""
    wanted = request.preferences.transaction
    if config.tx_end in (TxEnd.COMMIT_ALLOW_OVERRIDE, TxEnd.ROLLBACK_ALLOW_OVERRIDE) and wanted:
        return wanted == "rollback"
    return config.tx_end in (TxEnd.ROLLBACK, TxEnd.ROLLBACK_ALLOW_OVERRIDE)


def to_rest_error(error: BulkheadError, *, is_anonymous: bool) -> RestError:
    """An error of the engine in PostgREST's words, with what the server said."""
    if isinstance(error, RestError):
        return error
    cause = error.__cause__
    sqlstate = getattr(cause, "sqlstate", None)
    if isinstance(sqlstate, str):
        return from_postgres(
            sqlstate,
            str(getattr(cause, "message", "") or ""),
            getattr(cause, "detail", None),
            getattr(cause, "hint", None),
            is_anonymous=is_anonymous,
        )
    if error.code in _POOL_CODES:
        return NoConnectionFree()
    if isinstance(error, StatementTimeout):
        text = "canceling statement due to statement timeout"
        return from_postgres(_QUERY_CANCELED, text, None, None, is_anonymous=is_anonymous)
    if isinstance(error, Unavailable):
        return DatabaseUnreachable(details=error.message)
    return DatabaseClientFailed(details=error.message)


async def _take_back(tx: Transaction) -> NoReturn:
    """End the transaction without effect, but with the refusals that a commit would have met."""
    await tx.execute("set constraints all immediate")
    raise _TakenBackError


async def _fetch(tx: Transaction, request: ApiRequest, statement: Statement) -> ResultSet:
    row = await tx.fetchrow(statement.sql, *bind(statement, request))
    if statement.releases_locks:
        tx.note_released()
    if row is None:
        return ResultSet()
    return ResultSet(
        body=_encode(row["body"]),
        page_total=row["page_total"],
        total=row["total"],
        headers=row["headers"],
        status=row["status"],
        inserted=row["inserted"],
        location=tuple(row["location"] or ()),
    )


async def _explain(tx: Transaction, request: ApiRequest, statement: Statement) -> ResultSet:
    rows = await tx.fetch(statement.sql, *bind(statement, request))
    return ResultSet(b"".join(_encode(row[0]) + b"\n" for row in rows))


async def _count(
    tx: Transaction, request: ApiRequest, plan: Plan, statement: Statement, result: ResultSet
) -> ResultSet:
    """Let the planner guess how many rows there are, where that was asked for."""
    if isinstance(plan, WritePlan) or statement.explain_sql is None:
        return result
    guess = await _guess(tx, statement.explain_sql, bind_explain(statement, request))
    return replace(result, total=choose_total(plan, result.total, guess))


def choose_total(plan: ReadPlan | CallPlan, counted: int | None, guess: int | None) -> int | None:
    """The total for `count=planned`, the guess; for `count=estimated` only beyond a limit."""
    if plan.count is Count.PLANNED or counted is None:
        return guess
    if plan.max_rows is not None and counted > plan.max_rows and guess is not None:
        return max(counted, guess)
    return counted


async def _guess(tx: Transaction, sql: str, arguments: Sequence[object]) -> int | None:
    text: Any = await tx.fetchval(sql, *arguments)
    found = json.loads(text) if isinstance(text, str) else text
    rows = found[0]["Plan"]["Plan Rows"]
    return int(rows) if isinstance(rows, int | float) else None


def _encode(body: str | bytes | None) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else body.encode()
