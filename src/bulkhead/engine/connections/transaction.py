"""A scoped transaction: the only way to a connection.

Role and claims are set inside the transaction, in the message that begins it, and end with it. The
message that commits also carries what must be written last (markers, events) and then wipes
whatever the session may have picked up, so that a scoped transaction costs the same three round
trips as a bare one: begin, statement, commit. The end of one that only reads changes nothing, so
nobody waits for it: it travels with the next beginning and costs no round trip at all.
"""
# A transaction, its savepoints and its block are one thing in three classes.
# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.endpoint import APPLICATION_NAME
from bulkhead.engine.drivers.errors import CommitUnknown, is_connection_loss, translate
from bulkhead.engine.errors import BulkheadError, Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.pool import Lease, Pool

Record = Any  # asyncpg.Record: a mapping by column name.

# `reset all` leaves `role` alone (GUC_NO_RESET_ALL), so it is reset by name.
_WIPE = ";reset role;reset all;close all;unlisten *;select pg_catalog.pg_advisory_unlock_all()"
# A read wipes before it commits, so that a beginning can follow in the same message. A write must
# not: its deferred triggers still run, when it commits, under its role and claims.
RELEASE_LOCKS = "pg_catalog.pg_advisory_unlock_all()"
_END_READ = "reset role;reset all;close all;unlisten *;commit;"
_END_READ_HOLDING = f"select {RELEASE_LOCKS};{_END_READ}"


# Statements prepared by SQL cannot be wiped, and DEALLOCATE takes the driver's own ones away: a
# session in which that may have happened is not used again. DO can hide either.
_LASTS = re.compile(r"\b(?:prepare|deallocate)\b|\bdo\b\s*(?:\$|e?'|language\b)", re.IGNORECASE)
# The pooler keeps a session that we do not use again, and gives it to others.
_FORGET = f"{_WIPE};deallocate all"
_STATEMENTS_LOST = frozenset({"26000", "42P05"})


class EventSink(Protocol):
    """Where `publish` puts events; given by messaging, so that connections need not know it."""

    def publish(self, tx: Transaction, event: Any) -> Any:  # noqa: ANN401
        """Write `event` within `tx`."""


class TransactionFailed(Conflict):
    """A statement of this transaction had failed, so nothing of it was written."""

    code = "transaction_failed"
    status = 500
    hint = "Put a statement that may fail into `async with tx.savepoint():`."


