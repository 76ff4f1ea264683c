"""Tenants' databases at their places: on servers that are managed here, and on other people's.

`Databases` makes of a row of the registry something that a pool can connect to. Kinds of outside
servers are given to it as functions, so that this module knows neither of MySQL nor of what is
checked before a customer's host may be connected to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Role
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import translate
from bulkhead.engine.drivers.postgres import PostgresDriver, is_pooled
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import (
    DatabaseSpec,
    Dialect,
    Driver,
    Login,
    Provider,
    ServerConnection,
)
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.drivers.supabase_api import TokenRefused
from bulkhead.engine.errors import BulkheadError, ConfigurationInvalid
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    ServerKind,
    ServerRow,
    TenantPlace,
    TenantRow,
)
from bulkhead.engine.fleet.outside import endpoint_of
from bulkhead.engine.fleet.registry import TenantChanged, get_server, get_tenant
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.fleet.tenant_database import TenantDatabase

OUTSIDE_CONNECTIONS_MAX = 8
"""To one host and port that is not managed here, over all tenants that name it."""
SERVER_TTL_S = 60.0
BECOME = "set role service_role"

log = logging.getLogger(__name__)

Outside = Callable[[ConnectionConfig], TenantDatabase]
Manage = Callable[[ConnectionConfig, Secret], Driver]


@dataclass(frozen=True, slots=True)
class ManagedDatabase:
    """A database on a server that is managed here; implements `TenantDatabase`."""

    driver: Driver
    spec: DatabaseSpec

    @property
    def server(self) -> str:
        """The driver's name of it, or of the one server that the database is."""
        if isinstance(self.driver, Provider):
            return self.driver.server_of(self.spec)
        return self.driver.server

    @property
    def dialect(self) -> Dialect:
        """The driver's."""
        return self.driver.dialect

    async def connect(self, *, timeout_s: float) -> ServerConnection:
        """Open a connection with the rights of `service_role`, where the dialect has roles."""
        raw: Any = await self.driver.connect(self.spec, Login.SERVICE, timeout_s=timeout_s)
        if self.dialect is not Dialect.POSTGRESQL:
            connection: ServerConnection = raw
            return connection
        if is_pooled(self.driver):
            return PostgresConnection(raw, pooled=True, settings={"role": Role.SERVICE.value})
        try:
            await raw.execute(BECOME, timeout=timeout_s)
        except BaseException as error:
            raw.terminate()
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        return PostgresConnection(raw)


def manage_postgres(config: ConnectionConfig, secret: Secret) -> Driver:
    """The driver of a PostgreSQL server whose administrator `config` names, and its pooler."""
    endpoint, address = endpoint_of(config), config.pooler_address
    if address is None:
        return PostgresDriver(endpoint, secret)
    host, port = address
    return PostgresDriver(endpoint, secret, pooler=replace(endpoint, host=host, port=port))


def spec_of_place(place: TenantPlace) -> DatabaseSpec:
    """What a tenant's database on a managed server is called and whose roles it has."""
    return DatabaseSpec(
        place.database,
        role_prefix=place.role_prefix,
        login_prefix=place.login_prefix,
        located=place.located,
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A tenant's database, and how many connections its server may be given."""

    database: TenantDatabase
    connections_max: int


@dataclass(slots=True, eq=False)
class Databases:
    """Knows servers and their drivers, and how databases elsewhere are reached."""

    registry: OpenDatabase
    seals: Seals
    secret: Secret | None = None
    """Passwords of logins on servers of the registry follow from it."""
    drivers: dict[str, Driver] = field(default_factory=dict)
    """Of servers that are known by settings, by their name in the registry."""
    manage: Mapping[ServerKind, Manage] = field(
        default_factory=lambda: {ServerKind.POSTGRESQL: manage_postgres}
    )
    outside: Mapping[ServerKind, Outside] = field(default_factory=dict)
    _servers: dict[str, tuple[float, ServerRow]] = field(default_factory=dict)
    _made: dict[str, tuple[int, Driver]] = field(default_factory=dict)

    async def open(self, tenant: TenantRow) -> Opened:
        """The tenant's database; connects to nothing.

        Raises ConfigurationInvalid, SealBroken, ServerUnknown.
        """
        place = tenant.place
        if place.server is not None:
            server = await self.server(place.server)
            if place.sealed_connection is None:
                driver = await self.driver(server)
                database: TenantDatabase = ManagedDatabase(driver, spec_of_place(place))
                return Opened(database, server.connections_max)
        if place.sealed_connection is None:
            raise ConfigurationInvalid(reason=f"tenant {tenant.id} has neither server nor address")
        config = await self.seals.open_connection(tenant.id, place.sealed_connection)
        limit = server.connections_max if place.server is not None else OUTSIDE_CONNECTIONS_MAX
        return Opened(self.reach(config), limit)

    def reach(self, config: ConnectionConfig) -> TenantDatabase:
        """A database that is not managed here; raises ConfigurationInvalid for its kind."""
        outside = self.outside.get(config.kind)
        if outside is None:
            raise ConfigurationInvalid(reason=f"databases of kind '{config.kind}' are not set up")
        return outside(config)

    async def verify_unchanged(self, tenant: TenantRow) -> None:
        """Pass while the tenant is where it was, and in its state; raises TenantChanged."""
        async with self.registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, tenant.id)
        if (row.state, row.place) != (tenant.state, tenant.place):
            expected = f"{tenant.state.value} where it was"
            raise TenantChanged(tenant=tenant.id, expected=expected)

    async def server(self, name: str) -> ServerRow:
        """What the registry says of a server, not older than `SERVER_TTL_S` if it can be asked."""
        known = self._servers.get(name)
        if known is not None and monotonic_s() - known[0] < SERVER_TTL_S:
            return known[1]
        try:
            async with self.registry.transaction(SERVICE, read_only=True) as tx:
                row = await get_server(tx, name)
        except BulkheadError as error:
            if known is None or error.status != 503:  # noqa: PLR2004 - it is away
                raise
            row = known[1]
        self.learn(row)
        return row

    def learn(self, server: ServerRow) -> None:
        """Know what was just read of a server."""
        self._servers[server.name] = (monotonic_s(), server)

    async def drop(self, server: ServerRow, spec: DatabaseSpec) -> None:
        """Drop a database on a managed server.

        Where that is an account of its owner, who has taken the access to it away, the database is
        left to its owner. Raises what the driver raises.
        """
        driver = await self.driver(server)
        try:
            await driver.drop_database(spec)
        except TokenRefused as error:
            if server.reserved_for is None:
                raise
            log.warning("database '%s' is left to its owner: %s", spec.name, error)

    async def driver(self, server: ServerRow) -> Driver:
        """The driver of a managed server, with its administrator's rights.

        Raises ConfigurationInvalid for one that this process has no access to.
        """
        if server.name in self.drivers:
            return self.drivers[server.name]
        made = self._made.get(server.name)
        if made is not None and made[0] == server.generation:
            return made[1]
        manage = self.manage.get(server.kind)
        if server.sealed_endpoint is None or manage is None or self.secret is None:
            raise ConfigurationInvalid(
                reason=f"server '{server.name}' is in the registry, but not in the settings"
            )
        config = await self.seals.open_endpoint(server.name, server.sealed_endpoint)
        driver = manage(config, self.secret)
        self._made[server.name] = (server.generation, driver)
        return driver
