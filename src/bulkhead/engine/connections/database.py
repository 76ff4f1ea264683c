"""An open database: hands out scoped transactions, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.engine.connections.breaker import Breaker
from bulkhead.engine.connections.claims import Claims, Role
from bulkhead.engine.connections.pool import Budget, Pool
from bulkhead.engine.connections.transaction import EventSink, TransactionBlock, begin_text
from bulkhead.engine.drivers.postgres import PostgresDriver, is_pooled
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login

CONNECT_TIMEOUT_S = 5.0
ROLE_TIMEOUT_S = 8.0
"""What the roles of every database are made with."""


@dataclass(slots=True, eq=False)
class OpenDatabase:
    """A logical database at its place.

    Each role has a pool of its own, so that a flood of anonymous requests leaves signed-in users
    and the application itself their connections.
    """

    application: str
    name: str
    driver: Driver
    spec: DatabaseSpec
    budget: Budget
    pool_size: int = 10
    statement_timeout_s: float = ROLE_TIMEOUT_S
    events: EventSink | None = None
    breaker: Breaker = field(init=False)
    visitors: Pool = field(init=False)
    """For `anon`; the login is that of `clients`."""
    clients: Pool = field(init=False)
    """For `authenticated`, and whatever else the client login may become."""
    services: Pool = field(init=False)
    """For `service_role`."""

    def __post_init__(self) -> None:
        self.breaker = Breaker(f"{self.application}.{self.name}")
        self.visitors = self._pool(Login.CLIENT)
        self.clients = self._pool(Login.CLIENT)
        self.services = self._pool(Login.SERVICE)

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler that was declared gives each transaction another session."""
        return is_pooled(self.driver)

    async def connect_directly(self, role: Role) -> Any:  # noqa: ANN401
        """A connection of the caller's own whose session stays the same, to LISTEN for example.

        It has the login of `role`, which it has not taken on. Raises what `Driver.connect` does.
        """
        driver = self.driver
        login = Login.SERVICE if role is Role.SERVICE else Login.CLIENT
        if isinstance(driver, PostgresDriver):
            return await driver.connect_directly(self.spec, login, timeout_s=CONNECT_TIMEOUT_S)
        return await driver.connect(self.spec, login, timeout_s=CONNECT_TIMEOUT_S)

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by whom they are for."""
        return {"visitor": self.visitors, "client": self.clients, "service": self.services}

    def transaction(
        self,
        claims: Claims,
        *,
        read_only: bool = False,
        timeout_s: float | None = None,
        first: str = "",
    ) -> TransactionBlock:
        """A transaction under `claims`; `async with` it.

        Raises DatabaseUnavailable, PoolExhausted, ServerUnreachable when it cannot begin and
        CommitUnknown when the reply to COMMIT was lost. `timeout_s` bounds each statement. `first`
        is SQL without parameters that travels with the beginning, as `at_commit` with the end.
        """
        pool = self._pool_of(claims.role)
        return TransactionBlock(
            pool,
            self.name,
            claims,
            begin_text(
                claims,
                read_only=read_only,
                first=self._limit + first,
                named=pool.shares_sessions,
            ),
            read_only=read_only,
            # A transaction that chooses its isolation may be serializable, and then fail to commit.
            ends_later=read_only and not first.startswith("set transaction"),
            # The server's own statement_timeout acts first; this one is for a server that hangs.
            timeout_s=timeout_s or self.statement_timeout_s + 2.0,
            events=self.events,
        )

    @property
    def _limit(self) -> str:
        """What tells the server how long a statement may take, where that is not the roles' own."""
        limit_s = self.statement_timeout_s
        return (
            ""
            if limit_s == ROLE_TIMEOUT_S
            else f"set local statement_timeout = {limit_s * 1000:.0f};"
        )

    async def close(self) -> None:
        """Drain and close every pool."""
        for pool in self.pools.values():
            await pool.close()

    def _pool_of(self, role: str) -> Pool:
        if role == Role.SERVICE:
            return self.services
        return self.visitors if role == Role.ANON else self.clients

    def _pool(self, login: Login) -> Pool:
        async def connect() -> Any:  # noqa: ANN401
            return await self.driver.connect(self.spec, login, timeout_s=CONNECT_TIMEOUT_S)

        return Pool(
            f"{self.application}.{self.name}",
            connect,
            self.budget,
            self.breaker,
            self.pool_size,
            shares_sessions=self.is_pooled,
        )
