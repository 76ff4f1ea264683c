"""A connection to a tenant's database: one facade over all dialects.

It takes SQLAlchemy Core statements, which read the same whatever server the tenant has, and plain
SQL with the placeholders of its dialect. Outside of a transaction each statement stands for itself
and costs one round trip.
"""
# A connection and the blocks of its transactions are one thing in three classes.
# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from sqlalchemy.sql import Executable
from sqlalchemy.sql.ddl import ExecutableDDLElement

from bulkhead.engine.connections.transaction import TransactionFailed, may_last
from bulkhead.engine.drivers.errors import CommitUnknown, StatementTimeout, is_connection_loss
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.statement import Compiled, Row, compiler_for

Statement = Executable | str
Params = Mapping[str, Any] | Sequence[Any] | None
"""Values by name for a Core statement, in order for plain SQL."""

ROWS_PER_CALL_MAX = 10_000
# What a statement of this shape does to a session ends with it.
_TRACELESS = re.compile(
    r"\s*(?:select|insert|update|delete|with|values|table|explain|show|savepoint|release"
    r"|rollback to)\b",
    re.IGNORECASE,
)
_TRACES = re.compile(
    r"\b(?:set_config|pg_(?:try_)?advisory|get_lock|dblink)|(?<!@)@[a-z_]", re.IGNORECASE
)


@dataclass(slots=True, eq=False)
class Prepared:
    """A statement as it is sent."""

    sql: str
    args: Sequence[Any]
    compiled: Compiled | None
    """What converts its rows; None where nothing has to."""
    leaves_traces: bool
    """Whether the session may not be the same afterwards."""


class TenantConnection:
    """A leased connection; of use only inside the block that leased it.

    Statements raise the errors of `engine.drivers.errors`.
    """

    __slots__ = (
        "_connection",
        "_failed",
        "_in_transaction",
        "failure",
        "spent",
        "tenant",
        "timeout_s",
    )

    def __init__(self, connection: ServerConnection, tenant: TenantId, timeout_s: float) -> None:
        """Wrap `connection`; `timeout_s` bounds each statement."""
        self._connection = connection
        self._failed = False
        self._in_transaction = False
        self.tenant = tenant
        self.timeout_s = timeout_s
        self.failure: BulkheadError | None = None
        """The first error that says that the connection or its server is not well."""
        self.spent = False
        """Whether the session may have been changed for good, so that nobody may have it next."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL the tenant's server speaks."""
        return self._connection.dialect

    @property
    def in_transaction(self) -> bool:
        """Whether a block of a transaction is open."""
        return self._in_transaction

    @property
    def raw(self) -> ServerConnection:
        """The driver's connection, for migrations, extraction and moves; mind the session."""
        self.spent = True
        return self._connection

    async def fetch(self, statement: Statement, params: Params = None) -> Sequence[Row]:
        """Run a statement and return its rows, each a mapping by column name."""
        prepared = self._prepare(statement, params)
        try:
            rows = await self._connection.fetch(
                prepared.sql, prepared.args, timeout_s=self.timeout_s
            )
        except Exception as error:
            self.note_failure(error)
            raise
        return rows if prepared.compiled is None else prepared.compiled.convert(rows)

    async def fetch_one(self, statement: Statement, params: Params = None) -> Row | None:
        """Run a statement and return its first row, or None."""
        rows = await self.fetch(statement, params)
        return rows[0] if rows else None

    async def fetch_value(self, statement: Statement, params: Params = None) -> Any:  # noqa: ANN401
        """Run a statement and return the first column of its first row, or None."""
        row = await self.fetch_one(statement, params)
        return next(iter(row.values())) if row is not None else None

    async def execute(self, statement: Statement, params: Params = None) -> int:
        """Run a statement and return how many rows it changed."""
        ready = self._prepare(statement, params)
        try:
            return await self._connection.execute(ready.sql, ready.args, timeout_s=self.timeout_s)
        except Exception as error:
            self.note_failure(error)
            raise

    async def execute_many(
        self, statement: Statement, rows: Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]]
    ) -> None:
        """Run a statement once for each of at most `ROWS_PER_CALL_MAX` rows of values.

        Rows of a Core statement all have the same columns. Either all take effect, or none. Raises
        Invalid for more rows, and for a list among the values of a Core statement.
        """
        if not rows:
            return
        if len(rows) > ROWS_PER_CALL_MAX:
            raise Invalid(reason=f"at most {ROWS_PER_CALL_MAX} rows can be given at once")
        filled = [self._prepare(statement, row) for row in rows]
        args = [ready.args for ready in filled]
        if any(ready.sql != filled[0].sql for ready in filled):
            raise Invalid(reason="lists of values cannot be given for many rows")
        try:
            await self._connection.execute_many(filled[0].sql, args, timeout_s=self.timeout_s)
        except Exception as error:
            self.note_failure(error)
            raise

    def transaction(self, *, read_only: bool = False) -> TransactionBlock:
        """A block whose statements all take effect, or none; `async with` it.

        Raises CommitUnknown when the reply to COMMIT was lost, and TransactionFailed when a
        statement had failed and the block went on.
        """
        return TransactionBlock(self, read_only=read_only)

    def savepoint(self) -> Savepoint:
        """A block within a transaction whose failure leaves the rest intact."""
        return Savepoint(self)

    def _prepare(self, statement: Statement, params: Params) -> Prepared:
        dialect = self._connection.dialect
        # PostgreSQL's session is wiped when the transaction ends.
        wiped = self._in_transaction and dialect is Dialect.POSTGRESQL
        prepared = prepare(dialect, statement, params, wiped=wiped)
        if prepared.leaves_traces:
            self.spent = True
        return prepared

    def note_failure(self, error: BaseException) -> None:
        """Note that a statement failed, and whether the connection is still well."""
        self._failed = True
        if self.failure is None and isinstance(error, BulkheadError) and is_trouble(error):
            self.failure = error