class Transaction:
    """Statements run in one database under one scope; all of them take effect, or none.

    Statements raise the errors of `engine.drivers.errors`. After a failed statement nothing else
    can be done in the transaction, unless the statement stood in a savepoint.
    """

    __slots__ = (
        "_after",
        "_connection",
        "_ends_now",
        "_failed",
        "_lost",
        "_named",
        "_released",
        "_spent",
        "_tail",
        "_timeout_s",
        "claims",
        "database",
        "events",
    )

    def __init__(
        self,
        connection: Any,  # noqa: ANN401
        database: str,
        claims: Claims,
        timeout_s: float,
        events: EventSink | None,
    ) -> None:
        """Wrap `connection`, on which the transaction has begun."""
        self._connection = connection
        self._timeout_s = timeout_s
        self._tail: list[str] = []
        self._after: list[Callable[[], None]] = []
        self._ends_now = False
        self._failed = False
        self._lost = False
        self._named = False
        self._released = False
        self._spent = False
        self.database = database
        self.claims = claims
        self.events = events

    async def fetch(self, sql: str, *args: object) -> Sequence[Record]:
        """Run a statement and return its rows."""
        self._note(sql)
        try:
            return await self._connection.fetch(sql, *args, timeout=self._timeout_s)  # type: ignore[no-any-return]
        except Exception as error:
            raise self._fail(error) from error

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """Run a statement and return its first row, or None."""
        self._note(sql)
        try:
            return await self._connection.fetchrow(sql, *args, timeout=self._timeout_s)
        except Exception as error:
            raise self._fail(error) from error

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401
        """Run a statement and return the first column of its first row, or None."""
        self._note(sql)
        try:
            return await self._connection.fetchval(sql, *args, timeout=self._timeout_s)
        except Exception as error:
            raise self._fail(error) from error

    async def execute(self, sql: str, *args: object) -> str:
        """Run a statement and return its status, for example `UPDATE 3`."""
        self._note(sql)
        try:
            return await self._connection.execute(sql, *args, timeout=self._timeout_s)  # type: ignore[no-any-return]
        except Exception as error:
            raise self._fail(error) from error

    async def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each row of parameters."""
        self._note(sql)
        try:
            await self._connection.executemany(sql, rows, timeout=self._timeout_s)
        except Exception as error:
            raise self._fail(error) from error

    async def copy_rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Load many rows into `table` with COPY."""
        try:
            await self._connection.copy_records_to_table(
                table, columns=columns, records=rows, timeout=self._timeout_s
            )
        except Exception as error:
            raise self._fail(error) from error

    def cursor(self, sql: str, *args: object, prefetch: int = 1000) -> Any:  # noqa: ANN401
        """Iterate over the rows of a query without holding them all: `async for row in ...`."""
        self._note(sql)
        self._named = True  # asyncpg gives its statement a name, and closes it some time later.
        return self._connection.cursor(sql, *args, prefetch=prefetch)

    def at_commit(self, sql: str) -> None:
        """Add a statement without parameters to the message that commits.

        Use `engine.connections.sql` to quote its values. It costs no round trip; when it fails,
        nothing of the transaction is written.
        """
        self._tail.append(sql)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the transaction is durable; never when it is not."""
        self._after.append(callback)

    def note_released(self) -> None:
        """Note that the last statement evaluated `RELEASE_LOCKS` after everything else in it.

        As a query of its own that is half of what the end of a read costs.
        """
        self._released = True

    def savepoint(self) -> Savepoint:
        """A block whose failure leaves the rest of the transaction intact."""
        return Savepoint(self)

    @property
    def failed(self) -> bool:
        """Whether a statement failed outside of a savepoint."""
        return self._failed

    def _note(self, sql: str) -> None:
        self._released = False
        self._spent = self._spent or may_last(sql)
        self._ends_now = self._ends_now or limits_time(sql)

    def _fail(self, error: Exception) -> BulkheadError:
        self._failed = True
        self._spent = self._spent or getattr(error, "sqlstate", None) in _STATEMENTS_LOST
        # Only a loss of this connection counts against this database, whatever else the block
        # raises: the cause of its failure may be another database.
        self._lost = self._lost or is_connection_loss(error)
        return translate(error)


class Savepoint:
    """A block of statements that is undone alone; also forgets its commit statements."""

    __slots__ = ("_after", "_failed", "_tail", "_tx")

    def __init__(self, tx: Transaction) -> None:
        """Belong to `tx`."""
        self._tx = tx

    async def __aenter__(self) -> Self:
        """Set the savepoint."""
        tx = self._tx
        self._tail, self._after, self._failed = len(tx._tail), len(tx._after), tx._failed
        await tx.execute("savepoint bulkhead")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep the statements, or undo them when the block raised."""
        tx = self._tx
        if kind is None and not tx._failed:
            await tx.execute("release savepoint bulkhead")
            return
        del tx._tail[self._tail :]
        del tx._after[self._after :]
        if tx._lost:
            return
        await tx.execute("rollback to savepoint bulkhead; release savepoint bulkhead")
        tx._failed = self._failed


