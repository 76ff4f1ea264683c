"""A connection to PostgreSQL in the words that all dialects share; implements `ServerConnection`.

The session belongs to one database and one login for life. What a transaction may have set in it
is wiped with the message that ends the transaction, as in `connections.transaction`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from bulkhead.engine.drivers.errors import is_connection_loss, translate
from bulkhead.engine.drivers.identity import IdentityMismatch, verify_names
from bulkhead.engine.drivers.protocol import Dialect

_WIPE = ";reset all;close all;unlisten *;select pg_catalog.pg_advisory_unlock_all()"
_IDENTITY = "select tenant_id::pg_catalog.text as tenant_id from public._identity limit 2"


class PostgresConnection:
    """Wraps asyncpg's connection `raw`, which is nobody else's."""

    __slots__ = ("_first", "_wipe", "raw")

    def __init__(self, raw: Any, *, pooled: bool = False, statement_timeout_s: float = 0.0) -> None:  # noqa: ANN401
        """`pooled` says that a pooler may change the session from transaction to transaction.

        With it, or with a `statement_timeout_s`, time-outs are set anew in each transaction.
        """
        self.raw = raw
        self._wipe = "" if pooled else _WIPE
        milliseconds = round(statement_timeout_s * 1000)
        self._first = f";set local statement_timeout = {milliseconds}" if milliseconds else ""

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    async def fetch(
        self, sql: str, args: Sequence[object], *, timeout_s: float
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement and return its rows, as asyncpg's records."""
        try:
            return await self.raw.fetch(sql, *args, timeout=timeout_s)  # type: ignore[no-any-return]
        except Exception as error:
            raise translate(error) from error

    async def execute(self, sql: str, args: Sequence[object], *, timeout_s: float) -> int:
        """Run a statement and return how many rows it changed or found."""
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
        try:
            await self.raw.executemany(sql, rows, timeout=timeout_s)
        except Exception as error:
            raise translate(error) from error

    async def begin(self, *, read_only: bool, timeout_s: float) -> None:
        """Begin a transaction."""
        begin = "begin read only" if read_only else "begin"
        await self._send(begin + self._first, timeout_s)

    async def commit(self, *, timeout_s: float) -> None:
        """Commit it and wipe the session."""
        await self._send("commit" + self._wipe, timeout_s)

    async def rollback(self, *, timeout_s: float) -> None:
        """Undo it and wipe the session."""
        await self._send("rollback" + self._wipe, timeout_s)

    async def verify_identity(self, tenant: UUID, *, timeout_s: float) -> None:
        """Check that the database's table `_identity` names `tenant`; raises IdentityMismatch."""
        try:
            rows = await self.raw.fetch(_IDENTITY, timeout=timeout_s)
        except asyncpg.UndefinedTableError as error:
            raise IdentityMismatch(tenant=tenant, reason="it has no table _identity") from error
        except asyncpg.PostgresError as error:
            if is_connection_loss(error):
                raise translate(error) from error
            raise IdentityMismatch(
                tenant=tenant, reason="its table _identity cannot be read"
            ) from error
        except Exception as error:
            raise translate(error) from error
        verify_names(tenant, [row["tenant_id"] for row in rows])

    def is_closed(self) -> bool:
        """Whether it is known to be of no use any more."""
        return bool(self.raw.is_closed())

    def terminate(self) -> None:
        """Close it at once."""
        self.raw.terminate()

    async def _send(self, sql: str, timeout_s: float) -> None:
        try:
            await self.raw.execute(sql, timeout=timeout_s)
        except Exception as error:
            raise translate(error) from error
