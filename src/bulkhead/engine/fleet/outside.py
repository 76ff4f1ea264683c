"""PostgreSQL databases that somebody else runs: opened as the user that a configuration names.

How a connection is opened is given as a function, a `Dial`: guarded for hosts that customers name
(`guarded.py`), plain for those that an operator named.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.engine.drivers.endpoint import Endpoint, Session, open_connection
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.fleet.model import ConnectionConfig

STATEMENT_TIMEOUT_S = 8.0
SETTINGS: Mapping[str, str] = {
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
}
"""What a session elsewhere begins with; those on managed servers have it from their roles."""

Dial = Callable[[ConnectionConfig, float], Awaitable[Any]]
"""Opens asyncpg's connection, within seconds."""


@dataclass(frozen=True, slots=True)
class OutsidePostgres:
    """A PostgreSQL database that somebody else runs; implements `TenantDatabase`."""

    config: ConnectionConfig
    dial: Dial

    @property
    def server(self) -> str:
        """Host and port."""
        return self.config.server

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    async def connect(self, *, timeout_s: float) -> ServerConnection:
        """Open a connection as the user that the configuration names."""
        raw = await self.dial(self.config, timeout_s)
        # A pooler hands nothing on that a session begins with.
        return PostgresConnection(
            raw,
            pooled=self.config.pooled,
            statement_timeout_s=STATEMENT_TIMEOUT_S if self.config.pooled else 0.0,
        )


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
