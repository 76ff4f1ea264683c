"""A connection to MySQL or MariaDB; implements `ServerConnection`.

Values are bound by the server: a statement with parameters is prepared once per connection, and
executing it again takes one round trip and a third of the time that pasted text takes. `timeout_s`
is kept here, by giving up the connection; the server stops statements of our logins by itself.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from asyncmy import errors as mysql

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.endpoint import Session
from bulkhead.engine.drivers.errors import (
    ConnectionLost,
    ServerUnreachable,
    StatementTimeout,
    ValueInvalid,
    is_connection_loss,
)
from bulkhead.engine.drivers.identity import IdentityMismatch, verify_names
from bulkhead.engine.drivers.mysql_errors import (
    NO_BULK,
    PACKET_TOO_LARGE,
    UNKNOWN_TABLE,
    ServerSuspicious,
    error_number,
    translate,
)
from bulkhead.engine.drivers.mysql_sql import parse_query, quote_text, render_settings
from bulkhead.engine.drivers.mysql_values import any_large, parameter, size_bytes
from bulkhead.engine.drivers.mysql_wire import GuardedConnection, Target, is_mariadb, open_raw
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import BulkheadError, Invalid

PREPARED_MAX = 64
"""Statements that one connection keeps prepared."""
BULK_ROWS_MAX = 500
SMALL_BYTES = 512 * 1024
"""Half of the smallest `max_allowed_packet` that is set anywhere: less is not counted twice."""
SMALL_TEXT = SMALL_BYTES // 8
PACKET_RESERVE_BYTES = 4096
STATEMENT_TIMEOUT_S = 8
SQL_MODE = (
    "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)
"""Errors instead of changed values, and strings and escapes that are always the same."""
_IDENTITY = "select tenant_id from _identity limit 2"
UUID_BYTES = 16


class MysqlConnection:
    """Wraps a client library's connection `raw`, which is nobody else's."""

    __slots__ = ("_described", "_names", "_packet_bytes_max", "_prepared", "raw")

    def __init__(self, raw: GuardedConnection) -> None:
        """Begin with nothing prepared."""
        self.raw = raw
        self._prepared: dict[str, Any] = {}
        self._packet_bytes_max = 0
        # A statement that is prepared keeps its description, and is often run again.
        self._described: Sequence[Any] | None = None
        self._names: tuple[str, ...] = ()

    @property
    def dialect(self) -> Dialect:
        """MySQL's."""
        return Dialect.MYSQL

    @property
    def is_mariadb(self) -> bool:
        """Whether the server greeted as MariaDB does."""
        return is_mariadb(self.raw.server_version)

    @property
    def id(self) -> int:
        """The server's number of the connection, which KILL takes."""
        return int(self.raw.thread_id())

    async def fetch(
        self, sql: str, args: Sequence[object], *, timeout_s: float
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement and return its rows; `%%` stands for a per cent in it.

        Instants come as they are kept: in UTC, without a zone.
        """
        result = await self._run(sql, args, timeout_s)
        if result.rows is None:
            return []
        if result.description is not self._described:
            self._described = result.description
            self._names = tuple(column[0] for column in result.description)
        names = self._names
        # A row is as long as its description, or the client library would not have read it.
        return [dict(zip(names, row, strict=False)) for row in result.rows]

    async def execute(self, sql: str, args: Sequence[object], *, timeout_s: float) -> int:
        """Run a statement and return how many rows it changed or found."""
        result = await self._run(sql, args, timeout_s)
        return int(result.affected_rows)

    async def execute_many(
        self, sql: str, rows: Sequence[Sequence[object]], *, timeout_s: float
    ) -> None:
        """Run a statement once for each row of parameters; outside of a transaction in one."""
        query = parse_query(sql)
        prepared = [tuple(map(parameter, row)) for row in rows]
        for row in prepared:
            if query.placeholders != len(row):
                raise _refuse_count(query.placeholders, len(row))
        watch = self._watch(timeout_s)
        try:
            await self._check_sizes(query.text, prepared)
            await self._execute_rows(query.text, prepared)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            watch.cancel()

    async def begin(self, *, read_only: bool, timeout_s: float) -> None:
        """Begin a transaction."""
        await self._send(
            "start transaction read only" if read_only else "start transaction", timeout_s
        )

    async def commit(self, *, timeout_s: float) -> None:
        """Commit it."""
        await self._send("commit", timeout_s)

    async def rollback(self, *, timeout_s: float) -> None:
        """Undo it; what a statement of DDL has committed stays."""
        await self._send("rollback", timeout_s)

    async def limit_statements(self, limit_s: float, *, timeout_s: float) -> None:
        """Have the server stop each statement after `limit_s`; on MySQL only those that read."""
        await self.set(_limit(limit_s, is_mariadb=self.is_mariadb), timeout_s=timeout_s)

    async def verify_identity(self, tenant: UUID, *, timeout_s: float) -> None:
        """Check that the database's table `_identity` names `tenant`; raises IdentityMismatch."""
        try:
            rows = await self.fetch(_IDENTITY, (), timeout_s=timeout_s)
        except Exception as error:
            if is_connection_loss(error) or error_number(error) is None:
                raise
            missing = error_number(error) == UNKNOWN_TABLE
            reason = "it has no table _identity" if missing else "its table _identity is unreadable"
            raise IdentityMismatch(tenant=tenant, reason=reason) from error
        verify_names(tenant, [_name(row["tenant_id"]) for row in rows])

    async def set(self, settings: Mapping[str, str], *, timeout_s: float) -> None:
        """Set variables of the session; values are SQL."""
        await self._send(render_settings(settings), timeout_s)

    def is_closed(self) -> bool:
        """Whether it is known to be of no use any more."""
        return self.raw.is_broken

    def terminate(self) -> None:
        """Close it at once."""
        self._prepared.clear()
        self.raw.abort()

    async def close(self) -> None:
        """Close it in good order."""
        self._prepared.clear()
        await self.raw.ensure_closed()

    async def _send(self, sql: str, timeout_s: float) -> None:
        watch = self._watch(timeout_s)
        try:
            await self._query(sql)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            watch.cancel()

    async def _run(self, sql: str, args: Sequence[object], timeout_s: float) -> Any:  # noqa: ANN401
        query = parse_query(sql)
        text, known = query.text, self._prepared
        if query.placeholders != len(args):
            raise _refuse_count(query.placeholders, len(args))
        values = tuple([parameter(value) for value in args])
        watch = self._watch(timeout_s)
        try:
            if len(text) > SMALL_TEXT or any_large(values):
                await self._check_sizes(text, [values])
            if not values:
                return await self._query(text)
            # The one that was used last stands last.
            statement = known.pop(text, None) or await self._prepare(text)
            known[text] = statement
            return await statement.execute(values)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            watch.cancel()

    def _watch(self, timeout_s: float) -> asyncio.TimerHandle:
        """Give the connection up when the time is over; the waiter hears of that loss.

        Costs a fraction of what a time-out does that cancels the task.
        """
        self.raw.restart()
        return self.raw.loop.call_later(timeout_s, self.raw.expire)  # type: ignore[no-any-return]

    def _fail(self, error: BaseException) -> None:
        """Raise the translated error; close what is left in the middle of a conversation.

        Only an error that the server itself reports leaves the conversation at its end.
        """
        if isinstance(error, ValueInvalid):
            return
        if not isinstance(error, Exception):
            self.terminate()
            return
        if self.raw.end is not None:
            raise self.raw.end from (TimeoutError() if self.raw.is_expired else error)
        translated = self._translate(error)
        number = error_number(error)
        if not number or number == PACKET_TOO_LARGE or isinstance(translated, ConnectionLost):
            self.terminate()
        raise translated from error

    def _translate(self, error: Exception) -> BulkheadError:
        if isinstance(error, RuntimeError) and "LOAD_LOCAL" in str(error):
            return ServerSuspicious(server=self.raw.target.name, what="a file of this machine")
        return translate(error)

    async def _query(self, text: str) -> Any:  # noqa: ANN401
        """Run a statement without parameters; of several results the first counts."""
        raw = self.raw
        await raw.query(text)
        result = first = raw._result  # noqa: SLF001 - a cursor offers no more
        while result is not None and result.has_next:
            await raw.next_result()
            result = raw._result  # noqa: SLF001
        return first

    async def _prepare(self, text: str) -> Any:  # noqa: ANN401
        statement = await self.raw.prepare(text)
        if len(self._prepared) >= PREPARED_MAX:
            await self._prepared.pop(next(iter(self._prepared))).close()
        return statement

    async def _execute_rows(self, text: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Within the transaction at hand, else in one of their own."""
        alone = not self.raw.get_transaction_status()
        if alone:
            await self._query("start transaction")
        try:
            for start in range(0, len(rows), BULK_ROWS_MAX):
                await self._execute_part(text, rows[start : start + BULK_ROWS_MAX])
        except mysql.Error:
            if alone and not self.is_closed():
                await self._query("rollback")
            raise
        if alone:
            await self._query("commit")

    async def _execute_part(self, text: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows[0]:
            for _ in rows:
                await self._query(text)
            return
        statement = self._prepared.pop(text, None) or await self._prepare(text)
        self._prepared[text] = statement
        if not (self._can_bulk(rows) and await _execute_bulk(statement, rows)):
            for row in rows:
                await statement.execute(row)

    def _can_bulk(self, rows: Sequence[tuple[object, ...]]) -> bool:
        """Whether MariaDB takes all rows in one message, and they are small enough for it."""
        return (
            len(rows) > 1
            and bool(self.raw._bulk_supported)  # noqa: SLF001 - asked for nowhere else
            and sum(map(size_bytes, rows)) < SMALL_BYTES
        )

    async def _check_sizes(self, text: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Refuse what the server would hang up on, before anything of it is sent."""
        text_bytes = len(text.encode()) + PACKET_RESERVE_BYTES
        largest_bytes = text_bytes + max(map(size_bytes, rows), default=0)
        if largest_bytes < SMALL_BYTES:
            return
        if not self._packet_bytes_max:
            result = await self._query("select @@max_allowed_packet")
            self._packet_bytes_max = int(result.rows[0][0])
        if largest_bytes > self._packet_bytes_max:
            raise ValueInvalid(sqlstate="54000", size_bytes_max=self._packet_bytes_max)


async def open_connection(
    target: Target,
    session: Session,
    *,
    timeout_s: float,
    is_bounded: bool = True,
    wire: socket.socket | None = None,
) -> MysqlConnection:
    """Connect and set what sessions of ours begin with, within `timeout_s` altogether.

    `is_bounded` limits how long statements run and sessions idle inside of a transaction, as is
    right for requests and wrong for migrations. Raises what `translate_connect` renders.
    """
    started_s = monotonic_s()
    connection = MysqlConnection(await open_raw(target, session, timeout_s=timeout_s, wire=wire))
    settings = _settings(is_mariadb=connection.is_mariadb, is_bounded=is_bounded)
    left_s = timeout_s - (monotonic_s() - started_s)
    try:
        await connection.set(settings, timeout_s=left_s)
    except BaseException as error:
        connection.terminate()
        if isinstance(error, StatementTimeout | ConnectionLost):
            reason = f"it went silent within {timeout_s:g} s after its greeting"
            raise ServerUnreachable(server=target.name, reason=reason) from error
        raise
    return connection


def _settings(*, is_mariadb: bool, is_bounded: bool) -> Mapping[str, str]:
    """What every session begins with, whatever the server's configuration says."""
    settings = {
        "autocommit": "1",
        "sql_mode": quote_text(SQL_MODE),
        "time_zone": "'+00:00'",
        "foreign_key_checks": "1",
        "unique_checks": "1",
        "innodb_lock_wait_timeout": "5",
        "lock_wait_timeout": "5" if is_bounded else "60",
        # As on PostgreSQL; and the gaps that REPEATABLE READ locks are where deadlocks come from.
        "tx_isolation" if is_mariadb else "transaction_isolation": "'READ-COMMITTED'",
    }
    if not is_bounded:
        return settings
    settings |= _limit(STATEMENT_TIMEOUT_S, is_mariadb=is_mariadb)
    return settings | {"idle_transaction_timeout": "15"} if is_mariadb else settings


def _limit(limit_s: float, *, is_mariadb: bool) -> dict[str, str]:
    if is_mariadb:
        return {"max_statement_time": f"{limit_s:g}"}
    return {"max_execution_time": f"{limit_s * 1000:.0f}"}


async def _execute_bulk(statement: Any, rows: Sequence[tuple[object, ...]]) -> bool:  # noqa: ANN401
    """Send rows in one message; False where that cannot be done, and nothing was."""
    try:
        await statement.execute_bulk(rows)
    except ValueError:  # The values of a column differ in type.
        return False
    except mysql.Error as error:
        if error_number(error) != NO_BULK:  # Tables with some foreign keys take none.
            raise
        return False
    return True


def _refuse_count(placeholders: int, given: int) -> Invalid:
    return Invalid(
        reason=f"the statement has {placeholders} placeholders %s and got {given} values; "
        "write %% for a per cent"
    )


def _name(value: object) -> object:
    return UUID(bytes=value) if isinstance(value, bytes) and len(value) == UUID_BYTES else value