class TransactionBlock:
    """`async with database.transaction(claims) as tx`: begins, commits or rolls back."""

    __slots__ = (
        "_begin",
        "_claims",
        "_database",
        "_ends_later",
        "_events",
        "_lease",
        "_pool",
        "_read_only",
        "_timeout_s",
        "_tx",
    )

    def __init__(  # noqa: PLR0913 - only OpenDatabase builds it
        self,
        pool: Pool,
        database: str,
        claims: Claims,
        begin: str,
        *,
        read_only: bool,
        ends_later: bool,
        timeout_s: float,
        events: EventSink | None,
    ) -> None:
        """Prepare; nothing happens before the block is entered."""
        self._begin = begin
        self._pool = pool
        self._database = database
        self._claims = claims
        self._read_only = read_only
        self._ends_later = ends_later
        self._timeout_s = timeout_s
        self._events = events

    async def __aenter__(self) -> Transaction:
        """Lease a connection and begin under the scope."""
        lease = await self._pool.acquire()
        text, lease.unfinished = lease.unfinished + self._begin, ""
        try:
            await lease.connection.execute(text, timeout=self._timeout_s)
        except BaseException as error:
            self._give_back(lease, usable=False, lost=is_connection_loss(error))
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        self._lease: Lease = lease
        self._tx = Transaction(
            lease.connection, self._database, self._claims, self._timeout_s, self._events
        )
        return self._tx

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit, or roll back when the block raised."""
        if error is not None:
            await self._roll_back(error)
        elif self._tx.failed:
            await self._roll_back(None)
            raise TransactionFailed
        else:
            await self._commit()

    async def _commit(self) -> None:
        lease, tail = self._lease, self._tx._tail
        if self._ends_later and not (tail or self._spent or self._tx._ends_now):
            lease.unfinished = _END_READ if self._tx._released else _END_READ_HOLDING
            self._end()
            return
        text = ";".join([*tail, "commit"]) + (_FORGET if self._spent else _WIPE)
        try:
            await lease.connection.execute(text, timeout=self._timeout_s)
        except BaseException as error:
            lost = is_connection_loss(error)
            self._give_back(lease, usable=False, lost=lost)
            if lost and not self._read_only:
                raise CommitUnknown(database=self._database) from error
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        self._end()

    def _end(self) -> None:
        self._give_back(self._lease, usable=not self._spent)
        for callback in self._tx._after:
            callback()

    async def _roll_back(self, cause: BaseException | None) -> None:
        lease = self._lease
        if self._tx._lost or isinstance(cause, asyncio.CancelledError):
            self._give_back(lease, usable=False, lost=self._tx._lost)
            return
        try:
            wipe = _FORGET if self._spent else _WIPE
            await lease.connection.execute("rollback" + wipe, timeout=self._timeout_s)
        except BaseException as error:
            self._give_back(lease, usable=False, lost=is_connection_loss(error))
            if not isinstance(error, Exception):
                raise
        else:
            self._give_back(lease, usable=not self._spent)

    @property
    def _spent(self) -> bool:
        """Whether a statement may be left in the session: elsewhere than here it has no name."""
        return self._tx._spent or (self._tx._named and self._pool.shares_sessions)

    def _give_back(self, lease: Lease, *, usable: bool, lost: bool = False) -> None:
        breaker = self._pool.breaker
        if lost:
            breaker.failed()
        elif usable:
            breaker.succeeded()
        else:
            breaker.abandoned()
        self._pool.release(lease, usable=usable)


def begin_text(
    claims: Claims, *, read_only: bool = False, first: str = "", named: bool = False
) -> str:
    """Render the message that begins a transaction under the scope of `claims`; then `first`.

    `named` gives the session our name, which it has not behind a pooler.
    """
    begin = "begin read only" if read_only else "begin"
    if named:
        begin += f";set local application_name = {APPLICATION_NAME}"
    return (
        f"{begin};set local role {identifier(claims.role)};"
        f"set local request.jwt.claims = {literal(claims.json)};{first}"
    )


@lru_cache(maxsize=4096)
def limits_time(sql: str) -> bool:
    """Whether a statement may set a time-out, under which somebody else's beginning would run."""
    return "_timeout" in sql.lower()


@lru_cache(maxsize=4096)
def may_last(sql: str) -> bool:
    """Whether a statement may leave something in its session that cannot be wiped."""
    return _LASTS.search(sql) is not None