class TransactionBlock:
    """`async with connection.transaction():` begins, commits or rolls back."""

    __slots__ = ("_connection", "_read_only")

    def __init__(self, connection: TenantConnection, *, read_only: bool) -> None:
        """Prepare; nothing happens before the block is entered."""
        self._connection = connection
        self._read_only = read_only

    async def __aenter__(self) -> TenantConnection:
        """Begin."""
        connection = self._connection
        assert not connection._in_transaction, "use a savepoint inside of a transaction"
        try:
            await connection._connection.begin(
                read_only=self._read_only, timeout_s=connection.timeout_s
            )
        except BaseException as error:
            connection.spent = True
            connection.note_failure(error)
            raise
        connection._in_transaction = True
        connection._failed = False
        return connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit, or roll back when the block raised."""
        connection = self._connection
        connection._in_transaction = False
        if error is None and not connection._failed:
            await self._commit()
            return
        await self._roll_back(error)
        if error is None:
            raise TransactionFailed

    async def _commit(self) -> None:
        connection = self._connection
        try:
            await connection._connection.commit(timeout_s=connection.timeout_s)
        except BaseException as error:
            connection.spent = True
            connection.note_failure(error)
            if is_connection_loss(error) and not self._read_only:
                raise CommitUnknown(database=str(connection.tenant)) from error
            raise

    async def _roll_back(self, cause: BaseException | None) -> None:
        connection = self._connection
        if isinstance(cause, asyncio.CancelledError) or (
            connection.failure is not None and is_connection_loss(connection.failure)
        ):
            connection.spent = True
            return
        try:
            await connection._connection.rollback(timeout_s=connection.timeout_s)
        except BaseException as error:
            connection.spent = True
            connection.note_failure(error)
            if not isinstance(error, Exception):
                raise


class Savepoint:
    """A block of statements that is undone alone."""

    __slots__ = ("_connection",)

    def __init__(self, connection: TenantConnection) -> None:
        """Belong to the transaction of `connection`."""
        self._connection = connection

    async def __aenter__(self) -> Self:
        """Set the savepoint."""
        assert self._connection._in_transaction, "a savepoint needs a transaction"
        await self._connection.execute("savepoint bulkhead")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep the statements, or undo them when the block raised."""
        connection = self._connection
        if error is None and not connection._failed:
            await connection.execute("release savepoint bulkhead")
            return
        if connection.failure is not None and is_connection_loss(connection.failure):
            return
        await connection.execute("rollback to savepoint bulkhead")
        await connection.execute("release savepoint bulkhead")
        connection._failed = False


def prepare(
    dialect: Dialect, statement: Statement, params: Params, *, wiped: bool = False
) -> Prepared:
    """Render a statement and its values for `dialect`; raises Invalid for unfit values.

    `wiped` says that what it leaves in the session does not stay.
    """
    if isinstance(statement, str):
        return Prepared(statement, ordered(params), None, leaves_traces(statement, wiped))
    compiler = compiler_for(dialect)
    if isinstance(statement, ExecutableDDLElement):
        return Prepared(compiler.render(statement), (), None, False)  # noqa: FBT003 - no traces
    values = _named(params)
    compiled = compiler.compile(statement, values)
    ready = compiled.fill(values)
    return Prepared(ready.sql, ready.args, compiled, False)  # noqa: FBT003 - no traces


def is_trouble(error: BulkheadError) -> bool:
    """Whether an error says that a tenant's server is away, hangs, or is much too slow."""
    return isinstance(error, StatementTimeout) or is_connection_loss(error)


@lru_cache(maxsize=4096)
def leaves_traces(sql: str, wiped: bool) -> bool:  # noqa: FBT001 - taken for each statement
    """Whether plain SQL may leave something in its session, which is `wiped` afterwards or not."""
    if wiped:
        return may_last(sql)
    return may_last(sql) or not _TRACELESS.match(sql) or _TRACES.search(sql) is not None


def _named(params: Params) -> Mapping[str, Any]:
    if type(params) is dict:
        return params
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise Invalid(reason="values of a Core statement are given by name")
    return params


def ordered(params: Params) -> Sequence[Any]:
    """The values of plain SQL; raises Invalid for values by name."""
    if type(params) is list:
        return params
    if isinstance(params, Mapping):
        raise Invalid(reason="values of plain SQL are given in the order of their placeholders")
    return params or ()
