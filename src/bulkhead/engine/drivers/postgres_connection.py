"""A connection to PostgreSQL in the words that all dialects share; implements `ServerConnection`.

The session belongs to one database and one login for life. What a transaction may have set in it
is wiped with the message that ends the transaction, as in `connections.transaction`.

Behind a pooler a session lasts for one transaction. So every statement runs in one, whose first
message carries what a session of our own would begin with, and the check of whose database it is:
it costs no round trip there, and holds for exactly what is read and written.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from bulkhead.engine.drivers.errors import CommitUnknown, is_connection_loss, translate
from bulkhead.engine.drivers.identity import IdentityMismatch, verify_names
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import BulkheadError

T = TypeVar("T")

_WIPE = ";reset all;close all;unlisten *;select pg_catalog.pg_advisory_unlock_all()"
_IDENTITY = "select tenant_id::pg_catalog.text as tenant_id from public._identity limit 2"
# Fails in the message that begins, which returns no rows: by a division by zero.
_IDENTITY_OR_FAIL = (
    ";select 1 / (pg_catalog.count(*) = 1 and pg_catalog.bool_and("
    "tenant_id::pg_catalog.text = '{tenant}'))::pg_catalog.int4 from public._identity"
)


class PostgresConnection:
    """Wraps asyncpg's connection `raw`, which is nobody else's."""

    __slots__ = ("_again", "_first", "_pooled", "_tenant", "raw")

    def __init__(
        self,
        raw: Any,  # noqa: ANN401
        *,
        pooled: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`pooled` says that a pooler may change the session from transaction to transaction.

        `settings`, the role among them, are then those of each transaction; without a pooler they
        are the session's own affair.
        """
        self.raw = raw
        self._pooled = pooled
        self._first = ""
        self._again = ""
        self._tenant: UUID | None = None
        for name, value in (settings or {}).items():
            self._first += f";set local {name} = '{value}'"

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    async def fetch(
        self, sql: str, args: Sequence[object], *, timeout_s: float
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement and return its rows, as asyncpg's records."""
        if self._pooled and not self.raw.is_in_transaction():
            return await self._run_alone(
                lambda: self.fetch(sql, args, timeout_s=timeout_s), timeout_s
            )
        try:
            return await self.raw.fetch(sql, *args, timeout=timeout_s)  # type: ignore[no-any-return]
        except Exception as error:
            raise translate(error) from error

    async def execute(self, sql: str, args: Sequence[object], *, timeout_s: float) -> int:
        """Run a statement and return how many rows it changed or found."""
        if self._pooled and not self.raw.is_in_transaction():
            return await self._run_alone(
                lambda: self.execute(sql, args, timeout_s=timeout_s), timeout_s
            )
        try:
            status: str = await self.raw.execute(sql, *args, timeout=timeout_s)
        except Exception as error:
            raise translate(error) from error
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def execute_many(
        self, sql: str, rows: Sequence[Sequence[object]], *, timeout_s: float
    ) -> None:
        """Run a statement once for each row of parameters."""
        if self._pooled and not self.raw.is_in_transaction():
            await self._run_alone(
                lambda: self.execute_many(sql, rows, timeout_s=timeout_s), timeout_s
            )
            return
        try:
            await self.raw.executemany(sql, rows, timeout=timeout_s)
        except Exception as error:
            raise translate(error) from error

    async def begin(
        self, *, read_only: bool, timeout_s: float, repeatable_read: bool = False
    ) -> None:
        """Begin a transaction; raises IdentityMismatch where its session leads elsewhere."""
        begin = "begin isolation level repeatable read" if repeatable_read else "begin"
        if read_only:
            begin += " read only"
        begin += self._first
        if self._tenant is not None:
            begin += _IDENTITY_OR_FAIL.format(tenant=self._tenant)
        try:
            await self.raw.execute(begin, timeout=timeout_s)
        except (asyncpg.DivisionByZeroError, asyncpg.UndefinedTableError) as error:
            raise IdentityMismatch(tenant=self._tenant, reason=_reason(error)) from error
        except Exception as error:
            raise translate(error) from error

    async def commit(self, *, timeout_s: float) -> None:
        """Commit it and wipe the session."""
        await self._send("commit" + _WIPE + self._again, timeout_s)

    async def rollback(self, *, timeout_s: float) -> None:
        """Undo it and wipe the session."""
        await self._send("rollback" + _WIPE + self._again, timeout_s)

    async def keep_setting(self, name: str, value: str, *, timeout_s: float) -> None:
        """Have a setting from now on: for the session, or in each transaction behind a pooler."""
        if self._pooled:
            self._first += f";set local {name} = '{value}'"
        else:
            await self._send(f"set {name} = '{value}'", timeout_s)
            self._again += f";set {name} = '{value}'"

    async def limit_statements(self, limit_s: float, *, timeout_s: float) -> None:
        """Have the server stop each statement after `limit_s`, from now on for good."""
        await self.keep_setting("statement_timeout", f"{limit_s * 1000:.0f}ms", timeout_s=timeout_s)

    async def verify_identity(self, tenant: UUID, *, timeout_s: float) -> None:
        """Check that the database's table `_identity` names `tenant`; raises IdentityMismatch.

        Behind a pooler each transaction that follows checks it again.
        """
        try:
            rows = await self.fetch(_IDENTITY, (), timeout_s=timeout_s)
        except BulkheadError as error:
            cause = error.__cause__
            if not isinstance(cause, asyncpg.PostgresError) or is_connection_loss(error):
                raise
            raise IdentityMismatch(tenant=tenant, reason=_reason(cause)) from cause
        verify_names(tenant, [row["tenant_id"] for row in rows])
        if self._pooled:
            self._tenant = tenant

    def is_closed(self) -> bool:
        """Whether it is known to be of no use any more."""
        return bool(self.raw.is_closed())

    def terminate(self) -> None:
        """Close it at once."""
        self.raw.terminate()

    async def _run_alone(self, run: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """Run a statement in a transaction of its own; what is left open ends with the session."""
        try:
            await self.begin(read_only=False, timeout_s=timeout_s)
            result = await run()
            await self._commit_alone(timeout_s)
        except BulkheadError as error:
            await self._undo_alone(error, timeout_s)
            raise
        except BaseException:
            self.raw.terminate()
            raise
        return result

    async def _undo_alone(self, error: BulkheadError, timeout_s: float) -> None:
        if is_connection_loss(error) or not self.raw.is_in_transaction():
            return
        try:
            await self.rollback(timeout_s=timeout_s)
        except BaseException as failure:
            self.raw.terminate()
            if not isinstance(failure, Exception):
                raise

    async def _commit_alone(self, timeout_s: float) -> None:
        try:
            await self.commit(timeout_s=timeout_s)
        except Exception as error:
            if is_connection_loss(error):
                raise CommitUnknown(database=str(self._tenant)) from error
            raise

    async def _send(self, sql: str, timeout_s: float) -> None:
        try:
            await self.raw.execute(sql, timeout=timeout_s)
        except Exception as error:
            raise translate(error) from error


def _reason(error: asyncpg.PostgresError) -> str:
    if isinstance(error, asyncpg.UndefinedTableError):
        return "it has no table _identity"
    if isinstance(error, asyncpg.DivisionByZeroError):
        return "it belongs to another tenant"
    return "its table _identity cannot be read"
