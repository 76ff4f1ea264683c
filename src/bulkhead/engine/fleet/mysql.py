"""Tenants' databases on MySQL and MariaDB: on servers of the fleet, and on other people's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.endpoint import Session
from bulkhead.engine.drivers.errors import TlsRequired
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.mysql_adopt import adopt_database, release_database
from bulkhead.engine.drivers.mysql_connection import MysqlConnection, open_connection
from bulkhead.engine.drivers.mysql_wire import Target
from bulkhead.engine.drivers.protocol import Dialect, Driver
from bulkhead.engine.egress import Egress, Service
from bulkhead.engine.fleet.databases import Outside
from bulkhead.engine.fleet.outside import endpoint_of

if TYPE_CHECKING:
    from bulkhead.engine.drivers.secret import Secret
    from bulkhead.engine.egress import Target as Checked
    from bulkhead.engine.fleet.model import ConnectionConfig
    from bulkhead.engine.fleet.tenant_database import TenantDatabase


@dataclass(frozen=True, slots=True)
class OutsideMysql:
    """A MySQL database that somebody else runs; implements `TenantDatabase`.

    It is neither made nor dropped: `adopt` takes it when it is empty or ours.
    """

    config: ConnectionConfig
    egress: Egress

    @property
    def server(self) -> str:
        """Host and port."""
        return self.config.server

    @property
    def dialect(self) -> Dialect:
        """MySQL's."""
        return Dialect.MYSQL

    async def connect(self, *, timeout_s: float) -> MysqlConnection:
        """Open a connection as the user that the configuration names.

        The name is looked up anew for each connection, checked, and pinned for it. Raises
        HostRefused, PortRefused, HostUnreachable, ServerUntrusted besides what drivers raise.
        """
        return await self._open(timeout_s=timeout_s, is_bounded=True)

    async def administer(self, *, timeout_s: float) -> MysqlConnection:
        """The same for changes of the schema, whose statements may take longer."""
        return await self._open(timeout_s=timeout_s, is_bounded=False)

    async def adopt(self, mark: str, *, timeout_s: float) -> None:
        """Mark the database, and check the user's rights.

        Raises DatabaseForeign for one that is neither empty nor so marked, CapabilityMissing.
        """
        connection = await self.administer(timeout_s=timeout_s)
        try:
            await adopt_database(connection, self.server, self.config.database, mark)
        finally:
            connection.terminate()

    async def release(self, mark: str, *, timeout_s: float) -> None:
        """Take the mark away again."""
        connection = await self.administer(timeout_s=timeout_s)
        try:
            await release_database(connection, self.config.database, mark)
        finally:
            connection.terminate()

    async def _open(self, *, timeout_s: float, is_bounded: bool) -> MysqlConnection:
        config = self.config
        deadline_s = monotonic_s() + timeout_s
        checked = await self.egress.check(config.host, config.port, Service.MYSQL)
        target = _target(config, checked)
        wire = await checked.connect(timeout_s=deadline_s - monotonic_s())
        return await open_connection(
            target,
            Session(config.username, config.password.reveal(), config.database),
            timeout_s=deadline_s - monotonic_s(),
            is_bounded=is_bounded,
            wire=wire,
        )


def outside_mysql(egress: Egress) -> Outside:
    """Databases elsewhere are reached where `egress` allows; for `Databases.outside`."""

    def reach(config: ConnectionConfig) -> TenantDatabase:
        return OutsideMysql(config, egress)

    return reach


def manage_mysql(config: ConnectionConfig, secret: Secret) -> Driver:
    """The driver of a server whose administrator `config` names; for `Databases.manage`."""
    return MysqlDriver(endpoint_of(config), secret, ca_pem=config.ca_pem)


def _target(config: ConnectionConfig, checked: Checked) -> Target:
    """As for PostgreSQL, a certificate is verified wherever the way is public."""
    if not config.proves_server and not checked.is_inside:
        raise TlsRequired(
            server=config.server, reason="on a public network its certificate must be verified"
        )
    is_local = all(address.is_loopback for address in checked.addresses)
    return Target(checked.host, checked.port, config.tls, is_local, ca_pem=config.ca_pem)
