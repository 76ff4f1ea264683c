"""PostgreSQL databases that somebody else runs: opened as the user that a configuration names.

How a connection is opened is given as a function, a `Dial`: guarded for hosts that customers name
(`guarded.py`), plain for those that an operator named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.engine.drivers.endpoint import Endpoint, Session, open_connection
from bulkhead.engine.drivers.errors import PoolerUndeclared, translate
from bulkhead.engine.drivers.pooler import Pooling, probe_pooling
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.fleet.model import ConnectionConfig

CHECK_TIMEOUT_S = 5.0
SETTINGS: Mapping[str, str] = {
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
}
"""What a session elsewhere begins with, or each transaction behind a pooler; on managed servers
they have it from their roles."""

Dial = Callable[[ConnectionConfig, float], Awaitable[Any]]
"""Opens asyncpg's connection, within seconds."""


@dataclass(slots=True, eq=False)
class OutsidePostgres:
    """A PostgreSQL database that somebody else runs; implements `TenantDatabase`."""

    config: ConnectionConfig
    dial: Dial
    _sessions_stay: bool = False
    """Whether it was seen that no pooler changes them."""

    @property
    def server(self) -> str:
        """Host and port."""
        return self.config.server

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    async def connect(self, *, timeout_s: float) -> ServerConnection:
        """Open a connection as the user that the configuration names.

        Raises PoolerUndeclared where a pooler changes sessions and the configuration does not say
        so: one client's prepared statement could be another's there.
        """
        raw = await self.dial(self.config, timeout_s)
        if self.config.pooled:
            # A pooler hands nothing on that a session begins with.
            return PostgresConnection(raw, pooled=True, settings=SETTINGS)
        if not self._sessions_stay:
            await self._verify_sessions(raw, timeout_s)
        return PostgresConnection(raw)

    async def _verify_sessions(self, raw: Any, timeout_s: float) -> None:  # noqa: ANN401
        try:
            async with asyncio.timeout(min(timeout_s, CHECK_TIMEOUT_S)):
                pooling = await probe_pooling(raw, lambda: self.dial(self.config, timeout_s))
        except BaseException as error:
            raw.terminate()
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        if pooling is Pooling.TRANSACTION:
            raw.terminate()
            raise PoolerUndeclared(server=self.server)
        self._sessions_stay = True


async def dial_plainly(config: ConnectionConfig, timeout_s: float) -> Any:  # noqa: ANN401
    """Connect to where `config` says, unguarded: for servers that an operator named."""
    return await open_connection(
        endpoint_of(config),
        session_of(config),
        timeout_s=timeout_s,
        pooled=config.pooled,
        settings=None if config.pooled else SETTINGS,
    )


def endpoint_of(config: ConnectionConfig) -> Endpoint:
    """The endpoint of the user that `config` names."""
    return Endpoint(
        config.host,
        config.port,
        config.username,
        config.password.reveal(),
        config.database,
        tls=config.tls,
    )


def session_of(config: ConnectionConfig) -> Session:
    """Who `config` connects as, to which database."""
    return Session(config.username, config.password.reveal(), config.database)
